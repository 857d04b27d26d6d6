"""The two rounds of a publication in this process: events to projects, changed targets to bins.

Everything is loaded, folded, sealed and saved in groups of bounded size, so memory does not grow with the batch. While
one group is signed and written, the next is read and folded.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Protocol

import orjson
import structlog

from consumers.reading.tail import Tail
from consumers.render import bin_steps as bins
from consumers.render import tasks
from consumers.render.bin_steps import KeptBin, LastBins, Unsealed, by_bin, fold_bins, read_bins, seal_bin
from consumers.render.edition import Edition
from consumers.render.tasks import groups, hidden_pages, needed_files
from consumers.state import records as state
from consumers.state.kept_pages import KeptPages
from consumers.work.progress import Report
from consumers.work.spill import Partitions
from consumers.work.workers import Behind, Workers, each_with
from ledger.state.store import PageRow, Store
from projections.index.fold import Folded, fold_events
from projections.index.names import split_filename
from projections.index.project_list import Listing
from projections.log.prefix import Extension, Routed
from projections.metadata.bins import Layout, Page, StoredBin, TargetChange, take_targets
from projections.metadata.repository import LENGTH_ABOVE_BYTES
from projections.roles.documents import Document

BINS_PER_GROUP = 16
PROJECTS_PER_GROUP = 16
TARGET_BYTES = 128
"""What an entry in a bin takes at least, nearly always."""

PageToWrite = tuple[Page, PageRow | None]
"""A page, and its row if the state keeps it as a file."""

log = structlog.get_logger()


class Sealer(bins.Sealer, Protocol):
    """Turns payloads into metadata files. Called from several threads."""

    def remote(self, names: Iterable[str]) -> bins.Sealer | None:
        """What other processes seal these bins with; None: with nothing, they are for this one."""


class Sink(Protocol):
    """Where rendered files go. Paths are relative to what is served."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """An immutable file, which may be a second name of another. Called from several threads."""

    def show(self, path: str, source: str | None) -> None:
        """A plain page shows this immutable file from this publication on, or nothing."""

    def put_document(self, document: Document) -> None:
        """An offline role's document is in force from this publication on."""

    def remote(self) -> tasks.Sink | None:
        """Where other processes put files that are then adopted; None: all are to be put here."""

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """An immutable file of so many bytes, with this SHA-256, was put there by another process, which was given this
        token.
        """


class Job(NamedTuple):
    """What both rounds work on. `spill` is a folder for what does not fit into memory; `report` is told how far a long
    batch has come; `last` are the bins as they were, `pages` how pages are kept.
    """

    store: Store
    workers: Workers
    edition: Edition
    tail: Tail
    sealer: Sealer
    sink: Sink
    spill: Path
    report: Report
    last: LastBins
    pages: KeptPages


