"""`ledger.distributions` and `ledger.archives`: real files are read, all others are refused in words, none raises."""

import hashlib
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion
from packaging.version import Version as Pep440Version

from ledger import archives, distributions
from ledger.distributions import Distribution, DistributionError, find_distributions, read_distribution
from projections.names import canonical_version, check_filename, normalise, split_filename
from schemas.events import FileUploadedData
from tests.distributions import build_metadata, build_sdist, build_wheel, pack_gzip, pack_tar, pack_zip

MIB = 1024 * 1024


def refusal(path: Path) -> str:
    """What is wrong with a file; fails if nothing is, or if it is not said as it should be."""
    with pytest.raises(DistributionError) as caught:
        read_distribution(path)
    return check_message(path, caught.value)


def check_message(path: Path, error: DistributionError) -> str:
    message = str(error)
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < len(str(path)) * 6 + 800
    return message


def check_published(distribution: Distribution) -> None:
    """The ledger accepts what we read, as the schema and the rules of names judge it (docs/rules.md section 3)."""
    facts = {
        "filename": distribution.filename,
        "version": distribution.version,
        "length": distribution.length,
        "hashes": {"sha256": distribution.sha256, "blake2b_256": distribution.blake2b_256},
        "requires_python": distribution.requires_python,
        "core_metadata_sha256": distribution.core_metadata_sha256,
    }
    msgspec.convert(facts, FileUploadedData)
    assert normalise(distribution.display_name) == distribution.project
    assert check_filename(distribution.project, distribution.filename, distribution.version, legacy=False) == ""


# --- what is read ------------------------------------------------------------------------------------------------


def test_a_wheel_says_what_its_metadata_says(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "Zope.Interface", "1.0.Post1", requires_python=">=3.11, !=3.12.0")

    distribution = read_distribution(path)

    content = path.read_bytes()
    metadata = build_metadata("Zope.Interface", "1.0.Post1", ">=3.11, !=3.12.0")
    assert distribution == Distribution(
        path=path,
        filename="zope_interface-1.0.Post1-py3-none-any.whl",
        project="zope-interface",
        display_name="Zope.Interface",
        version="1.0.Post1",
        requires_python=">=3.11, !=3.12.0",
        length=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        blake2b_256=hashlib.blake2b(content, digest_size=32).hexdigest(),
        core_metadata=metadata,
        core_metadata_sha256=hashlib.sha256(metadata).hexdigest(),
    )
    check_published(distribution)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_source_distribution_has_no_core_metadata_to_serve(tmp_path: Path, suffix: str) -> None:
    path = build_sdist(tmp_path, "Example", "2!1.0rc1", requires_python=">=3.8", suffix=suffix)

    distribution = read_distribution(path)

    assert distribution.filename == f"example-2!1.0rc1{suffix}"
    assert (distribution.project, distribution.version) == ("example", "2!1.0rc1")
    assert distribution.requires_python == ">=3.8"
    assert (distribution.core_metadata, distribution.core_metadata_sha256) == (None, None)
    assert distribution.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    check_published(distribution)


@pytest.mark.parametrize(
    ("name", "version", "filename"),
    [
        ("PyYAML", "3.13", "PyYAML-3.13.tar.gz"),
        ("zope.interface", "4.0.5", "zope.interface-4.0.5.zip"),
        ("antlr4-python3-runtime", "4.9.3", "antlr4-python3-runtime-4.9.3.tar.gz"),
        ("python-dateutil", "2.8.2", "python_dateutil-2.8.2-py2.py3-none-any.whl"),
        ("html5lib", "0.999999999", "html5lib-0.999999999-py2.py3-none-any.whl"),
        ("certifi", "2023.07.22", "certifi-2023.7.22-py3-none-any.whl"),
        ("shim", "0.1.0.post0", "shim-0.1.0.post0-py2.py3-none-any.whl"),
        ("built", "1.0", "built-1.0-2_abc-cp311-abi3-manylinux1_x86_64.manylinux2014_x86_64.whl"),
        ("local", "1.0+ubuntu-1", "local-1.0+ubuntu_1-py3-none-any.whl"),
        ("local", "1.0+ubuntu.1", "local-1.0+ubuntu.1.tar.gz"),
        ("zeros", "1", "zeros-1.0.0.tar.gz"),
        ("v", "v1.0-POST-3", "v-1.0.post3-py3-none-any.whl"),
        ("dashed", "1.0-alpha_1", "dashed-1.0_alpha_1-py3-none-any.whl"),
        ("x", "1.0", "X-1.0.tar.gz"),
    ],
)
def test_names_as_they_are_on_pypi_are_read_and_accepted(
    tmp_path: Path, name: str, version: str, filename: str
) -> None:
    suffix = ".zip" if filename.endswith(".zip") else ".tar.gz"
    if filename.endswith(".whl"):
        path = build_wheel(tmp_path, name, version, filename=filename)
    else:
        path = build_sdist(tmp_path, name, version, filename=filename, suffix=suffix)

    distribution = read_distribution(path)

    assert (distribution.display_name, distribution.version) == (name, version)
    check_published(distribution)


