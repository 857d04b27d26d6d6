"""Wheels and source distributions that two installers would read differently are refused, and the member is named.

pip and uv were tried with most of these: one installs, the other refuses, or each takes other bytes.
"""

import base64
import hashlib
import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ledger.distributions import archives
from ledger.distributions.distribution import read_distribution
from tests.distributions import build_metadata, build_sdist, build_wheel, pack_gzip, pack_tar, pack_zip, record_line
from tests.unit.refusals import refusal

INFO = "a-1.dist-info"
WHEEL = "a-1-py3-none-any.whl"
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def wheel(folder: Path, change: Mapping[str, bytes | None], *, record: bool = True) -> Path:
    """A wheel with members added, replaced or (None) left out; `record`: RECORD agrees with them."""
    members = members_of(build_wheel(folder, "a", "1"))
    lines = members.pop(f"{INFO}/RECORD")
    kept = {name: content for name, content in {**members, **change}.items() if content is not None}
    if record:
        listed = {name: content for name, content in kept.items() if not name.endswith(("/", "/RECORD"))}
        lines = b"".join(record_line(name, content) for name, content in listed.items()) + f"{INFO}/RECORD,,\n".encode()
    if f"{INFO}/RECORD" not in change:
        kept[f"{INFO}/RECORD"] = lines
    path = folder / WHEEL
    path.write_bytes(pack_zip(kept.items()))
    return path


def about(path: Path, member: str, why: str) -> None:
    """The refusal names the member, and says why."""
    assert f"has a member, '{member}', that installers would read differently: {why}" in refusal(path)


# --- the folder of the distribution ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD"])
def test_a_wheel_without_a_file_that_it_needs_is_refused(tmp_path: Path, name: str) -> None:
    assert f"has no file '{INFO}/{name}'" in refusal(wheel(tmp_path, {f"{INFO}/{name}": None}))


@pytest.mark.parametrize(
    "other", ["b-1.dist-info", "A-1.dist-info", "a-1.0.dist-info", "a-1.DIST-INFO", "b-2.dist-info/METADATA"]
)
def test_a_second_folder_is_refused(tmp_path: Path, other: str) -> None:
    name = other if "/" in other else f"{other}/METADATA"
    message = refusal(wheel(tmp_path, {name: build_metadata("a", "1")}))
    assert "has more than one .dist-info folder" in message
    assert f"'{other.partition('/')[0]}'" in message


@pytest.mark.parametrize("folder", ["b-1", "a-2", "a", "a-1-2", "a-one"])
def test_the_folder_of_another_distribution_is_refused(tmp_path: Path, folder: str) -> None:
    members = members_of(build_wheel(tmp_path, "a", "1"))
    moved = {name.replace(INFO, f"{folder}.dist-info"): content for name, content in members.items()}
    (tmp_path / WHEEL).write_bytes(pack_zip(moved.items()))
    assert f"has the folder '{folder}.dist-info', but needs the .dist-info folder of a 1" in refusal(tmp_path / WHEEL)


@pytest.mark.parametrize("folder", ["a-1.DIST-INFO", "a-1.dist-Info"])
def test_the_folder_of_the_distribution_in_another_case_is_refused(tmp_path: Path, folder: str) -> None:
    members = members_of(build_wheel(tmp_path, "a", "1"))
    (tmp_path / WHEEL).write_bytes(pack_zip((name.replace(INFO, folder), each) for name, each in members.items()))
    assert f"has the folder '{folder}', but needs" in refusal(tmp_path / WHEEL)


@pytest.mark.parametrize("folder", ["A-1", "a-1.0", "a-1.0.0"])
def test_another_spelling_of_the_folder_is_the_same(tmp_path: Path, folder: str) -> None:
    members = members_of(build_wheel(tmp_path, "a", "1"))
    moved = {
        name.replace(INFO, f"{folder}.dist-info"): content.replace(INFO.encode(), f"{folder}.dist-info".encode())
        for name, content in members.items()
    }
    (tmp_path / WHEEL).write_bytes(pack_zip(moved.items()))
    assert read_distribution(tmp_path / WHEEL).project == "a"


