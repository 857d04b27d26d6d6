"""SQLite files through the asynchronous stack: how they are opened, and why their statements are not cut off."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

BUSY_TIMEOUT_SECONDS = 30

Answer = TypeVar("Answer")


async def connect(path: Path, mode: Literal["ro", "rw", "rwc"], *pragmas: str) -> AsyncConnection:
    """Open one connection that begins no transaction on its own.

    Args:
        path: the file.
        mode: SQLite's: read only, read and write, or create as well.
        pragmas: set in this order, such as `synchronous = FULL`.

    Raises:
        sqlalchemy.exc.DatabaseError: as SQLite.
    """
    url = f"sqlite+aiosqlite:///file:{quote(str(path))}?mode={mode}&uri=true"
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    connection = None
    try:
        connection = await complete(engine.connect().start())
        for pragma in (f"busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}", *pragmas):
            await complete(connection.exec_driver_sql(f"PRAGMA {pragma}"))
    except BaseException:
        await disconnect(connection)
        await engine.dispose()
        raise
    return connection


async def disconnect(connection: AsyncConnection | None) -> None:
    """Close a connection and the threads behind it."""
    if connection is not None:
        await connection.close()
        await connection.engine.dispose()


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