def test_the_same_arguments_build_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    for build in (build_wheel, build_sdist):
        one, two = (build(tmp_path / name, "example", "1.0") for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("metadata", "requires_python"),
    [
        (b"Name: example\nVersion: 1.0\n", None),
        (b"name:example\nVERSION:   1.0   \n", None),
        (b"Name: example\r\nVersion: 1.0\r\nRequires-Python: >=3\r\n\r\nbody\r\n", ">=3"),
        (b"Name: example\nVersion: 1.0\nRequires-Python:\n", None),
        (b"Name: example\nVersion: 1.0\nRequires-Python: >=3.6,\n        !=3.7.0\n", ">=3.6, !=3.7.0"),
        (b"Author: J\xf6rg\nName: example\nVersion: 1.0\n\n\xff\xfe Name: other\n", None),
        (b"Name: example\nVersion: 1.0\nContent-Type: message/rfc822\n\nName: other\n\nVersion: 2\n", None),
        (b"Name: example\nVersion: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n", None),
        (b"Name: example\nVersion: 1.0\nDescription: one\n two\n  Name: other\n", None),
        (b"Name: example\nVersion: 1.0\nKeywords\nName: other\nVersion: 2\n", None),
    ],
)
def test_sloppy_metadata_is_read_as_installers_read_it(
    tmp_path: Path, metadata: bytes, requires_python: str | None
) -> None:
    distribution = read_distribution(build_wheel(tmp_path, "example", "1.0", metadata=metadata))

    assert distribution.requires_python == requires_python
    assert distribution.core_metadata == metadata


def test_metadata_of_vendored_projects_is_not_the_wheels(tmp_path: Path) -> None:
    files = dict.fromkeys(["_vendor/other-2.0.dist-info/METADATA", "example.egg-info/PKG-INFO", "METADATA"], b"")
    files |= {"example-1.0.dist-info/NOT-METADATA": b"", "example-1.0.dist-info/METADATA/x": b"", "data/METADATA": b""}
    assert read_distribution(build_wheel(tmp_path, "example", "1.0", files=files)).project == "example"

    files = {"example.egg-info/PKG-INFO": b"", "src/PKG-INFO": b""}
    for suffix in (".tar.gz", ".zip"):
        assert read_distribution(build_sdist(tmp_path, "example", "1.0", files=files, suffix=suffix)).version == "1.0"


def test_long_paths_links_and_paths_out_of_the_archive_do_no_harm(tmp_path: Path) -> None:
    link = tarfile.TarInfo("example-1.0/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    content = pack_tar(
        [
            (link, b""),
            ("../../outside", b"x" * 3000),
            ("../PKG-INFO", b"x"),
            ("/absolute", b"x"),
            ("example-1.0/" + "deep/" * 100 + "file", b"x" * 100_000),
            ("./example-1.0/PKG-INFO", build_metadata("example", "1.0")),
        ]
    )
    path = tmp_path / "example-1.0.tar.gz"
    path.write_bytes(pack_gzip(content))

    assert read_distribution(path).project == "example"
    assert list(tmp_path.iterdir()) == [path]


# --- files that cannot be read -----------------------------------------------------------------------------------