def test_metadata_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    metadata = build_metadata("a", "1") + b"J\xf6rg"
    about(build_wheel(tmp_path, "a", "1", metadata=metadata), f"{INFO}/METADATA", "it is not UTF-8")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it has not one Wheel-Version"),
        (b"Wheel-Version: 2.0\nRoot-Is-Purelib: true\n", "it has not one Wheel-Version"),
        (b"Wheel-Version: 1.0\nWheel-Version: 1.0\nRoot-Is-Purelib: true\n", "it has not one Wheel-Version"),
        (b"Wheel-Version: 1.0\n", "it has not one Root-Is-Purelib"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: True\n", "it has not one Root-Is-Purelib"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nRoot-Is-Purelib: false\n", "it has not one Root-Is-Purelib"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nX: \xff\n", "it is not UTF-8"),
    ],
)
def test_a_wheel_file_that_cannot_be_read_in_one_way_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    about(wheel(tmp_path, {f"{INFO}/WHEEL": content}), f"{INFO}/WHEEL", why)


# --- where files go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("b-1.data/scripts/x", "only folders a-1.data/SCHEME hold data"),
        ("A-1.data/scripts/x", "only folders a-1.data/SCHEME hold data"),
        ("a-1.DATA/scripts/x", "only folders a-1.data/SCHEME hold data"),
        ("a-1.data/x", "only folders a-1.data/SCHEME hold data"),
        ("a-1.data/scripts", "only folders a-1.data/SCHEME hold data"),
        ("a-1.data", "only folders a-1.data/SCHEME hold data"),
        ("a-1.data/elsewhere/x", "only folders a-1.data/SCHEME hold data"),
        ("a-1.data/purelib/b-1.dist-info/METADATA", "it would be installed as another distribution's"),
        ("a-1.data/platlib/b-1.data/scripts/x", "it would be installed as another distribution's"),
        ("a-1.data/purelib/b-1.DIST-INFO/METADATA", "it would be installed as another distribution's"),
        ("a-1.data/platlib/a-1.Data/scripts/x", "it would be installed as another distribution's"),
    ],
)
def test_data_that_installers_put_elsewhere_is_refused(tmp_path: Path, name: str, why: str) -> None:
    about(wheel(tmp_path, {name: b"x"}), name, why)


def test_a_file_that_would_be_installed_twice_is_refused(tmp_path: Path) -> None:
    about(wheel(tmp_path, {"a-1.data/purelib/a.py": b"x"}), "a.py", "it is there twice")
    twice = {"a-1.data/purelib/b.py": b"x", "a-1.data/platlib/b.py": b"y"}
    about(wheel(tmp_path, twice), "b.py", "it is there twice")


def test_data_in_its_place_is_read(tmp_path: Path) -> None:
    data = {f"a-1.data/{scheme}/x-{scheme}": b"x" for scheme in ("purelib", "platlib", "headers", "scripts", "data")}
    vendored = {"a/_vendor/b-1.dist-info/METADATA": b"x"}
    assert read_distribution(wheel(tmp_path, data | vendored)).project == "a"


# --- RECORD ------------------------------------------------------------------------------------------------------


def test_a_record_that_does_not_agree_is_refused(tmp_path: Path) -> None:
    about(wheel(tmp_path, {"more.py": b"x"}, record=False), "more.py", "RECORD does not list it")
    about(wheel(tmp_path, {"a.py": None}, record=False), "a.py", "RECORD lists it, but it is not there")
    about(wheel(tmp_path, {"a.py": b"short"}, record=False), "a.py", "RECORD says that it has 18 bytes")
    about(wheel(tmp_path, {"a.py": b"x" * 18}, record=False), "a.py", "it is not what RECORD says")


