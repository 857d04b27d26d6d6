"""Slices of the events log: read by one, decoded by many, and kept in files where they are too long for memory."""

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
"""How much of the log is one task: enough that a partition gets a block worth writing."""

EVENT_PARTITIONS = 1024
"""Into how many partitions a slice's events are divided. A task folds one of them, or some."""

_LEAVES, _OTHERS = EVENT_PARTITIONS, EVENT_PARTITIONS + 1

event_files = PartitionFiles(Routed)
_decode_others = msgspec.msgpack.Decoder(list[Other]).decode
_encode = msgspec.msgpack.Encoder().encode


async def read_slice(log: Log, start: int) -> list[bytes | None]:
    """As many records as are one task; none at the end of the log."""
    values: list[bytes | None] = []
    length = 0
    while length < SLICE_BYTES and (more := await log.read(start + len(values))):
        values.extend(more)
        length += sum(len(value) for value in more if value is not None)
    return values


class Slice(NamedTuple):
    """A slice of the log that was read into a file; `others` are the records that the prefix judges, without those that
    nothing follows from.
    """

    task: int
    start: int
    end: int
    name: str
    last_digest: str
    others: list[Other]

    def glance(self, folder: Path) -> Reading:
        """What the prefix needs of it."""
        return Reading(self.start, self._leaves(folder), [], self.others, self.last_digest)

    def whole(self, folder: Path, *, routed: bool = True) -> Reading:
        """All of it, with the events for aggregates or without."""
        others = [
            other
            for data in read_partitions(folder / self.name, _OTHERS, _OTHERS + 1)
            for other in _decode_others(data)
        ]
        partitions = range(EVENT_PARTITIONS if routed else 0)
        of_partitions = (event_files.read([folder / self.name], partition, partition + 1) for partition in partitions)
        items = list(merge(*of_partitions, key=attrgetter("index")))
        return Reading(self.start, self._leaves(folder), items, others, self.last_digest)

    def _leaves(self, folder: Path) -> bytes:
        leaves = b"".join(read_partitions(folder / self.name, _LEAVES, _LEAVES + 1))
        if len(leaves) != LEAF_BYTES * (self.end - self.start):
            raise SpillError(f"{folder / self.name} is incomplete; try again")
        return leaves


def decode_slice(folder: Path, salt: bytes, task: int, first: int, values: Sequence[bytes | None]) -> Slice:
    """Decode a slice of the log into a file in a folder."""
    return write_slice(folder, salt, task, read_records(first, values))


def write_slice(folder: Path, salt: bytes, task: int, reading: Reading) -> Slice:
    """Write what records said.

    Args:
        folder: where to.
        salt: decides which aggregates are in one partition: nobody shall be able to choose names that all fall into
            one.
        task: the number of the slice.
        reading: what its records said.
    """
    items: dict[int, list[Routed]] = {}
    for item in reading.routed:
        digest = blake2b(item.key.encode(), digest_size=4, key=salt).digest()
        items.setdefault(int.from_bytes(digest, "big") % EVENT_PARTITIONS, []).append(item)
    name = f"{task}.{token_hex(8)}"
    partitions = event_files.encode(items) | {_LEAVES: reading.leaves, _OTHERS: _encode(reading.others)}
    write_partitions(folder / name, partitions, _OTHERS + 1)
    others = [other for other in reading.others if isinstance(other.event, BaseEvent) or other.index == 0]
    return Slice(task, reading.start, reading.end, name, reading.last_digest, others)
