"""The Kafka offsets of records, learned while records are read. No I/O.

Records are numbered densely from 0. Offsets are not dense, because the markers that end transactions take offsets too.
So known offsets are stored as runs of records with consecutive offsets, 24 bytes each. A log without transactional
writers is one run.
"""

from array import array
from bisect import bisect_right

from ledger.logs import LogConflictError


class Offsets:
    """The known offsets of the records of one partition.

    A run is (index of its first record, offset of that record, number of known records). A run of length 0 only says
    that its record is the first at or after that offset. Record 0 is the first at or after offset 0.
    """

    def __init__(self) -> None:
        self._indices = array("q", [0])
        self._offsets = array("q", [0])
        self._lengths = array("q", [0])

    @property
    def end(self) -> tuple[int, int]:
        """The furthest known point: the index of a record, and an offset at or after which that record is the first."""
        return self._indices[-1] + self._lengths[-1], self._offsets[-1] + self._lengths[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """The nearest known point at or before a record: reading from there finds the record."""
        run = bisect_right(self._indices, index) - 1
        known = min(index - self._indices[run], self._lengths[run])
        return self._indices[run] + known, self._offsets[run] + known

    def index_of(self, offset: int) -> int | None:
        """The index of the record at an offset; None if unknown."""
        run = bisect_right(self._offsets, offset) - 1
        within = offset - self._offsets[run] if run >= 0 else -1
        return self._indices[run] + within if 0 <= within < self._lengths[run] else None

    def anchor(self, index: int, offset: int) -> None:
        """Take it as known that record `index` is the first at or after `offset`.

        Raises:
            LogConflictError: that contradicts known offsets.
        """
        run = bisect_right(self._indices, index) - 1
        within, length = index - self._indices[run], self._lengths[run]
        least = self._offsets[run] + within
        if offset < least or (offset > least and within < length):
            raise LogConflictError(f"record {index} cannot be at offset {offset}, but only at {least} or later")
        if within == 0:
            self._offsets[run] = offset
        elif offset > least or within > length:
            self._insert(run + 1, index, offset, 0)

    def learn(self, index: int, offset: int, count: int = 1) -> None:
        """Remember that records from `index` on, `count` of them, were read at offsets from `offset` on.

        Raises:
            LogConflictError: another offset is known for one of the records.
        """
        while count:
            run = bisect_right(self._indices, index) - 1
            following = self._indices[run + 1] if run + 1 < len(self._indices) else index + count
            step = min(count, following - index)
            self._learn_within(run, index, offset, step)
            index, offset, count = index + step, offset + step, count - step

    def _learn_within(self, run: int, index: int, offset: int, count: int) -> None:
        """Remember records that lie before the next run."""
        within, length = index - self._indices[run], self._lengths[run]
        expected = self._offsets[run] + within
        if offset < expected or (offset > expected and within < length):
            raise LogConflictError(f"record {index} is at offset {offset}, but was known to be at {expected}")
        if offset == expected:
            self._lengths[run] = max(length, within + count)
        elif within == 0:
            # Markers lie between the anchored offset and the record.
            self._offsets[run], self._lengths[run] = offset, count
        else:
            self._insert(run + 1, index, offset, count)

    def _insert(self, run: int, index: int, offset: int, length: int) -> None:
        self._indices.insert(run, index)
        self._offsets.insert(run, offset)
        self._lengths.insert(run, length)