class Rounds(Protocol):
    """The two rounds of one publication: `fold`, then `add` what the list of projects makes, then `seal`."""

    async def fold(self) -> list[Listing]:
        """Fold the events; gives what they do to the list of all projects."""

    async def add(self, pages: Sequence[Page], changes: Sequence[TargetChange]) -> None:
        """Add pages, and changes of targets."""

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins; gives them by role name, in the order of bins."""

    async def close(self) -> None:
        """Nothing runs any more; delete what was spilled."""

    async def save(self) -> None:
        """Save what is not saved yet, after `close`: it is less than a few megabytes, and the files need not wait."""


async def keep_extension(store: Store, extension: Extension, sink: Sink) -> None:
    """Keep what a prefix has judged."""
    await state.save_judged(store, "events", extension.judged)
    await state.save_ceremonies(store, extension.ceremonies)
    for ceremony in extension.ceremonies:
        for document in ceremony.documents:
            sink.put_document(document)


def page_writer(workers: Workers, sink: Sink, pages: KeptPages) -> Behind[PageToWrite, None]:
    """Writes pages, one group behind those who render them, and those with a row for the state, too."""

    def put(item: PageToWrite) -> None:
        page, row = item
        sink.put(page.hashed_path, page.data, None if row is None else pages.put(row, page))
        sink.show(f"targets/{page.path}", page.hashed_path)

    return Behind(workers, put)


def bin_sealer(workers: Workers, sealer: Sealer, sink: Sink, last: LastBins) -> Behind[Unsealed, tuple[str, KeptBin]]:
    """Seals and writes bins, one group behind those who render them."""

    def seal(unsealed: Unsealed) -> tuple[str, KeptBin]:
        sealed = seal_bin(sealer, unsealed)
        if sealed.entry.length > LENGTH_ABOVE_BYTES:
            warn_of_stuffed(sealed.name, sealed.entry.length, b",".join(unsealed.targets))
        path, kept = last.keep(sealed)
        sink.put(sealed.path, sealed.file, path)
        return sealed.name, kept

    return Behind(workers, seal)


def hide_pages(changes: Iterable[TargetChange], sink: Sink) -> None:
    """Plain pages that are gone."""
    for path in hidden_pages(changes):
        sink.show(f"targets/{path}", None)


def warn_of_stuffed(name: str, length: int, targets: bytes) -> None:
    """Say which project fills a bin: names can be chosen so that they all fall into one (clients still download it, as
    the snapshot gives its length).
    """
    names = (path.rpartition("/")[2] for path in orjson.loads(b"{%s}" % targets))
    projects = Counter((split_filename(filename) or ("other targets", ""))[0] for filename in names)
    (project, count), *_ = projects.most_common(1)
    log.warning("a bin is very long", bin=name, bytes=length, targets=projects.total(), most=project, of_these=count)


class _Bins(NamedTuple):
    """A group of bins, with the changes of their targets."""

    indices: Sequence[int]
    changes: Mapping[int, Sequence[TargetChange]]


class _Stored(NamedTuple):
    """What is stored of a group of aggregates, and which of its events were seen before."""

    loaded: state.Loaded
    seen: Mapping[tuple[str, str], str]


class OneProcess:
    """The rounds in this process."""

    def __init__(self, job: Job) -> None:
        self._store, self._workers, self._edition, self._tail = job.store, job.workers, job.edition, job.tail
        self._sealer, self._sink, self._spill = job.sealer, job.sink, job.spill
        self._last, self._pages = job.last, job.pages
        self._choice = job.edition.choice()
        self._targets: Partitions[TargetChange] | None = None

    async def close(self) -> None:
        """Delete what was spilled."""
        if self._targets is not None:
            self._targets.close()

    async def save(self) -> None:
        """All is saved as it comes."""

    # --- events to projects --------------------------------------------------------------------------------------

    async def fold(self) -> list[Listing]:
        """Fold the events."""
        await self._move_bins()
        anew = self._edition.renders_all_pages
        listings: list[Listing] = []
        done: set[str] = set()
        routed = Partitions(self._spill / "events", Routed, self._edition.size)
        try:
            async with page_writer(self._workers, self._sink, self._pages) as pages:
                await self._route(routed)
                async with aclosing(each_with(self._workers, self._groups(routed), self._load_group)) as loaded:
                    async for (keys, items), stored in loaded:
                        listings.extend(await self._fold_group(stored, items, pages))
                        if anew:
                            done.update(keys)
                if anew:
                    async for keys in self._all_projects(done):
                        await self._fold_group(await self._load_group((keys, [])), [], pages)
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
        """Keep what the prefix has judged, and distribute events by the aggregate they are about."""
        # What goes into which partition shapes nothing; nobody shall be able to choose names that all fall into one.
        salt = token_hex(16)
        async for extension in self._tail.extensions(self._edition.after.size):
            await keep_extension(self._store, extension, self._sink)
            await self._workers.run(routed.add, extension.routed, lambda item: hash(salt + item.key) % routed.count)

    async def _groups(self, routed: Partitions[Routed]) -> AsyncIterator[tuple[Sequence[str], Sequence[Routed]]]:
        for index in range(routed.count):
            for group in groups(await self._workers.run(routed.take, index), PROJECTS_PER_GROUP):
                yield group

    async def _load_group(self, group: tuple[Sequence[str], Sequence[Routed]]) -> _Stored:
        keys, items = group
        edition = self._edition
        needed = needed_files(items, html=edition.authority.settings.html_pages or edition.renders_all_pages)
        loaded = await state.load_aggregates(self._store, keys, needed)
        return _Stored(loaded, await state.load_seen(self._store, items))

    async def _fold_group(
        self, stored: _Stored, items: Sequence[Routed], pages: Behind[PageToWrite, None]
    ) -> list[Listing]:
        edition = self._edition
        html, anew = edition.authority.settings.html_pages, edition.renders_all_pages
        loaded, seen = stored
        folded: Folded = await self._workers.run(fold_events, loaded.states, seen, items, html=html, render_anew=anew)
        rows = self._pages.choose(folded.pages, loaded.filed)
        await pages.add([(page, rows.get(page.path)) for page in folded.pages])
        hide_pages(folded.targets, self._sink)
        await state.save_rows(self._store, state.rows_of(folded.changes, loaded, rows.values()))
        await state.save_seen(self._store, folded.seen)
        await state.save_judged(self._store, "events", folded.judged)
        await self._distribute(folded.targets)
        return folded.listings

    async def _all_projects(self, done: set[str]) -> AsyncIterator[list[str]]:
        last = "project:"
        while keys := await self._store.keys(last, "project;", PROJECTS_PER_GROUP):
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
        """Take all targets out of the old bins if there is another number of bins now, and add them to the new."""
        old = self._edition.old_layout
        if old is None:
            return
        for start in range(0, old.count, BINS_PER_GROUP):
            indices = range(start, min(start + BINS_PER_GROUP, old.count))
            stored = await self._read(self._last, old, indices)
            await self._distribute(await self._workers.run(take_targets, stored))
        await self._store.delete_range(f"bin:{old.bits:02}:", f"bin:{old.bits:02};")

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins."""
        targets = await self._all_targets()
        async with (
            bin_sealer(self._workers, self._sealer, self._sink, self._last) as sealing,
            aclosing(each_with(self._workers, self._groups_of_bins(targets), self._load_bins)) as loaded,
        ):
            async for group, stored in loaded:
                await sealing.add(await self._fold_bins(group, stored))
        return dict(sealing.results)

    async def _groups_of_bins(self, targets: Partitions[TargetChange]) -> AsyncIterator[_Bins]:
        choice, layout = self._choice, self._choice.layout
        for part in range(targets.count):
            changes = by_bin(layout, await self._workers.run(targets.take, part))
            visited = choice.visited(layout.bins_of(part, targets.count), changes)
            for start in range(0, len(visited), BINS_PER_GROUP):
                yield _Bins(visited[start : start + BINS_PER_GROUP], changes)

    async def _load_bins(self, bins: _Bins) -> list[StoredBin]:
        # Bins that move are made anew of what was taken out of the old ones.
        last = self._last if self._edition.old_layout is None else None
        return await self._read(last, self._choice.layout, bins.indices)

    async def _read(self, last: LastBins | None, layout: Layout, indices: Sequence[int]) -> list[StoredBin]:
        headers = await self._store.load_headers([layout.key(index) for index in indices])
        marks = [] if last is None else await self._store.load_marks(last.names(indices))
        return await self._workers.run(read_bins, last, layout, indices, dict(headers), dict(marks))

    async def _fold_bins(self, bins: _Bins, stored: Sequence[StoredBin]) -> list[Unsealed]:
        """Fold changes into bins; gives those to be sealed."""
        headers, unsealed = await self._workers.run(fold_bins, self._choice, bins.indices, stored, bins.changes)
        await self._store.save(headers)
        return unsealed
