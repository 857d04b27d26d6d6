"""What sweeps remember between each other: a small file beside the states, which may be lost at any time."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from consumers.cli import No
from ledger.databases import complete, connect, disconnect, execute_many, fetch_all

Value = TypeVar("Value")


class SweptBin(NamedTuple):
    """A bin as the last sweep found it: the version that was served, and how many pages are in it."""

    version: int
    pages: int


class Memory(NamedTuple):
    """Since when files have been unreachable, by path; the bins that the last sweep found, by role name."""

    since: dict[str, str]
    bins: dict[str, SweptBin]


class Marks:
    """Remembers. A context, and one transaction: what is not saved is as before, and another sweep waits meanwhile.

    Raises:
        No: another sweep is at work.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> "Marks":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = await connect(self._path, "rwc", "journal_mode = WAL", "synchronous = NORMAL")
        try:
            await self._execute("BEGIN IMMEDIATE")
            await self._execute("CREATE TABLE IF NOT EXISTS marks (path TEXT PRIMARY KEY, since TEXT) WITHOUT ROWID")
            await self._execute(
                "CREATE TABLE IF NOT EXISTS bins (name TEXT PRIMARY KEY, version INTEGER, pages INTEGER) WITHOUT ROWID"
            )
        except OperationalError as error:
            await disconnect(self._connection)
            raise No("another sweep is at work here: wait until it is done") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await disconnect(self._connection)

    async def load(self) -> Memory:
        """What is remembered."""
        assert self._connection is not None  # noqa: S101
        since = await complete(fetch_all(self._connection, "SELECT path, since FROM marks", ()))
        bins = await complete(fetch_all(self._connection, "SELECT name, version, pages FROM bins", ()))
        return Memory(dict(since), {name: SweptBin(version, pages) for name, version, pages in bins})

    async def save(self, before: Memory, after: Memory) -> None:
        """Remember this instead of what was loaded."""
        gone = [(path,) for path in before.since.keys() - after.since.keys()]
        await self._change("DELETE FROM marks WHERE path = ?", gone)
        await self._change("INSERT OR REPLACE INTO marks VALUES (?, ?)", _differing(before.since, after.since))
        retired = [(name,) for name in before.bins.keys() - after.bins.keys()]
        await self._change("DELETE FROM bins WHERE name = ?", retired)
        bins = [(name, swept.version, swept.pages) for name, swept in _differing(before.bins, after.bins)]
        await self._change("INSERT OR REPLACE INTO bins VALUES (?, ?, ?)", bins)
        await self._execute("COMMIT")

    async def _execute(self, statement: str) -> None:
        assert self._connection is not None  # noqa: S101
        await complete(self._connection.exec_driver_sql(statement))

    async def _change(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        assert self._connection is not None  # noqa: S101
        await complete(execute_many(self._connection, statement, sorted(rows)))


def _differing(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[tuple[str, Value]]:
    return [(key, value) for key, value in after.items() if before.get(key) != value]
