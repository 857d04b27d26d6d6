"""Slices of the events log: read by one process, decoded by many, and spilled to files if too long for memory."""

from collections.abc import Sequence
from hashlib import blake2b
from heapq import merge
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import msgspec

from consumers.work.partition_files import PartitionFiles, read_partitions, write_partitions
from consumers.work.spill import SpillError
from ledger.logs import Log
from projections.log.merkle import LEAF_BYTES
from projections.log.reading import Other, Reading, Routed, read_records
from schemas.events import BaseEvent

SLICE_BYTES = 16 * 2**20
"""Length of the slice of one task: long enough that each partition gets a block worth writing."""

EVENT_PARTITIONS = 1024
"""Number of partitions of a slice's events. A task folds one or more partitions."""

_LEAVES, _OTHERS, _VAIN, _PARTITIONS = range(EVENT_PARTITIONS, EVENT_PARTITIONS + 4)
"""`_OTHERS` are the records that the prefix judges, `_VAIN` those among them that have no consequences."""

event_files = PartitionFiles(Routed)
_decode_others = msgspec.msgpack.Decoder(list[Other]).decode
_encode = msgspec.msgpack.Encoder().encode


async def read_slice(log: Log, start: int, least_bytes: int = SLICE_BYTES) -> list[bytes | None]:
    """Read the records of one task; none at the end of the log."""
    values: list[bytes | None] = []
    length = 0
    while length < least_bytes and (more := await log.read(start + len(values))):
        values.extend(more)
        length += sum(len(value) for value in more if value is not None)
    return values


class Slice(NamedTuple):
    """A slice of the log in a file."""

    task: int
    start: int
    end: int
    name: str
    first_digest: str
    last_digest: str

    def glance(self, folder: Path) -> Reading:
        """The part of the slice that the prefix needs."""
        return Reading(self.start, self._leaves(folder), [], self._others(folder, _OTHERS), self.last_digest)

    def whole(self, folder: Path, *, routed: bool = True) -> Reading:
        """The whole slice, with or without the events for aggregates."""
        others = list(merge(*(self._others(folder, part) for part in (_OTHERS, _VAIN)), key=attrgetter("index")))
        partitions = range(EVENT_PARTITIONS if routed else 0)
        of_partitions = (event_files.read([folder / self.name], partition, partition + 1) for partition in partitions)
        items = list(merge(*of_partitions, key=attrgetter("index")))
        return Reading(self.start, self._leaves(folder), items, others, self.last_digest)

    def _others(self, folder: Path, partition: int) -> list[Other]:
        (data,) = read_partitions(folder / self.name, partition, partition + 1)
        return _decode_others(data)

    def _leaves(self, folder: Path) -> bytes:
        leaves = b"".join(read_partitions(folder / self.name, _LEAVES, _LEAVES + 1))
        if len(leaves) != LEAF_BYTES * (self.end - self.start):
            raise SpillError(f"{folder / self.name} is incomplete; try again")
        return leaves


def decode_slice(folder: Path, salt: bytes, task: int, first: int, values: Sequence[bytes | None]) -> Slice:
    """Decode a slice of the log into a file in a folder."""
    return write_slice(folder, salt, task, read_records(first, values))


def write_slice(folder: Path, salt: bytes, task: int, reading: Reading) -> Slice:
    """Write decoded records into a file.

    Args:
        folder: the folder of the file.
        salt: decides which aggregates share a partition, so that nobody can choose names that all fall into one.
        task: the number of the slice.
        reading: the decoded records.
    """
    items: dict[int, list[Routed]] = {}
    for item in reading.routed:
        digest = blake2b(item.key.encode(), digest_size=4, key=salt).digest()
        items.setdefault(int.from_bytes(digest, "big") % EVENT_PARTITIONS, []).append(item)
    name = f"{task}.{token_hex(8)}"
    others: list[Other] = []
    vain: list[Other] = []
    for other in reading.others:
        (others if isinstance(other.event, BaseEvent) or other.index == 0 else vain).append(other)
    rest = {_LEAVES: reading.leaves, _OTHERS: _encode(others), _VAIN: _encode(vain)}
    write_partitions(folder / name, event_files.encode(items) | rest, _PARTITIONS)
    begins: list[Routed | Other] = [*reading.routed[:1], *reading.others[:1]]
    first_digest = next(each.digest for each in begins if each.index == reading.start)
    return Slice(task, reading.start, reading.end, name, first_digest, reading.last_digest)
