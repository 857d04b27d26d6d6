"""The events after a follower's position: read once, decoded once, and kept if they are few.

The tail answers what a follower asks about them: the prefix at some size (to judge a claim), the prefix at the end of
the log (to decide about the next one), and the events up to a size (to fold them).
"""

from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import NamedTuple

from consumers.workers import Workers
from ledger.logs import Log, LogConflictError
from projections.authority import UpgradeNeededError
from projections.prefix import Extension, Prefix

KEPT_BYTES = 16 * 2**20
"""How much of the log's tail is kept decoded; decoded, it takes about four times as much."""


class _Slice(NamedTuple):
    before: Prefix
    values: list[bytes | None]
    extension: Extension
    after: Prefix


class Tail:
    """The events log from a follower's position on."""

    def __init__(self, log: Log, workers: Workers, base: Prefix) -> None:
        self._log = log
        self._workers = workers
        self._base = base
        self._kept: list[_Slice] = []
        self._kept_bytes = 0
        self._recent: _Slice | None = None
        self._mark = base
        self._end = base

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as of the last `read_on`."""
        return self._end

    async def read_on(self) -> Prefix:
        """Read to the end of the log and return the prefix there.

        Raises:
            LogError, NotALedgerError, UpgradeNeededError: as `Log.read` and `Prefix.extend`.
        """
        while await self._read_slice():
            pass
        return self._end

    async def reach(self, size: int) -> bool:
        """Read on to a size at least; false if the log, asked anew, is shorter."""
        while self._end.size < size:
            if not await self._read_slice(size):
                return False
        return True

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size that is not before the position and was reached.

        Asking for growing sizes costs no more than reading once.

        Raises:
            LogConflictError: the log is shorter than it was, or than it must be.
        """
        if not await self.reach(size):
            raise LogConflictError(f"{self._log.name} ends at {self._end.size}, and a record {size - 1} is known")
        if size == self._end.size:
            return self._end
        at = self._mark if self._mark.size <= size else self._base
        while at.size < size:
            piece = await self._slice_from(at)
            values = piece.values[at.size - piece.before.size : size - piece.before.size]
            at, _ = await self._workers.run(at.extend, values)
        self._mark = at
        return at

    async def extensions(self, size: int) -> AsyncIterator[Extension]:
        """What the events from the position up to a size add, in pieces."""
        at = self._base
        while at.size < size:
            piece = await self._slice_from(at)
            if piece.before.size == at.size and piece.after.size <= size:
                yield piece.extension
                at = piece.after
            else:
                values = piece.values[at.size - piece.before.size : size - piece.before.size]
                at, extension = await self._workers.run(at.extend, values)
                yield extension

    def advance(self, prefix: Prefix) -> None:
        """The follower's position is now at a prefix; forget what lies before it."""
        self._base = self._mark = prefix
        if self._end.size < prefix.size:
            self._end = prefix
        kept = [piece for piece in self._kept if piece.after.size > prefix.size]
        self._kept = kept if kept and kept[0].before.size <= prefix.size else []
        self._kept_bytes = sum(_bytes(piece.values) for piece in self._kept)

    async def _read_slice(self, wanted: int | None = None) -> bool:
        """Read on from the end; false if there is nothing. Up to the wanted size a root behind it does no harm."""
        values = await self._log.read(self._end.size)
        if not values:
            return False
        try:
            piece = await self._extend(self._end, values)
        except UpgradeNeededError:
            if wanted is None or wanted >= self._end.size + len(values):
                raise
            piece = await self._extend(self._end, values[: wanted - self._end.size])
        self._recent = piece
        length = _bytes(piece.values)
        is_next = self._end.size == (self._kept[-1].after.size if self._kept else self._base.size)
        if is_next and self._kept_bytes + length <= KEPT_BYTES:
            self._kept.append(piece)
            self._kept_bytes += length
        self._end = piece.after
        return True

    async def _slice_from(self, at: Prefix) -> _Slice:
        """A slice that holds the record after a prefix: a kept one, or read again."""
        position = bisect_right(self._kept, at.size, key=lambda piece: piece.before.size) - 1
        for piece in (self._kept[position] if position >= 0 else None, self._recent):
            if piece is not None and piece.before.size <= at.size < piece.after.size:
                return piece
        values = (await self._log.read(at.size))[: self._end.size - at.size]
        if not values:
            raise LogConflictError(f"{self._log.name} had {self._end.size} records and now ends at {at.size}")
        self._recent = await self._extend(at, values)
        return self._recent

    async def _extend(self, before: Prefix, values: list[bytes | None]) -> _Slice:
        after, extension = await self._workers.run(before.extend, values)
        return _Slice(before, values, extension, after)


def _bytes(values: list[bytes | None]) -> int:
    return sum(len(value) for value in values if value is not None)
