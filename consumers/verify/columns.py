"""Verification by columns: a window of publications at once, each project and bin through all its versions.

It finds out what `Follower.step` finds out, about every version of every file, for a tenth of the time where
publications are small. `step` stays the reference: it takes over where an era ends
(`consumers.reading.runs.Window`), and where a publication may not reproduce, for the message and for voiding.

It is exact because every seal in `roles` must be consumed by its bin, and every signed version must have a seal; the
first publication that diverges is the least over all columns. The state moves to the end of the window as by
`Follower.skip`, so `step` can go on there.
"""

from base64 import b64decode
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from typing import TypeVar

from consumers.follow.follower import CheckedWindow, Follower
from consumers.limits import LIMITS, Limits
from consumers.reading.publications import ValidPublication
from consumers.reading.runs import Window, publication_row
from consumers.render.edition import Edition
from consumers.render.tasks import by_key, pack_events
from consumers.state import records
from consumers.state.kept_bins import LastBins
from consumers.state.open_state import open_state
from consumers.verify.column_tasks import (
    BinColumn,
    CheckedBins,
    Checking,
    FoldedColumns,
    Folding,
    SnapshotVersion,
    VersionedFile,
    check_bins,
    check_snapshots,
    fold_columns,
    pack_changes,
    rows_of_pages,
)
from consumers.work.workers import Workers
from ledger.state.comparisons import FileRow
from ledger.state.store import Store
from projections.index import project_list
from projections.index.chunks import Aggregate
from projections.index.project_list import Listing, ProjectList
from projections.log.reading import Routed
from projections.metadata.paths import metadata_path
from projections.metadata.repository import RoleEntry, expires_at
from schemas.publications import Claim

R = TypeVar("R")

_TASKS_PER_CORE = 4
_SNAPSHOTS_PER_TASK = 125

Within = Callable[[ValidPublication, float], None]
"""Called with the last publication of a window, and with the share of the work on the window that is done."""

_CHECKING = 0.8
"""The share of checking in that work, by experience. The rest is the move of the state to the window's end."""


def _nobody(_last: ValidPublication, _share: float) -> None:
    """Ignore progress."""


