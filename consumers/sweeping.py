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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from os import stat, unlink
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import orjson

from consumers.cli import No
from consumers.comparing import is_page
from consumers.marks import Marks, Memory, SweptBin
from consumers.outlets import TIMESTAMP
from ledger.clock import from_instant, to_instant
from ledger.files import StorageError
from ledger.storage import DirectoryStorage
from projections.bins import Layout, hashed_path

BATCH = 100
"""Files that are deleted while publishers wait."""
PAUSE_SECONDS = 0.001
"""Between batches, else we might have the lock again before a publisher that waits for it is awake."""

Report = Callable[[int, int], None]

_NO_BINS = {"timestamp", "snapshot", "targets", "bins"}
_PAGES = b"simple/"
_TARGETS = b'"targets":{'
# As `projections.bins.target_entry` and `projections.repository.bin_payload` render them, sorted by path.
_ENTRY = re.compile(rb'"([!#-\[\]-~]+)":\{"hashes":\{"sha256":"([0-9a-f]{64})"\},"length":[0-9]+\}')
_END = re.compile(
    rb'(?:"[!#-\[\]-~]+":\{"hashes":\{"sha256":"[0-9a-f]{64}"\},"length":[0-9]+\},?)*\},"version":([0-9]+)\}\}'
)
_VERSIONED = re.compile(r"metadata/(0|[1-9][0-9]*)\.([^/]+)\.json")
_END_BYTES = 8 * 2**10


class Swept(NamedTuple):
    """What a sweep found and did: paths that were deleted (or would be), how many bytes, what it left for later, and
    whether it looked at every folder.
    """

    deleted: list[str]
    bytes: int
    marked: int
    kept: int
    whole: bool


