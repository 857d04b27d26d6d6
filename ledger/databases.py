"""SQLite files through the asynchronous stack: how they are opened, and why their statements are not cut off."""

import asyncio
import sqlite3
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

BUSY_TIMEOUT_SECONDS = 30

Answer = TypeVar("Answer")


class Readable(NamedTuple):
    """A connection that only reads; `frozen` if SQLite was told that nobody writes meanwhile."""

    connection: AsyncConnection
    frozen: bool


async def connect(path: Path, mode: Literal["ro", "rw", "rwc"], *pragmas: str) -> AsyncConnection:
    """Open one connection that begins no transaction on its own.

    Args:
        path: the file.
        mode: SQLite's: read only, read and write, or create as well.
        pragmas: set in this order, such as `synchronous = FULL`.

    Raises:
        sqlalchemy.exc.DatabaseError: as SQLite.
    """
    if mode == "ro":
        return (await connect_to_read(path)).connection
    return await _connect(path, f"mode={mode}", *(f"PRAGMA {each}" for each in pragmas))


async def connect_to_read(path: Path) -> Readable:
    """Open a file that we may not be able to write, in a folder where we may not be able to make a file.

    Even to read, write-ahead logging wants a file of shared memory beside the database. Where we cannot make it, and
    there is no write-ahead log that would have to be read with it, the database is opened as one that nobody writes.
    That is so when it is opened; who keeps the connection looks whether it still is (`stamp`).

    Raises:
        sqlalchemy.exc.DatabaseError: as SQLite.
    """
    touch = "SELECT count(*) FROM sqlite_master"  # SQLite looks for the other files at the first statement
    try:
        return Readable(await _connect(path, "mode=ro", touch), frozen=False)
    except OperationalError:
        if _has_write_ahead_log(path):
            raise
        return Readable(await _connect(path, "mode=ro&immutable=1", touch), frozen=True)


def stamp(path: Path) -> tuple[int, int, int, bool]:
    """What changes when somebody writes to a database.

    Raises:
        OSError: it is gone.
    """
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, _has_write_ahead_log(path)


async def disconnect(connection: AsyncConnection | None) -> None:
    """Close a connection and the threads behind it."""
    if connection is not None:
        await connection.close()
        await connection.engine.dispose()


async def fetch_all(connection: AsyncConnection, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Execute one statement, and give the rows that it finds.

    It goes to the driver: SQLAlchemy changes threads four times for a statement, and wraps each of its rows, which
    took a third of the time that large aggregates took to read.

    Raises:
        sqlite3.DatabaseError: as SQLite.
    """
    return list(await (await _driver(connection)).execute_fetchall(statement, parameters))


async def execute_many(connection: AsyncConnection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute one statement for each row of parameters; by the driver, as `fetch_all`.

    Raises:
        sqlite3.DatabaseError: as SQLite.
    """
    async with (await _driver(connection)).executemany(statement, rows):
        pass


async def _driver(connection: AsyncConnection) -> Any:
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    return driver


async def complete(operation: Coroutine[Any, Any, Answer]) -> Answer:
    """Let an operation end even when whoever waits for it is cancelled: it takes milliseconds.

    SQLAlchemy gives up the connection of a statement that is cut off, and its transaction and pragmas with it.
    """
    task = asyncio.create_task(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _connect(path: Path, parameters: str, *statements: str) -> AsyncConnection:
    opening = asyncio.create_task(_open(path, parameters, statements))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait({opening})
        if opening.exception() is None:
            await disconnect(opening.result())
        raise


async def _open(path: Path, parameters: str, statements: tuple[str, ...]) -> AsyncConnection:
    uri = f"{path.absolute().as_uri()}?{parameters}"
    try:
        # A thread of aiosqlite that fails to open may outlive the event loop, and complains when that is closed.
        sqlite3.connect(uri, uri=True).close()
    except sqlite3.OperationalError as error:
        raise OperationalError(None, None, error) from error
    # Not as text, which is decoded when it is parsed: a path with % or # in it would be another one.
    url = URL.create("sqlite+aiosqlite", database=uri, query={"uri": "true"})
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    connection = None
    try:
        connection = await engine.connect().start()
        for statement in (f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}", *statements):
            await connection.exec_driver_sql(statement)
    except BaseException:
        await disconnect(connection)
        await engine.dispose()
        raise
    return connection


def _has_write_ahead_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
