"""Sweeping: deleting old metadata and pages that no client can reach (PEP 458, "Producing consistent snapshots": mark
and sweep).

A file that the served timestamp does not lead to is *marked* with the time when a sweep first found it unreachable. A
later sweep deletes files that are still marked after the grace period and were not published again meanwhile. Roots,
distribution files, plain pages and the timestamp are never deleted. Everything that is deleted can be rebuilt from the
log.

A page is named by one bin. So pages that became unreachable are named by bin versions written since the last sweep.
The first sweep, and a full one, searches every folder instead: there are as many folders as projects. Before a page is
deleted, its bin is checked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from threading import Event
from time import sleep
from typing import NamedTuple

from consumers.sweep.public_tree import (
    ServedTree,
    UnreadableTreeError,
    files_below,
    pages_of,
    read_served,
    unreadable,
    versioned_metadata,
)
from consumers.work.progress import Report
from ledger.clock import from_instant, to_instant
from ledger.state.sweep_memory import Marks, Memory, SweptBin
from ledger.storage import Storage
from projections.metadata.paths import PAGES, TargetPlace, is_hashed_page, metadata_path, plain_path, read_path

BATCH = 100
"""Number of files that are deleted while publishers wait."""
PAUSE_SECONDS = 0.001
"""Pause between batches, so that a waiting publisher can take the lock."""


_WALKED_AT_ONCE = 4096
_NO_BINS = {"timestamp", "snapshot", "targets", "bins"}


class Swept(NamedTuple):
    """The result of a sweep: deleted paths (or those to be deleted), their bytes, the numbers of newly marked and of
    reachable files, and whether it searched every folder.
    """

    deleted: list[str]
    bytes: int
    marked: int
    kept: int
    full: bool


class _Found(NamedTuple):
    """The unreachable files, and the served bins."""

    served: ServedTree
    unreachable: set[str]
    bins: dict[str, SweptBin]
    full: bool

    @property
    def reachable(self) -> int:
        """The number of reachable files."""
        return len(self.served.others) + len(self.bins) + sum(each.pages for each in self.bins.values())


class _Deleted(NamedTuple):
    """Deleted paths and their bytes; paths that were already gone; and paths that were published again."""

    paths: list[str]
    bytes: int
    missing: list[str]
    again: set[str]


async def sweep(
    storage: Storage,
    marks: Marks,
    *,
    now: datetime,
    grace: timedelta,
    dry_run: bool,
    full: bool,
    report: Report,
) -> Swept:
    """Mark unreachable files, and delete those marked for the grace period.

    Args:
        storage: what is served; locked against publishers.
        marks: the marks of earlier sweeps.
        now: the time.
        grace: how long a file is kept after it was first found unreachable.
        dry_run: delete and mark nothing.
        full: search every folder, whatever earlier sweeps found.
        report: called with the numbers of read bins and of all bins, and then with those of deleted files.

    Raises:
        UnreadableTreeError: the served files cannot be followed from their timestamp; nothing is deleted.
        StorageError: a file cannot be read or deleted.
    """
    stop = Event()

    def advance(done: int, total: int) -> None:
        if stop.is_set():
            raise _StoppedError
        report(done, total)

    memory = await marks.load()
    since = memory.since
    try:
        found = await asyncio.to_thread(_find, storage, memory, full, advance)
        due = {path: since[path] for path in found.unreachable if path in since}
        due = {path: moment for path, moment in due.items() if now - from_instant(moment) >= grace}
        needed = await asyncio.to_thread(_needed, storage, found.served, due, advance)
        due = {path: moment for path, moment in due.items() if path not in needed}
        done = await asyncio.to_thread(_delete, storage, due, dry_run, advance)
    except asyncio.CancelledError:
        stop.set()  # otherwise the program would wait for the thread
        raise
    marked = (found.unreachable - since.keys()) | done.again
    left = found.unreachable.difference(done.paths, done.missing, needed)
    if not dry_run:
        instant = to_instant(now)
        after = {path: instant if path in marked else since[path] for path in left}
        await marks.save(memory, Memory(after, found.bins))
    return Swept(done.paths, done.bytes, len(marked), found.reachable, found.full)


class _StoppedError(Exception):
    """The caller was cancelled."""


# --- what is reachable -----------------------------------------------------------------------------------------------


def _find(storage: Storage, memory: Memory, full: bool, report: Report) -> _Found:
    served = read_served(storage)
    reachable, metadata = served.metadata(), versioned_metadata(storage)
    for path in sorted(reachable - metadata.keys()):
        raise unreadable(path)
    # Files of a publication in progress will be reachable.
    numbered = {"timestamp", "snapshot", *served.bins}
    old = {
        path: (name, version)
        for path, (name, version) in metadata.items()
        if path not in reachable and not (name in numbered and version > served.number)
    }
    found = None if full else _changes(storage, served, old, memory, report)
    if found is not None:
        pages, bins = found
        return _Found(served, pages | old.keys(), bins, full=False)
    pages, bins = set[str](), dict[str, SweptBin]()
    for count, (name, version) in enumerate(served.bins.items(), 1):
        some = pages_of(storage, name, version)
        pages |= some
        bins[name] = SweptBin(version, len(some))
        report(count, len(served.bins))
    unreachable: set[str] = set()
    for count, path in enumerate(files_below(storage, plain_path(PAGES).rstrip("/"))):
        if is_hashed_page(path) and path not in pages:
            unreachable.add(path)
        if count % _WALKED_AT_ONCE == 0:
            report(len(bins), len(bins))
    return _Found(served, unreachable | old.keys(), bins, full=True)


def _changes(
    storage: Storage, served: ServedTree, old: Mapping[str, tuple[str, int]], memory: Memory, report: Report
) -> tuple[set[str], dict[str, SweptBin]] | None:
    """The unreachable pages and the served bins, derived from the last sweep; None if a full search is needed.

    Args:
        storage: what is served.
        served: the metadata that its timestamp leads to.
        old: role names and versions of unreachable metadata, by path.
        memory: the last sweep's. The pages of metadata that is marked in it were found when it was marked.
        report: called with the number of read bins.
    """
    if memory.bins.keys() != served.bins.keys():
        return None
    unreachable = {path for path in memory.since if is_hashed_page(path)}
    changed = {name for name, version in served.bins.items() if memory.bins[name].version != version}
    for name in changed:
        before = metadata_path(name, memory.bins[name].version)
        if memory.bins[name].version > served.bins[name] or before not in old:
            return None  # other bins were served before, or the version is gone: its pages may still be there
    for path, (name, version) in old.items():
        if path in memory.since or name in _NO_BINS:
            continue
        if name not in served.bins:
            return None  # other bins were served in between
        try:
            unreachable |= pages_of(storage, name, version)
        except UnreadableTreeError:
            return None
        changed.add(name)
    bins = dict(memory.bins)
    for count, name in enumerate(sorted(changed), 1):
        some = pages_of(storage, name, served.bins[name])
        unreachable -= some
        bins[name] = SweptBin(served.bins[name], len(some))
        report(count, len(changed))
    return unreachable, bins


def _needed(storage: Storage, served: ServedTree, due: Iterable[str], report: Report) -> set[str]:
    """The pages due for deletion that their bin still names. There should be none: this check protects served pages
    even if the memory is wrong.
    """
    of_bins: dict[int, list[str]] = {}
    for path in filter(is_hashed_page, due):
        place = read_path(path)
        if isinstance(place, TargetPlace):
            of_bins.setdefault(served.layout.index_of_target(place.target), []).append(path)
    needed: set[str] = set()
    for count, (index, paths) in enumerate(of_bins.items()):
        report(count, len(of_bins))
        name = served.layout.name(index)
        needed |= pages_of(storage, name, served.bins[name]).intersection(paths)
    return needed


# --- what is deleted -------------------------------------------------------------------------------------------------


def _delete(storage: Storage, due: Mapping[str, str], dry_run: bool, report: Report) -> _Deleted:
    """Delete files that were not published again since they were marked."""
    done, size, paths = _Deleted([], 0, [], set()), 0, sorted(due)
    for start in range(0, len(paths), BATCH):
        report(start, len(paths))
        sleep(PAUSE_SECONDS)
        # A publisher that needs one of these files again puts it anew while it holds the lock.
        with storage.lock():
            for path in paths[start : start + BATCH]:
                entry = storage.entry(path)
                if entry is None:
                    done.missing.append(path)
                    continue
                if entry.put_at >= from_instant(due[path]).timestamp():
                    done.again.add(path)
                    continue
                if not dry_run:
                    storage.delete(path)
                done.paths.append(path)
                size += entry.bytes
    return done._replace(bytes=size)
