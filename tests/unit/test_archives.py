"""`ledger.distributions.archives`: archives that are damaged or hostile are refused in words and in little memory."""

import io
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.distributions import archives
from ledger.distributions.distribution import read_distribution
from tests.distributions import build_metadata, build_sdist, build_wheel, pack_gzip, pack_tar, pack_zip
from tests.unit.refusals import peak_of, refusal

MIB = 1024 * 1024


# --- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["a-1-py3-none-any.whl", "a-1.tar.gz", "a-1.zip"])
@pytest.mark.parametrize("content", [b"x", b"PK\x05\x06", b"\x1f\x8b", b"<html>404</html>" * 1000, bytes(10_000)])
def test_what_is_no_archive_is_refused(tmp_path: Path, filename: str, content: bytes) -> None:
    (tmp_path / filename).write_bytes(content)
    assert "is damaged or not what its name says" in refusal(tmp_path / filename)


def test_an_archive_of_another_kind_is_refused(tmp_path: Path) -> None:
    tar = pack_tar([("a-1/PKG-INFO", build_metadata("a", "1"))])
    (tmp_path / "a-1.tar.gz").write_bytes(tar)
    assert "incorrect header check" in refusal(tmp_path / "a-1.tar.gz")
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
        assert "its member 'data' has another length or check sum (CRC-32)" in refusal(path)
        packed[position] ^= 0x10


def test_the_check_sum_behind_a_tar_is_checked(tmp_path: Path) -> None:
    path = build_sdist(tmp_path, "example", "1.0", files={"data": b"y" * 5000})
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"yyy")] ^= 1
    path.write_bytes(packed)
    assert "incorrect data check" in refusal(path)


def test_a_header_of_a_tar_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    # gzip's check sum is right: it was made like this, and tarfile alone would show half of it.
    tar = bytearray(pack_tar([("a-1/PKG-INFO", build_metadata("a", "1")), ("a-1/rest", b"x" * 600)]))
    tar[tar.index(b"a-1/rest")] ^= 1
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(bytes(tar)))
    assert "the header of a member is not valid" in refusal(tmp_path / "a-1.tar.gz")


@pytest.mark.parametrize("count", [0, 2])
def test_none_or_several_metadata_are_refused(tmp_path: Path, count: int) -> None:
    why = "more than one .dist-info folder ('a-1.dist-info', 'b-1.dist-info')" if count else "has no .dist-info folder"
    metadata = build_metadata("a", "1")
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(pack_zip([(f"{name}-1.dist-info/METADATA", metadata) for name in "ab"[:count]]))
    assert why in refusal(wheel)
    why = (
        "'b-1/PKG-INFO', that installers would read differently: it is not in the one top folder" if count else "has no"
    )
    members = [("a-1/setup.py", b""), *((f"{name}-1/PKG-INFO", metadata) for name in "ab"[:count])]
    (tmp_path / "a-1.zip").write_bytes(pack_zip(members))
    assert why in refusal(tmp_path / "a-1.zip")
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(pack_tar(members)))
    assert why in refusal(tmp_path / "a-1.tar.gz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_metadata_twice_is_refused(tmp_path: Path) -> None:
    members = [("a-1.dist-info/METADATA", build_metadata("a", version)) for version in ("1", "2")]
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(pack_zip(members))
    assert "'a-1.dist-info/METADATA', that installers would read differently: it is there twice" in refusal(
        tmp_path / "a-1-py3-none-any.whl"
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_metadata_that_is_not_a_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a-1/PKG-INFO")
    member.type, member.linkname = kind, "a-1/other"
    (tmp_path / "a-1.tar.gz").write_bytes(pack_gzip(pack_tar([("a-1/other", build_metadata("a", "1")), (member, b"")])))
    assert re.search("neither .* nor a link|a link or", refusal(tmp_path / "a-1.tar.gz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_cannot_be_bounded_is_refused(tmp_path: Path, method: int) -> None:
    assert f"compressed by method {method}" in refusal(build_wheel(tmp_path, "a", "1", compression=method))


def test_a_member_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    path = build_sdist(tmp_path, "a", "1", suffix=".zip")
    packed = bytearray(path.read_bytes())
    for front, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        packed[packed.index(front) + at] += 1  # its check sum is that of what is there
    path.write_bytes(packed)
    assert "member 'a-1/pyproject.toml' is cut short" in refusal(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", "1")
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(packed)
    assert "encrypted or patched member, 'a.py'" in refusal(path)


# --- archives made to do harm ------------------------------------------------------------------------------------


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
        (tar_header("a-1/x", -1024), "a negative length"),  # CVE-2025-8194
        (tar_header("a-1/x", 8 * 1024 * MIB, tarfile.GNUTYPE_LONGNAME), "without attributes"),
        (tar_header("a-1/x", -1024, tarfile.GNUTYPE_LONGNAME) + bytes(32 * MIB), "without attributes"),
        (tar_header("a-1/x", 8 * 1024 * MIB, tarfile.XHDTYPE), "without attributes"),
        (tar_header("a-1/PKG-INFO", 8 * 1024 * MIB), "Shorten its description"),
        (tar_header("a-1/x", 8 * 1024 * MIB), "is damaged"),
        ((tar_header("a-1/x", 1, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 5000, "is damaged"),
        (tar_header("a-1/x", 8, tarfile.XHDTYPE) + b"1000 a=b".ljust(512, b"\0"), "is damaged"),
    ],
    ids=["negative", "long-name", "negative-name", "pax", "metadata", "cut", "nested", "pax-record"],
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
    assert peak < 10 * MIB  # digests of their names


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