class Columns:
    """Verifies windows of publications for a follower. Used by one task."""

    def __init__(
        self, follower: Follower, store: Store, workers: Workers, *, limits: Limits = LIMITS, report: Within = _nobody
    ) -> None:
        self._follower, self._store, self._workers = follower, store, workers
        self._report = report
        self._skip_from = limits.skip_from
        self._takes_processes = False
        self._tried_at = -limits.skip_from
        """The publication after which fewer than `skip_from` could be verified together."""

    async def step_if_far(self, count: int, last: int | None = None) -> bool:
        """Verify and apply the next window, if many publications are unread. False: the next one is one for `step`.

        Args:
            count: how many records `publications` has.
            last: the last publication to apply, if it is not the last one.
        """
        number, unread = self._follower.head.number, count - self._follower.next_record
        many = unread // 2 if last is None else min(unread // 2, last - number)  # each has a claim and a publication
        if number == 0 or many < self._skip_from or number < self._tried_at + self._skip_from:
            return False
        if await self.step(lambda claim: last is None or claim.number <= last, at_least=self._skip_from):
            return True
        self._tried_at = number
        return False

    async def step(self, wanted: Callable[[Claim], bool], *, at_least: int) -> bool:
        """Verify and apply the next window. False: nothing was applied, and the next publication is one for `step`.

        Args:
            wanted: whether to apply this publication; the first unwanted one ends the window.
            at_least: minimum number of publications; with fewer, `step` is as fast.
        """
        before, head = self._follower.base.authority, self._follower.head
        if before is None or head.number == 0:
            return False
        return await self._follower.step_over(wanted, Window(before, head.content_size), self._check, at_least=at_least)

    async def _check(self, publications: Sequence[ValidPublication], edition: Edition) -> CheckedWindow:
        """Check every version of every file of a window."""
        window = _Window(publications, edition, self._follower, self._store)
        processes = self._workers.processes
        signed = sum(len(each.publication.roles) for each in publications)
        self._takes_processes = processes is not None and processes.are_worth(max(edition.size, signed))
        try:
            diverging = await self._check_window(window)
        finally:
            if not self._takes_processes:
                await self._workers.run(open_state, None)
        if diverging is not None:
            return CheckedWindow(publications[diverging].claim.number)
        return CheckedWindow(None, window.files())

    async def _check_window(self, window: "_Window") -> int | None:
        """The first version that does not reproduce, or at which a shorter window must end; None: all reproduce."""
        cores = self._workers.processes.count if self._workers.processes is not None else 1
        parts = cores * _TASKS_PER_CORE if self._takes_processes else 1
        end = len(window.publications)
        window.tasks = 2 * parts + -(-end // _SNAPSHOTS_PER_TASK)
        # Nearly always, no bin is so long that the snapshot states its length: then nothing of it must be known first.
        ahead = self._workers.ahead(self._check_snapshots(window, end))
        try:
            async with aclosing(self._each(window, await window.folding(parts))) as folded:
                async for done in folded:
                    if done.are_too_many:
                        await ahead.stop()
                        return end // 2
                    window.take_folded(done)
            await window.list_projects()
            diverging: list[int] = []
            async with aclosing(self._each(window, window.bins(parts))) as checked:
                async for each in checked:
                    window.long.update(each.long)
                    diverging += [] if each.diverging is None else [each.diverging]
            found = await ahead.result()
        except BaseException:
            await ahead.stop()
            raise
        if window.long:
            found = await self._check_snapshots(window, min(diverging, default=end))
        return min([*diverging, *([] if found is None else [found])], default=None)

    async def _check_snapshots(self, window: "_Window", end: int) -> int | None:
        """The first of the versions before `end` whose snapshot diverges, or None."""
        async with aclosing(self._each(window, window.snapshots(end))) as checked:
            async for found in checked:
                if found is not None:
                    return found
        return None

    async def _each(self, window: "_Window", tasks: Iterable[Callable[[], R]]) -> AsyncGenerator[R, None]:
        """Run tasks of a window, and yield their results in order."""
        processes = self._workers.processes
        if processes is not None and self._takes_processes:
            async with aclosing(processes.in_order(tasks)) as done:
                async for each in done:
                    self._report(window.publications[-1], window.count_task())
                    yield each
            return
        for task in tasks:
            found = await self._workers.run(task)
            self._report(window.publications[-1], window.count_task())
            yield found


class _Window:
    """A window of publications while it is checked."""

    def __init__(
        self, publications: Sequence[ValidPublication], edition: Edition, follower: Follower, store: Store
    ) -> None:
        self.publications = publications
        self.long: dict[tuple[int, str], int] = {}
        self.tasks = 1
        self._tasks_done = 0
        self._edition = edition
        self._follower = follower
        self._store = store
        authority = edition.authority
        times, _ = edition.brackets()
        self._folding = Folding(
            store.path,
            authority.layout,
            [each.content_size for each in publications],
            authority.settings.html_pages,
            authority.terms,
            times,
        )
        self._changes: dict[int, list[bytes]] = {}
        self._listings: list[Listing] = []
        self._pages: list[VersionedFile] = []

    def count_task(self) -> float:
        """A task was done; return the share of the work on the window that is done."""
        self._tasks_done += 1
        return _CHECKING * min(1, self._tasks_done / self.tasks)

    async def folding(self, parts: int) -> list[Callable[[], FoldedColumns]]:
        """The tasks that fold events."""
        edition, routed = self._edition, list[Routed]()
        shown = edition.first, edition.content_size
        covered = [each.claim.size for each in self.publications]
        async for extension in self._follower.tail.extensions(edition.after.size, shown):
            routed += extension.routed
            for ceremony in extension.ceremonies:
                version = next(place for place, size in enumerate(covered) if size > ceremony.index)
                for document in ceremony.documents:
                    path = metadata_path(document.role, document.version)
                    self._pages.append((path, sha256(document.file).hexdigest(), version))
        of_keys = sorted(by_key(routed).values(), key=len, reverse=True)
        dealt = [[item for items in of_keys[start::parts] for item in items] for start in range(parts)]
        return [partial(fold_columns, self._folding, pack_events(items)) for items in dealt if items]

    def take_folded(self, done: FoldedColumns) -> None:
        """A task was done."""
        for index, packed in done.changes.items():
            self._changes.setdefault(index, []).append(packed)
        self._listings += done.listings
        self._pages += done.pages

    async def list_projects(self) -> None:
        """Follow the list of projects through all versions."""
        names = sorted({each.name for each in self._listings})
        header, waiting = await self._store.run(records.load_project_list, names)
        stored: Aggregate | None = None  # loaded when the list is rendered first
        of_versions: dict[int, list[Listing]] = {}
        for listing in sorted(self._listings, key=lambda each: each.index):
            of_versions.setdefault(self._folding.version_of(listing.index), []).append(listing)
        for version, shown in enumerate(self._edition.publications):
            projects = ProjectList(header, waiting)
            projects.follow([(shown.claim, shown.authority.settings, shown.content_size)], of_versions.get(version, ()))
            if projects.is_rendered and stored is None:
                loaded = await self._store.run(records.load_aggregates, [project_list.KEY])
                stored = loaded.states.get(project_list.KEY, Aggregate(project_list.KEY))
                unmoved = await self._store.run(records.load_waiting)
                for name in names:
                    unmoved.pop(name, None)
                waiting |= unmoved
            chunks = () if stored is None else stored.chunks
            change, pages, targets = projects.finish(chunks, waiting)
            header = change.header or header
            waiting = _moved({} if projects.is_rendered else waiting, projects.left)
            if projects.is_rendered and stored is not None:
                stored = change.of(stored)
                self._pages += rows_of_pages(version, pages, targets)
                for target in targets:
                    index = self._folding.layout.index_of_target(target.path)
                    self._changes.setdefault(index, []).append(pack_changes([(version, target)]))

    def bins(self, parts: int) -> Iterator[Callable[[], CheckedBins]]:
        """The tasks that check bins."""
        layout, seals = self._folding.layout, dict[int, dict[int, tuple[str, Sequence[str]]]]()
        renewed: dict[int, set[int]] = {}
        stamps = []
        for version, each in enumerate(self.publications):
            settings = each.authority.settings
            stamps.append((each.claim.number, expires_at(each.claim.time, settings.bin_expiry_seconds)))
            for name, digest, signatures in each.publication.roles:
                seals.setdefault(_index(layout.index(name)), {})[version] = digest, signatures
            for name in each.claim.renew:
                renewed.setdefault(_index(layout.index(name)), set()).add(version)
        checking = Checking(self._folding.state, layout, self._edition.authority.online, stamps)
        last = LastBins(self._store.kept, layout, self._follower.table.entries)
        visited = sorted({*self._changes, *seals, *renewed})
        size = -(-len(visited) // parts) or 1
        for start in range(0, len(visited), size):
            some = visited[start : start + size]
            columns = {
                index: BinColumn(self._changes.get(index, ()), seals.get(index, {}), frozenset(renewed.get(index, ())))
                for index in some
            }
            yield partial(check_bins, checking, last.of(some), columns)

    def snapshots(self, end: int) -> Iterator[Callable[[], int | None]]:
        """The tasks that check snapshots up to a version (exclusive)."""
        entries = dict(self._follower.table.entries)
        for start in range(0, end, _SNAPSHOTS_PER_TASK):
            versions = [self._snapshot(version) for version in range(start, min(end, start + _SNAPSHOTS_PER_TASK))]
            yield partial(check_snapshots, dict(entries), start, versions)
            for each in versions:
                entries.update(each.signed)

    def _snapshot(self, version: int) -> SnapshotVersion:
        each = self.publications[version]
        digest, length, signatures = each.publication.snapshot
        signed = {
            name: RoleEntry(each.claim.number, "", self.long.get((version, name), 0))
            for name, _, _ in each.publication.roles
        }
        return SnapshotVersion(each.claim, each.authority, each.content_size, signed, (digest, signatures), length)

    def files(self) -> list[FileRow]:
        """All files that the window made, in the order of their publications."""
        rows = [(path, digest, self.publications[version].claim.number) for path, digest, version in self._pages]
        for each in self.publications:
            number, row = each.claim.number, publication_row(each, stepped=True)
            rows.append((metadata_path("snapshot", number), row.snapshot_sha256, number))
            rows.append((metadata_path("timestamp", number), row.timestamp_sha256, number))
            rows += [
                (metadata_path(name, number), b64decode(digest).hex(), number)
                for name, digest, _ in each.publication.roles
            ]
        return sorted(rows, key=lambda row: row[2])


def _moved(waiting: Mapping[str, bool], left: Mapping[str, bool | None]) -> dict[str, bool]:
    """The waiting names after a publication."""
    known: dict[str, bool | None] = {**waiting, **left}
    return {name: came for name, came in known.items() if came is not None}


def _index(index: int | None) -> int:
    """The index of a bin that a valid record names."""
    if index is None:
        raise AssertionError("valid records name bins in force")
    return index
