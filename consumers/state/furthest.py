"""The state on this machine that has applied most: the one place that picks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from consumers.context import Context
from ledger.logs import Log
from ledger.state.errors import StoreError
from ledger.state.store import Position

STATES = ("signer", "publisher", "verifier")


class Known(NamedTuple):
    """The position of the consumer on this machine that has applied most."""

    name: str
    position: Position


@asynccontextmanager
async def open_events(context: Context) -> AsyncIterator[tuple[Log, Known | None]]:
    """The events log, opened, and told what a consumer here knows of it: to append it must not count from the start."""
    known = await _furthest(context)
    events = context.logs().events
    await events.open()
    try:
        if known is not None:
            events.resume(known.position.size - 1, known.position.events_token)
        yield events, known
    finally:
        await events.close()


async def _furthest(context: Context) -> Known | None:
    known: Known | None = None
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
        except StoreError:
            continue
        finally:
            await store.close()
        if position is not None and (known is None or position.size > known.position.size):
            known = Known(name, position)
    return known
