"""The furthest state of a folder: the one that has applied most. Only this module picks it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ledger.state import StateMissingError, StoreError
from ledger.state.position import Position, load_position
from ledger.state.store import ReadingStore

STATES = ("signer", "publisher", "verifier")
"""The consumers that keep a state, by name."""


class Furthest(NamedTuple):
    """A state that is open for reading: the name of its consumer (empty for a temporary state), and its position."""

    name: str
    position: Position
    store: ReadingStore

    @property
    def last_event(self) -> tuple[int, int]:
        """The index of the last event that it covers, and the token of that record (`ledger.logs.Log.resume`)."""
        return self.position.size - 1, self.position.events_token


def state_path(folder: Path, name: str) -> Path:
    """The file of a consumer's state in a folder of states."""
    return folder / f"{name}.sqlite"


@asynccontextmanager
async def open_furthest_of(folder: Path | None) -> AsyncIterator[Furthest | None]:
    """Open the state that has applied most; None if no consumer has applied anything there, or there is no folder.

    Raises:
        StoreError: none of the states can be used.
    """
    best: Furthest | None = None
    problem: StoreError | None = None
    try:
        for name, store in _stores(folder):
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


async def last_known_event(folder: Path | None) -> tuple[int, int] | None:
    """The last event that the furthest state covers, and its token. An unusable state must not keep anyone from
    appending.
    """
    try:
        async with open_furthest_of(folder) as furthest:
            return None if furthest is None else furthest.last_event
    except StoreError:
        return None


def _stores(folder: Path | None) -> Iterable[tuple[str, ReadingStore]]:
    return () if folder is None else ((name, ReadingStore(state_path(folder, name))) for name in STATES)