@pytest.mark.parametrize(
    ("change", "member", "why"),
    [
        (lambda lines: lines + lines[:1], "a.py", "RECORD lists it twice"),
        (lambda lines: [b"a.py,,\n", *lines[1:]], "a.py", "RECORD has no SHA-256"),
        (lambda lines: [b"a.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,18\n", *lines[1:]], "a.py", "RECORD has no SHA-256"),
        (lambda lines: [lines[0].replace(b"sha256=", b"sha256=A"), *lines[1:]], "a.py", "it is not what RECORD says"),
        (lambda lines: [lines[0].replace(b"a.py", b'"a".py'), *lines[1:]], f"{INFO}/RECORD", "a line is no CSV"),
        (lambda lines: [b"".join(lines).replace(b"\n", b"\r")], f"{INFO}/RECORD", "a line is no CSV"),
        (lambda lines: [b"./" + lines[0], *lines[1:]], "./a.py", "RECORD lists it, but it is not there"),
        (lambda lines: [b"\xff.py,,\n", *lines], f"{INFO}/RECORD", "it is not UTF-8"),
        (lambda lines: [b"\n", *lines], "", "a line has not three fields"),
        (lambda lines: [lines[0].replace(b"\n", b",x\n"), *lines[1:]], "a.py", "a line has not three fields"),
    ],
)
def test_a_line_of_record_that_says_something_else_is_refused(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], member: str, why: str
) -> None:
    lines = members_of(build_wheel(tmp_path, "a", "1"))[f"{INFO}/RECORD"].splitlines(keepends=True)
    path = wheel(tmp_path, {f"{INFO}/RECORD": b"".join(change(lines))})
    message = refusal(path)
    assert why in message
    assert member in message


def test_a_record_in_other_forms_that_agree_is_read(tmp_path: Path) -> None:
    signed = {f"{INFO}/RECORD.jws": b"x", f"{INFO}/RECORD.p7s": b"x", 'quoted, "name".py': b"x"}
    assert read_distribution(wheel(tmp_path, {'quoted, "name".py': b"x"})).project == "a"
    path = wheel(tmp_path, {**signed, 'quoted, "name".py': None}, record=False)
    assert read_distribution(path).project == "a"
    lines = members_of(build_wheel(tmp_path, "a", "1"))[f"{INFO}/RECORD"]
    for record in (lines.replace(b"\n", b"\r\n"), lines.replace(b",18\n", b",\n"), lines[: lines.rindex(b"a-1")]):
        assert read_distribution(wheel(tmp_path, {f"{INFO}/RECORD": record})).project == "a"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_record_with_other_digests_is_read(tmp_path: Path, algorithm: str) -> None:
    content = b"content of x"

    def path_of(digest: bytes) -> Path:
        encoded = base64.urlsafe_b64encode(digest).rstrip(b"=")
        line = b"x.py,%s=%s,%d\n" % (algorithm.encode(), encoded, len(content))
        lines = members_of(build_wheel(tmp_path, "a", "1"))[f"{INFO}/RECORD"]
        return wheel(tmp_path, {"x.py": content, f"{INFO}/RECORD": line + lines})

    assert read_distribution(path_of(hashlib.new(algorithm, content).digest())).project == "a"
    about(path_of(hashlib.new(algorithm, b"other").digest()), "x.py", "it is not what RECORD says")


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_a_signature_that_record_knows_by_a_weak_digest_is_refused(tmp_path: Path, name: str) -> None:
    digest = base64.urlsafe_b64encode(hashlib.md5(b"signature").digest()).rstrip(b"=")
    lines = members_of(build_wheel(tmp_path, "a", "1"))[f"{INFO}/RECORD"]
    lines += b"%s/%s,md5=%s,\n" % (INFO.encode(), name.encode(), digest)
    about(
        wheel(tmp_path, {f"{INFO}/{name}": b"signature", f"{INFO}/RECORD": lines}),
        f"{INFO}/{name}",
        "RECORD has no SHA-256, SHA-384 or SHA-512 of it",
    )