def test_what_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "example-1.0.tar.gz")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe-1.0.tar.gz")
    assert "is not a plain file" in refusal(tmp_path / "pipe-1.0.tar.gz")
    (tmp_path / "empty-1.0.tar.gz").touch()
    assert "is empty" in refusal(tmp_path / "empty-1.0.tar.gz")
    (tmp_path / "loop-1.0.tar.gz").symlink_to(tmp_path / "loop-1.0.tar.gz")
    assert "cannot be read" in refusal(tmp_path / "loop-1.0.tar.gz")
    assert "cannot be read" in refusal(tmp_path / ("x" * 300 + ".whl"))
    assert "is not a path" in refusal(tmp_path / "nul\0-1.0.tar.gz")
    assert "is not a path" in refusal(tmp_path / "lone\ud800-1.0.tar.gz")
    assert "cannot be read (Not a directory)" in refusal(build_sdist(tmp_path, "a", "1") / "b-1.0.tar.gz")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "example", "1.0")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    assert "cannot be read (Permission denied)" in refusal(path)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = build_wheel(tmp_path, "example", "1.0")
    content = path.read_bytes()
    read = archives.read_wheel_metadata

    def read_and_change(*arguments: object) -> bytes:
        metadata = read(*arguments)  # type: ignore[arg-type]
        if change == "grows":
            path.write_bytes(content + b"x")
        elif change == "shrinks":
            os.truncate(path, 10)
        else:
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return metadata

    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    before = path.stat()
    monkeypatch.setattr(distributions, "read_wheel_metadata", read_and_change)
    assert "changed while it was read" in refusal(path)


def test_a_file_that_grows_while_it_is_hashed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "example", "1.0", files={"data": bytes(5000)})
    blake2b = hashlib.blake2b

    def grow(*, digest_size: int) -> object:
        with path.open("ab") as file:
            file.write(bytes(3 * MIB))
        return blake2b(digest_size=digest_size)

    monkeypatch.setattr(hashlib, "blake2b", grow)
    assert "changed while it was read" in refusal(path)


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "why"),
    [
        ("example-1.0.tar.bz2", "is not named like"),
        ("example-1.0.egg", "is not named like"),
        ("example-1.0.tar.gz.asc", "is not named like"),
        ("example-1.0-py3-none-any.WHL", "is not named like"),
        ("example.tar.gz", "is not named like a wheel (PEP 427)"),
        ("-1.0.tar.gz", "a name that an index cannot serve"),
        ("example-1.0-py3-none.whl", "wrong number of parts"),
        ("example-1.0-1-2-py3-none-any.whl", "wrong number of parts"),
        ("example-1.0-build-py3-none-any.whl", "build number"),
        ("example-one-py3-none-any.whl", "invalid version"),
        ("example-1.0_1-py3-none-any.whl", "invalid version"),
        ("example-one.tar.gz", "invalid version"),
        ("_example-1.0.tar.gz", "project '-example', which is not a valid name"),
        ("example_-1.0-py3-none-any.whl", "project 'example-', which is not a valid name"),
        ("example 1-1.0.tar.gz", "a name that an index cannot serve"),
        ("éxample-1.0.tar.gz", "a name that an index cannot serve"),
        ("exam\nple-1.0.tar.gz", "a name that an index cannot serve"),
        ("exam\x1b[31mple-1.0.tar.gz", "a name that an index cannot serve"),
        ("e" * 180 + "-1.0.tar.gz", "a name that an index cannot serve"),
        (os.fsdecode(b"ex\xe4mple-1.0.tar.gz"), "a name that an index cannot serve"),
        ("example-1.0-1.tar.gz", "'example-1-0' by its name"),
        ("other-1.0.tar.gz", "'other' by its name, to 'example' by its metadata"),
        ("other-1.0-py3-none-any.whl", "'other' by its name, to 'example' by its metadata"),
        ("example-1.0.1.tar.gz", "1.0.1 by its name, 1.0 by its metadata"),
        ("example-1.0rc1-py3-none-any.whl", "1.0rc1 by its name, 1.0 by its metadata"),
        ("example-1.0+local-py3-none-any.whl", "1.0+local by its name, 1.0 by its metadata"),
    ],
)
def test_a_file_that_is_named_wrongly_is_refused(tmp_path: Path, filename: str, why: str) -> None:
    build = build_wheel if filename.endswith(".whl") else build_sdist
    assert why in refusal(build(tmp_path, "example", "1.0", filename=filename))


