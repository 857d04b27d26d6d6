"""The two rounds of a publication of many events, or bins: on all cores, into one state.

Projects and bins do not know each other, so processes fold them side by side. They read the state as it was before the
publication; what it is to keep they write down, and this process, which alone writes to it, saves that as they go on.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from secrets import token_hex

import msgspec

from consumers import rounds, state
from consumers.bulk import tasks
from consumers.bulk.effort import FOLDING, READING, SEALING, WHOLE
from consumers.bulk.partitions import count_partitions, read_blocks
from consumers.bulk.processes import Processes
from consumers.bulk.tasks import EVENT_PARTS, Batch, FoldedPart, Kept, SealedPart, ToKeep, count_shares, share
from consumers.edition import Choice
from projections.bins import Page, TargetChange, hashed_path
from projections.project_list import Listing
from projections.repository import RoleEntry

_BINS_PER_PART = 64
_decode_kept = msgspec.msgpack.Decoder(Kept).decode


def bin_parts(choice: Choice, events: int) -> int:
    """Into how many parts bins are divided: in one there are about 64 to look at, and a bounded number of changes.

    An event changes at most three targets: its file, and both pages of its project.
    """
    bins = choice.layout.count
    visited = min(bins, len(choice.stamps) + 3 * events)
    return min(bins, max(-(-visited // _BINS_PER_PART), count_partitions(3 * events)))


class BulkRounds:
    """The rounds in processes. Contract: `consumers.rounds.Rounds`."""

    def __init__(self, job: rounds.Job, processes: Processes, remote: tasks.Sink) -> None:
        self._store, self._workers, self._edition, self._tail = job.store, job.workers, job.edition, job.tail
        self._sealer, self._sink, self._report = job.sealer, job.sink, job.report
        self._last, self._pages = job.last, job.pages
        self._processes = processes
        self._remote = remote
        self._folder = job.spill / "bulk"
        self._names: list[str] = []
        self._choice = job.edition.choice()
        self._batch: Batch | None = None

    def close(self) -> None:
        """Delete what was spilled."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def fold(self) -> list[Listing]:
        """Fold the events."""
        edition = self._edition
        listings: list[Listing] = []
        first = edition.before.size
        async for extension in self._tail.extensions(edition.after.size, routed=False):
            await rounds.keep_extension(self._store, extension, self._sink)
            if edition.before.authority is None and first == edition.before.size and extension.ceremonies:
                first = extension.ceremonies[0].index + 1  # before the first root no event is for an aggregate
        batch = self._batch = Batch(
            folder=self._folder / token_hex(8),
            slices=await self._tail.files(edition.after.size),
            first=first,
            end=edition.after.size,
            choice=self._choice._replace(stamps={}),
            bin_parts=bin_parts(self._choice, edition.size),
            html=edition.authority.settings.html_pages,
            sink=self._remote,
            state=self._store.path if edition.before.size else None,
            last=self._last.of(range(0)),
            pages=self._pages,
        )

        async def folding() -> AsyncIterator[Callable[[], FoldedPart]]:
            shares = count_shares(edition.size)
            for number in range(shares):
                yield partial(tasks.fold_projects, batch, number, share(number, shares, EVENT_PARTS))

        async with aclosing(self._processes.in_order(folding())) as folded:
            async for done in folded:
                await self._save(done.kept)
                for path, digest, token in done.pages:
                    hashed = hashed_path(path, digest)
                    self._sink.adopt(hashed, digest, token)
                    self._sink.show(f"targets/{path}", hashed)
                for path in done.hidden:
                    self._sink.show(f"targets/{path}", None)
                listings.extend(done.listings)
                self._names.append(done.name)
                self._advance(READING, FOLDING, len(self._names), count_shares(edition.size))
        return listings

    async def add(self, pages: Sequence[Page], changes: Sequence[TargetChange]) -> None:
        """Add pages and changes of targets."""
        async with rounds.page_writer(self._workers, self._sink, self._pages) as writer:
            await writer.add([(page, None) for page in pages])
            rounds.hide_pages(changes, self._sink)
        self._names.append(await self._workers.run(tasks.write_targets, self._folded(), "list", changes))

    async def seal(self) -> dict[str, RoleEntry]:
        """Render and seal bins."""
        batch = self._folded()
        entries: dict[str, RoleEntry] = {}
        async with aclosing(self._processes.in_order(self._sealing(batch))) as sealed:
            async for done in sealed:
                await self._store.save(done.headers)
                for name, entry in done.entries.items():
                    self._sink.adopt(f"metadata/{entry.version}.{name}.json", entry.sha256, done.tokens[name])
                for name, targets in done.stuffed.items():
                    rounds.warn_of_stuffed(name, done.entries[name].length, targets)
                entries.update(done.entries)
                self._sealer.packed.update(done.packed)
                self._advance(READING + FOLDING, SEALING, done.task + 1, batch.bin_parts)
        return entries

    async def _sealing(self, batch: Batch) -> AsyncIterator[Callable[[], SealedPart]]:
        layout = self._choice.layout
        for part in range(batch.bin_parts):
            bins = layout.bins_of(part, batch.bin_parts)
            some = batch._replace(choice=self._choice.of(bins), last=self._last.of(bins), slices=())
            sealer = self._sealer.remote(map(layout.name, bins))
            if sealer is not None:
                yield partial(tasks.seal_bins, some, part, self._names, sealer)

    def _advance(self, before: int, phase: int, done: int, tasks_: int) -> None:
        size = self._edition.size
        self._report(size * before + size * phase * done // tasks_, size * WHOLE)

    def _folded(self) -> Batch:
        if self._batch is None:
            raise ValueError("nothing was folded yet")
        return self._batch

    async def _save(self, kept: ToKeep) -> None:
        """Save what a task made for the state."""
        if kept.file:
            path = Path(kept.file)
            blocks = read_blocks(path)
            while (block := await self._workers.run(next, blocks, None)) is not None:
                await self._save_block(block.data)
            await asyncio.to_thread(path.unlink)
        for data in kept.blocks:
            await self._save_block(data)

    async def _save_block(self, data: bytes) -> None:
        kept = await self._workers.run(_decode_kept, data)
        await state.save_rows(self._store, kept.rows)
        await state.save_seen(self._store, kept.seen)
        await state.save_judged(self._store, "events", kept.judged)
