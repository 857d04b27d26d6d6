"""The two rounds of a publication with many events or bins: on all cores, into one state.

Projects are independent of each other, and so are bins, so processes fold them side by side. The processes read the
state from before the publication and hand over their changes. Only this process writes to the state; it saves the
changes meanwhile.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from secrets import token_hex

import msgspec

from consumers.render import tasks
from consumers.render.carriers import Carrier, Files, Sent, bin_partitions
from consumers.render.rounds.job import (
    Job,
    hide_pages,
    keep_extension,
    list_projects,
    page_writer,
    warn_of_stuffed,
)
from consumers.render.sinks import RemoteSink
from consumers.render.tasks import Batch, Kept, SealResult, ToKeep
from consumers.state import records
from consumers.state.kept_bins import KeptBin
from consumers.state.records import Rows
from consumers.work.processes import Processes
from consumers.work.progress import FOLDING, READING, SEALING, WHOLE
from consumers.work.spill import read_frames
from consumers.work.workers import Begun
from ledger.state.aggregates import load_page_sizes
from projections.index.project_list import Listing
from projections.log.reading import Routed
from projections.metadata.paths import hashed_path, metadata_path, plain_path
from projections.metadata.targets import Page, TargetChange

_SAVED_AT_ONCE_BYTES = 8 * 2**20
_decode_kept = msgspec.msgpack.Decoder(Kept).decode


class BulkRounds:
    """The rounds in processes. Contract: `consumers.render.rounds.job.Rounds`."""

    def __init__(self, job: Job, processes: Processes, remote: RemoteSink) -> None:
        self._store, self._workers, self._edition, self._tail = job.store, job.workers, job.edition, job.tail
        self._sealer, self._sink, self._report = job.sealer, job.sink, job.report
        self._last, self._pages = job.last, job.pages
        self._packed_brackets, _ = job.brackets
        self._telling, self._renders = job.telling, job.renders
        self._processes, self._limits = processes, job.limits
        self._remote = remote
        self._folder = job.spill / "bulk"
        self._choice = job.edition.choice()
        self._rendering: tuple[Batch, Carrier] | None = None
        self._unsaved: list[ToKeep] = []
        self._saving: Begun[None] | None = None

    async def close(self) -> None:
        """Stop saving, and delete spilled files."""
        if self._saving is not None:
            await self._saving.stop()
            self._saving = None
        if self._folder.exists():
            await self._workers.run(shutil.rmtree, self._folder, ignore_errors=True)

    async def fold(self) -> None:
        """Fold the events, and bring the list of projects up to date."""
        listings: list[Listing] = []
        batch, carrier = self._rendering = await self._begin()
        async with aclosing(self._processes.in_order(carrier.folding(batch))) as folded:
            async for done in folded:
                await self._save_behind(done.kept)
                if self._telling is not None and done.told:
                    self._telling.add_file(done.told)
                for path, length, digest, token in done.pages:
                    hashed = hashed_path(path, digest)
                    self._sink.adopt(hashed, length, digest, token)
                    self._sink.show(plain_path(path), hashed)
                for path in done.hidden:
                    self._sink.show(plain_path(path), None)
                listings.extend(done.listings)
                carrier.take(done)
                self._advance(READING, FOLDING, done.task + 1, carrier.fold_tasks)
        if self._renders:
            names_per_chunk = self._limits.names_per_chunk
            pages, changes = await self._store.run(list_projects, self._edition, listings, names_per_chunk)
            if pages or changes:
                await self._add(batch, carrier, pages, changes)

    async def _begin(self) -> tuple[Batch, Carrier]:
        """The batch that the tasks share, and the carrier of their events and targets."""
        edition, choice = self._edition, self._choice
        shown = edition.first, edition.content_size
        folder = self._folder / token_hex(8)
        batch = Batch(
            folder=folder,
            choice=choice._replace(stamps={}),
            html=edition.authority.settings.html_pages,
            terms=edition.authority.terms,
            times=await self._workers.run(tasks.write_times, folder, self._packed_brackets),
            sink=self._remote,
            bin_partitions=bin_partitions(choice, edition.size, self._limits),
            state=self._store.path if edition.before.size else None,
            last=self._last.of(()),
            pages=self._pages,
            sent_bytes=tasks.SENT_BYTES,
            renders=self._renders,
            told=None if self._telling is None else self._telling.files,
            files_per_chunk=self._limits.files_per_chunk,
        )
        in_memory = self._tail.has_in_memory(*shown)
        routed: list[Routed] = []
        async for extension in self._tail.extensions(edition.after.size, shown if in_memory else None):
            await keep_extension(self._store, extension, self._sink, self._telling)
            if in_memory:
                routed += extension.routed
        if in_memory:
            sizes = dict(await self._store.run(load_page_sizes, sorted({item.key for item in routed})))
            return batch, Sent(choice, batch.bin_partitions, routed, sizes, self._limits)
        slices = await self._tail.files(*shown)
        files = Files(choice.layout, batch.bin_partitions, edition.size, self._limits)
        return batch._replace(slices=slices, first=edition.first, end=edition.content_size), files

    async def _add(
        self, batch: Batch, carrier: Carrier, pages: Sequence[Page], changes: Sequence[TargetChange]
    ) -> None:
        """Add pages and changes of targets."""
        async with page_writer(self._workers, self._sink, self._pages) as writer:
            await writer.add([(page, None) for page in pages])
            hide_pages(changes, self._sink)
        await self._workers.run(carrier.add, batch, changes)

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins."""
        batch, carrier = self._folded()
        bins: dict[str, KeptBin] = {}
        bins_of_tasks = await self._workers.run(carrier.bins_of_tasks, batch)
        async with aclosing(self._processes.in_order(self._sealing(batch, carrier, bins_of_tasks))) as sealed:
            async for done in sealed:
                if done.headers or done.withholdings:
                    await self._saved()
                    await self._store.run(records.save_bins, done.headers, done.withholdings)
                if done.withholdings:
                    self._sink.withhold(done.withholdings)
                for name, (entry, _) in done.bins.items():
                    path = metadata_path(name, entry.version)
                    self._sink.adopt(path, entry.length, entry.sha256, done.tokens[name])
                for name, targets in done.stuffed.items():
                    warn_of_stuffed(name, done.bins[name].entry.length, targets)
                bins.update(done.bins)
                self._sealer.packed.update(done.packed)
                self._advance(READING + FOLDING, SEALING, done.task + 1, len(bins_of_tasks))
        await self._saved()
        return bins

    async def save(self) -> None:
        """Save the unsaved rest."""
        unsaved, self._unsaved = self._unsaved, []
        await self._save(unsaved)

    def _sealing(
        self, batch: Batch, carrier: Carrier, bins_of_tasks: Sequence[Sequence[int]]
    ) -> Iterator[Callable[[], SealResult]]:
        layout = self._choice.layout
        for number, bins in enumerate(bins_of_tasks):
            some = batch._replace(choice=self._choice.of(bins), last=self._last.of(bins), slices=())
            sealer = self._sealer.remote(map(layout.name, bins))
            if sealer is not None:
                yield carrier.sealing(some, number, bins, sealer)

    def _advance(self, before: int, phase: int, done: int, tasks_: int) -> None:
        size = self._edition.size
        self._report(size * before + size * phase * done // tasks_, size * WHOLE)

    def _folded(self) -> tuple[Batch, Carrier]:
        if self._rendering is None:
            raise ValueError("`fold` must come first")
        return self._rendering

    async def _save_behind(self, kept: ToKeep) -> None:
        """Save a task's changes to the state, later: small ones together with those of other tasks, or while files are
        placed and cores are idle.
        """
        self._unsaved.append(kept)
        if kept.file or sum(len(frame) for each in self._unsaved for frame in each.frames) >= _SAVED_AT_ONCE_BYTES:
            await self._begin_to_save()

    async def _begin_to_save(self) -> None:
        """Begin to save all unsaved changes, after the previous saving is done."""
        await self._saved()
        unsaved, self._unsaved = self._unsaved, []
        self._saving = self._workers.ahead(self._save(unsaved))

    async def _saved(self) -> None:
        """Wait for the saving that was begun."""
        if self._saving is not None:
            await self._saving.result()
            self._saving = None

    async def _save(self, unsaved: Sequence[ToKeep]) -> None:
        """Save tasks' changes to the state."""
        for path in (Path(kept.file) for kept in unsaved if kept.file):
            frames = read_frames(path)
            while (frame := await self._workers.run(next, frames, None)) is not None:
                await self._save_frames([frame.data])
            await asyncio.to_thread(path.unlink)
        await self._save_frames([frame for kept in unsaved for frame in kept.frames])

    async def _save_frames(self, frames: Sequence[bytes]) -> None:
        kept = await self._workers.run(_joined, frames)
        await self._store.run(records.save_folded, kept.rows, kept.seen, kept.judged)


def _joined(frames: Iterable[bytes]) -> Kept:
    whole = Kept(Rows([]))
    for frame in frames:
        whole.add(_decode_kept(frame))
    return whole
