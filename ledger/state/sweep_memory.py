"""The memory of sweeps: a small file beside the states, which may be lost at any time."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.clock import from_instant
from ledger.databases import complete
from ledger.databases.asynchronous import connect, disconnect, execute, execute_many, fetch_all
from ledger.databases.plain import ERRORS, is_passing, primary_code, unusable_now
from ledger.disk.files import storage_error
from ledger.state import StateUnavailableError, StoreError
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
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> "Marks":
        try:
            with self._explained():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = await connect(self._path, "rwc", *_PRAGMAS)
                await self._execute("BEGIN IMMEDIATE")
                for table in _TABLES:
                    await self._execute(f"CREATE TABLE IF NOT EXISTS {table} WITHOUT ROWID")
        except BaseException:
            await disconnect(self._connection)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await disconnect(self._connection)

    async def load(self) -> Memory:
        """Load the memory of the last sweep."""
        with self._explained():
            since = dict(await self._fetch("SELECT path, since FROM marks"))
            bins = {name: SweptBin(*rest) for name, *rest in await self._fetch("SELECT name, version, pages FROM bins")}
            if not (
                all(map(_is_instant, set(since.values())))
                and all(type(field) is int for swept in bins.values() for field in swept)
            ):
                raise sqlite3.DatabaseError("a row has values that no sweep writes")
        return Memory(since, bins)

    async def save(self, before: Memory, after: Memory) -> None:
        """Replace the loaded memory with a new one."""
        gone = [(path,) for path in before.since.keys() - after.since.keys()]
        retired = [(name,) for name in before.bins.keys() - after.bins.keys()]
        bins = [(name, swept.version, swept.pages) for name, swept in _differing(before.bins, after.bins)]
        with self._explained():
            await self._change("DELETE FROM marks WHERE path = ?", gone)
            await self._change("INSERT OR REPLACE INTO marks VALUES (?, ?)", _differing(before.since, after.since))
            await self._change("DELETE FROM bins WHERE name = ?", retired)
            await self._change("INSERT OR REPLACE INTO bins VALUES (?, ?, ?)", bins)
            await self._execute("COMMIT")

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

    async def _fetch(self, statement: str) -> list[tuple[Any, ...]]:
        return await complete(fetch_all(self._open(), statement, ()))

    async def _execute(self, statement: str) -> None:
        await complete(execute(self._open(), statement))

    async def _change(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        await complete(execute_many(self._open(), statement, sorted(rows)))

    def _open(self) -> AsyncConnection:
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
