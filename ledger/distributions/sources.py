"""Reading source distributions: one top folder, with a PKG-INFO in it."""

import tarfile
from typing import BinaryIO

from ledger.distributions import archives
from ledger.distributions.archives import RefusalError, check_metadata_length, damage_refused, read_differently
from ledger.distributions.tars import read_tar
from ledger.distributions.zips import Zip


def read_zip_sdist_metadata(file: BinaryIO, length: int) -> bytes:
    """The PKG-INFO of a source distribution in a zip of that length in bytes.

    Raises:
        RefusalError: the archive has more than one meaning, is damaged or beyond a limit, or has no PKG-INFO on top.
    """
    with damage_refused():
        archive, top, metadata = Zip(file, length), _Top(), None
        for member in archive.members:
            if top.check(member.name):
                check_metadata_length(member.info.file_size)
                metadata = archive.read(member)
            else:
                for _ in archive.blocks(member):
                    pass
        return _found(metadata)


def read_tar_sdist_metadata(file: BinaryIO, length: int) -> bytes:
    """The PKG-INFO of a source distribution in a gzipped tar of that length in bytes.

    Raises:
        RefusalError: the archive has more than one meaning, is damaged or beyond a limit, or has no PKG-INFO on top.
    """
    with damage_refused():
        top, metadata = _Top(), None
        for name, member, archive in read_tar(file, length):
            if top.check(name):
                metadata = _read(archive, member)
        return _found(metadata)


class _Top:
    """The top folder: pip goes into it if there is only one, uv refuses several (PEP 625 allows one)."""

    def __init__(self) -> None:
        self._name = ""

    def check(self, name: str) -> bool:
        """Check where a member is, and tell whether it is the PKG-INFO."""
        top, _, rest = name.partition("/")
        self._name = self._name or top
        if top != self._name:
            raise read_differently(name, "it is not in the one top folder that a source distribution has")
        return rest == "PKG-INFO"


def _found(metadata: bytes | None) -> bytes:
    if metadata is None:
        raise RefusalError("has no NAME-VERSION/PKG-INFO and needs one. Build it again with a current build tool.")
    return metadata


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    check_metadata_length(member.size)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise RefusalError("has a PKG-INFO that is a link or a folder. Build it again with a current build tool.")
    return b"".join(iter(lambda: file.read(archives.MAX_HEADER_BYTES), b""))
