"""The events after a follower's position: read and decoded once, and kept, on disk if they are many.

The tail answers what a follower asks about them: the prefix at some size (to judge a claim), the prefix at the end of
the log (to decide about the next one), and the events up to a size (to fold them).
"""

import shutil
from bisect import bisect_right
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumers.partitions import Block, SpillError, append_block, read_blocks
from consumers.workers import Workers
from ledger.logs import Log, LogConflictError
from projections.authority import UpgradeNeededError
from projections.prefix import Extension, Prefix, Reading, read_records

KEPT_BYTES = 16 * 2**20
"""How much of the log's tail is kept in memory; as records it is about as long as what is left of them."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Reading)


class _Slice(NamedTuple):
    """A slice of the log; `reading` is None where it was spilled."""

    before: Prefix
    after: Prefix
    extension: Extension | None
    reading: Reading | None
    length: int


class Tail:
    """The events log from a follower's position on. What does not fit into memory is spilled into a folder; without a
    folder nothing is kept, and only the end can be asked for.
    """

    def __init__(self, log: Log, workers: Workers, base: Prefix, spill: Path | None = None) -> None:
        self._log = log
        self._workers = workers
        self._spill = spill
        self._base = base
        self._slices: list[_Slice] = []
        self._kept_bytes = 0
        self._recent: tuple[int, Reading] | None = None
        self._mark = base
        self._end = base
        if spill is not None:
            shutil.rmtree(spill, ignore_errors=True)

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
            at, _ = await self._advance(at, size)
        self._mark = at
        return at

    async def extensions(self, size: int) -> AsyncIterator[Extension]:
        """What the events from the position up to a size add, in pieces."""
        at = self._base
        while at.size < size:
            at, extension = await self._advance(at, size)
            yield extension

    def advance(self, prefix: Prefix) -> None:
        """The follower's position is now at a prefix; forget what lies before it."""
        self._base = self._mark = prefix
        if self._end.size < prefix.size:
            self._end = prefix
        passed = [piece for piece in self._slices if piece.after.size <= prefix.size]
        self._slices = self._slices[len(passed) :]
        for piece in passed:
            self._kept_bytes -= piece.length
            if piece.reading is None:
                self._path(piece.before.size).unlink(missing_ok=True)

    async def _read_slice(self, wanted: int | None = None) -> bool:
        """Read on from the end; false if there is nothing. Up to the wanted size a root behind it does no harm."""
        before = self._end
        values = await self._log.read(before.size)
        if not values:
            return False
        reading = await self._workers.run(read_records, before.size, values)
        try:
            after, extension = await self._workers.run(before.advance, reading)
        except UpgradeNeededError:
            if wanted is None or wanted >= before.size + len(values):
                raise
            reading = reading.part(before.size, wanted)
            after, extension = await self._workers.run(before.advance, reading)
        length = sum(len(value) for value in values if value is not None)
        if self._kept_bytes + length <= KEPT_BYTES and self._spill is not None:
            self._kept_bytes += length
            self._slices.append(_Slice(before, after, extension, reading, length))
        elif self._spill is not None:
            await self._workers.run(self._write, before.size, reading)
            self._slices.append(_Slice(before, after, None, None, 0))
        self._end = after
        return True

    async def _advance(self, at: Prefix, size: int) -> tuple[Prefix, Extension]:
        """From a prefix to the end of the slice that holds the next record, or to a size if that comes first."""
        piece = self._slices[bisect_right(self._slices, at.size, key=lambda piece: piece.before.size) - 1]
        if piece.extension is not None and piece.before.size == at.size and piece.after.size <= size:
            return piece.after, piece.extension
        reading = piece.reading
        if reading is None:
            reading = await self._workers.run(self._read, piece.before.size)
        return await self._workers.run(at.advance, reading.part(at.size, min(size, piece.after.size)))

    # --- on disk -------------------------------------------------------------------------------------------------

    def _path(self, start: int) -> Path:
        if self._spill is None:
            raise ValueError("nothing is spilled")
        return self._spill / str(start)

    def _write(self, start: int, reading: Reading) -> None:
        path = self._path(start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # begun, and interrupted
        append_block(path, Block(0, _encoder.encode(reading)))

    def _read(self, start: int) -> Reading:
        if self._recent is None or self._recent[0] != start:
            blocks = list(read_blocks(self._path(start)))
            if not blocks:
                raise SpillError(f"{self._path(start)} is not whole")
            self._recent = start, _decoder.decode(blocks[0].data)
        return self._recent[1]
