"""Reading zips that have one meaning only.

A zip says everything twice: in front of each member, and in a directory at the end. Some installers read the one, some
the other, and some look for the end where others do not. So both must agree, and members, directory and end must
follow each other without gaps. APPNOTE.TXT (PKWARE) is the specification; sections are cited.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ledger.distributions import archives
from ledger.distributions.archives import Budget, Names, RefusalError, printable, read_differently

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END_64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR_64 = struct.Struct("<4sLQL")  # 4.3.15
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_HAS_DESCRIPTOR = 0x8
_IS_UTF8 = 0x800
_UNREADABLE = 0x2061  # encrypted, patched, strongly encrypted, masked headers
_MEANINGFUL_FLAGS = _HAS_DESCRIPTOR | _IS_UTF8 | _UNREADABLE
_ZIP64 = 0x1
_UNICODE_PATH = 0x7075
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a zip; the name of a folder has no slash at its end. `start` is where its data begins."""

    name: str
    is_folder: bool
    start: int
    info: zipfile.ZipInfo


class _Header(NamedTuple):
    """What the front of a member, or its entry in the directory, says of it."""

    flags: int
    method: int
    crc: int
    compressed: int
    length: int
    name: bytes
    extra: bytes


class Zip:
    """A zip whose layout was checked. `members` are in the order of their data.

    Raises:
        RefusalError: it has more than one meaning, or is beyond a limit.
    """

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._budget = Budget(length)
        with zipfile.ZipFile(_BoundedFile(file)) as archive:
            infos = archive.infolist()
        start, size, count = _find_directory(file, length)
        entries = list(_read_directory(_read_at(file, start, size)))
        if len(entries) != count:
            raise RefusalError(f"lists {len(entries)} members, but says that it has {count}. Build it again.")
        names = Names()
        self.members = []
        position = 0
        for info, entry in sorted(zip(infos, entries, strict=True), key=lambda pair: pair[0].header_offset):
            member, position = self._check(info, entry, position)
            names.add(member.name, is_folder=member.is_folder)
            self.members.append(member)
        self._expect(position, start, "the list of members")

    def read(self, member: Member) -> bytes:
        """The contents of a member."""
        return b"".join(self.blocks(member))

    def blocks(self, member: Member) -> Iterator[bytes]:
        """The contents of a member, block by block; its length and check sum are right when the last block has come."""
        info, length, crc = member.info, 0, 0
        self._file.seek(member.start)
        for block in self._inflated(member):
            length += len(block)
            crc = zlib.crc32(block, crc)
            self._budget.spend(len(block))
            if length > info.file_size:
                break
            yield block
        if length < info.file_size:
            raise _cut_short(member)
        if length > info.file_size or crc != info.CRC:
            raise RefusalError(
                f"is damaged: its member '{printable(member.name)}' has another length or check sum (CRC-32) than it "
                "says. Get or build it again."
            )

    def _inflated(self, member: Member) -> Iterator[bytes]:
        left = member.info.compress_size
        if member.info.compress_type == zipfile.ZIP_STORED:
            while left and (piece := self._file.read(min(archives.BLOCK_BYTES, left))):
                left -= len(piece)
                yield piece
            return
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        piece = b""
        while not inflater.eof:
            if not piece and left:
                piece = self._file.read(min(_PIECE_BYTES, left))
                left -= len(piece)
            block = inflater.decompress(piece, archives.BLOCK_BYTES)
            if not (block or piece or inflater.eof):
                raise _cut_short(member)  # perhaps by the mark of its end only: some readers miss it, some do not
            piece = inflater.unconsumed_tail
            yield block
        if left or inflater.unused_data:
            raise read_differently(member.name, "something follows its compressed data")

    # --- one member ----------------------------------------------------------------------------------------------

    def _check(self, info: zipfile.ZipInfo, entry: _Header, position: int) -> tuple[Member, int]:
        """Check a member that should begin at this position; return it, and where it ends."""
        name = _decode_name(entry)
        if info.filename != name:
            raise read_differently(name, f"its name may also be read as '{printable(info.filename)}'")
        self._expect(position, info.header_offset, f"the member '{printable(name)}'")
        if info.flag_bits & _UNREADABLE:
            raise RefusalError(
                f"has an encrypted or patched member, '{printable(name)}'. Build it again without a password."
            )
        # Only deflate can be inflated bit by bit: bzip2 and LZMA may return gigabytes for one block of input.
        if info.compress_type not in _METHODS:
            raise RefusalError(
                f"has a member, '{printable(name)}', compressed by method {info.compress_type}. "
                "Build it again with deflate."
            )
        is_folder = name.endswith("/")
        kind = stat.S_IFMT(info.external_attr >> 16)  # of any system: some readers look at the mode alone
        if kind not in {0, stat.S_IFDIR if is_folder else stat.S_IFREG} or (is_folder and info.file_size):
            raise read_differently(name, "it is neither a plain file nor a folder")
        front, start = self._read_front(name, info.header_offset)
        _compare(name, front, entry, info)
        end = start + info.compress_size
        if info.flag_bits & _HAS_DESCRIPTOR:
            end += self._measure_descriptor(name, end, info)
        return Member(name.removesuffix("/"), is_folder, start, info), end

    def _expect(self, position: int, start: int, what: str) -> None:
        if start > position:
            raise RefusalError(
                f"has {start - position} bytes before {what} that belong to no member: installers would read it "
                "differently. Build it again with a current build tool."
            )
        if start < position:
            raise RefusalError(f"is damaged or made to do harm: {what} overlaps what stands before. Do not publish it.")

    def _read_front(self, name: str, offset: int) -> tuple[_Header, int]:
        """What stands in front of a member, and where its data begins."""
        fields = _LOCAL.unpack(_read_at(self._file, offset, _LOCAL.size))
        signature, _, flags, method, _, _, crc, compressed, length, name_length, extra_length = fields
        if signature != b"PK\3\4":
            raise read_differently(name, "no header stands before it")
        rest = _read_at(self._file, offset + _LOCAL.size, name_length + extra_length)
        header = _Header(flags, method, crc, compressed, length, rest[:name_length], rest[name_length:])
        return _resolve(name, header), offset + _LOCAL.size + len(rest)

    def _measure_descriptor(self, name: str, offset: int, info: zipfile.ZipInfo) -> int:
        """The length of the data descriptor behind a member (4.3.9), in one of its four forms."""
        self._file.seek(offset)
        found = self._file.read(24)
        for sizes in ("QQ", "LL"):  # of an empty member, the long form begins like the short one
            descriptor = struct.pack(f"<L{sizes}", info.CRC, info.compress_size, info.file_size)
            for signature in (b"PK\7\x08", b""):
                if found.startswith(signature + descriptor):
                    return len(signature + descriptor)
        raise read_differently(name, "the lengths behind it are others than those in the list of members")


