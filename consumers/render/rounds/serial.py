"""The two rounds of a publication in this process: events to projects, changed targets to bins.

Projects and bins are loaded, folded, sealed and saved a few at a time, so memory does not grow with the batch. A few
are one visit to the state's thread. While some are signed and written, the next ones are read and folded.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, NamedTuple, ParamSpec, TypeVar

from consumers.render.bin_steps import FoldedBins, by_bin, fold_bins, read_bins
from consumers.render.rounds.job import (
    Job,
    PageToWrite,
    bin_sealer,
    hide_pages,
    keep_extension,
    list_projects,
    page_writer,
)
from consumers.render.tasks import few_aggregates, needed_files
from consumers.state import records
from consumers.state.kept_bins import KeptBin, LastBins
from consumers.work.spill import Partitions
from consumers.work.workers import Behind
from ledger.state.aggregates import PageRow, delete_range, keys_between
from ledger.state.file import StateFile
from ledger.state.statements import State
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes
from projections.log.reading import Routed
from projections.metadata.bins import StoredBin, take_targets
from projections.metadata.targets import TargetChange
from projections.roles.layout import Layout

P = ParamSpec("P")
R = TypeVar("R")

TARGET_BYTES = 128
"""Minimum length of nearly every entry in a bin."""


class _Few(NamedTuple):
    """A few aggregates, and their events."""

    keys: Sequence[str]
    items: Sequence[Routed]
    are_last: bool = False


class _Bins(NamedTuple):
    """A few bins, with the changes of their targets."""

    indices: Sequence[int]
    changes: Mapping[int, Sequence[TargetChange]]


class OneProcess:
    """The rounds in this process."""

    def __init__(self, job: Job) -> None:
        self._store, self._workers, self._edition, self._tail = job.store, job.workers, job.edition, job.tail
        self._sealer, self._sink, self._spill = job.sealer, job.sink, job.spill
        self._last, self._pages, self._limits = job.last, job.pages, job.limits
        self._choice = job.edition.choice()
        self._times = UploadTimes(*job.brackets)
        self._telling, self._renders = job.telling, job.renders
        self._renders_anew = job.renders and job.edition.renders_all_pages
        self._visits_all = self._renders_anew or bool(self._times.new_time)
        self._listings: list[Listing] = []
        self._targets: Partitions[TargetChange] | None = None

    async def close(self) -> None:
        """Delete spilled files."""
        if self._targets is not None:
            await self._on(self._targets, self._targets.close)

    async def save(self) -> None:
        """Do nothing: everything is saved at once."""

    # --- events to projects --------------------------------------------------------------------------------------

    async def fold(self) -> None:
        """Fold the events, and bring the list of projects up to date."""
        if self._renders:
            await self._move_bins()
        done: set[str] = set()
        routed = Partitions(self._spill / "events", Routed, self._edition.size, self._limits)
        try:
            async with page_writer(self._workers, self._sink, self._pages) as pages:
                await self._route(routed)
                async for few in self._few(routed):
                    await self._fold(few, pages)
                    if self._visits_all:
                        done.update(few.keys)
                if self._visits_all:
                    async for keys in self._all_projects(done):
                        await self._fold(_Few(keys, []), pages)
        finally:
            await self._on(routed, routed.close)

    async def _route(self, routed: Partitions[Routed]) -> None:
        """Save the records that the prefix judged, and distribute events by their aggregate."""
        # The partition of an event shapes no bytes. The salt keeps anyone from choosing names that all fall into one.
        salt = token_hex(16)
        edition = self._edition
        async for extension in self._tail.extensions(edition.after.size, (edition.first, edition.content_size)):
            await keep_extension(self._store, extension, self._sink, self._telling)
            await self._on(routed, routed.add, extension.routed, lambda item: hash(salt + item.key) % routed.count)

    async def _few(self, routed: Partitions[Routed]) -> AsyncIterator[_Few]:
        """All events by their aggregates, a few at a time; the last ones even if there are none."""
        few = _Few([], [])
        for index in range(routed.count):
            for some in few_aggregates(await self._on(routed, routed.take, index), self._limits.projects_at_once):
                if few.keys:
                    yield few
                few = _Few(*some)
        yield few._replace(are_last=True)

    async def _fold(self, few: _Few, pages: Behind[PageToWrite, None]) -> None:
        """Fold the events of a few aggregates, and pass on what they change."""
        folded, rows = await self._store.run(self._fold_few, few)
        if self._telling is not None:
            await self._telling.add(folded.told)
        await pages.add([(page, rows.get(page.path)) for page in folded.pages])
        hide_pages(folded.targets, self._sink)
        if folded.targets:
            await self._distribute(folded.targets)

    def _fold_few(self, state: StateFile, few: _Few) -> tuple[Folded, dict[str, PageRow]]:
        """Load a few aggregates, fold their events, and save the changes; return these, and the pages to keep.

        The list of projects comes after the last ones, in the same visit.
        """
        keys, items = few.keys, few.items
        html = self._edition.authority.settings.html_pages
        needed = needed_files(items, html=html or self._visits_all)
        loaded = records.load_aggregates(state, keys, needed, rows_read_by(items))
        folded = fold_events(
            loaded.states,
            records.load_seen(state, items),
            items,
            html=html,
            terms=self._edition.authority.terms,
            times=self._times,
            render_anew=self._renders_anew,
            renders=self._renders,
            tells=self._telling is not None,
            files_per_chunk=self._limits.files_per_chunk,
        )
        rows = self._pages.choose(folded.pages, loaded.filed)
        changed = records.rows_of(folded.changes, loaded, rows.values())
        records.save_folded(state, changed, folded.seen, folded.judged)
        self._listings += folded.listings
        if few.are_last and self._renders:
            listed, changes = list_projects(state, self._edition, self._listings, self._limits.names_per_chunk)
            folded.pages.extend(listed)
            folded.targets.extend(changes)
        return folded, rows

    async def _all_projects(self, done: set[str]) -> AsyncIterator[list[str]]:
        last = "project:"
        while keys := await self._store.run(keys_between, last, "project;", self._limits.projects_at_once):
            last = keys[-1]
            yield [key for key in keys if key not in done]

    # --- targets to bins -----------------------------------------------------------------------------------------

    async def _distribute(self, changes: Iterable[TargetChange]) -> None:
        layout, targets = self._edition.authority.layout, self._all_targets()
        await self._on(targets, targets.add, changes, lambda change: layout.partition_of(change.path, targets.count))

    async def _on(self, partitions: Partitions[Any], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of partitions. One partition stays in memory: a thread would take longer to be told."""
        if partitions.count == 1:
            return function(*args, **kwargs)
        return await self._workers.run(function, *args, **kwargs)

    def _all_targets(self) -> Partitions[TargetChange]:
        if self._targets is None:
            expected = 3 * self._edition.size
            if self._edition.old_layout is not None:
                expected += sum(entry.length for entry in self._last.entries.values()) // TARGET_BYTES
            self._targets = Partitions(self._spill / "targets", TargetChange, expected, self._limits)
        return self._targets

    async def _move_bins(self) -> None:
        """If the number of bins has changed, move all targets from the old bins to the new ones."""
        old = self._edition.old_layout
        if old is None:
            return
        size = self._limits.bins_at_once
        for start in range(0, old.count, size):
            indices = range(start, min(start + size, old.count))
            await self._distribute(await self._store.run(self._take_targets, old, indices))
        await self._store.run(delete_range, f"bin:{old.bits:02}:", f"bin:{old.bits:02};")

    def _take_targets(self, state: State, layout: Layout, indices: Sequence[int]) -> list[TargetChange]:
        return take_targets(_read(state, self._last, layout, indices))

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins."""
        async with bin_sealer(self._workers, self._sealer, self._sink, self._last) as sealing:
            async for some in self._few_bins(self._all_targets()):
                folded = await self._store.run(self._fold_bins, some)
                if folded.withholdings:
                    self._sink.withhold(folded.withholdings)
                await sealing.add(folded.unsealed)
        return dict(sealing.results)

    async def _few_bins(self, targets: Partitions[TargetChange]) -> AsyncIterator[_Bins]:
        choice, layout, size = self._choice, self._choice.layout, self._limits.bins_at_once
        for partition in range(targets.count):
            changes = by_bin(layout, await self._on(targets, targets.take, partition))
            visited = choice.visited(layout.bins_of(partition, targets.count), changes)
            for start in range(0, len(visited), size):
                yield _Bins(visited[start : start + size], changes)

    def _fold_bins(self, state: State, bins: _Bins) -> FoldedBins:
        """Load a few bins, fold the changes of their targets, and save what is stored beside their files."""
        # After a change of the layout, bins are made anew from the targets of the old bins.
        last = self._last if self._edition.old_layout is None else None
        stored = _read(state, last, self._choice.layout, bins.indices)
        folded = fold_bins(self._choice, bins.indices, stored, bins.changes)
        records.save_bins(state, folded.headers, folded.withholdings)
        return folded


def _read(state: State, last: LastBins | None, layout: Layout, indices: Sequence[int]) -> list[StoredBin]:
    keys, names = [layout.key(index) for index in indices], [] if last is None else last.names(indices)
    return read_bins(last, layout, indices, *records.load_bins(state, keys, names))
