"""Reading gzipped tars that have one meaning only, forwards, in small pieces."""

import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ledger.distributions import archives
from ledger.distributions.archives import Budget, Names, RefusalError, read_differently

_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_LINKS = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})
_OWN_FIELDS = frozenset({"path", "linkpath"})
"""What is said of one member, never of all: some readers follow global headers, some do not."""
_PIECE_BYTES = 64 * 1024


def read_tar(file: BinaryIO, length: int) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """The members of a gzipped tar of that length in bytes: the name without `./`, the header, and the archive.

    The file is read to its end only if the iterator is.

    Raises:
        RefusalError: it has more than one meaning, is damaged, or is beyond a limit.
    """
    tape = _Tape(_Gunzip(file), Budget(length))
    names = Names()
    for archive, member in _members(tape):
        name = member.name.removeprefix("./")
        if name == "." and member.isdir():  # of `tar -c .`
            continue
        _check_kind(name, member)
        names.add(name, is_folder=member.isdir(), is_link=member.issym())
        if member.type in _LINKS:
            _check_link(name, member, names)
        yield name, member, archive
    tape.drain()


def _check_kind(name: str, member: tarfile.TarInfo) -> None:
    if member.type not in _FILES | _LINKS and not member.isdir():
        raise read_differently(name, "it is neither a plain file, nor a folder, nor a link")
    # Some read a member's length, or its name, from one header, some from the other (CVE-2025-62518).
    if "size" in member.pax_headers or any(map(_is_sparse, member.pax_headers)):
        raise read_differently(name, "it has two lengths")


def _is_sparse(keyword: str) -> bool:
    return keyword.startswith("GNU.sparse.")


def _check_link(name: str, member: tarfile.TarInfo, names: Names) -> None:
    """Refuse links out of the archive's top folder. Nothing stands below a link, so each folder is what it seems.

    A hard link to a symbolic one would lead elsewhere than that one.
    """
    target = member.linkname
    if member.type == tarfile.LNKTYPE:
        if not names.has_file(target.removeprefix("./")) or target.removeprefix("./") == name:
            raise read_differently(name, "it is a link to no file before it")
        return
    parts = target.split("/")
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or "\\" in target or ".." in parts[ups:] or ups > name.count("/") - 1:
        raise read_differently(name, "it is a link out of the archive")


class _Gunzip:
    """The contents of a file that is one gzip member (RFC 1952, 2.2) and nothing else: some read only the first one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._piece = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        found = []
        while size and (self._ready or self._inflate()):
            block, self._ready = self._ready[:size], self._ready[size:]
            size -= len(block)
            found.append(block)
        return b"".join(found)

    def _inflate(self) -> bool:
        """Inflate some more; return whether there was more."""
        while not self._inflater.eof:
            if not self._piece:
                self._piece = self._file.read(_PIECE_BYTES)
            self._ready = memoryview(self._inflater.decompress(self._piece, _PIECE_BYTES))
            is_cut = not (self._ready or self._piece)
            self._piece = self._inflater.unconsumed_tail
            if self._ready:
                return True
            if is_cut:
                raise RefusalError("is damaged or not what its name says: it ends too early. Get or build it again.")
        if self._inflater.unused_data or self._file.read(1):
            raise RefusalError(
                "has other bytes after the end of its compressed data: installers would read it differently. "
                "Build it again with a current build tool."
            )
        return False


class _Tape(io.BufferedIOBase):
    """The inflated tar for `tarfile`: read forwards only, in small pieces, within the budget.

    `tarfile` has its own mode for streams. But that mode reads any length named by a header into memory, and follows a
    negative length backwards for ever (CVE-2025-8194).
    """

    def __init__(self, inflated: _Gunzip, budget: Budget) -> None:
        self._inflated = inflated
        self._budget = budget
        self._position = 0
        self.last = b""  # what was read last

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset < self._position:
            raise RefusalError("is damaged: a member has a negative length. Get or build it again.")
        while self._position < offset and self._read(min(archives.BLOCK_BYTES, offset - self._position)):
            pass
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= archives.MAX_HEADER_BYTES:
            raise RefusalError(
                f"has a member with a header of over {archives.MAX_HEADER_BYTES} bytes. "
                "Build it again without attributes."
            )
        self.last = self._read(size)
        return self.last

    def drain(self) -> None:
        """Read to the end of the file, behind the end of the tar."""
        while block := self._read(archives.BLOCK_BYTES):
            if block.count(0) != len(block):
                raise RefusalError(
                    "has other bytes after the end of its tar: installers would read it differently. "
                    "Build it again with a current build tool."
                )

    def _read(self, size: int) -> bytes:
        data = self._inflated.read(size)
        self._position += len(data)
        self._budget.spend(len(data))
        return data


def _members(tape: _Tape) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.TarFile(fileobj=tape, mode="r", encoding="utf-8", errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # or it remembers every one
            if len(archive.pax_headers) > archives.MAX_GLOBAL_HEADERS:
                raise RefusalError("has too many global headers. Build it again with a current build tool.")
            if not _OWN_FIELDS.isdisjoint(archive.pax_headers):
                raise read_differently(member.name, "a global header names it, or says where it leads")
            yield archive, member
    # For tarfile an invalid header ends the archive, like a block of zeros: installers would see only half of it.
    if tape.last.strip(b"\0"):
        raise RefusalError("is damaged: the header of a member is not valid. Get or build it again.")
