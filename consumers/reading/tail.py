"""The events after a follower's position: read and decoded once, and kept in memory, or on disk if there are many.

A follower asks the tail for the prefix at some size (to judge a claim), for the prefix at the end of the log (to decide
about the next claim), and for the events up to a size (to fold them).
"""

import shutil
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import NamedTuple

import msgspec

from consumers.limits import LIMITS, Limits
from consumers.reading.slices import Slice, decode_slice, read_slice, write_slice
from consumers.state import records
from consumers.work.processes import WORTH_READING, Processes
from consumers.work.progress import READING, WHOLE, Report, nobody
from consumers.work.workers import FEW_BYTES, Workers, length_of, run_if_long
from ledger.logs import Log, LogConflictError
from ledger.state.signing import lowest_held
from ledger.state.store import ReadingStore, Store
from projections.log.prefix import Extension, Prefix, signing_ids
from projections.log.reading import Reading, Routed, read_records
from projections.roles.authority import UpgradeNeededError

_LOOK_AFTER = 1_000
"""Number of records after which the log is asked for its size."""


class _Slice(NamedTuple):
    """A slice of the log: its extension and decoded records in memory, or the file that holds them. `length` is its
    length in memory.
    """

    before: Prefix
    after: Prefix
    content: tuple[Extension, Reading] | Slice
    length: int = 0


