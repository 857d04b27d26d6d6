"""Appending what producers send, and saying what became of it."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final, NamedTuple

from consumers.context import Context
from consumers.state.furthest import open_events, open_furthest
from ledger.client import digest_of
from ledger.locating import DigestIndex, Located, open_written_catalog, shown_at
from ledger.logs import Log
from ledger.state import StoreError
from ledger.state.shown import ShownEvent
from schemas.errors import LedgerError

POLL_SECONDS: Final = 0.1


class _Opened(NamedTuple):
    events: Log
    digests: DigestIndex


class Intake:
    """The log of events as producers use it, for one request at a time. Used by one event loop.

    The log is opened with the first request, and again after an error: what is served does not wait for a broker.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._states = None if context.is_elsewhere else context.state
        self._lock = asyncio.Lock()
        self._open = AsyncExitStack()
        self._opened: _Opened | None = None
        self._position = (0, 0)
        self._looked_at = 0.0

    async def close(self) -> None:
        """Close the log."""
        self._opened = None
        await self._open.aclose()

    async def append(self, values: Sequence[bytes]) -> dict[str, int]:
        """Append events in this order; return the index of each, by digest.

        What is there already is not appended again: a request that is repeated, since its answer was lost, gets the
        answer of the first. But what was rejected is: it is judged anew.

        Raises:
            LogError: the log cannot be reached, or refuses. Some of them may be there all the same.
        """
        events = {digest_of(each): each for each in values}
        async with self._lock:
            opened = await self._reached()
            try:
                places = await opened.digests.find(events)
                shown = await shown_at(self._states, list(places.values()))
                indices = {
                    digest: found[0].event if answer is None else answer.event
                    for (digest, found), answer in zip(places.items(), shown, strict=True)
                    if answer is None or answer.verdict != "rejected"
                }
                new = {digest: event for digest, event in events.items() if digest not in indices}
                if new:
                    indices |= zip(new, await opened.events.append(list(new.values())), strict=True)
            except LedgerError:
                await self.close()
                raise
        return indices

    async def find(self, digests: Collection[str]) -> dict[str, list[Located]]:
        """Where events are on the log, by digest; without those that are not known.

        Raises:
            LogError, CatalogError: they cannot be asked.
        """
        async with self._lock:
            opened = await self._reached()
            try:
                return await opened.digests.find(digests)
            except LedgerError:
                await self.close()
                raise

    async def outcomes(self, places: Sequence[Sequence[Located]]) -> list[ShownEvent | None]:
        """What became of events at some places; None: no publication shows it yet."""
        return await shown_at(self._states, places)

    async def position(self) -> tuple[int, int]:
        """Which publication this machine has applied. Any number of requests may ask all the time."""
        now = monotonic()
        if now - self._looked_at >= POLL_SECONDS:
            self._looked_at = now
            try:
                async with open_furthest(self._context) as furthest:
                    if furthest is not None:
                        self._position = (furthest.position.number, furthest.position.size)
            except StoreError:
                pass  # its consumer is starting
        return self._position

    async def _reached(self) -> _Opened:
        if self._opened is None:
            context = self._context
            try:
                log = await self._open.enter_async_context(open_events(context))
                catalog = await self._open.enter_async_context(
                    open_written_catalog(context.config.catalog, context.state)
                )
            except LedgerError:
                await self.close()
                raise
            self._opened = _Opened(log, DigestIndex(log, catalog))
        return self._opened