class _Found(NamedTuple):
    """What is unreachable, and the bins that are served."""

    served: "_Served"
    unreachable: set[str]
    bins: dict[str, SweptBin]
    whole: bool

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
    whole: bool,
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
        whole: look at every folder, whatever earlier sweeps found.
        report: is told how many bins were read, of how many.

    Raises:
        No: what is served cannot be followed from its timestamp: nothing is deleted.
        StorageError: a file cannot be read or deleted.
    """
    memory = await marks.load()
    found = await asyncio.to_thread(_find, public, storage, memory, whole, report)
    since = memory.since
    due = {path: since[path] for path in found.unreachable if path in since}
    due = {path: moment for path, moment in due.items() if now - from_instant(moment) >= grace}
    needed = await asyncio.to_thread(_needed, storage, found.served, due)
    done = await asyncio.to_thread(
        _delete, public, storage, {path: due[path] for path in due if path not in needed}, dry_run
    )
    marked = (found.unreachable - since.keys()) | done.again
    left = found.unreachable.difference(done.paths, done.missing, needed)
    if not dry_run:
        instant = to_instant(now)
        after = {path: instant if path in marked else since[path] for path in left}
        await marks.save(memory, Memory(after, found.bins))
    return Swept(done.paths, done.bytes, len(marked), found.reachable, found.whole)


# --- what is reachable -----------------------------------------------------------------------------------------------


class _Served(NamedTuple):
    """What the served timestamp leads to: the number of its publication, paths of metadata that is no bin, how bins are
    delegated, and their versions by role name.
    """

    number: int
    others: set[str]
    layout: Layout
    bins: dict[str, int]

    def metadata(self) -> set[str]:
        """All paths of metadata."""
        return self.others.union(_path(name, version) for name, version in self.bins.items())


def _path(name: str, version: int) -> str:
    return f"metadata/{version}.{name}.json"


def _find(public: Path, storage: DirectoryStorage, memory: Memory, whole: bool, report: Report) -> _Found:
    served = _served(storage)
    reachable, metadata = served.metadata(), _metadata(public)
    for path in sorted(reachable - metadata.keys()):
        raise _unreadable(path)
    # What is being published now will be reachable.
    old = {
        path: (name, version)
        for path, (name, version) in metadata.items()
        if path not in reachable and not (name in served.bins and version > served.number)
    }
    found = None if whole else _changes(storage, served, old, memory, report)
    if found is not None:
        pages, bins = found
        return _Found(served, pages | old.keys(), bins, whole=False)
    pages, bins = set[str](), dict[str, SweptBin]()
    for count, (name, version) in enumerate(served.bins.items(), 1):
        some = _pages(storage, name, version)
        pages |= some
        bins[name] = SweptBin(version, len(some))
        report(count, len(served.bins))
    unreachable = {path for path in _below(public, "targets/simple") if is_page(path) and path not in pages}
    return _Found(served, unreachable | old.keys(), bins, whole=True)


def _changes(
    storage: DirectoryStorage, served: _Served, old: Mapping[str, tuple[str, int]], memory: Memory, report: Report
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
    unreachable = {path for path in memory.since if is_page(path)}
    changed = {name for name, version in served.bins.items() if memory.bins[name].version != version}
    for name in changed:
        before = _path(name, memory.bins[name].version)
        if memory.bins[name].version > served.bins[name] or before not in old:
            return None  # something else was served before, or it is gone: what it led to may not be
    for path, (name, version) in old.items():
        if path in memory.since or name in _NO_BINS:
            continue
        if name not in served.bins:
            return None  # there were other bins in between
        try:
            unreachable |= _pages(storage, name, version)
        except No:
            return None
        changed.add(name)
    bins = dict(memory.bins)
    for count, name in enumerate(sorted(changed), 1):
        some = _pages(storage, name, served.bins[name])
        unreachable -= some
        bins[name] = SweptBin(served.bins[name], len(some))
        report(count, len(changed))
    return unreachable, bins


def _needed(storage: DirectoryStorage, served: _Served, due: Iterable[str]) -> set[str]:
    """Of pages that are to be deleted those that the bin names that they belong to. There should be none: whatever was
    remembered wrongly, nothing that is served is deleted.
    """
    of_bins: dict[int, list[str]] = {}
    for path in filter(is_page, due):
        folder, _, name = path.removeprefix("targets/").rpartition("/")
        target = f"{folder}/{name.partition('.')[2]}"
        of_bins.setdefault(served.layout.index_of_target(target), []).append(path)
    needed: set[str] = set()
    for index, paths in of_bins.items():
        name = served.layout.name(index)
        needed |= _pages(storage, name, served.bins[name]).intersection(paths)
    return needed


def _served(storage: DirectoryStorage) -> _Served:
    """Raises No: it cannot be followed."""
    path = TIMESTAMP
    try:
        timestamp = _signed(storage, path)
        number = timestamp["meta"]["snapshot.json"]["version"]
        path = _path("snapshot", number)
        meta = _signed(storage, path)["meta"]
        others = {_path("timestamp", timestamp["version"]), path, _path("targets", meta["targets.json"]["version"])}
        path = _path("bins", meta["bins.json"]["version"])
        layout = _layout(_signed(storage, path)["delegations"])
        bins = {name: meta[f"{name}.json"]["version"] for name in map(layout.name, range(layout.count))}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path) from error
    return _Served(number, others | {path}, layout, bins)


def _layout(delegations: Any) -> Layout:
    """Raises ValueError: they are not such bins as we delegate."""
    succinct = delegations.get("succinct_roles")
    if succinct is not None:
        return Layout(succinct["bit_length"], succinct["name_prefix"])
    names = [role["name"] for role in delegations["roles"]]
    layout = Layout((len(names) - 1).bit_length(), names[0].rpartition("-")[0], succinct=False)
    if names != [layout.name(index) for index in range(layout.count)]:
        raise ValueError("these roles are no bins")
    return layout


def _pages(storage: DirectoryStorage, name: str, version: int) -> set[str]:
    """The pages that a bin names, as they are served: the last of its targets, and few, so the rest is not read.

    Raises:
        No: it is missing, or not what we render.
    """
    path = _path(name, version)
    length = _END_BYTES
    while True:
        data = storage.read(path, last=length) or b""
        first = _ENTRY.search(data)
        if len(data) < length or (first is not None and first[1] < _PAGES):
            break
        length *= 4
    # From the first entry to the end there must be nothing else, or something was lost in between.
    opening = data.rfind(_TARGETS)
    start = len(data) if first is None else first.start()
    end = _END.fullmatch(data, start if opening < 0 else opening + len(_TARGETS))
    if end is None or int(end[1]) != version:
        raise _unreadable(path)
    return {
        hashed_path(target.decode("ascii"), digest.decode("ascii"))
        for target, digest in _ENTRY.findall(data)
        if target.startswith(_PAGES)
    }


def _signed(storage: DirectoryStorage, path: str) -> Any:
    """The signed part of a served file. Raises ValueError, KeyError or TypeError if it is not there, or none."""
    return orjson.loads(storage.read(path) or b"")["signed"]


def _unreadable(path: str) -> No:
    return No(f"{path} is missing or cannot be read, so nothing is swept: `tuf-ledger verify --served`")


def _metadata(public: Path) -> dict[str, tuple[str, int]]:
    """All metadata that is named by its version, without roots: name and version by path."""
    found = ((path, _VERSIONED.fullmatch(path)) for path in _below(public, "metadata"))
    return {path: (match[2], int(match[1])) for path, match in found if match is not None and match[2] != "root"}


def _below(public: Path, folder: str) -> Iterator[str]:
    for name in DirectoryStorage(public / folder, public).paths():
        yield f"{folder}/{name}"


# --- what is deleted -------------------------------------------------------------------------------------------------


def _delete(public: Path, storage: DirectoryStorage, due: Mapping[str, str], dry_run: bool) -> _Deleted:
    """Delete files that were not published again since they were marked."""
    done, size, paths = _Deleted([], 0, [], set()), 0, sorted(due)
    for start in range(0, len(paths), BATCH):
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
                    raise StorageError(f"{path} cannot be deleted: {error.strerror}") from error
                done.paths.append(path)
                size += status.st_size if status.st_nlink == 1 else 0
    return done._replace(bytes=size)