class Tail:
    """The events log from a follower's position on. Slices that do not fit into memory are spilled into a folder.
    Without a folder nothing is kept, and only the prefix at the end is available. `store` is the state at the position,
    with its events about signing; None: there is none yet. With a folder and a state, events about signing are stored
    ahead of the position if they are many: whoever asks for them says at what size.
    """

    def __init__(
        self,
        log: Log,
        workers: Workers,
        base: Prefix,
        spill: Path | None = None,
        *,
        store: ReadingStore | None = None,
        limits: Limits = LIMITS,
        report: Report = nobody,
    ) -> None:
        self._store = store
        self._report = report
        self._limits = limits
        self._log = log
        self._workers = workers
        self._spill = spill
        self._base = base
        self._stored_size = base.size
        self._salt = token_bytes(16)
        self._slices: list[_Slice] = []
        self._again: list[Reading | Slice] = []
        self._again_bytes = 0
        self._kept_bytes = 0
        self._written = 0
        self._recent: Reading | None = None
        self._mark = base
        self._end = base
        self._upgrade: UpgradeNeededError | None = None
        if spill is not None:
            shutil.rmtree(spill, ignore_errors=True)

    @property
    def base(self) -> Prefix:
        """The prefix at the position."""
        return self._base

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as of the last reading; before a root that this program does not know."""
        return self._end

    @property
    def stored_size(self) -> int:
        """The size up to which events about signing are stored: the position's, or a size ahead of it."""
        return self._stored_size

    @property
    def upgrade(self) -> UpgradeNeededError | None:
        """Why `end` is before a root, and not at the end of the log."""
        return self._upgrade

    async def read_on(self) -> Prefix:
        """Read to the end of the log and return the prefix there.

        Raises:
            LogError, NotALedgerError, UpgradeNeededError: see `Log.read` and `Prefix.extend`.
        """
        await self.read_known()
        self.check_known()
        return self._end

    def check_known(self) -> None:
        """Make sure that no root was read that this program does not know.

        Raises:
            UpgradeNeededError: one was.
        """
        if self._upgrade is not None:
            raise self._upgrade

    async def read_known(self) -> Prefix:
        """Read to the end of the log, or up to a root that this program does not know, and return `end`.

        Raises:
            LogError, NotALedgerError: see `Log.read` and `Prefix.extend`.
        """
        start, processes = self._end.size, self._workers.processes
        while await self._read_slice():
            if processes is None or self._spill is None or self._end.size - start < _LOOK_AFTER:
                continue
            # The size is asked for late, since nearly always only a few records are unread.
            far = await self._log.size() - self._end.size
            if far >= WORTH_READING:
                await self._read_far(processes, far)
            start = self._end.size
        return self._end

    async def reach(self, size: int) -> bool:
        """Read on at least to a size; False if the log is still shorter."""
        while self._end.size < size:
            if not await self._read_slice():
                return False
        return True

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size that is not before the position and was reached.

        Asking for growing sizes reads the log only once.

        Raises:
            LogConflictError: the log is shorter than it was, or than it must be.
        """
        if not await self.reach(size):
            self.check_known()
            raise self._shorter(size)
        if size == self._end.size:
            return self._end
        at = self._mark if self._mark.size <= size else self._base
        while at.size < size:
            at, _ = await self._advance(at, size)
        self._mark = at
        return at

    async def extensions(self, size: int, shown: tuple[int, int] | None) -> AsyncIterator[Extension]:
        """The extensions by the events from the position up to a size.

        Args:
            size: the size.
            shown: the events that aggregates get: from one index (inclusive) to another (exclusive); None: no events.
                If the first one is before the position, `read_again` has read them.
        """
        at = self._base
        is_whole = shown is not None and shown[1] == size and (at.authority is None or shown[0] == at.size)
        while at.size < size:
            # Before the first root, the prefix judges all events.
            at, extension = await self._advance(at, size, routed=is_whole or at.authority is None)
            yield extension if is_whole else msgspec.structs.replace(extension, routed=[])
        if shown is not None and not is_whole:
            async for routed in self._routed(*shown):
                yield Extension(routed, [], [])

    async def read_again(self, first: int, last: int) -> None:
        """Read events before the position again, from one index (inclusive) to another (exclusive): they waited.

        Nothing is kept of events that wait, since a hold may last for weeks: they are read twice.

        Raises:
            LogConflictError: the log is shorter than it was.
        """
        end = min(last, self._slices[0].before.size if self._slices else self._base.size)
        if self._again and self._again[0].start == first:
            first = self._again[-1].end  # for a rendering that was abandoned
        else:
            self._forget_again()
        if self._workers.processes is not None and end - first >= WORTH_READING:
            async with aclosing(self._decode_far(self._workers.processes, first, end)) as files:
                async for file in files:
                    self._again.append(file)
            return
        while first < end:
            values = (await self._log.read(first))[: end - first]
            if not values:
                raise self._shorter(end)
            reading = await self._workers.run(read_records, first, values)
            self._again_bytes += sum(len(value) for value in values if value is not None)
            self._again.append(reading if self._again_bytes <= self._limits.tail_bytes else await self._write(reading))
            first = reading.end

    def has_in_memory(self, first: int, last: int) -> bool:
        """Whether the events from one index (inclusive) to another (exclusive) are all in memory."""
        return not any(isinstance(part, Slice) for part in self._parts(first, last))

    async def files(self, first: int, last: int) -> list[Path]:
        """Files with the events from one index (inclusive) to another (exclusive), for `consumers.render.tasks`. They
        may also hold earlier and later events.
        """
        for place, part in enumerate(self._again):
            if isinstance(part, Reading):
                self._again[place] = await self._write(part)
        for place, known in enumerate(self._slices):
            if known.before.size < last and not isinstance(known.content, Slice):
                self._slices[place] = known._replace(content=await self._write(known.content[1]), length=0)
                self._kept_bytes -= known.length
        return [self._folder / part.name for part in self._parts(first, last) if isinstance(part, Slice)]

    def advance(self, prefix: Prefix) -> None:
        """Move the follower's position to a prefix, and forget the events before it."""
        self._base = self._mark = prefix.as_stored()
        self._stored_size = max(self._stored_size, prefix.size)
        if self._end.size <= prefix.size:
            self._end = self._base
        passed = [known for known in self._slices if known.after.size <= prefix.size]
        self._slices = self._slices[len(passed) :]
        for known in passed:
            self._kept_bytes -= known.length
            if isinstance(known.content, Slice):
                (self._folder / known.content.name).unlink(missing_ok=True)
        self._forget_again()

    def _forget_again(self) -> None:
        if not self._again:
            return
        again, self._again, self._again_bytes, self._recent = self._again, [], 0, None
        for part in again:
            if isinstance(part, Slice):
                (self._folder / part.name).unlink(missing_ok=True)

    def _parts(self, first: int, last: int) -> list[Reading | Slice]:
        """The decoded records from one index (inclusive) to another (exclusive), in order."""
        known = (each.content for each in self._slices)
        parts = [*self._again, *(each if isinstance(each, Slice) else each[1] for each in known)]
        return [part for part in parts if part.start < last and part.end > first]

    async def _routed(self, first: int, last: int) -> AsyncIterator[list[Routed]]:
        """The events for aggregates, from one index (inclusive) to another (exclusive)."""
        for part in self._parts(first, last):
            reading = await self._workers.run(self._read, part, routed=True) if isinstance(part, Slice) else part
            yield reading.between(max(first, reading.start), min(last, reading.end)).routed

    def _shorter(self, size: int) -> LogConflictError:
        return LogConflictError(
            f"{self._log.name} is shorter than it was: it ends at size {self._end.size}, but record {size - 1} is "
            "known. Was a backup restored? See docs/operators.md, 'A log was rolled back'"
        )

    async def _read_slice(self) -> bool:
        """Read on from the end; False if there are no more records, or none that this program knows."""
        before = self._end
        values = [] if self._upgrade else await self._log.read(before.size)
        if not values:
            return False
        length = length_of(values)
        reading = await run_if_long(self._workers, length, read_records, before.size, values)
        after, extension, reading = await self._advance_known(before, reading)
        self._end = after
        if self._spill is None:
            return True
        if self._kept_bytes + length <= self._limits.tail_bytes:
            self._kept_bytes += length
            self._slices.append(_Slice(before, after, (extension, reading), length))
        else:
            self._slices.append(_Slice(before, after, await self._write(reading)))
        await self._store_ahead()
        return True

    async def _read_far(self, processes: Processes, far: int) -> None:
        """Read to the end of the log, about `far` records away, on all cores."""
        first = self._end.size
        async with aclosing(self._decode_far(processes, first)) as files:
            async for file in files:
                before = self._end
                glance = await self._workers.run(file.glance, self._folder)
                self._end, _, _ = await self._advance_known(before, glance, file)
                self._slices.append(_Slice(before, self._end, file))
                await self._store_ahead()
                self._report(READING * min(self._end.size - first, far), WHOLE * far)
                if self._upgrade is not None:
                    break

    async def _decode_far(
        self, processes: Processes, first: int, last: int | None = None
    ) -> AsyncGenerator[Slice, None]:
        """Decode records on all cores, from one index (inclusive) to another (exclusive) or to the end of the log."""

        async def reading() -> AsyncIterator[Callable[[], Slice]]:
            start = first
            while (last is None or start < last) and (values := await read_slice(self._log, start)):
                values = values if last is None else values[: last - start]
                self._written += 1
                yield partial(decode_slice, self._folder, self._salt, self._written, start, values)
                start += len(values)

        async with aclosing(processes.in_order(reading())) as files:
            async for file in files:
                yield file

    async def _advance_known(
        self, before: Prefix, reading: Reading, file: Slice | None = None
    ) -> tuple[Prefix, Extension, Reading]:
        """Advance a prefix by records, at most up to a root that this program does not know.

        Args:
            before: the prefix.
            reading: the records, decoded.
            file: the file that holds all of them, if `reading` is a glance at it.

        Returns:
            The new prefix, the extension, and the records that it is by.
        """
        try:
            return *await self._extend(before, reading), reading
        except UpgradeNeededError as error:
            self._upgrade = error
            whole = reading if file is None else await self._workers.run(file.whole, self._folder)
            known = whole.between(before.size, error.size)
            return *await self._extend(before, known), known

    async def _advance(self, at: Prefix, size: int, *, routed: bool = True) -> tuple[Prefix, Extension]:
        """Advance a prefix to the end of the slice with the next record, or to a size if that comes first."""
        known = self._slices[bisect_right(self._slices, at.size, key=lambda known: known.before.size) - 1]
        end = min(size, known.after.size)
        is_whole = at.size == known.before.size and end == known.after.size
        if not isinstance(known.content, Slice):
            extension, reading = known.content
            if is_whole:
                return known.after, extension
        else:
            reading = await self._workers.run(self._read, known.content, routed=routed)
            if is_whole:  # what is held behind it is known, and need not be asked again
                _, extension = await self._judge(at, reading.between(at.size, end))
                return known.after, extension
        return await self._extend(at, reading.between(at.size, end))

    async def _extend(self, at: Prefix, reading: Reading) -> tuple[Prefix, Extension]:
        """Advance a prefix, with the stored events about signing that this needs."""
        after, extension = await self._judge(at, reading)
        if after.is_unsettled:
            after = after.settle(await self._lowest_stored(after))
        return (after.as_stored() if after.size <= self._stored_size else after), extension

    async def _judge(self, at: Prefix, reading: Reading) -> tuple[Prefix, Extension]:
        """Advance a prefix; it may be unsettled."""
        names = signing_ids(reading)
        stored = None
        if names and self._store is not None:
            stored = await self._store.run(records.load_signing, names, at.size)
        # The prefix reads events for aggregates by their leaves alone. Ceremonies have many signatures.
        length = FEW_BYTES + 1 if reading.others else len(reading.leaves)
        return await run_if_long(self._workers, length, at.advance, reading, stored)

    async def _lowest_stored(self, after: Prefix) -> int | None:
        """The lowest size that a stored hold holds at a prefix that does not remember that hold."""
        if self._store is None:
            return None
        size = min(after.size, self._stored_size)
        changed = after.signing.since(size)
        released = [name for name, each in changed if each.released_at is not None and each.index < size]
        return await self._store.run(lowest_held, after.holds_end, size, released)

    async def _store_ahead(self) -> None:
        """Store the events about signing that were read, if they are many and the state is not in a transaction."""
        if (
            not isinstance(self._store, Store)
            or self._spill is None
            or len(self._end.signing) < self._limits.tail_signing
        ):
            return
        if await self._store.run(records.save_signing_ahead, self._end, self._stored_size):
            self._stored_size = self._end.size
            self._end, self._mark = self._end.as_stored(), self._mark.as_stored()
            self._slices = [
                known._replace(before=known.before.as_stored(), after=known.after.as_stored()) for known in self._slices
            ]

    # --- on disk -------------------------------------------------------------------------------------------------

    async def _write(self, reading: Reading) -> Slice:
        self._written += 1
        return await self._workers.run(write_slice, self._folder, self._salt, self._written, reading)

    def _read(self, file: Slice, *, routed: bool) -> Reading:
        recent = self._recent
        if recent is not None and (recent.start, recent.end) == (file.start, file.end):
            return recent
        reading = file.whole(self._folder, routed=routed)
        if routed:
            self._recent = reading
        return reading

    @property
    def _folder(self) -> Path:
        if self._spill is None:
            raise ValueError("this tail has no spill folder")
        return self._spill