def test_a_wheel_file_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
    path = wheel(tmp_path, {f"{INFO}/WHEEL": content + b"X: y\n" * 100})
    assert read_distribution(path).project == "a"
    monkeypatch.setattr(archives, "MAX_METADATA_BYTES", 400)
    assert "has metadata of 541 bytes, but the limit is 400" in refusal(path)


def test_a_record_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_RECORD_BYTES", 100)
    assert "has a RECORD of over 100 bytes" in refusal(build_wheel(tmp_path, "a", "1"))


# --- names, in all kinds of archives -----------------------------------------------------------------------------


def archive_of(folder: Path, kind: str, names: list[str]) -> Path:
    """An archive with these members beside its own; they are of the kind's own top folder if they begin with TOP."""
    if kind == "whl":
        return wheel(folder, {name.replace("TOP", "pkg"): b"x" for name in names})
    members = [("a-1/PKG-INFO", build_metadata("a", "1"))]
    members += [(name.replace("TOP", "a-1"), b"x") for name in names]
    path = folder / f"a-1.{kind}"
    path.write_bytes(pack_zip(members) if kind == "zip" else pack_gzip(pack_tar(members)))
    return path


every_kind = pytest.mark.parametrize("kind", ["whl", "zip", "tar.gz"])


@every_kind
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", "its path has '..'"),
        ("TOP/../../x", "its path has '..'"),
        ("TOP/x/..", "its path has '..'"),
        ("TOP/./x", "its path has '..', '.'"),
        ("TOP//x", "or an empty part"),
        ("/x", "no relative path"),
        ("C:x", "no relative path"),
        ("TOP/x\\y", "no relative path"),
        ("TOP/x\ny", "control characters"),
        ("TOP/x\x7fy", "control characters"),
    ],
)
def test_a_path_that_leaves_the_archive_is_refused(tmp_path: Path, kind: str, name: str, why: str) -> None:
    message = refusal(archive_of(tmp_path, kind, [name]))
    assert "would read differently" in message
    assert why in message


@every_kind
def test_a_file_with_others_below_it_is_refused(tmp_path: Path, kind: str) -> None:
    top = "pkg/" if kind == "whl" else "a-1/"
    for names in (["TOP/x", "TOP/x/y"], ["TOP/x/y/z", "TOP/x"]):
        message = refusal(archive_of(tmp_path, kind, names))
        assert f"has a member, '{top}x', that installers would read differently" in message
        assert "it is a file and a folder" in message or "it is no folder" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
@every_kind
@pytest.mark.parametrize("again", ["x", "y"])
def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path, kind: str, again: str) -> None:
    if kind == "whl":
        path = wheel(tmp_path, {"twice.py": b"x"})
        members = [*members_of(path).items(), ("twice.py", again.encode())]
        path.write_bytes(pack_zip(members))
        about(path, "twice.py", "it is there twice")
        return
    path = archive_of(tmp_path, kind, ["TOP/twice.py", "TOP/twice.py"])
    about(path, "a-1/twice.py", "it is there twice")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    assert "has over 3 members" in refusal(archive_of(tmp_path, "tar.gz", ["TOP/x", "TOP/y", "TOP/z"]))


# --- zips: nothing before, after or between ----------------------------------------------------------------------


@pytest.fixture(params=["whl", "zip"])
def zipped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "whl":
        return build_wheel(tmp_path, "a", "1")
    return build_sdist(tmp_path, "a", "1", suffix=".zip")


def directory_at(data: bytes) -> int:
    return int(struct.unpack_from("<L", data, len(data) - 6)[0])


