"""The furthest state on this machine: the state that has applied most. Only this module picks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from consumers.context import Context
from ledger.logs import Log
from ledger.state import StateMissingError, StoreError
from ledger.state.position import Position, load_position
from ledger.state.publications import load_publication
from ledger.state.store import ReadingStore

STATES = ("signer", "publisher", "verifier")
"""The consumers that keep a state, by name."""


class Furthest(NamedTuple):
    """A state that is open for reading: the name of its consumer (empty for a temporary state), and its position."""

    name: str
    position: Position
    store: ReadingStore


@asynccontextmanager
async def open_furthest(context: Context) -> AsyncIterator[Furthest | None]:
    """Open the state that has applied most; None if no consumer has applied anything on this machine.

    The states of a folder do not belong to logs elsewhere (`--log`).

    Raises:
        StoreError: no state on this machine can be used.
    """
    best: Furthest | None = None
    problem: StoreError | None = None
    try:
        for name in () if context.is_elsewhere else STATES:
            store = context.reading_store(name)
            try:
                await store.open()
                position = await store.run(load_position)
            except StoreError as error:
                problem = problem if isinstance(error, StateMissingError) else error
                position = None
            if position is None or (best is not None and position.size <= best.position.size):
                await store.close()
                continue
            if best is not None:
                await best.store.close()
            best = Furthest(name, position, store)
        if best is None and problem is not None:
            raise problem
        yield best
    finally:
        if best is not None:
            await best.store.close()


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
    position = await _furthest_position(context)
    events = context.logs().events
    await events.open()
    try:
        if position is not None:
            events.resume(position.size - 1, position.events_token)
        yield events
    finally:
        await events.close()


async def _furthest_position(context: Context) -> Position | None:
    """The position of the furthest state. An unusable state must not keep anyone from appending."""
    try:
        async with open_furthest(context) as furthest:
            return None if furthest is None else furthest.position
    except StoreError:
        return None
