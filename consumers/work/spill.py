"""Items in partitions of bounded size, spilled to disk when there are many.

A batch has no maximum size: the first start on an old log folds millions of events at once. Events are divided by
aggregate into partitions that fit into memory; the events of one aggregate stay together and in order.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Generic, NamedTuple, TypeVar
from zlib import crc32

import msgspec

from consumers.limits import Limits
from ledger.disk.files import reading, writing
from schemas.errors import TemporaryError

T = TypeVar("T")

MAX_PARTITIONS = 1024
_HEADER_BYTES = 12


class SpillError(TemporaryError):
    """A spilled file is damaged: the disk is faulty, or the machine went down meanwhile."""


class Frame(NamedTuple):
    """Items that one task spilled together: the task's number, and the encoded items."""

    task: int
    data: bytes


def count_partitions(items: int, limits: Limits) -> int:
    """The number of partitions for a number of items."""
    return max(1, min(MAX_PARTITIONS, -(-items // limits.items_per_partition)))


def pack_frame(frame: Frame) -> bytes:
    """Encode a frame for a file."""
    numbers = (frame.task, len(frame.data), crc32(frame.data))
    return b"".join(number.to_bytes(4, "big") for number in numbers) + frame.data


def append_frame(path: Path, frame: Frame) -> None:
    """Append a frame to a file."""
    with writing(path), path.open("ab") as file:
        file.write(pack_frame(frame))


def unpack_frames(data: bytes, path: Path) -> list[Frame]:
    """The frames in a part of a file.

    Raises:
        SpillError: a frame has changed since it was written.
    """
    frames = list(_frames(BytesIO(data), path))
    if sum(_HEADER_BYTES + len(frame.data) for frame in frames) != len(data):
        raise SpillError(f"{path} is incomplete; try again")
    return frames


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a file, in order. An incomplete last frame was never finished, and is left out.

    Raises:
        SpillError: a frame has changed since it was written.
        StorageError: the file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        yield from _frames(file, path)


def _frames(file: BinaryIO, path: Path) -> Iterator[Frame]:
    while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
        task, length, checksum = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4, 8))
        data = file.read(length)
        if len(data) < length:
            return
        if crc32(data) != checksum:
            raise SpillError(f"{path} is damaged; try again")
        yield Frame(task, data)


class Partitions(Generic[T]):
    """Items by partition. With one partition nothing touches the disk."""

    def __init__(self, folder: Path, kind: type[T], expected_items: int, limits: Limits) -> None:
        self.count = count_partitions(expected_items, limits)
        self._buffered_items = limits.buffered_items
        self._folder = folder
        self._buffers: list[list[T]] = [[] for _ in range(self.count)]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
        if self.count > 1:
            shutil.rmtree(folder, ignore_errors=True)
            with writing(folder):
                folder.mkdir(parents=True)

    def add(self, items: Iterable[T], partition_of: Callable[[T], int]) -> None:
        """Add items, each to the partition that a function returns."""
        for item in items:
            index = partition_of(item)
            buffer = self._buffers[index]
            buffer.append(item)
            if self.count > 1 and len(buffer) >= self._buffered_items:
                self._flush(index)

    def read(self, index: int) -> list[T]:
        """All items of a partition, in the order in which they were added."""
        items: list[T] = []
        path = self._folder / str(index)
        if self.count > 1 and path.exists():
            for frame in read_frames(path):
                items.extend(self._decoder.decode(frame.data))
        items.extend(self._buffers[index])
        return items

    def take(self, index: int) -> list[T]:
        """Remove and return all items of a partition, in the order in which they were added."""
        items, path = self.read(index), self._folder / str(index)
        if self.count > 1 and path.exists():
            with writing(path):
                path.unlink()
        self._buffers[index] = []
        return items

    def close(self) -> None:
        """Delete spilled files."""
        if self.count > 1:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self, index: int) -> None:
        append_frame(self._folder / str(index), Frame(0, self._encoder.encode(self._buffers[index])))
        self._buffers[index] = []
