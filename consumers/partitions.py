"""Items in groups of bounded size, spilled to disk when there are many.

A batch has no upper size: the first start on an old log folds millions of events at once. They are cut into partitions
by what they are about, each of which fits in memory, and what is about one thing stays together and in order.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

ITEMS_PER_PARTITION = 20_000
MAX_PARTITIONS = 1024
_BUFFERED_ITEMS = 256


class Partitions(Generic[T]):
    """Items by partition. With one partition nothing touches the disk."""

    def __init__(self, folder: Path, kind: type[T], expected_items: int) -> None:
        self.count = max(1, min(MAX_PARTITIONS, -(-expected_items // ITEMS_PER_PARTITION)))
        self._folder = folder
        self._buffers: list[list[T]] = [[] for _ in range(self.count)]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
        if self.count > 1:
            shutil.rmtree(folder, ignore_errors=True)
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
            for block in _read_blocks(path):
                items.extend(self._decoder.decode(block))
            path.unlink()
        items.extend(self._buffers[index])
        self._buffers[index] = []
        return items

    def close(self) -> None:
        """Delete what was spilled."""
        if self.count > 1:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self, index: int) -> None:
        block = self._encoder.encode(self._buffers[index])
        with (self._folder / str(index)).open("ab") as file:
            file.write(len(block).to_bytes(4, "big") + block)
        self._buffers[index] = []


def _read_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while header := file.read(4):
            yield file.read(int.from_bytes(header, "big"))