def test_the_longest_filename_is_read(tmp_path: Path) -> None:
    stem = "e" * (190 - len("-1.tar.gz"))
    assert len(read_distribution(build_sdist(tmp_path, stem, "1")).filename) == 190
    assert "at most 190" in refusal(build_sdist(tmp_path, stem + "e", "1"))


# --- metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("", "without a Name"),
        ("Version: 1.0\n", "without a Name"),
        ("Name:\nVersion: 1.0\n", "without a Name"),
        ("\nName: example\nVersion: 1.0\n", "without a Name"),
        ("Name: example\n", "without a Version"),
        ("Name: example\nName: example\nVersion: 1.0\n", "says its Name 2 times"),
        ("Name: example\nVersion: 1.0\nversion: 1.0\n", "says its Version 2 times"),
        ("Name: exam ple\nVersion: 1.0\n", "by its metadata"),
        ("Name: example-\nVersion: 1.0\n", "by its metadata"),
        (f"Name: exa{'m' * 300}ple\nVersion: 1.0\n", "by its metadata"),
        ("Name: example\x1b[31m\nVersion: 1.0\n", r"\x1b[31m"),
        ("Name: example\nVersion: one\n", "not one of PEP 440"),
        ("Name: example\nVersion: 1.0 beta!\n", "cannot serve"),
        (f"Name: example\nVersion: 1.{'0' * 127}\n", "cannot serve"),
        ("Name: example\nVersion: 1.0\nRequires-Python: >=3.6.*\n", "Requires-Python"),
        ("Name: example\nVersion: 1.0\nRequires-Python: three\n", "Requires-Python"),
        ("Name: example\nVersion: 1.0\nRequires-Python: ===3\u00e9\n", "Requires-Python"),
        ("Name: example\nVersion: 1.0\nRequires-Python: >=\u0663\n", "Requires-Python"),
        (f"Name: example\nVersion: 1.0\nRequires-Python: >=3{', >=3' * 102}\n", "Requires-Python"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, metadata: str, why: str) -> None:
    for build in (build_wheel, build_sdist):
        assert why in refusal(build(tmp_path, "example", "1.0", metadata=metadata.encode()))


def test_names_and_versions_that_only_look_alike_are_refused(tmp_path: Path) -> None:
    # The Kelvin sign is lower-cased to k.
    assert "by its metadata" in refusal(build_wheel(tmp_path, "k", "1", metadata="Name: \u212a\nVersion: 1\n".encode()))
    assert "cannot serve" in refusal(build_wheel(tmp_path, "k", "1", metadata="Name: k\nVersion: \u0661\n".encode()))


def test_a_name_of_separators_without_end_is_refused(tmp_path: Path) -> None:
    metadata = b"Name: a" + b"-" * 100_000 + b"b\nVersion: 1\n"
    assert "by its metadata" in refusal(build_wheel(tmp_path, "a-b", "1", metadata=metadata))


def test_metadata_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = build_metadata("example", "1.0") + b"x" * 1000
    paths = [build_wheel(tmp_path, "example", "1.0", metadata=metadata)]
    paths += [
        build_sdist(tmp_path, "example", "1.0", metadata=metadata, suffix=suffix) for suffix in (".zip", ".tar.gz")
    ]

    monkeypatch.setattr(archives, "MAX_METADATA_BYTES", len(metadata))
    for path in paths:
        assert read_distribution(path).project == "example"
    monkeypatch.setattr(archives, "MAX_METADATA_BYTES", len(metadata) - 1)
    for path in paths:
        assert "Shorten its description" in refusal(path)


def test_a_million_headers_take_no_time_to_speak_of(tmp_path: Path) -> None:
    headers = b"".join(b"X-%d: y\n" % number for number in range(300_000))
    path = build_wheel(tmp_path, "example", "1.0", metadata=headers + build_metadata("example", "1.0"))
    assert read_distribution(path).version == "1.0"


