"""Items in groups of bounded size, spilled to disk when there are many.

A batch has no upper size: the first start on an old log folds millions of events at once. They are cut into partitions
by what they are about, each of which fits in memory, and what is about one thing stays together and in order.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Generic, NamedTuple, TypeVar
from zlib import crc32

import msgspec

from ledger.disk.files import reading, writing
from schemas.errors import TemporaryError

T = TypeVar("T")

ITEMS_PER_PARTITION = 20_000
MAX_PARTITIONS = 1024
_BUFFERED_ITEMS = 256
_HEADER_BYTES = 12


class SpillError(TemporaryError):
    """What was spilled is damaged: a disk is faulty, or the machine went down meanwhile."""


class Block(NamedTuple):
    """What was spilled at once: by which task, and the encoded items."""

    task: int
    data: bytes


def count_partitions(items: int) -> int:
    """How many partitions so many items need."""
    return max(1, min(MAX_PARTITIONS, -(-items // ITEMS_PER_PARTITION)))


def pack_block(block: Block) -> bytes:
    """A block as it stands in a file."""
    numbers = (block.task, len(block.data), crc32(block.data))
    return b"".join(number.to_bytes(4, "big") for number in numbers) + block.data


def append_block(path: Path, block: Block) -> None:
    """Append a block to a file."""
    with writing(path), path.open("ab") as file:
        file.write(pack_block(block))


def unpack_blocks(data: bytes, path: Path) -> list[Block]:
    """The blocks that a piece of a file holds.

    Raises:
        SpillError: they are not as they were written.
    """
    blocks = list(_blocks(BytesIO(data), path))
    if sum(_HEADER_BYTES + len(block.data) for block in blocks) != len(data):
        raise SpillError(f"{path} is not whole")
    return blocks


def read_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a file, in order; a last one that is not whole was never finished, and is left out.

    Raises:
        SpillError: one is not as it was written.
        StorageError: it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        yield from _blocks(file, path)


def _blocks(file: BinaryIO, path: Path) -> Iterator[Block]:
    while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
        task, length, checksum = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4, 8))
        data = file.read(length)
        if len(data) < length:
            return
        if crc32(data) != checksum:
            raise SpillError(f"{path} is damaged")
        yield Block(task, data)


class Partitions(Generic[T]):
    """Items by partition. With one partition nothing touches the disk."""

    def __init__(self, folder: Path, kind: type[T], expected_items: int) -> None:
        self.count = count_partitions(expected_items)
        self._folder = folder
        self._buffers: list[list[T]] = [[] for _ in range(self.count)]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
        if self.count > 1:
            shutil.rmtree(folder, ignore_errors=True)
            with writing(folder):
                folder.mkdir(parents=True)

    def add(self, items: Iterable[T], partition_of: Callable[[T], int]) -> None:
        """Add items, each to the partition that a function says."""
        for item in items:
            index = partition_of(item)
            buffer = self._buffers[index]
            buffer.append(item)
            if self.count > 1 and len(buffer) >= _BUFFERED_ITEMS:
                self._flush(index)

    def take(self, index: int) -> list[T]:
        """All items of a partition, in the order they were added; they are then forgotten."""
        items: list[T] = []
        path = self._folder / str(index)
        if self.count > 1 and path.exists():
            for block in read_blocks(path):
                items.extend(self._decoder.decode(block.data))
            with writing(path):
                path.unlink()
        items.extend(self._buffers[index])
        self._buffers[index] = []
        return items

    def close(self) -> None:
        """Delete what was spilled."""
        if self.count > 1:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self, index: int) -> None:
        append_block(self._folder / str(index), Block(0, self._encoder.encode(self._buffers[index])))
        self._buffers[index] = []
