"""The events behind what the catalog has folded, and the prefixes that publications are judged by.

Events are folded to the end of the log, whatever is published: an event is accepted or not by itself. Publications are
judged with the prefixes at their sizes, which may lie far behind. So a mark is kept every so many events, and what lies
between two marks is read again if somebody asks for it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from consumers.reading.slices import read_slice
from consumers.work.workers import Workers
from ledger.logs import Log, record_is_gone
from projections.log.envelopes import Envelope
from projections.log.merkle import Node, completed_nodes, split_leaves
from projections.log.prefix import Extension, Prefix
from projections.log.reading import Reading, read_records
from projections.roles.authority import UpgradeNeededError

MARK_EVENTS = 1_024
"""Number of events between two marks: a few kilobytes of memory for each, and a few milliseconds to read them again."""


class EventBatch(NamedTuple):
    """Records that were read and judged by the prefix, and are not yet folded. `marks` are prefixes from the first one
    to `after`, and `nodes` the nodes of the Merkle tree that the records complete.
    """

    before: Prefix
    marks: Sequence[Prefix]
    values: Sequence[bytes | None]
    envelopes: Sequence[Envelope | None]
    extension: Extension
    nodes: Sequence[Node]

    @property
    def after(self) -> Prefix:
        """The prefix with these records."""
        return self.marks[-1]


class EventsAhead:
    """The events log from the prefix `base` on, of which everything up to `folded` was folded before. Contract:
    `consumers.reading.publications.Prefixes`.
    """

    def __init__(self, log: Log, workers: Workers, base: Prefix, folded: Prefix, slice_bytes: int) -> None:
        self._log = log
        self._slice_bytes = slice_bytes
        self._workers = workers
        self._marks = [base] if base.size == folded.size else [base, folded]
        self._unfolded: deque[EventBatch] = deque()
        self._values: tuple[int, Sequence[bytes | None]] = (0, ())
        self._recent: Reading | None = None
        self._end = folded
        self._upgrade: UpgradeNeededError | None = None

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as of the last reading; before a root that this program does not know."""
        return self._end

    @property
    def upgrade(self) -> UpgradeNeededError | None:
        """Why `end` is before a root, and not at the end of the log."""
        return self._upgrade

    async def next(self) -> EventBatch | None:
        """The next batch to fold, or None at the end of the log."""
        if not self._unfolded and not await self._read():
            return None
        return self._unfolded.popleft()

    async def read_known(self) -> Prefix:
        """Read to the end of the log, or up to a root that this program does not know, and return `end`."""
        while await self._read():
            pass
        return self._end

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size from the base on.

        Raises:
            LogConflictError: the log is shorter than it was, or than it must be.
        """
        place = bisect_right(self._marks, size, key=lambda mark: mark.size) - 1
        at = self._marks[place]
        while at.size < size:
            reading = self._recent
            if reading is None or not reading.start <= at.size < reading.end:
                values = await self._read_again(at.size, place)
                reading = self._recent = await self._workers.run(read_records, at.size, values)
            at, _ = _advance(at, reading.between(at.size, min(size, reading.end)))
        if at is not self._marks[place]:
            self._marks.insert(place + 1, at)
        return at

    async def _read_again(self, start: int, place: int) -> Sequence[bytes | None]:
        """The records from an index on, at most up to the mark behind that of this place."""
        first, values = self._values
        if not first <= start < first + len(values):
            first, values = self._values = start, await self._log.read(start)
            if not values:
                raise record_is_gone(self._log.name, start)
        end = self._marks[place + 1].size if place + 1 < len(self._marks) else None
        return values[start - first : None if end is None else end - first]

    def forget(self, base: Prefix) -> None:
        """Forget what is needed for publications below a prefix alone."""
        self._marks = [base, *(mark for mark in self._marks if mark.size > base.size)]

    async def _read(self) -> bool:
        before = self._end
        values = [] if self._upgrade else await read_slice(self._log, before.size, self._slice_bytes)
        if not values:
            return False
        batch = await self._workers.run(_judge_known, before, values)
        if isinstance(batch, UpgradeNeededError):
            self._upgrade = batch
            values = values[: batch.size - before.size]
            if not values:
                return False
            batch = await self._workers.run(judge_batch, before, values)
        self.go_on(batch.marks)
        self._unfolded.append(batch)
        return True

    def go_on(self, marks: Sequence[Prefix]) -> None:
        """Take the prefixes of a batch that is folded elsewhere: the last of them is the `end`."""
        self._end = marks[-1]
        self._marks.extend(marks)


def _judge_known(before: Prefix, values: Sequence[bytes | None]) -> EventBatch | UpgradeNeededError:
    try:
        return judge_batch(before, values)
    except UpgradeNeededError as error:
        return error


def judge_batch(before: Prefix, values: Sequence[bytes | None]) -> EventBatch:
    """Decode records, and judge them by the prefix.

    Raises:
        NotALedgerError, UpgradeNeededError: see `Prefix.extend`.
    """
    envelopes: list[Envelope | None] = []
    reading = read_records(before.size, values, envelopes)
    at, marks, whole = before, list[Prefix](), Extension([], [], [])
    while at.size < reading.end:
        at, part = _advance(at, reading.between(at.size, min(reading.end, at.size + MARK_EVENTS)))
        marks.append(at)
        whole.routed.extend(part.routed)
        whole.judged.extend(part.judged)
        whole.ceremonies.extend(part.ceremonies)
    nodes = completed_nodes(before.tree, split_leaves(reading.leaves))
    return EventBatch(before, marks, values, envelopes, whole, nodes)


def _advance(prefix: Prefix, reading: Reading) -> tuple[Prefix, Extension]:
    """Advance a prefix that remembers all events about signing."""
    after, extension = prefix.advance(reading)
    return after.settle(None), extension