# --- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["a-1-py3-none-any.whl", "a-1.tar.gz", "a-1.zip"])
@pytest.mark.parametrize("content", [b"x", b"PK\x05\x06", b"\x1f\x8b", b"<html>404</html>" * 1000, bytes(10_000)])
def test_what_is_no_archive_is_refused(tmp_path: Path, filename: str, content: bytes) -> None:
    (tmp_path / filename).write_bytes(content)
    assert "is damaged or not what its name says" in refusal(tmp_path / filename)


def test_an_archive_of_another_kind_is_refused(tmp_path: Path) -> None:
    tar = pack_tar([("a-1/PKG-INFO", build_metadata("a", "1"))])
    (tmp_path / "a-1.tar.gz").write_bytes(tar)
    assert "Not a gzipped file" in refusal(tmp_path / "a-1.tar.gz")
    (tmp_path / "a-1.zip").write_bytes(pack_gzip(tar))
    assert "not a zip file" in refusal(tmp_path / "a-1.zip")


@pytest.mark.parametrize("build", [build_wheel, build_sdist])
def test_every_truncation_is_refused(tmp_path: Path, build: Callable[..., Path]) -> None:
    path = build(tmp_path, "example", "1.0")
    content = path.read_bytes()
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        assert "is damaged" in refusal(path)


def test_a_wheel_with_any_flipped_byte_of_content_is_refused(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    path = build_wheel(tmp_path, "example", "1.0", files={"data": content})
    packed = bytearray(path.read_bytes())
    start = packed.index(content)
    for position in range(start, start + len(content), 97):
        packed[position] ^= 0x10
        path.write_bytes(packed)
        assert "Bad CRC-32 for file 'data'" in refusal(path)
        packed[position] ^= 0x10


def test_the_check_sum_behind_a_tar_is_checked(tmp_path: Path) -> None:
    path = build_sdist(tmp_path, "example", "1.0", files={"data": b"y" * 5000})
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"yyy")] ^= 1
    path.write_bytes(packed)
    assert "CRC check failed" in refusal(path)


def test_a_header_of_a_tar_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    # gzip's check sum is right: it was made like this, and tarfile alone would show half of it.
    tar = bytearray(pack_tar([("a-1/PKG-INFO", build_metadata("a", "1")), ("a-1/rest", b"x" * 600)]))
    tar[tar.index(b"a-1/rest")] ^= 1
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(bytes(tar)))
    assert "the header of a member is not valid" in refusal(tmp_path / "a-1.tar.gz")