def _cut_short(member: Member) -> RefusalError:
    return RefusalError(f"is damaged: its member '{printable(member.name)}' is cut short. Get or build it again.")


def _decode_name(entry: _Header) -> str:
    try:
        return entry.name.decode()  # where it is not marked as UTF-8, `zipfile` reads it in another way
    except UnicodeDecodeError as error:
        raise read_differently(repr(entry.name)[2:-1], "its name is not UTF-8") from error


def _compare(name: str, front: _Header, entry: _Header, info: zipfile.ZipInfo) -> None:
    """Compare what stands before a member with what the directory says."""
    told = (info.CRC, info.compress_size, info.file_size)
    found = (front.crc, front.compressed, front.length)
    if front.flags & _HAS_DESCRIPTOR:  # the writer did not know them yet
        found = (front.crc or info.CRC, front.compressed or info.compress_size, front.length or info.file_size)
    same_flags = (front.flags ^ entry.flags) & _MEANINGFUL_FLAGS == 0
    if front.name != entry.name or front.method != entry.method or not same_flags or found != told:
        raise read_differently(name, "what stands before it is not what the list of members says")


# --- directory and end -------------------------------------------------------------------------------------------


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int, int]:
    """Where the directory begins, its length in bytes, and the number of its entries; it ends where the end begins."""
    position = length - _END.size
    fields = _END.unpack(_read_at(file, position, _END.size))
    signature, disk, start_disk, count_here, count, size, start, comment = fields
    if signature != b"PK\5\6" or comment:
        raise RefusalError(
            "has a comment or other bytes after its end: installers would read it differently. "
            "Build it again with a current build tool."
        )
    found = _find_directory_64(file, position, (count, size, start))
    if found is not None:
        position, (count, size, start) = found
    elif count != count_here:
        raise RefusalError("says twice, and differently, how many members it has. Build it again.")
    if disk or start_disk or start + size != position:
        raise RefusalError(
            "has other bytes than members before its end: installers would read it differently. "
            "Build it again with a current build tool."
        )
    return start, size, count


