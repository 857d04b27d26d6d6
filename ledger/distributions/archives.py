"""Reading wheels and source distributions: every member is read to its end, one is kept, and nothing is unpacked.

    RefusalError   why a file is refused, in words that do not name the file

Archives come from strangers. Reading one never takes more memory or work than the limits below, whatever the archive
claims about itself. Every error of `zipfile`, `tarfile` and `zlib` becomes a `RefusalError`.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

BLOCK_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Longest METADATA or PKG-INFO in bytes."""
MAX_DIRECTORY_BYTES = 32 * 1024 * 1024
"""Longest central directory of a zip in bytes, some 300,000 members: `zipfile` reads it in one piece."""
MAX_HEADER_BYTES = 64 * 1024
"""Longest header of a tar member in bytes, with its path and attributes: `tarfile` reads it in one piece."""
MAX_GLOBAL_HEADERS = 64
FREE_BYTES = 64 * 1024 * 1024
MAX_RATIO = 50
"""An archive may grow to `FREE_BYTES`, beyond that to this many times its own length: PyPI's limits for zips."""

_WHEEL_METADATA = "NAME-VERSION.dist-info/METADATA"
_SDIST_METADATA = "NAME-VERSION/PKG-INFO"
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1


class RefusalError(Exception):
    """Why a file is refused and what to do, in words that do not name the file."""


def printable(text: str, limit: int = 200) -> str:
    """Prepare text from a filename or a file for a message: shorten it, and escape it if it is not printable."""
    text = text if len(text) <= limit else text[:limit] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def read_wheel_metadata(file: BinaryIO, length: int) -> bytes:
    """The METADATA of a wheel, which is a zip of that length in bytes.

    Raises:
        RefusalError: the archive is damaged or beyond a limit, or has not exactly one METADATA.
    """
    with _damage_refused():
        return _read_zip(file, length, _WHEEL_METADATA, _is_wheel_metadata)


def read_zip_sdist_metadata(file: BinaryIO, length: int) -> bytes:
    """The PKG-INFO of a source distribution in a zip of that length in bytes.

    Raises:
        RefusalError: the archive is damaged or beyond a limit, or has not exactly one PKG-INFO on top.
    """
    with _damage_refused():
        return _read_zip(file, length, _SDIST_METADATA, _is_sdist_metadata)


def read_tar_sdist_metadata(file: BinaryIO, length: int) -> bytes:
    """The PKG-INFO of a source distribution in a gzipped tar of that length in bytes.

    Raises:
        RefusalError: the archive is damaged or beyond a limit, or has not exactly one PKG-INFO on top.
    """
    with _damage_refused(), gzip.GzipFile(fileobj=file, mode="rb") as inflated:
        tape = _Tape(inflated, _Budget(length))
        metadata = None
        for archive, member in _tar_members(tape):
            if _is_sdist_metadata(member.name):
                _check_count(1 if metadata is None else 2, _SDIST_METADATA)
                metadata = _read_tar_metadata(archive, member)
        tape.drain()  # the check sum is behind everything else
        _check_count(0 if metadata is None else 1, _SDIST_METADATA)
        return metadata or b""


@contextmanager
def _damage_refused() -> Iterator[None]:
    """Turn every error of the standard library into a refusal."""
    try:
        yield
    except RefusalError:
        raise
    # zipfile and tarfile do not document what they raise on damaged input; it is a dozen unrelated types.
    except Exception as error:
        why = printable(str(error)) or type(error).__name__
        raise RefusalError(f"is damaged or not what its name says ({why}). Get or build it again.") from error


class _Budget:
    """The number of bytes that an archive may still unpack to."""

    def __init__(self, length: int) -> None:
        self._left = max(FREE_BYTES, MAX_RATIO * length)

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise RefusalError(
                f"unpacks to over {FREE_BYTES // 1024**2} MiB and over {MAX_RATIO} times its length. Only archives "
                "made to exhaust a disk do so. Do not publish it."
            )


def _check_count(count: int, where: str) -> None:
    if count != 1:
        found = "more than one" if count else "no"
        raise RefusalError(f"has {found} {where} and needs exactly one. Build it again with a current build tool.")


