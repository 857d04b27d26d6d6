"""The furthest state of a ledger, and its log opened with what that state knows."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from consumers.context import Context
from ledger.logs import Log
from ledger.logs.urls import opened
from ledger.state import StoreError
from ledger.state.picking import STATES, Furthest, last_known_event, open_furthest_of
from ledger.state.publications import load_publication


def open_furthest(context: Context) -> AbstractAsyncContextManager[Furthest | None]:
    """Open the state that has applied most; None if no consumer has applied anything on this machine.

    The states of a folder do not belong to logs elsewhere (`--log`).

    Raises:
        StoreError: no state on this machine can be used.
    """
    return open_furthest_of(_folder(context))


async def is_remembered(context: Context, number: int, timestamp_sha256: str) -> bool:
    """Whether a state on this machine has applied a publication with this timestamp: then the log had it."""
    for name in () if context.is_elsewhere else STATES:
        store = context.reading_store(name)
        try:
            await store.open()
            published = await store.run(load_publication, number)
        except StoreError:
            continue
        finally:
            await store.close()
        if published is not None and published.timestamp_sha256 == timestamp_sha256:
            return True
    return False


@asynccontextmanager
async def open_events(context: Context) -> AsyncIterator[Log]:
    """The events log, opened. A state's token spares it from counting records from the start before it can append."""
    async with opened(context.logs().events, await last_known_event(_folder(context))) as events:
        yield events


def _folder(context: Context) -> Path | None:
    return None if context.is_elsewhere else context.state
