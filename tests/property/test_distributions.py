"""Whatever a file holds, `ledger.distributions.distribution` reads it or refuses it in words."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.distributions.distribution import DistributionError, read_distribution
from tests.distributions import build_metadata, build_sdist, build_wheel, pack_gzip, pack_tar, pack_zip
from tests.unit.refusals import check_message, check_published


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