def _check_metadata_length(length: int) -> None:
    if length > MAX_METADATA_BYTES:
        raise RefusalError(
            f"has metadata of {length} bytes, but the limit is {MAX_METADATA_BYTES}. Shorten its description."
        )


# --- zip ---------------------------------------------------------------------------------------------------------


class _BoundedFile(io.BufferedIOBase):
    """A file that refuses to be read in large pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = BLOCK_BYTES  # zipfile reads so from the last 64 KiB only
        if size > MAX_DIRECTORY_BYTES:
            raise RefusalError(f"has a list of members of over {MAX_DIRECTORY_BYTES} bytes. Put fewer files in it.")
        return self._file.read(size)


def _is_wheel_metadata(name: str) -> bool:
    folder, slash, base = name.partition("/")
    return base == "METADATA" and folder.endswith(".dist-info") and bool(slash)


def _is_sdist_metadata(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    return len(parts) == 2 and parts[0] != ".." and parts[1] == "PKG-INFO"


def _read_zip(file: BinaryIO, length: int, where: str, is_metadata: Callable[[str], bool]) -> bytes:
    budget = _Budget(length)
    with zipfile.ZipFile(_BoundedFile(file)) as archive:
        kept = [info for info in archive.infolist() if is_metadata(info.filename)]
        _check_count(len(kept), where)
        _check_metadata_length(kept[0].file_size)
        return b"".join(
            block for info in archive.infolist() for block in _zip_blocks(archive, info, budget) if info is kept[0]
        )


def _zip_blocks(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> Iterator[bytes]:
    """Read a member to its end, where `zipfile` checks the CRC."""
    name = printable(info.filename)
    if info.flag_bits & _ENCRYPTED:
        raise RefusalError(f"has an encrypted member, '{name}'. Build it again without a password.")
    # Only deflate can be inflated bit by bit: bzip2 and LZMA may return gigabytes for one block of input.
    if info.compress_type not in _METHODS:
        method = info.compress_type
        raise RefusalError(f"has a member, '{name}', compressed by method {method}. Build it again with deflate.")
    length = 0
    with archive.open(info) as member:
        while block := member.read(BLOCK_BYTES):
            length += len(block)
            budget.spend(len(block))
            yield block
    if length != info.file_size:
        raise RefusalError(f"is damaged: its member '{name}' is cut short. Get or build it again.")


# --- tar ---------------------------------------------------------------------------------------------------------


class _Tape(io.BufferedIOBase):
    """The inflated tar for `tarfile`: read forwards only, in small pieces, within the budget.

    `tarfile` has its own mode for streams. But that mode reads any length named by a header into memory, and follows a
    negative length backwards for ever (CVE-2025-8194).
    """

    def __init__(self, inflated: gzip.GzipFile, budget: _Budget) -> None:
        self._inflated = inflated
        self._budget = budget
        self._position = 0
        self.last = b""  # what was read last

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise RefusalError("is damaged: a member has a negative length. Get or build it again.")
        while self._position < offset and self._read(min(BLOCK_BYTES, offset - self._position)):
            pass
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise RefusalError(
                f"has a member with a header of over {MAX_HEADER_BYTES} bytes. Build it again without attributes."
            )
        self.last = self._read(size)
        return self.last

    def drain(self) -> None:
        """Read to the end of the file."""
        while self._read(BLOCK_BYTES):
            pass

    def _read(self, size: int) -> bytes:
        data = self._inflated.read(size)
        self._position += len(data)
        self._budget.spend(len(data))
        return data


def _tar_members(tape: _Tape) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.TarFile(fileobj=tape, mode="r", encoding="utf-8", errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # or it remembers every one
            if len(archive.pax_headers) > MAX_GLOBAL_HEADERS:
                raise RefusalError("has too many global headers. Build it again with a current build tool.")
            yield archive, member
    # For tarfile an invalid header ends the archive, like a block of zeros: installers would see only half of it.
    if tape.last.strip(b"\0"):
        raise RefusalError("is damaged: the header of a member is not valid. Get or build it again.")


def _read_tar_metadata(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _check_metadata_length(member.size)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise RefusalError("has a PKG-INFO that is a link or a folder. Build it again with a current build tool.")
    return b"".join(iter(lambda: file.read(MAX_HEADER_BYTES), b""))