def shift(data: bytes, at: int, count: int) -> bytes:
    """The same zip with bytes put in, and every offset right."""
    start = directory_at(data)
    moved = bytearray(data[:at] + bytes(count) + data[at:])
    position = start + count
    while moved[position : position + 4] == b"PK\1\2":
        offset = struct.unpack_from("<L", moved, position + 42)[0]
        if offset >= at:
            struct.pack_into("<L", moved, position + 42, offset + count)
        position += 46 + sum(struct.unpack_from("<3H", moved, position + 28))
    struct.pack_into("<L", moved, len(moved) - 6, start + count)
    return bytes(moved)


def second_member_at(data: bytes) -> int:
    return data.index(b"PK\3\4", 4)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (lambda _: 0, "has 7 bytes before the member '"),
        (second_member_at, "has 7 bytes before the member '"),
        (directory_at, "has 7 bytes before the list of members"),
    ],
)
def test_bytes_that_belong_to_no_member_are_refused(zipped: Path, where: Callable[[bytes], int], why: str) -> None:
    data = zipped.read_bytes()
    zipped.write_bytes(shift(data, where(data), 7))
    with zipfile.ZipFile(zipped) as archive:
        assert archive.testzip() is None  # others see nothing
    assert why in refusal(zipped)


def test_bytes_before_that_no_offset_knows_are_refused(zipped: Path) -> None:
    zipped.write_bytes(b"#!/bin/sh\n" + zipped.read_bytes())
    assert "other bytes than members before its end" in refusal(zipped)


def test_two_archives_joined_are_refused(zipped: Path) -> None:
    data = zipped.read_bytes()
    zipped.write_bytes(data + data)
    assert "other bytes than members before its end" in refusal(zipped)


@pytest.mark.parametrize("more", [b"x", b"\0", b"PK\5\6" + bytes(18)])
def test_bytes_after_the_end_are_refused(zipped: Path, more: bytes) -> None:
    zipped.write_bytes(zipped.read_bytes() + more)
    refusal(zipped)


def test_a_comment_is_refused(zipped: Path) -> None:
    data = zipped.read_bytes()
    for comment in (b"note", b""):  # and one that is announced only
        zipped.write_bytes(data[:-2] + struct.pack("<H", 4) + comment)
        assert "a comment or other bytes after its end" in refusal(zipped)


def test_a_member_that_the_list_leaves_out_is_refused(zipped: Path) -> None:
    data = zipped.read_bytes()
    start = directory_at(data)
    size = 46 + sum(struct.unpack_from("<3H", data, start + 28))
    cut = bytearray(data[:start] + data[start + size :])
    count, length = struct.unpack_from("<HL", cut, len(cut) - 12)
    struct.pack_into("<HHL", cut, len(cut) - 14, count - 1, count - 1, length - size)
    zipped.write_bytes(cut)
    assert "bytes before the member" in refusal(zipped)


@pytest.mark.parametrize("at", [10, 8], ids=["all", "on this disk"])
def test_a_wrong_number_of_members_is_refused(zipped: Path, at: int) -> None:
    data = bytearray(zipped.read_bytes())
    data[len(data) - 22 + at] += 1
    zipped.write_bytes(data)
    assert "how many members it has" in refusal(zipped) or "but says that it has" in refusal(zipped)


@pytest.mark.parametrize(
    ("at", "what"),
    [(6, "flags"), (8, "method"), (14, "check sum"), (18, "compressed length"), (22, "length"), (30, "name")],
)
def test_a_front_that_contradicts_the_list_is_refused(zipped: Path, at: int, what: str) -> None:
    data = bytearray(zipped.read_bytes())
    data[at] ^= 8 if what == "method" else 1
    zipped.write_bytes(data)
    assert "what stands before it is not what the list of members says" in refusal(zipped)


def test_the_length_of_a_name_in_front_is_compared(zipped: Path) -> None:
    data = bytearray(zipped.read_bytes())
    data[26] -= 1
    data[28] += 1  # one byte of the name becomes an extra field
    zipped.write_bytes(data)
    assert "what stands before it is not what the list of members says" in refusal(zipped)


# --- zips: names and kinds ---------------------------------------------------------------------------------------


