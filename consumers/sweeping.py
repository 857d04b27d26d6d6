"""Sweeping: old metadata and old pages that no client needs any more are deleted (PEP 458, "Producing consistent
snapshots": mark and sweep).

What the served timestamp does not lead to is *marked* with the time it was first found so. What is still marked when
the grace period is over, and was not published again meanwhile, is deleted by a later sweep. Roots, distribution
files, plain pages and the timestamp are never touched; everything else can be rebuilt from the log.

A page is named by one bin, so what has become unreachable is found in the versions of the bins that changed since the
last sweep. A first one, and one that is asked to, looks at every folder instead: there are as many as projects.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from os import stat, unlink
from pathlib import Path
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

BATCH = 500
"""Files that are deleted while publishers wait."""

Report = Callable[[int, int], None]

_PAGES = b"simple/"
# As `projections.bins.target_entry` renders them, sorted by path.
_TARGET = re.compile(rb'"([^"\\]+)":\{"hashes":')
_PAGE = re.compile(rb'"(simple/[^"\\]+)":\{"hashes":\{"sha256":"([0-9a-f]{64})"\}')
_END_BYTES = 8 * 2**10
_VERSIONED = re.compile(r"metadata/([0-9]+)\.([^/]+)\.json", re.ASCII)


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

    unreachable: set[str]
    bins: dict[str, SweptBin]
    reachable: int
    whole: bool


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
    done = await asyncio.to_thread(_delete, public, storage, due, dry_run)
    marked = (found.unreachable - since.keys()) | done.again
    left = found.unreachable.difference(done.paths, done.missing)
    if not dry_run:
        instant = to_instant(now)
        after = {path: instant if path in marked else since[path] for path in left}
        await marks.save(memory, Memory(after, found.bins))
    return Swept(done.paths, done.bytes, len(marked), found.reachable, found.whole)


# --- what is reachable -----------------------------------------------------------------------------------------------


class _Served(NamedTuple):
    """Metadata that the served timestamp leads to: paths of what is no bin, and versions of bins by role name."""

    others: set[str]
    bins: dict[str, int]

    def metadata(self) -> set[str]:
        """All paths."""
        return self.others.union(_path(name, version) for name, version in self.bins.items())


def _path(name: str, version: int) -> str:
    return f"metadata/{version}.{name}.json"


def _find(public: Path, storage: DirectoryStorage, memory: Memory, whole: bool, report: Report) -> _Found:
    served = _served(storage)
    reachable = served.metadata()
    metadata = set(_candidates(public, "metadata"))
    for path in sorted(reachable - metadata):
        raise _unreadable(path)
    found = None if whole else _changes(storage, served, metadata, memory, report)
    if found is None:
        whole, pages, bins = True, set[str](), {}
        for count, (name, version) in enumerate(served.bins.items(), 1):
            some = _pages(storage, _path(name, version))
            pages |= some
            bins[name] = SweptBin(version, len(some))
            report(count, len(served.bins))
        unreachable = {path for path in _candidates(public, "targets/simple") if path not in pages}
    else:
        unreachable, bins = found
    unreachable |= metadata - reachable
    return _Found(unreachable, bins, len(reachable) + sum(each.pages for each in bins.values()), whole)


def _changes(
    storage: DirectoryStorage, served: _Served, metadata: Collection[str], memory: Memory, report: Report
) -> tuple[set[str], dict[str, SweptBin]] | None:
    """The pages that are unreachable, and the bins that are served, going by what the last sweep found; None: that is
    not enough.
    """
    if memory.bins.keys() != served.bins.keys():
        return None
    changed = [name for name, version in served.bins.items() if memory.bins[name].version != version]
    versions: dict[str, list[int]] = {name: [] for name in changed}
    for path in metadata:
        versioned = _VERSIONED.fullmatch(path)
        if versioned is not None and versioned[2] in versions:
            versions[versioned[2]].append(int(versioned[1]))
    unreachable = {path for path in memory.since if is_page(path)}
    bins = dict(memory.bins)
    for count, name in enumerate(changed, 1):
        first, last = memory.bins[name].version, served.bins[name]
        if first > last or first not in versions[name]:
            return None  # something else was served before, or is gone: the versions between may be, too
        for version in versions[name]:
            if first <= version < last:
                unreachable |= _pages(storage, _path(name, version))
        some = _pages(storage, _path(name, last))
        unreachable -= some
        bins[name] = SweptBin(last, len(some))
        report(count, len(changed))
    return unreachable, bins


def _served(storage: DirectoryStorage) -> _Served:
    timestamp = _signed(storage, TIMESTAMP)
    number = timestamp["meta"]["snapshot.json"]["version"]
    meta = _signed(storage, _path("snapshot", number))["meta"]
    delegations = _path("bins", meta["bins.json"]["version"])
    others = {
        _path("timestamp", timestamp["version"]),
        _path("snapshot", number),
        _path("targets", meta["targets.json"]["version"]),
        delegations,
    }
    names = _names(_signed(storage, delegations)["delegations"])
    return _Served(others, {name: meta[f"{name}.json"]["version"] for name in names})


def _names(delegations: Any) -> list[str]:
    succinct = delegations.get("succinct_roles")
    if succinct is None:
        return [role["name"] for role in delegations["roles"]]
    layout = Layout(succinct["bit_length"], succinct["name_prefix"])
    return [layout.name(index) for index in range(layout.count)]


def _pages(storage: DirectoryStorage, path: str) -> set[str]:
    """The pages that a bin names, as they are served: the last of its targets, and few, so the rest is not read."""
    length = _END_BYTES
    while True:
        data = storage.read(path, last=length) or b""
        if not data.endswith(b"}"):
            raise _unreadable(path)
        first = _TARGET.search(data)
        if len(data) < length or (first is not None and first[1] < _PAGES):
            break
        length *= 4
    found = _PAGE.findall(data)
    if len(found) == data.count(b'"%s' % _PAGES):
        return {hashed_path(target.decode(), digest.decode()) for target, digest in found}
    targets = _signed(storage, path)["targets"]
    return {
        hashed_path(target, facts["hashes"]["sha256"])
        for target, facts in targets.items()
        if target.startswith(_PAGES.decode())
    }


def _signed(storage: DirectoryStorage, path: str) -> Any:
    """The signed part of a served file.

    Raises:
        No: it is not there, or not what it should be.
    """
    data = storage.read(path)
    try:
        return orjson.loads(data or b"")["signed"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path) from error


def _unreadable(path: str) -> No:
    return No(f"{path} is missing or cannot be read, so nothing is swept: `tuf-ledger verify --served`")


def _candidates(public: Path, folder: str) -> Iterator[str]:
    """The files of a folder that a sweep may delete, if they are unreachable."""
    for name in DirectoryStorage(public / folder, public).paths():
        path = f"{folder}/{name}"
        if not path.endswith(".root.json") and _is_versioned(path):
            yield path


def _is_versioned(path: str) -> bool:
    """Whether a name says which version of the file it is: a number, or a digest."""
    first = path.rpartition("/")[2].partition(".")[0]
    return is_page(path) or (path.startswith("metadata/") and first.isascii() and first.isdigit())


# --- what is deleted -------------------------------------------------------------------------------------------------


def _delete(public: Path, storage: DirectoryStorage, due: Mapping[str, str], dry_run: bool) -> _Deleted:
    """Delete files that were not published again since they were marked."""
    done, size, paths = _Deleted([], 0, [], set()), 0, sorted(due)
    for start in range(0, len(paths), BATCH):
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
