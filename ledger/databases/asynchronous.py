"""SQLite files through the asynchronous stack: the only module that knows SQLAlchemy. Its errors are SQLite's."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ledger.databases import BUSY_TIMEOUT_SECONDS


async def connect(path: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> AsyncConnection:
    """Open a connection that never begins a transaction by itself.

    Args:
        path: the file.
        mode: SQLite's mode: read and write, or also create.
        pragmas: set in this order, such as `synchronous = FULL`.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    return await _connect(path, f"mode={mode}", *(f"PRAGMA {each}" for each in pragmas))


async def disconnect(connection: AsyncConnection | None) -> None:
    """Close a connection and the threads behind it."""
    if connection is not None:
        await connection.close()
        await connection.engine.dispose()


async def fetch_all(connection: AsyncConnection, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Execute one statement, and return its rows.

    The statement goes directly to the driver: SQLAlchemy changes threads four times per statement and wraps each row,
    which took a third of the time of reading large aggregates.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    return list(await (await _driver(connection)).execute_fetchall(statement, parameters))


async def execute_many(connection: AsyncConnection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute one statement for each row of parameters, directly by the driver, as `fetch_all`.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    async with (await _driver(connection)).executemany(statement, rows):
        pass


async def execute(connection: AsyncConnection, statement: str, parameters: Any = ()) -> None:
    """Execute one statement; with a list of rows as parameters, once per row.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    try:
        await connection.exec_driver_sql(statement, parameters)
    except DBAPIError as error:
        raise (error.orig or error) from error


async def _driver(connection: AsyncConnection) -> Any:
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    return driver


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
    # If aiosqlite fails to open, its thread may outlive the event loop and complain when the loop is closed.
    sqlite3.connect(uri, uri=True).close()
    # Not as text: parsing would decode it, and a path with % or # in it would change.
    url = URL.create("sqlite+aiosqlite", database=uri, query={"uri": "true"})
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    connection = None
    try:
        connection = await engine.connect().start()
        for statement in (f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}", *statements):
            await execute(connection, statement)
    except BaseException:
        await disconnect(connection)
        await engine.dispose()
        raise
    return connection
