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
    """Open one connection that begins no transaction on its own.

    Args:
        path: the file.
        mode: SQLite's: read and write, or create as well.
        pragmas: set in this order, such as `synchronous = FULL`.

    Raises:
        sqlite3.DatabaseError: as SQLite.
    """
    return await _connect(path, f"mode={mode}", *(f"PRAGMA {each}" for each in pragmas))


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


async def execute(connection: AsyncConnection, statement: str, parameters: Any = ()) -> None:
    """Execute one statement; with a list of rows as parameters, once for each.

    Raises:
        sqlite3.DatabaseError: as SQLite.
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
    # A thread of aiosqlite that fails to open may outlive the event loop, and complains when that is closed.
    sqlite3.connect(uri, uri=True).close()
    # Not as text, which is decoded when it is parsed: a path with % or # in it would be another one.
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