def one_wheel(folder: Path, *infos: tuple[zipfile.ZipInfo, bytes], patch: tuple[bytes, bytes] = (b"", b"")) -> Path:
    """A wheel with members of their own kind, which RECORD lists."""
    members = members_of(wheel(folder, {info.filename: content for info, content in infos}))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            info = next((each for each, _ in infos if each.filename == name), None)
            archive.writestr(info or zipfile.ZipInfo(name), content)
    path = folder / WHEEL
    path.write_bytes(packed.getvalue().replace(*patch) if patch[0] else packed.getvalue())
    return path


def test_a_name_that_ends_at_a_nul_for_some_is_refused(tmp_path: Path) -> None:
    path = one_wheel(tmp_path, (zipfile.ZipInfo("evil.pyXtxt"), b"x"), patch=(b"evil.pyXtxt", b"evil.py\0txt"))
    assert "its name may also be read as 'evil.py'" in refusal(path)


def test_a_second_name_in_the_extra_fields_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("good.py")
    info.extra = struct.pack("<HHBL", 0x7075, 5 + 7, 1, zlib.crc32(b"good.py")) + b"evil.py"
    about(one_wheel(tmp_path, (info, b"x")), "good.py", "a second name stands in its extra fields")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = one_wheel(tmp_path, (zipfile.ZipInfo("nXme.py"), b"x"), patch=(b"nXme.py", b"n\xe4me.py"))
    assert "n\\xe4me.py" in refusal(path)
    assert "its name is not UTF-8" in refusal(path)
    assert read_distribution(wheel(tmp_path, {"näme.py": b"x"})).project == "a"


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o060644, 0o040755])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, mode << 16
    about(one_wheel(tmp_path, (info, b"/etc/passwd")), "link", "it is neither a plain file nor a folder")