def _find_directory_64(
    file: BinaryIO, position: int, short: tuple[int, int, int]
) -> tuple[int, tuple[int, int, int]] | None:
    """What a Zip64 end before the end at this position says: where it begins, and number, length and start.

    `zipfile` has looked at its signature, and at the numbers of disks in the locator.
    """
    if position < _LOCATOR_64.size + _END_64.size:
        return None
    position -= _LOCATOR_64.size
    signature, _, offset, _ = _LOCATOR_64.unpack(_read_at(file, position, _LOCATOR_64.size))
    if signature != b"PK\6\7":
        return None
    position -= _END_64.size
    fields = _END_64.unpack(_read_at(file, position, _END_64.size))
    _, size_of_end, _, _, on_disk, start_disk, count_here, count, size, start = fields
    long = (count, size, start)
    is_same = all(
        value in {right, full} for value, right, full in zip(short, long, (_FULL_16, _FULL_32, _FULL_32), strict=True)
    )
    expected = (_END_64.size - 12, position, count, 0, 0)
    if (size_of_end, offset, count_here, on_disk, start_disk) != expected or not is_same:
        raise RefusalError("has two ends that contradict each other. Build it again with a current build tool.")
    return position, long


def _read_directory(data: bytes) -> Iterator[_Header]:
    position = 0
    while position < len(data):
        fields = _CENTRAL.unpack_from(data, position)
        _, _, _, flags, method, _, _, crc, compressed, length, name_length, extra_length, comment, disk, *_ = fields
        name_at = position + _CENTRAL.size
        extra_at = name_at + name_length
        position = extra_at + extra_length + comment
        if disk or position > len(data):
            raise RefusalError("is damaged: its list of members cannot be read. Get or build it again.")
        name, extra = data[name_at:extra_at], data[extra_at : extra_at + extra_length]
        yield _Header(flags, method, crc, compressed, length, name, _check_extra(repr(name)[2:-1], extra))


def _check_extra(name: str, extra: bytes) -> bytes:
    """Refuse extra fields that rename a member or that cannot be read (4.5)."""
    for kind, _ in _extras(name, extra):
        if kind == _UNICODE_PATH:
            raise read_differently(name, "a second name stands in its extra fields")
    return extra


def _extras(name: str, extra: bytes) -> Iterator[tuple[int, bytes]]:
    kinds = set()
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if length > len(extra) - 4 or (kind == _ZIP64 and kind in kinds):
            raise read_differently(name, "its extra fields cannot be read")
        kinds.add(kind)
        yield kind, extra[4 : 4 + length]
        extra = extra[4 + length :]


def _resolve(name: str, front: _Header) -> _Header:
    """Replace lengths that do not fit into 32 bits by those of the extra field (4.5.3)."""
    _check_extra(name, front.extra)
    full = [each for each in (front.length, front.compressed) if each == _FULL_32]
    field = next((data for kind, data in _extras(name, front.extra) if kind == _ZIP64), b"")
    if not full:
        return front
    if len(field) < 8 * len(full):
        raise read_differently(name, "its length is missing")
    values = iter(struct.unpack_from(f"<{len(full)}Q", field))
    length = next(values) if front.length == _FULL_32 else front.length
    compressed = next(values) if front.compressed == _FULL_32 else front.compressed
    return front._replace(length=length, compressed=compressed)


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


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
            size = archives.BLOCK_BYTES  # zipfile reads so from the last 64 KiB only
        if size > archives.MAX_DIRECTORY_BYTES:
            raise RefusalError(
                f"has a list of members of over {archives.MAX_DIRECTORY_BYTES} bytes. Put fewer files in it."
            )
        return self._file.read(size)
