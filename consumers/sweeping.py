"""Sweeping: old metadata and old pages that no client needs any more are deleted (PEP 458, "Producing consistent
snapshots": mark and sweep).

What the served timestamp does not lead to is *marked* with the time it was first found so. What is still marked when
the grace period is over, and was not published again meanwhile, is deleted by a later sweep. Roots, distribution
files, plain pages and the timestamp are never touched; everything else can be rebuilt from the log.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from consumers.cli import No
from consumers.comparing import is_page
from consumers.outlets import TIMESTAMP
from ledger.clock import from_instant, to_instant
from ledger.databases import complete, connect, disconnect
from ledger.files import StorageError
from ledger.storage import DirectoryStorage
from projections.bins import Layout, hashed_path

BATCH = 500
"""Files that are deleted while publishers wait."""

Report = Callable[[int, int], None]


class Swept(NamedTuple):
    """What a sweep found and did: paths that were deleted (or would be), how many bytes, and what it left for later."""

    deleted: list[str]
    bytes: int
    marked: int
    kept: int


class Marks:
    """Since when files have been unreachable: a small file beside the states, which may be lost at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> "Marks":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = await connect(self._path, "rwc", "journal_mode = WAL", "synchronous = NORMAL")
        await self._execute("CREATE TABLE IF NOT EXISTS marks (path TEXT PRIMARY KEY, since TEXT) WITHOUT ROWID")
        return self

    async def __aexit__(self, *_: object) -> None:
        await disconnect(self._connection)

    async def load(self) -> dict[str, str]:
        """Since when, by path."""
        assert self._connection is not None  # noqa: S101
        result = await complete(self._connection.exec_driver_sql("SELECT path, since FROM marks"))
        return {row.path: row.since for row in result.fetchall()}

    async def replace(self, marks: Mapping[str, str]) -> None:
        """Forget all marks, and set these."""
        await self._execute("BEGIN IMMEDIATE")
        await self._execute("DELETE FROM marks")
        if marks:
            await self._execute("INSERT INTO marks VALUES (?, ?)", sorted(marks.items()))
        await self._execute("COMMIT")

    async def _execute(self, statement: str, rows: Any = None) -> None:
        assert self._connection is not None  # noqa: S101
        await complete(self._connection.exec_driver_sql(statement, rows))


async def sweep(
    public: Path,
    storage: DirectoryStorage,
    marks: Marks,
    *,
    now: datetime,
    grace: timedelta,
    dry_run: bool,
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
        report: is told how many of the reachable bins were read, and how many there are.

    Raises:
        No: what is served cannot be followed from its timestamp: nothing is deleted.
        StorageError: a file cannot be read or deleted.
    """
    reachable = await asyncio.to_thread(_reachable, storage, report)
    known = await marks.load()
    unreachable = await asyncio.to_thread(lambda: [path for path in _candidates(public) if path not in reachable])
    due = [path for path in unreachable if path in known and now - from_instant(known[path]) >= grace]
    deleted, size = await asyncio.to_thread(_delete, public, storage, {path: known[path] for path in due}, dry_run)
    again = set(due).difference(deleted)  # published again since they were marked: marked anew
    left = {path: known[path] if path in known and path not in again else to_instant(now) for path in unreachable}
    for path in deleted:
        del left[path]
    if not dry_run:
        await marks.replace(left)
    return Swept(deleted, size, sum(path not in known or path in again for path in left), len(reachable))


def _reachable(storage: DirectoryStorage, report: Report) -> set[str]:
    """All metadata and pages that the served timestamp leads to."""
    timestamp = _signed(storage, TIMESTAMP)
    number = timestamp["meta"]["snapshot.json"]["version"]
    found = {f"metadata/{timestamp['version']}.timestamp.json", f"metadata/{number}.snapshot.json"}
    meta = _signed(storage, f"metadata/{number}.snapshot.json")["meta"]
    bins = f"metadata/{meta['bins.json']['version']}.bins.json"
    found |= {bins, f"metadata/{meta['targets.json']['version']}.targets.json"}
    names = _names(_signed(storage, bins)["delegations"])
    for index, name in enumerate(names):
        path = f"metadata/{meta[f'{name}.json']['version']}.{name}.json"
        found.add(path)
        for target, facts in _signed(storage, path)["targets"].items():
            if target.startswith("simple/"):
                found.add(hashed_path(target, facts["hashes"]["sha256"]))
        report(index + 1, len(names))
    return found


def _names(delegations: Any) -> list[str]:
    succinct = delegations.get("succinct_roles")
    if succinct is None:
        return [role["name"] for role in delegations["roles"]]
    layout = Layout(succinct["bit_length"], succinct["name_prefix"])
    return [layout.name(index) for index in range(layout.count)]


def _signed(storage: DirectoryStorage, path: str) -> Any:
    """The signed part of a served file.

    Raises:
        No: it is not there, or not what it should be.
    """
    data = storage.read(path)
    try:
        return orjson.loads(data or b"")["signed"]
    except (ValueError, KeyError, TypeError) as error:
        raise No(f"{path} is missing or cannot be read, so nothing is swept: `tuf-ledger verify --served`") from error


def _candidates(public: Path) -> Iterator[str]:
    """The files that a sweep may delete, if they are unreachable."""
    for folder in ("metadata", "targets/simple"):
        for name in DirectoryStorage(public / folder, public).paths():
            path = f"{folder}/{name}"
            if not path.endswith(".root.json") and _is_versioned(path):
                yield path


def _is_versioned(path: str) -> bool:
    """Whether a name says which version of the file it is: a number, or a digest."""
    first = path.rpartition("/")[2].partition(".")[0]
    return is_page(path) or (path.startswith("metadata/") and first.isascii() and first.isdigit())


def _delete(public: Path, storage: DirectoryStorage, due: Mapping[str, str], dry_run: bool) -> tuple[list[str], int]:
    """Delete files that were not published again since they were marked."""
    deleted, size, paths = [], 0, sorted(due)
    for start in range(0, len(paths), BATCH):
        # A publisher that needs one of these again touches it, or writes it anew, while it has the lock.
        with storage.exclusive():
            for path in paths[start : start + BATCH]:
                try:
                    status = (public / path).stat()
                    if status.st_mtime >= from_instant(due[path]).timestamp():
                        continue
                    if not dry_run:
                        (public / path).unlink()
                except FileNotFoundError:
                    continue  # another sweep was faster
                except OSError as error:
                    raise StorageError(f"{path} cannot be deleted: {error.strerror}") from error
                deleted.append(path)
                size += status.st_size if status.st_nlink == 1 else 0
    return deleted, size
