"""SQLite files: with Python's driver, which blocks, or with the asynchronous stack (import: a third of a second)."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

BUSY_TIMEOUT_SECONDS = 30

Answer = TypeVar("Answer")


async def complete(operation: Coroutine[Any, Any, Answer]) -> Answer:
    """Run an operation to its end even if its caller is cancelled: it takes milliseconds.

    SQLAlchemy gives up the connection of an interrupted statement, with its transaction and pragmas. And an operation
    in a thread goes on after cancellation, while another caller would use its connection.
    """
    task = asyncio.create_task(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
