"""The embedded log: one SQLite file, append-only by triggers inside the database.

Write-ahead logging lets any number of processes read while one appends; `synchronous=FULL` makes an append durable
before it returns. Readers fetch by index range and hold no cursor across an await: an open cursor would keep SQLite
from ever truncating its write-ahead log.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.databases import complete, connect, connect_to_read, disconnect, stamp
from ledger.logs import READ_BYTES, LogConflictError, LogSettingsError, LogUnavailableError

POLL_SECONDS = 0.02
READ_RECORDS = 8192
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL")

_SCHEMA = (
    "CREATE TABLE records (idx INTEGER PRIMARY KEY, value BLOB)",
    # The primary key alone would let a writer skip numbers, or replace a record (REPLACE fires no delete trigger).
    """CREATE TRIGGER records_are_dense BEFORE INSERT ON records
       WHEN NEW.idx IS NOT (SELECT coalesce(max(idx) + 1, 0) FROM records)
       BEGIN SELECT RAISE(ABORT, 'append-only: the next index is another'); END""",
    """CREATE TRIGGER records_are_never_updated BEFORE UPDATE ON records
       BEGIN SELECT RAISE(ABORT, 'append-only: records are never updated'); END""",
    """CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
       BEGIN SELECT RAISE(ABORT, 'append-only: records are never deleted'); END""",
)


Answer = TypeVar("Answer")


class SqliteLog:
    """A log in a SQLite file. Contract: `ledger.logs.Log`.

    Who may not write the file reads it all the same: an auditor, or whoever got a copy on a medium.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: AsyncConnection | None = None
        self._frozen: tuple[int, ...] | None = None  # what the file looked like when it was opened as unchanging

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._path)

    async def create(self) -> None:
        """Create the file, which must not exist, and leave the log open.

        Raises:
            LogSettingsError: the file exists.
        """
        if self._path.exists():
            raise LogSettingsError(f"{self._path} exists already")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        async with self._closed_on_error(), self._translated():
            connection = self._connection = await connect(self._path, "rwc", *_PRAGMAS)
            for statement in _SCHEMA:
                await connection.exec_driver_sql(statement)

    async def open(self) -> None:
        """Open the file. It is not created: a mistyped path must not become an empty ledger."""
        try:
            found = self._path.is_file()
        except OSError as error:
            raise LogSettingsError(f"{self._path} cannot be read: {error.strerror}") from error
        if not found:
            raise LogSettingsError(f"there is no log at {self._path}. `tuf-ledger init` creates one")
        async with self._closed_on_error(), self._translated():
            await self._connect()
            first = await self._fresh(self._first)
            if first not in {None, 0}:
                raise LogConflictError(f"{self._path} begins at record {first}: its first records are gone")

    async def close(self) -> None:
        """Close the file."""
        await disconnect(self._connection)
        self._connection = None

    async def append(self, values: Sequence[bytes]) -> list[int]:
        """Append records in one transaction, durably."""
        return await complete(self._append(values)) if values else []

    async def _append(self, values: Sequence[bytes]) -> list[int]:
        async with self._translated():
            connection = self._open_connection()
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                first = await self._size()
                rows = [(first + offset, value) for offset, value in enumerate(values)]
                await connection.exec_driver_sql("INSERT INTO records (idx, value) VALUES (?, ?)", rows)
            except BaseException:
                await connection.exec_driver_sql("ROLLBACK")
                raise
            await connection.exec_driver_sql("COMMIT")
        return [index for index, _ in rows]

    async def read(self, start: int) -> list[bytes | None]:
        """Read a range of records."""
        return await complete(self._read(start))

    async def _read(self, start: int) -> list[bytes | None]:
        async with self._translated():
            return await self._fresh(lambda: self._read_rows(start))

    async def _read_rows(self, start: int) -> list[bytes | None]:
        connection = self._open_connection()
        lengths = await connection.exec_driver_sql(
            "SELECT coalesce(length(value), 0) FROM records WHERE idx >= ? ORDER BY idx LIMIT ?",
            (start, READ_RECORDS),
        )
        count = total = 0
        for length in lengths.scalars():
            if count and total + length > READ_BYTES:
                break
            count, total = count + 1, total + length
        if not count:
            await self._check_not_shrunk(start)
            return []
        # As a blob: SQLite stores any type anywhere, and a stranger may have put text there that is no UTF-8.
        rows = await connection.exec_driver_sql(
            "SELECT CAST(value AS BLOB) FROM records WHERE idx >= ? AND idx < ? ORDER BY idx", (start, start + count)
        )
        return list(rows.scalars())

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Poll until there is a record `start`; twenty milliseconds between looks cost well under 1 % of a core."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while not await complete(self._has(start)):
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return
            await asyncio.sleep(min(POLL_SECONDS, remaining))

    async def _has(self, index: int) -> bool:
        async with self._translated():
            return await self._fresh(self._size) > index

    async def size(self) -> int:
        """The number of records."""
        async with self._translated():
            return await complete(self._fresh(self._size))

    def token(self, index: int) -> int:
        """The index itself."""
        return index

    def resume(self, index: int, token: int) -> None:
        """Nothing to remember: the index is the key."""

    async def _connect(self) -> None:
        self._frozen = None
        try:
            self._connection = await connect(self._path, "rw", *_PRAGMAS)
        except OperationalError as error:
            if _code(error) not in _READ_ONLY:
                raise
            seen = stamp(self._path)
            self._connection, frozen = await connect_to_read(self._path)
            self._frozen = seen if frozen else None

    async def _fresh(self, operation: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Read; and read again if the file was opened as one that nobody writes, and somebody has begun to."""
        while True:
            try:
                answer = await operation()
            except DatabaseError:
                if not self._has_changed():
                    raise
            else:
                if not self._has_changed():
                    return answer
            await self.close()
            await self._connect()

    def _has_changed(self) -> bool:
        return self._frozen is not None and self._frozen != stamp(self._path)

    async def _first(self) -> int | None:
        triggers = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'records_are_%'"
        if await self._scalar(triggers) != 3:
            raise LogSettingsError(f"{self._path} is no log: it lacks the triggers that keep one append-only")
        return await self._scalar("SELECT min(idx) FROM records")

    def _open_connection(self) -> AsyncConnection:
        if self._connection is None:
            raise LogUnavailableError(f"{self._path} is not open")
        return self._connection

    async def _scalar(self, statement: str, *parameters: int) -> int | None:
        result = await self._open_connection().exec_driver_sql(statement, parameters)
        value: int | None = result.scalar_one()
        return value

    async def _size(self) -> int:
        return await self._scalar("SELECT coalesce(max(idx) + 1, 0) FROM records") or 0

    async def _check_not_shrunk(self, start: int) -> None:
        size = await self._size()
        if start > size:
            raise LogConflictError(f"{self._path} has {size} records and had at least {start}: it has shrunk")

    @asynccontextmanager
    async def _closed_on_error(self) -> AsyncIterator[None]:
        """Leave no connection behind, nor its thread, where the log cannot be used."""
        try:
            yield
        except BaseException:
            await self.close()
            raise

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Turn errors of the database into those of the port."""
        try:
            yield
        except OperationalError as error:
            raise self._explain(error) from error
        except DatabaseError as error:
            raise LogSettingsError(f"{self._path} is not a log: {error.orig}") from error
        except OSError as error:
            raise LogUnavailableError(f"{self._path}: {error.strerror}") from error

    def _explain(self, error: OperationalError) -> LogSettingsError | LogUnavailableError:
        if _code(error) == sqlite3.SQLITE_READONLY:
            return LogSettingsError(f"{self._path} cannot be written by this user, only read")
        if _code(error) == sqlite3.SQLITE_CANTOPEN and not os.access(self._path.parent, os.W_OK):
            return LogSettingsError(
                f"{self._path} cannot be read by this user ({error.orig}). If a crash left a {self._path.name}-wal, "
                "only who may write the folder can read the log there: copy the folder, and read the copy"
            )
        return LogUnavailableError(f"{self._path}: {error.orig}")


def _code(error: OperationalError) -> int:
    """SQLite's primary code."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
