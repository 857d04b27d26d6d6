"""Reading wheels: one `.dist-info` folder, whose RECORD is what the wheel holds.

The specification is "Binary distribution format" on packaging.python.org (PEP 427, 491, 376).
"""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from email.policy import compat32
from typing import BinaryIO

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ledger.distributions import archives
from ledger.distributions.archives import (
    Names,
    RefusalError,
    check_metadata_length,
    damage_refused,
    printable,
    read_differently,
)
from ledger.distributions.zips import Member, Zip

_INFO, _DATA = ".dist-info", ".data"
_LIBRARIES = frozenset({"purelib", "platlib"})
_SCHEMES = _LIBRARIES | {"headers", "scripts", "data"}
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_HASHES = frozenset({"sha256", "sha384", "sha512"})


def read_wheel_metadata(file: BinaryIO, length: int, project: str, version: Version) -> bytes:
    """The METADATA of a wheel, which is a zip of that length in bytes.

    Args:
        file: the wheel.
        length: its length in bytes.
        project: the normalised project in its filename.
        version: the version in its filename.

    Raises:
        RefusalError: the archive has more than one meaning, is damaged or beyond a limit, or is no wheel of its name.
    """
    with damage_refused():
        archive = Zip(file, length)
        files = {member.name: member for member in archive.members if not member.is_folder}
        folder = _find_info(archive.members, project, version)
        _check_places(archive.members, folder.removesuffix(_INFO))
        metadata, wheel, record = (_find(files, f"{folder}/{name}") for name in ("METADATA", "WHEEL", "RECORD"))
        _check_wheel(archive, wheel)
        digests = _read_record(archive, record, files)
        for member in archive.members:
            _check_digest(archive, member, digests.get(member.name))
        check_metadata_length(metadata.info.file_size)
        data = archive.read(metadata)
        _decode(data, metadata)
        return data


def _find(files: dict[str, Member], name: str) -> Member:
    if name not in files:
        raise RefusalError(f"has no file '{printable(name)}' and needs one. Build it again with a current build tool.")
    return files[name]


def _decode(data: bytes, member: Member) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise read_differently(member.name, "it is not UTF-8") from error


# --- where members are -------------------------------------------------------------------------------------------


def _find_info(members: Iterable[Member], project: str, version: Version) -> str:
    """The name of the one `.dist-info` folder, which belongs to this distribution."""
    folders = sorted({top for member in members if (top := _top(member.name)).lower().endswith(_INFO)})
    if len(folders) != 1:
        found = "more than one" if folders else "no"
        named = ", ".join(f"'{printable(each)}'" for each in folders[:3])
        raise RefusalError(
            f"has {found} .dist-info folder{f' ({named})' if named else ''} and needs exactly one. "
            "Build it again with a current build tool."
        )
    name, _, text = folders[0].removesuffix(_INFO).rpartition("-")
    try:
        is_own = canonicalize_name(name) == project and Version(text) == version
    except InvalidVersion:  # or the suffix has another case, and is not cut off
        is_own = False
    if not is_own:
        raise RefusalError(
            f"has the folder '{printable(folders[0])}', but needs the .dist-info folder of {project} {version}, as "
            "it is named. Build it again; a distribution must not be renamed."
        )
    return folders[0]


def _check_places(members: Iterable[Member], stem: str) -> None:
    """Refuse what would be installed twice, or in one installer only.

    `STEM.data/purelib` and `STEM.data/platlib` are installed beside what stands on top.
    """
    installed = Names()
    for member in members:
        top = _top(member.name)
        if not top.lower().endswith(_DATA):
            installed.add(member.name, is_folder=member.is_folder)
            continue
        _, _, rest = member.name.partition("/")
        scheme, slash, path = rest.partition("/")
        if top != stem + _DATA or (scheme and scheme not in _SCHEMES) or not (slash or member.is_folder):
            raise read_differently(member.name, f"only folders {stem}{_DATA}/SCHEME hold data")
        if scheme in _LIBRARIES and path and not member.is_folder:
            if _top(path).lower().endswith((_INFO, _DATA)):
                raise read_differently(member.name, "it would be installed as another distribution's")
            installed.add(path, is_folder=False)


def _top(name: str) -> str:
    return name.partition("/")[0]


# --- WHEEL and RECORD --------------------------------------------------------------------------------------------


def _check_wheel(archive: Zip, member: Member) -> None:
    check_metadata_length(member.info.file_size)
    headers = HeaderParser(policy=compat32).parsestr(_decode(archive.read(member), member))
    versions, purelib = (headers.get_all(name, []) for name in ("Wheel-Version", "Root-Is-Purelib"))
    if len(versions) != 1 or not re.fullmatch(r"1\.[0-9]+", versions[0].strip()):
        raise read_differently(member.name, "it has not one Wheel-Version 1.x")
    if len(purelib) != 1 or purelib[0].strip() not in {"true", "false"}:
        raise read_differently(member.name, "it has not one Root-Is-Purelib, `true` or `false`")


def _read_record(archive: Zip, member: Member, files: dict[str, Member]) -> dict[str, str]:
    """The digests in RECORD by name, as `sha256=…`. Every file stands there once, and nothing else."""
    if member.info.file_size > archives.MAX_RECORD_BYTES:
        raise RefusalError(f"has a RECORD of over {archives.MAX_RECORD_BYTES} bytes. Put fewer files in it.")
    free = {member.name, *(f"{_top(member.name)}/{name}" for name in _SIGNATURES)}
    digests: dict[str, str] = {}
    for row in _rows(_decode(archive.read(member), member), member):
        if len(row) != 3:
            raise read_differently(member.name, f"a line has not three fields: '{printable(','.join(row))}'")
        name, digest, length = row
        if name not in files:
            raise read_differently(name, "RECORD lists it, but it is not there")
        if name in digests:
            raise read_differently(name, "RECORD lists it twice")
        if length not in {"", str(files[name].info.file_size)}:
            raise read_differently(name, f"RECORD says that it has {printable(length)} bytes")
        if digest.partition("=")[0] not in _HASHES and not (name in free and not digest):
            raise read_differently(name, "RECORD has no SHA-256, SHA-384 or SHA-512 of it")
        digests[name] = digest
    missing = files.keys() - digests.keys() - free
    if missing:
        raise read_differently(min(missing), "RECORD does not list it")
    return digests


def _rows(text: str, member: Member) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text), strict=True)
    except csv.Error as error:
        raise read_differently(member.name, f"a line is no CSV ({error})") from error


def _check_digest(archive: Zip, member: Member, expected: str | None) -> None:
    """Read a member, and compare it with its digest in RECORD."""
    algorithm, _, wanted = (expected or "").partition("=")
    digest = hashlib.new(algorithm or "sha256")
    for block in archive.blocks(member):
        digest.update(block)
    if expected and base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != wanted:
        raise read_differently(member.name, "it is not what RECORD says")
