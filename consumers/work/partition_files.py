"""Items by partition in one file. One task writes the whole file; any task reads single partitions.

A file consists of a table of offsets (one per partition and one for the end) and a frame per partition.
"""

import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from consumers.work.spill import Frame, SpillError, pack_frame, unpack_frames
from ledger.disk.files import may_pass, storage_error, write_file, writing

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


def write_partitions(path: Path, partitions: Mapping[int, bytes], count: int) -> None:
    """Write a file of `count` partitions; partitions that are not given are empty."""
    frames = [
        pack_frame(Frame(partition, partitions[partition])) if partition in partitions else b""
        for partition in range(count)
    ]
    offsets = array("Q", [8 * (count + 1)])
    for frame in frames:
        offsets.append(offsets[-1] + len(frame))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(str(path), b"".join([offsets.tobytes(), *frames]))


def read_partitions(path: Path, first: int, last: int) -> list[bytes]:
    """The contents of partitions from `first` to `last` (exclusive), without empty ones.

    Raises:
        SpillError: the file has changed since it was written.
        StorageError: the file cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise SpillError(f"{path} is gone; try again") from error
    except OSError as error:
        raise storage_error(path, "read", error) from error
    try:
        table = array("Q")
        table.frombytes(os.pread(file, 8 * (last - first + 1), 8 * first))
        data = os.pread(file, table[-1] - table[0], table[0]) if len(table) == last - first + 1 else b""
        if len(table) != last - first + 1 or len(data) != table[-1] - table[0]:
            raise SpillError(f"{path} is incomplete; try again")
    except (ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and may_pass(error):
            raise storage_error(path, "read", error) from error
        raise SpillError(f"{path} is damaged; try again") from error
    finally:
        os.close(file)
    frames = unpack_frames(data, path)
    if any(not first <= frame.task < last for frame in frames):
        raise SpillError(f"{path} is damaged; try again")
    return [frame.data for frame in frames]


class PartitionFiles(Generic[T]):
    """Encodes and reads partition files with items of one type."""

    def __init__(self, kind: type[T]) -> None:
        self._decode = msgspec.msgpack.Decoder(list[kind]).decode  # type: ignore[valid-type]

    def encode(self, partitions: Mapping[int, Sequence[T]]) -> dict[int, bytes]:
        """Encode items by partition, for `write_partitions`."""
        return {partition: _encode(items) for partition, items in partitions.items()}

    def read(self, paths: Sequence[Path], first: int, last: int) -> list[T]:
        """The items of partitions from `first` to `last` (exclusive), in the order of files."""
        return [item for path in paths for data in read_partitions(path, first, last) for item in self._decode(data)]