@pytest.mark.parametrize("method", METHODS)
def test_a_member_whose_lengths_follow_it_is_read(tmp_path: Path, method: int) -> None:
    """Who writes to a pipe knows lengths and check sum only afterwards."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    members = members_of(build_wheel(tmp_path, "a", "1"))
    packed = Pipe()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content, compress_type=method)
    path = tmp_path / WHEEL
    data = bytearray(packed.getvalue())
    path.write_bytes(data)
    assert read_distribution(path).project == "a"
    data[data.index(b"PK\7\x08") + 8] ^= 1
    path.write_bytes(data)
    about(path, "a.py", "the lengths behind it are others")


def test_zip64_is_read_and_compared(tmp_path: Path) -> None:
    members = members_of(build_wheel(tmp_path, "a", "1"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(content)
    plain = packed.getvalue()
    start, count = directory_at(plain), len(members)
    size = len(plain) - 22 - start
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    path = tmp_path / WHEEL
    for full in (plain[-22:], plain[-22:-14] + b"\xff" * 12 + bytes(2)):
        path.write_bytes(plain[:-22] + end + locator + full)
        assert read_distribution(path).project == "a"
    for lie in (
        end.replace(struct.pack("<Q", start), struct.pack("<Q", start + 1)),
        end[:4] + struct.pack("<Q", 45) + end[12:],
    ):
        path.write_bytes(plain[:-22] + lie + locator + plain[-22:])
        assert re.search("two ends that contradict each other|Bad magic number", refusal(path))
    path.write_bytes(plain[:-22] + end + b"\0" + locator + plain[-22:])
    refusal(path)
    data = bytearray(plain)
    data[data.index(struct.pack("<HHQ", 1, 16, 18)) + 4] += 1
    path.write_bytes(data)
    about(path, "a.py", "what stands before it is not what the list of members says")


def test_bytes_behind_compressed_data_are_refused(tmp_path: Path) -> None:
    """What is left of a member when its compressed data has ended is seen by nobody, or by some."""
    path = build_wheel(tmp_path, "a", "1", compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("a.py")
    stop = 30 + 4 + info.compress_size
    longer = bytearray(shift(data, stop, 5))
    struct.pack_into("<L", longer, 18, info.compress_size + 5)
    struct.pack_into("<L", longer, directory_at(bytes(longer)) + 20, info.compress_size + 5)
    path.write_bytes(longer)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    about(path, "a.py", "something follows its compressed data")


# --- tars --------------------------------------------------------------------------------------------------------

PKG_INFO = ("a-1/PKG-INFO", build_metadata("a", "1"))


def tarred(folder: Path, *members: tuple[str | tarfile.TarInfo, bytes], after: bytes = b"") -> Path:
    path = folder / "a-1.tar.gz"
    path.write_bytes(pack_gzip(pack_tar([PKG_INFO, *members]) + after))
    return path


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize("more", [b"x", b"\0", pack_gzip(b"more")])
def test_bytes_behind_the_compressed_data_are_refused(tmp_path: Path, more: bytes) -> None:
    path = tarred(tmp_path)
    path.write_bytes(path.read_bytes() + more)
    assert "other bytes after the end of its compressed data" in refusal(path)


def test_bytes_behind_the_compressed_data_are_refused_wherever_it_ends(tmp_path: Path) -> None:
    """It is read in pieces of 64 KiB: here it ends where a piece does, by the length of the name in its header."""
    packed = pack_gzip(pack_tar([PKG_INFO]))
    name = b"x" * (64 * 1024 - len(packed) - 1)
    padded = packed[:3] + b"\x08" + packed[4:10] + name + b"\0" + packed[10:]
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(padded)
    assert read_distribution(path).project == "a"
    path.write_bytes(padded + pack_gzip(b"more"))
    assert "other bytes after the end of its compressed data" in refusal(path)


def test_bytes_behind_the_end_of_a_tar_are_refused(tmp_path: Path) -> None:
    assert "other bytes after the end of its tar" in refusal(tarred(tmp_path, after=pack_tar([("a-1/setup.py", b"")])))
    assert read_distribution(tarred(tmp_path, after=bytes(100_000))).project == "a"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["b-1/setup.py", "setup.py", "A-1/setup.py"])
def test_a_second_top_folder_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    about(archive_of(tmp_path, kind, [name]), name, "it is not in the one top folder")


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE, b"9"])
def test_a_member_of_a_tar_of_another_kind_is_refused(tmp_path: Path, kind: bytes) -> None:
    about(tarred(tmp_path, special("a-1/x", kind)), "a-1/x", "it is neither a plain file, nor a folder, nor a link")


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("a-1/x", tarfile.SYMTYPE, "/etc/passwd"),
        ("a-1/x", tarfile.SYMTYPE, "../x"),
        ("a-1/x/y", tarfile.SYMTYPE, "../../b"),
        ("a-1/x", tarfile.SYMTYPE, "y/../../../z"),
        ("a-1/x", tarfile.SYMTYPE, "..\\..\\z"),
        ("a-1/x", tarfile.LNKTYPE, "/etc/passwd"),
        ("a-1/x", tarfile.LNKTYPE, "a-1/later"),
        ("a-1/x", tarfile.LNKTYPE, "a-1/x"),
        ("a-1/x", tarfile.LNKTYPE, "a-1"),
    ],
)
def test_a_link_out_of_the_archive_is_refused(tmp_path: Path, name: str, kind: bytes, target: str) -> None:
    about(tarred(tmp_path, special(name, kind, target), ("a-1/later", b"")), name, "it is a link")


def test_a_hard_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    members = (special("a-1/docs", tarfile.DIRTYPE), special("a-1/x", tarfile.LNKTYPE, "a-1/docs"))
    about(tarred(tmp_path, *members), "a-1/x", "it is a link to no file before it")


def test_a_name_in_a_tar_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    packed = pack_tar([PKG_INFO, ("a-1/n?me", b"")])
    start = packed.index(b"a-1/n?me")
    header = bytearray(packed[start : start + 512].replace(b"n?me", b"n\xe4me"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(pack_gzip(packed[:start] + header + packed[start + 512 :]))
    assert "its name has control characters or is not UTF-8" in refusal(path)


def test_a_hard_link_to_a_symbolic_one_is_refused(tmp_path: Path) -> None:
    """From where the hard link is, the symbolic one leads out of the archive."""
    links = (special("a-1/x/y/up", tarfile.SYMTYPE, "../.."), special("a-1/out", tarfile.LNKTYPE, "a-1/x/y/up"))
    about(tarred(tmp_path, *links), "a-1/out", "it is a link to no file before it")


def test_links_inside_are_read(tmp_path: Path) -> None:
    links = [
        special("a-1/README", tarfile.SYMTYPE, "docs/README"),
        special("a-1/docs/info", tarfile.SYMTYPE, "../PKG-INFO"),
        special("a-1/copy", tarfile.LNKTYPE, "a-1/PKG-INFO"),
        special("a-1/copy of it", tarfile.LNKTYPE, "./a-1/copy"),
    ]
    assert read_distribution(tarred(tmp_path, *links)).project == "a"


def test_members_below_a_link_are_refused(tmp_path: Path) -> None:
    about(
        tarred(tmp_path, special("a-1/x", tarfile.SYMTYPE, "docs"), ("a-1/x/y", b"")),
        "a-1/x",
        "other members are below it, but it is no folder",
    )


def test_a_second_length_is_refused(tmp_path: Path) -> None:
    """One reader takes the length of the extended header, another that of the plain one: each sees other members."""
    member = tarfile.TarInfo("a-1/x")
    member.pax_headers = {"size": "1024"}
    inner = pack_tar([("a-1/setup.py", b"other")])[:1024]
    about(tarred(tmp_path, (member, inner)), "a-1/x", "it has two lengths")


@pytest.mark.parametrize("keyword", ["GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size", "GNU.sparse.map"])
def test_what_only_some_readers_know_of_a_sparse_file_is_refused(tmp_path: Path, keyword: str) -> None:
    """`tarfile` takes name and length from these fields; others do not know them."""
    member = tarfile.TarInfo("a-1/x")
    member.pax_headers = {keyword: "a-1/evil.py" if keyword.endswith("name") else "0,0" if "map" in keyword else "1"}
    assert "it has two lengths" in refusal(tarred(tmp_path, (member, b"x" * 600)))


@pytest.mark.parametrize("keyword", ["path", "linkpath"])
def test_a_global_header_that_names_members_is_refused(tmp_path: Path, keyword: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers={keyword: "a-1/evil.py"}
    ) as archive:
        info = tarfile.TarInfo("a-1/x")
        archive.addfile(info)
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(packed.getvalue()))
    assert "a global header names it, or says where it leads" in refusal(tmp_path / "a-1.tar.gz")


def test_a_global_comment_is_read(tmp_path: Path) -> None:
    """`git archive` puts the commit there."""
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "0" * 40}
    ) as archive:
        info = tarfile.TarInfo(PKG_INFO[0])
        info.size = len(PKG_INFO[1])
        archive.addfile(info, io.BytesIO(PKG_INFO[1]))
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(packed.getvalue()))
    assert read_distribution(tmp_path / "a-1.tar.gz").project == "a"


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_tar_made_from_its_folder_is_read(tmp_path: Path, prefix: str) -> None:
    names = [special(".", tarfile.DIRTYPE)] if prefix else []
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        *names,
        special(f"{prefix}a-1", tarfile.DIRTYPE),
        (f"{prefix}a-1/PKG-INFO", PKG_INFO[1]),
    ]
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(pack_gzip(pack_tar(members)))
    assert read_distribution(path).project == "a"


def test_the_same_name_with_and_without_a_dot_is_refused(tmp_path: Path) -> None:
    about(tarred(tmp_path, ("./a-1/PKG-INFO", b"other")), "a-1/PKG-INFO", "it is there twice")
