"""The memory of sweeps: a small file beside the states, which may be lost at any time."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from ledger.clock import from_instant
from ledger.databases import plain
from ledger.databases.plain import ERRORS, is_passing, primary_code, unusable_now
from ledger.disk.files import storage_error
from ledger.state import StateUnavailableError, StoreError
from ledger.state.threads import OneThread, finished
from schemas.errors import InUseError

Value = TypeVar("Value")

# In exclusive mode SQLite needs no file of shared memory, for which a full disk has no room. Sweeping must work then,
# since it makes room.
_PRAGMAS = ("busy_timeout = 1000", "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL")
_TABLES = (
    "marks (path TEXT PRIMARY KEY, since TEXT)",
    "bins (name TEXT PRIMARY KEY, version INTEGER, pages INTEGER)",
)
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SweptBin(NamedTuple):
    """A bin as the last sweep found it: the version that was served, and how many pages are in it."""

    version: int
    pages: int


class Memory(NamedTuple):
    """The marks of files by path (times since when they are unreachable), and the last sweep's bins by role name."""

    since: dict[str, str]
    bins: dict[str, SweptBin]


class Marks:
    """The file of marks. A context manager and one transaction: without `save` nothing changes. One sweep at a time.

    Raises:
        InUseError: another sweep runs.
        StateUnavailableError: the disk is full.
        StoreError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = OneThread()
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> "Marks":
        try:
            await finished(self._thread.submit(self._begin))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await finished(self._thread.submit(self._close))
        self._thread.shutdown()

    async def load(self) -> Memory:
        """Load the memory of the last sweep."""
        return await finished(self._thread.submit(self._load))

    async def save(self, before: Memory, after: Memory) -> None:
        """Replace the loaded memory with a new one."""
        await finished(self._thread.submit(self._save, before, after))

    def _begin(self) -> None:
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = plain.connect(self._path, "rwc", *_PRAGMAS)
            self._connection.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} WITHOUT ROWID")

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _load(self) -> Memory:
        with self._explained():
            since = dict(self._open().execute("SELECT path, since FROM marks").fetchall())
            rows = self._open().execute("SELECT name, version, pages FROM bins").fetchall()
            bins = {name: SweptBin(*rest) for name, *rest in rows}
            if not (
                all(map(_is_instant, set(since.values())))
                and all(type(field) is int for swept in bins.values() for field in swept)
            ):
                raise sqlite3.DatabaseError("a row has values that no sweep writes")
        return Memory(since, bins)

    def _save(self, before: Memory, after: Memory) -> None:
        gone = [(path,) for path in before.since.keys() - after.since.keys()]
        retired = [(name,) for name in before.bins.keys() - after.bins.keys()]
        bins = [(name, swept.version, swept.pages) for name, swept in _differing(before.bins, after.bins)]
        connection = self._open()
        with self._explained():
            connection.executemany("DELETE FROM marks WHERE path = ?", sorted(gone))
            connection.executemany(
                "INSERT OR REPLACE INTO marks VALUES (?, ?)", sorted(_differing(before.since, after.since))
            )
            connection.executemany("DELETE FROM bins WHERE name = ?", sorted(retired))
            connection.executemany("INSERT OR REPLACE INTO bins VALUES (?, ?, ?)", sorted(bins))
            connection.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of SQLite into errors that say what to do."""
        try:
            yield
        except OSError as error:
            raise storage_error(self._path, "written", error) from error
        except ERRORS as error:
            if primary_code(error) in _BUSY:
                raise InUseError(f"another sweep uses {self._path}: wait until it has ended") from error
            if is_passing(self._path, error):
                raise StateUnavailableError(unusable_now(self._path, error)) from error
            raise StoreError(
                f"{self._path} cannot be used: {error}. The file only holds the marks of earlier sweeps: if it is "
                "damaged, delete it, and the next sweep searches every folder"
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the marks are not open")
        return self._connection


def _differing(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[tuple[str, Value]]:
    return [(key, value) for key, value in after.items() if before.get(key) != value]


def _is_instant(moment: object) -> bool:
    try:
        return isinstance(moment, str) and from_instant(moment).tzinfo is not None
    except ValueError:
        return False
