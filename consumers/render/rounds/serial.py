"""The two rounds of a publication in this process: events to projects, changed targets to bins.

Projects and bins are loaded, folded, sealed and saved a few at a time, so memory does not grow with the batch. While
some are signed and written, the next ones are read and folded.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from secrets import token_hex
from typing import NamedTuple

from consumers.render.bin_steps import Unsealed, by_bin, fold_bins, read_bins
from consumers.render.rounds.job import (
    Job,
    PageToWrite,
    bin_sealer,
    hide_pages,
    keep_bins,
    keep_extension,
    page_writer,
)
from consumers.render.tasks import few_aggregates, needed_files
from consumers.state import records
from consumers.state.kept_bins import KeptBin, LastBins
from consumers.work.spill import Partitions
from consumers.work.workers import Behind, each_with
from ledger.state.aggregates import delete_range, keys_between
from ledger.state.statements import State
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes
from projections.log.reading import Routed
from projections.metadata.bins import StoredBin, take_targets
from projections.metadata.targets import Page, TargetChange
from projections.roles.layout import Layout

BINS_AT_ONCE = 16
PROJECTS_AT_ONCE = 16
TARGET_BYTES = 128
"""Minimum length of nearly every entry in a bin."""


class _Bins(NamedTuple):
    """A few bins, with the changes of their targets."""

    indices: Sequence[int]
    changes: Mapping[int, Sequence[TargetChange]]


class _Stored(NamedTuple):
    """A few stored aggregates, and the digests of events with ids that were seen before."""

    loaded: records.Loaded
    seen: Mapping[tuple[str, str], str]


def _load(state: State, keys: Sequence[str], items: Sequence[Routed], needed: Mapping[str, Collection[str]]) -> _Stored:
    loaded = records.load_aggregates(state, keys, needed, rows_read_by(items))
    return _Stored(loaded, records.load_seen(state, items))


class OneProcess:
    """The rounds in this process."""

    def __init__(self, job: Job) -> None:
        self._store, self._workers, self._edition, self._tail = job.store, job.workers, job.edition, job.tail
        self._sealer, self._sink, self._spill = job.sealer, job.sink, job.spill
        self._last, self._pages = job.last, job.pages
        self._choice = job.edition.choice()
        self._times = UploadTimes(*job.brackets)
        self._telling, self._renders = job.telling, job.renders
        self._renders_anew = job.renders and job.edition.renders_all_pages
        self._visits_all = self._renders_anew or bool(self._times.new_time)
        self._targets: Partitions[TargetChange] | None = None

    async def close(self) -> None:
        """Delete spilled files."""
        if self._targets is not None:
            self._targets.close()

    async def save(self) -> None:
        """Do nothing: everything is saved at once."""

    # --- events to projects --------------------------------------------------------------------------------------

    async def fold(self) -> list[Listing]:
        """Fold the events."""
        if self._renders:
            await self._move_bins()
        listings: list[Listing] = []
        done: set[str] = set()
        routed = Partitions(self._spill / "events", Routed, self._edition.size)
        try:
            async with page_writer(self._workers, self._sink, self._pages) as pages:
                await self._route(routed)
                async with aclosing(each_with(self._workers, self._few(routed), self._load_few)) as loaded:
                    async for (keys, items), stored in loaded:
                        listings.extend(await self._fold_few(stored, items, pages))
                        if self._visits_all:
                            done.update(keys)
                if self._visits_all:
                    async for keys in self._all_projects(done):
                        await self._fold_few(await self._load_few((keys, [])), [], pages)
        finally:
            routed.close()
        return listings

    async def add(self, pages: Sequence[Page], changes: Sequence[TargetChange]) -> None:
        """Add pages and changes of targets."""
        async with page_writer(self._workers, self._sink, self._pages) as writer:
            await writer.add([(page, None) for page in pages])
            hide_pages(changes, self._sink)
        await self._distribute(changes)

    async def _route(self, routed: Partitions[Routed]) -> None:
        """Save the records that the prefix judged, and distribute events by their aggregate."""
        # The partition of an event shapes no bytes. The salt keeps anyone from choosing names that all fall into one.
        salt = token_hex(16)
        edition = self._edition
        async for extension in self._tail.extensions(edition.after.size, (edition.first, edition.content_size)):
            await keep_extension(self._store, extension, self._sink, self._telling)
            await self._workers.run(routed.add, extension.routed, lambda item: hash(salt + item.key) % routed.count)

    async def _few(self, routed: Partitions[Routed]) -> AsyncIterator[tuple[Sequence[str], Sequence[Routed]]]:
        for index in range(routed.count):
            for some in few_aggregates(await self._workers.run(routed.take, index), PROJECTS_AT_ONCE):
                yield some

    async def _load_few(self, some: tuple[Sequence[str], Sequence[Routed]]) -> _Stored:
        keys, items = some
        edition = self._edition
        needed = needed_files(items, html=edition.authority.settings.html_pages or self._visits_all)
        return await self._store.run(_load, keys, items, needed)

    async def _fold_few(
        self, stored: _Stored, items: Sequence[Routed], pages: Behind[PageToWrite, None]
    ) -> list[Listing]:
        edition = self._edition
        loaded, seen = stored
        folded: Folded = await self._workers.run(
            fold_events,
            loaded.states,
            seen,
            items,
            html=edition.authority.settings.html_pages,
            terms=edition.authority.terms,
            times=self._times,
            render_anew=self._renders_anew,
            renders=self._renders,
            tells=self._telling is not None,
        )
        if self._telling is not None:
            await self._telling.add(folded.told)
        rows = self._pages.choose(folded.pages, loaded.filed)
        await pages.add([(page, rows.get(page.path)) for page in folded.pages])
        hide_pages(folded.targets, self._sink)
        changed = records.rows_of(folded.changes, loaded, rows.values())
        await self._store.run(records.save_folded, changed, folded.seen, folded.judged)
        if folded.targets:
            await self._distribute(folded.targets)
        return folded.listings

    async def _all_projects(self, done: set[str]) -> AsyncIterator[list[str]]:
        last = "project:"
        while keys := await self._store.run(keys_between, last, "project;", PROJECTS_AT_ONCE):
            last = keys[-1]
            yield [key for key in keys if key not in done]

    # --- targets to bins -----------------------------------------------------------------------------------------

    async def _distribute(self, changes: Iterable[TargetChange]) -> None:
        layout, targets = self._edition.authority.layout, await self._all_targets()
        await self._workers.run(targets.add, changes, lambda change: layout.partition_of(change.path, targets.count))

    async def _all_targets(self) -> Partitions[TargetChange]:
        if self._targets is None:
            expected = 3 * self._edition.size
            if self._edition.old_layout is not None:
                expected += sum(entry.length for entry in self._last.entries.values()) // TARGET_BYTES
            self._targets = Partitions(self._spill / "targets", TargetChange, expected)
        return self._targets

    async def _move_bins(self) -> None:
        """If the number of bins has changed, move all targets from the old bins to the new ones."""
        old = self._edition.old_layout
        if old is None:
            return
        for start in range(0, old.count, BINS_AT_ONCE):
            indices = range(start, min(start + BINS_AT_ONCE, old.count))
            stored = await self._read(self._last, old, indices)
            await self._distribute(await self._workers.run(take_targets, stored))
        await self._store.run(delete_range, f"bin:{old.bits:02}:", f"bin:{old.bits:02};")

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins."""
        targets = await self._all_targets()
        async with (
            bin_sealer(self._workers, self._sealer, self._sink, self._last) as sealing,
            aclosing(each_with(self._workers, self._few_bins(targets), self._load_bins)) as loaded,
        ):
            async for some, stored in loaded:
                await sealing.add(await self._fold_bins(some, stored))
        return dict(sealing.results)

    async def _few_bins(self, targets: Partitions[TargetChange]) -> AsyncIterator[_Bins]:
        choice, layout = self._choice, self._choice.layout
        for partition in range(targets.count):
            changes = by_bin(layout, await self._workers.run(targets.take, partition))
            visited = choice.visited(layout.bins_of(partition, targets.count), changes)
            for start in range(0, len(visited), BINS_AT_ONCE):
                yield _Bins(visited[start : start + BINS_AT_ONCE], changes)

    async def _load_bins(self, bins: _Bins) -> list[StoredBin]:
        # After a change of the layout, bins are made anew from the targets of the old bins.
        last = self._last if self._edition.old_layout is None else None
        return await self._read(last, self._choice.layout, bins.indices)

    async def _read(self, last: LastBins | None, layout: Layout, indices: Sequence[int]) -> list[StoredBin]:
        keys, names = [layout.key(index) for index in indices], [] if last is None else last.names(indices)
        headers, marks = await self._store.run(records.load_bins, keys, names)
        return await self._workers.run(read_bins, last, layout, indices, headers, marks)

    async def _fold_bins(self, bins: _Bins, stored: Sequence[StoredBin]) -> list[Unsealed]:
        """Fold changes into bins; return the bins to seal."""
        folded = await self._workers.run(fold_bins, self._choice, bins.indices, stored, bins.changes)
        await keep_bins(self._store, folded.headers, folded.withholdings, self._sink)
        return folded.unsealed
