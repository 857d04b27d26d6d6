"""Sweeping: old metadata and old pages that no client needs any more are deleted (PEP 458, "Producing consistent
snapshots": mark and sweep).

What the served timestamp does not lead to is *marked* with the time it was first found so. What is still marked when
the grace period is over, and was not published again meanwhile, is deleted by a later sweep. Roots, distribution
files, plain pages and the timestamp are never touched; everything else can be rebuilt from the log.

A page is named by one bin, so what has become unreachable stands in the versions of bins that are there and were not
when the last sweep was. A first one, and one that is asked to, looks at every folder instead: there are as many as
projects. Before a page is deleted, its bin is asked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from os import stat, unlink
from pathlib import Path
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
from ledger.disk.files import storage_error
from ledger.state.sweep_memory import Marks, Memory, SweptBin
from ledger.storage.directory import DirectoryStorage
from projections.metadata.paths import PAGES, TargetPlace, is_hashed_page, metadata_path, plain_path, read_path

BATCH = 100
"""Files that are deleted while publishers wait."""
PAUSE_SECONDS = 0.001
"""Between batches, else we might have the lock again before a publisher that waits for it is awake."""


_WALKED_AT_ONCE = 4096
_NO_BINS = {"timestamp", "snapshot", "targets", "bins"}


class Swept(NamedTuple):
    """What a sweep found and did: paths that were deleted (or would be), how many bytes, what it left for later, and
    whether it looked at every folder.
    """

    deleted: list[str]
    bytes: int
    marked: int
    kept: int
    full: bool


class _Found(NamedTuple):
    """What is unreachable, and the bins that are served."""

    served: ServedTree
    unreachable: set[str]
    bins: dict[str, SweptBin]
    full: bool

    @property
    def reachable(self) -> int:
        """How many files are reachable."""
        return len(self.served.others) + len(self.bins) + sum(each.pages for each in self.bins.values())


class _Deleted(NamedTuple):
    """What was deleted, how many bytes; what somebody else had deleted; and what was published again."""

    paths: list[str]
    bytes: int
    missing: list[str]
    again: set[str]


async def sweep(
    public: Path,
    storage: DirectoryStorage,
    marks: Marks,
    *,
    now: datetime,
    grace: timedelta,
    dry_run: bool,
    full: bool,
    report: Report,
) -> Swept:
    """Mark what is unreachable, and delete what was marked long ago.

    Args:
        public: the folder that is served.
        storage: the same, to be locked against publishers.
        marks: of earlier sweeps.
        now: the time.
        grace: how long a file is kept after it was first found unreachable.
        dry_run: delete and mark nothing.
        full: look at every folder, whatever earlier sweeps found.
        report: is told how many bins were read, of how many, and then how many files were deleted.

    Raises:
        UnreadableTreeError: what is served cannot be followed from its timestamp: nothing is deleted.
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
        found = await asyncio.to_thread(_find, public, storage, memory, full, advance)
        due = {path: since[path] for path in found.unreachable if path in since}
        due = {path: moment for path, moment in due.items() if now - from_instant(moment) >= grace}
        needed = await asyncio.to_thread(_needed, storage, found.served, due, advance)
        due = {path: moment for path, moment in due.items() if path not in needed}
        done = await asyncio.to_thread(_delete, public, storage, due, dry_run, advance)
    except asyncio.CancelledError:
        stop.set()  # else the program would wait for the thread
        raise
    marked = (found.unreachable - since.keys()) | done.again
    left = found.unreachable.difference(done.paths, done.missing, needed)
    if not dry_run:
        instant = to_instant(now)
        after = {path: instant if path in marked else since[path] for path in left}
        await marks.save(memory, Memory(after, found.bins))
    return Swept(done.paths, done.bytes, len(marked), found.reachable, found.full)


class _StoppedError(Exception):
    """Whoever waits for this was cancelled."""


# --- what is reachable -----------------------------------------------------------------------------------------------


def _find(public: Path, storage: DirectoryStorage, memory: Memory, full: bool, report: Report) -> _Found:
    served = read_served(storage)
    reachable, metadata = served.metadata(), versioned_metadata(public)
    for path in sorted(reachable - metadata.keys()):
        raise unreadable(path)
    # What is being published now will be reachable.
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
    for count, path in enumerate(files_below(public, plain_path(PAGES).rstrip("/"))):
        if is_hashed_page(path) and path not in pages:
            unreachable.add(path)
        if count % _WALKED_AT_ONCE == 0:
            report(len(bins), len(bins))
    return _Found(served, unreachable | old.keys(), bins, full=True)


def _changes(
    storage: DirectoryStorage, served: ServedTree, old: Mapping[str, tuple[str, int]], memory: Memory, report: Report
) -> tuple[set[str], dict[str, SweptBin]] | None:
    """The pages that are unreachable, and the bins that are served, going by what the last sweep found; None: that is
    not enough.

    Args:
        storage: what is served.
        served: what its timestamp leads to.
        old: name and version of metadata that is not reachable, by path.
        memory: of the last sweep. Of what is marked in it all pages were found when it was marked.
        report: is told how many bins were read.
    """
    if memory.bins.keys() != served.bins.keys():
        return None
    unreachable = {path for path in memory.since if is_hashed_page(path)}
    changed = {name for name, version in served.bins.items() if memory.bins[name].version != version}
    for name in changed:
        before = metadata_path(name, memory.bins[name].version)
        if memory.bins[name].version > served.bins[name] or before not in old:
            return None  # something else was served before, or it is gone: what it led to may not be
    for path, (name, version) in old.items():
        if path in memory.since or name in _NO_BINS:
            continue
        if name not in served.bins:
            return None  # there were other bins in between
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


def _needed(storage: DirectoryStorage, served: ServedTree, due: Iterable[str], report: Report) -> set[str]:
    """Of pages that are to be deleted those that the bin names that they belong to. There should be none: whatever was
    remembered wrongly, nothing that is served is deleted.
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


def _delete(public: Path, storage: DirectoryStorage, due: Mapping[str, str], dry_run: bool, report: Report) -> _Deleted:
    """Delete files that were not published again since they were marked."""
    done, size, paths = _Deleted([], 0, [], set()), 0, sorted(due)
    for start in range(0, len(paths), BATCH):
        report(start, len(paths))
        sleep(PAUSE_SECONDS)
        # A publisher that needs one of these again touches it, or writes it anew, while it has the lock.
        with storage.exclusive():
            for path in paths[start : start + BATCH]:
                file = f"{public}/{path}"
                try:
                    status = stat(file)  # noqa: PTH116  # a hot path
                    if status.st_mtime >= from_instant(due[path]).timestamp():
                        done.again.add(path)
                        continue
                    if not dry_run:
                        unlink(file)  # noqa: PTH108  # a hot path
                except FileNotFoundError:
                    done.missing.append(path)
                    continue
                except OSError as error:
                    raise storage_error(path, "deleted", error) from error
                done.paths.append(path)
                size += status.st_size if status.st_nlink == 1 else 0
    return done._replace(bytes=size)
