"""SQLite files: read plainly, written through the asynchronous stack, whose import costs a third of a second."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

BUSY_TIMEOUT_SECONDS = 30

Answer = TypeVar("Answer")


async def complete(operation: Coroutine[Any, Any, Answer]) -> Answer:
    """Let an operation end even when whoever waits for it is cancelled: it takes milliseconds.

    SQLAlchemy gives up the connection of a statement that is cut off, and its transaction and pragmas with it; and what
    a thread has begun goes on, while somebody else would use its connection.
    """
    task = asyncio.create_task(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