@pytest.mark.parametrize("count", [0, 2])
def test_none_or_several_metadata_are_refused(tmp_path: Path, count: int) -> None:
    why = "has more than one" if count else "has no"
    metadata = build_metadata("a", "1")
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(pack_zip([(f"{name}-1.dist-info/METADATA", metadata) for name in "ab"[:count]]))
    assert why in refusal(wheel)
    members = [("a-1/setup.py", b""), *((f"{name}-1/PKG-INFO", metadata) for name in "ab"[:count])]
    (tmp_path / "a-1.zip").write_bytes(pack_zip(members))
    assert why in refusal(tmp_path / "a-1.zip")
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(pack_tar(members)))
    assert why in refusal(tmp_path / "a-1.tar.gz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_metadata_twice_is_refused(tmp_path: Path) -> None:
    members = [("a-1.dist-info/METADATA", build_metadata("a", version)) for version in ("1", "2")]
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(pack_zip(members))
    assert "has more than one" in refusal(tmp_path / "a-1-py3-none-any.whl")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_metadata_that_is_not_a_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a-1/PKG-INFO")
    member.type, member.linkname = kind, "a-1/other"
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(pack_tar([("a-1/other", build_metadata("a", "1")), (member, b"")])))
    assert "a link or" in refusal(tmp_path / "a-1.tar.gz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_cannot_be_bounded_is_refused(tmp_path: Path, method: int) -> None:
    assert f"compressed by method {method}" in refusal(build_wheel(tmp_path, "a", "1", compression=method))


def test_a_member_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", "1", compression=zipfile.ZIP_DEFLATED)
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"PK\x01\x02") + 24] += 1  # its check sum is that of what is there
    path.write_bytes(packed)
    assert "member 'a.py' is cut short" in refusal(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", "1")
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(packed)
    assert "encrypted member, 'a.py'" in refusal(path)


# --- archives made to do harm ------------------------------------------------------------------------------------


def peak_of(path: Path) -> tuple[str, int]:
    """What is wrong with a file, and the most memory that it took to find out."""
    tracemalloc.start()
    try:
        return refusal(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    zeros = bytes(80 * MIB)
    wheel = build_wheel(tmp_path, "a", "1", files={"zeros": zeros}, compression=zipfile.ZIP_DEFLATED)
    metadata = ("a-1/PKG-INFO", build_metadata("a", "1"))
    tar = tmp_path / "a-1.tar.gz"
    tar.write_bytes(pack_gzip(pack_tar([metadata, ("a-1/zeros", zeros)]), level=9))
    padded = tmp_path / "padded-1.tar.gz"
    padded.write_bytes(pack_gzip(pack_tar([metadata]) + zeros, level=9))

    for path in (wheel, tar, padded):
        assert path.stat().st_size < MIB
        why, peak = peak_of(path)
        assert "made to exhaust a disk" in why
        assert peak < 16 * MIB


def test_a_large_archive_may_grow_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "a", "1", files={"zeros": bytes(MIB)}, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    assert "made to exhaust a disk" in refusal(path)
    monkeypatch.setattr(archives, "MAX_RATIO", 1100)
    assert read_distribution(path).project == "a"


def test_a_list_of_members_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_wheel(tmp_path, "a", "1", files={f"{number:0200}": b"" for number in range(1000)})
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 100_000)
    assert "Put fewer files in it" in refusal(path)


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("tar", "why"),
    [
        (tar_header("x", -1024), "a negative length"),  # CVE-2025-8194
        (tar_header("x", 8 * 1024 * MIB, tarfile.GNUTYPE_LONGNAME), "without attributes"),
        (tar_header("x", 8 * 1024 * MIB, tarfile.XHDTYPE), "without attributes"),
        (tar_header("a-1/PKG-INFO", 8 * 1024 * MIB), "Shorten its description"),
        (tar_header("x", 8 * 1024 * MIB), "is damaged"),
        ((tar_header("x", 1, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 5000, "is damaged"),
        (tar_header("x", 8, tarfile.XHDTYPE) + b"1000 a=b".ljust(512, b"\0"), "is damaged"),
    ],
    ids=["negative", "long-name", "pax", "metadata", "cut", "nested", "pax-record"],
)
def test_headers_of_a_tar_that_lie_are_refused_in_little_memory(tmp_path: Path, tar: bytes, why: str) -> None:
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(pack_gzip(tar, level=9))
    message, peak = peak_of(path)
    assert why in message
    assert peak < 16 * MIB


def test_global_headers_without_end_are_refused(tmp_path: Path) -> None:
    tar = io.BytesIO()
    headers = {f"key{number}": "value" for number in range(100)}
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        archive.addfile(tarfile.TarInfo("a-1/setup.py"))
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(pack_gzip(tar.getvalue()))
    assert "too many global headers" in refusal(path)


def test_the_members_of_a_tar_are_not_remembered(tmp_path: Path) -> None:
    members = [(f"a-1/{number}", b"") for number in range(30_000)]
    path = tmp_path / "a-1.tar.gz"
    path.write_bytes(pack_gzip(pack_tar(members), level=1))
    why, peak = peak_of(path)
    assert "has no NAME-VERSION/PKG-INFO" in why
    assert peak < 4 * MIB


def test_overlapping_members_of_a_zip_are_bounded(tmp_path: Path) -> None:
    """A zip that lists the same bytes many times grows with the square of its length, without a high ratio in any."""
    count = 3000
    packed = pack_zip([("a-1.dist-info/METADATA", build_metadata("a", "1")), ("data", os.urandom(64 * 1024))])
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    entry = packed[packed.index(b"PK\x01\x02", start + 1) : end]
    directory = packed[start:end] + entry * (count - 2)
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(
        packed[:start]
        + directory
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    )
    why = refusal(path)
    assert "made to exhaust a disk" in why or "verlap" in why  # newer versions of zipfile see it themselves


# --- any input ---------------------------------------------------------------------------------------------------


def read_or_refuse(path: Path) -> None:
    try:
        distribution = read_distribution(path)
    except DistributionError as error:
        check_message(path, error)
    else:
        check_published(distribution)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes of an archive cut, overwritten, doubled or moved."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        stop = draw(st.integers(start, min(len(data), start + draw(st.sampled_from([1, 4, 16, 600])))))
        match draw(st.sampled_from(["cut", "overwrite", "double", "end", "numbers"])):
            case "cut":
                del data[start:stop]
            case "overwrite":
                data[start:stop] = draw(st.binary(max_size=8))
            case "double":
                data[start:start] = data[start:stop]
            case "end":
                del data[start:]
            case _:
                data[start:stop] = draw(st.sampled_from([b"\0", b"\xff", b"\x80", b"7", b"-"])) * (stop - start)
    return bytes(data)


SMALL = {"data": bytes(range(256)) * 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@given(data=st.data())
@settings(max_examples=400)
def test_no_damage_to_a_wheel_raises_anything_else(folder: Path, data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = build_wheel(folder, "example", "1.0", files=SMALL, compression=compression)
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    read_or_refuse(path)


@given(data=st.data())
@settings(max_examples=200)
def test_no_damage_to_a_source_distribution_raises_anything_else(folder: Path, data: st.DataObject) -> None:
    path = build_sdist(folder, "example", "1.0", files=SMALL, suffix=data.draw(st.sampled_from([".tar.gz", ".zip"])))
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    read_or_refuse(path)


def sample_tars() -> list[bytes]:
    members = [("example-1.0/PKG-INFO", build_metadata("example", "1.0")), ("example-1.0/" + "long/" * 60, b"x" * 600)]
    samples = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=form, pax_headers={"comment": "0123abcd"}) as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = (
                    len(content),
                    {"mtime": "1.5", "GNU.sparse.size": "5"} if "long" in name else {},
                )
                archive.addfile(info, io.BytesIO(content))
        samples.append(packed.getvalue())
    return samples


def repair(tar: bytes) -> bytes:
    """The tar with the check sum of every block set as if it were a header."""
    data = bytearray(tar)
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return bytes(data)


@given(data=st.data())
@settings(max_examples=400)
def test_no_damage_to_the_tar_within_raises_anything_else(folder: Path, data: st.DataObject) -> None:
    path = folder / "example-1.0.tar.gz"
    tar = data.draw(st.sampled_from(sample_tars()).flatmap(mutated))
    path.write_bytes(pack_gzip(repair(tar) if data.draw(st.booleans()) else tar))
    read_or_refuse(path)


HEADER = st.sampled_from(["Name", "Version", "Requires-Python", "name", "Description", "Content-Type"])
HEADERS = st.lists(st.tuples(HEADER, st.text(max_size=20) | st.sampled_from(["example", "1.0", ">=3"])), max_size=6)


@given(
    metadata=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    | HEADERS.map(lambda headers: "".join(f"{name}: {value}\n" for name, value in headers).encode("utf-8", "replace"))
)
@example(metadata=b"Name: example\nVersion: 1.0\nRequires-Python: >=3\n")
@settings(max_examples=300)
def test_no_metadata_raises_anything_else(folder: Path, metadata: bytes) -> None:
    read_or_refuse(build_wheel(folder, "example", "1.0", metadata=metadata))


NAMES = st.text("abAB019-_.", min_size=1, max_size=12)
TAGS = st.sampled_from(["-py3-none-any.whl", "-1a-py2.py3-none-any.whl", ".tar.gz", ".zip", ".whl"])
VERSION_PARTS = [
    "1",
    "0",
    "07",
    "!",
    ".",
    "-",
    "_",
    "+",
    "a",
    "rc",
    "c",
    "pre",
    "post",
    "r",
    "rev",
    "dev",
    "v",
    "local",
]
VERSIONS = st.lists(st.sampled_from(VERSION_PARTS), min_size=1, max_size=9).map("".join)


@given(name=NAMES, version=VERSIONS, tag=TAGS, in_metadata=st.none() | VERSIONS)
@settings(max_examples=500)
def test_whatever_is_read_is_accepted_by_the_rules(
    folder: Path, name: str, version: str, tag: str, in_metadata: str | None
) -> None:
    metadata = build_metadata(name, in_metadata or version)
    content = pack_zip([("a-1.dist-info/METADATA", metadata), ("a-1/PKG-INFO", metadata)])
    if tag == ".tar.gz":
        content = pack_gzip(pack_tar([("a-1/PKG-INFO", metadata)]))
    path = folder / f"{name}-{version}{tag}"
    path.write_bytes(content)
    try:
        read_or_refuse(path)
    finally:
        path.unlink()


# --- folders -----------------------------------------------------------------------------------------------------


def test_folders_are_walked_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in [
        "b/z-1.zip",
        "b/a-1.tar.gz",
        "b/c/d-1-py3-none-any.whl",
        "a/x-1.zip",
        ".git/y-1.zip",
        "b/.hidden-1.zip",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ["m-1.tar.gz", "README.md", "m-1.tar.gz.asc", "B-1.whl"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b" / "self")
    (tmp_path / "link-1.zip").symlink_to(tmp_path / "a" / "x-1.zip")

    found = [str(path.relative_to(tmp_path)) for path in find_distributions([tmp_path])]

    assert found == [
        "B-1.whl",
        "link-1.zip",
        "m-1.tar.gz",
        "a/x-1.zip",
        "b/a-1.tar.gz",
        "b/z-1.zip",
        "b/c/d-1-py3-none-any.whl",
    ]


def test_paths_are_taken_as_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".hidden/a-1.zip", "real/b-1.zip", "README.md"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("link").symlink_to("real")
    given_paths = [Path("README.md"), Path("link"), Path(".hidden"), Path("README.md")]

    found = list(find_distributions(given_paths))

    assert found == [Path("README.md"), Path("link/b-1.zip"), Path(".hidden/a-1.zip"), Path("README.md")]


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dangling-1.zip").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "nowhere", tmp_path / "dangling-1.zip"):
        with pytest.raises(DistributionError, match=r"does not exist\. Check the path\."):
            list(find_distributions([path]))
    with pytest.raises(DistributionError, match="is not a path"):
        list(find_distributions([tmp_path / "nul\0"]))
    # In a folder it is not overlooked either: who reads it is told.
    assert "does not exist" in refusal(next(find_distributions([tmp_path])))


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(DistributionError, match="Permission denied"):
        list(find_distributions([tmp_path]))


# --- our frozen rules of names and `packaging` ---------------------------------------------------------------------


def pep440(text: str) -> Pep440Version | None:
    try:
        return Pep440Version(text)
    except InvalidVersion:
        return None


@given(VERSIONS)
@settings(max_examples=2000)
@example("1-1")
@example("1.0a1-1.post1")
@example("1.0.post-1")
@example("1_1")
@example("1.0+0a1.00a")
def test_versions_are_those_of_packaging(text: str) -> None:
    canonical = canonical_version(text)
    version = pep440(text)

    assert (canonical is None) == (version is None)
    if canonical is not None:
        assert pep440(canonical) == version
        assert canonical_version(str(version)) == canonical


@given(VERSIONS, VERSIONS)
@settings(max_examples=1000)
@example("1", "1.0.0")
@example("1.0c1", "1.RC-01")
@example("1.0a", "1.0a0")
@example("1+a.1", "1+A-01")
@example("1+1a", "1+01a")
def test_versions_are_equal_when_packaging_says_so(one: str, two: str) -> None:
    first, second = pep440(one), pep440(two)
    if first is not None and second is not None:
        assert (canonical_version(one) == canonical_version(two)) == (first == second)


@given(NAMES, VERSIONS, TAGS)
@settings(max_examples=1000)
def test_what_packaging_splits_our_rules_split_alike(name: str, version: str, tag: str) -> None:
    filename = f"{name}-{version}{tag}"
    parse = parse_wheel_filename if tag.endswith(".whl") else parse_sdist_filename
    try:
        project, parsed, *_ = parse(filename)
    except ValueError:
        return
    parts = split_filename(filename)
    assert parts is not None
    assert parts[0] == project == canonicalize_name(project)
    assert canonical_version(parts[1]) == canonical_version(str(parsed))
