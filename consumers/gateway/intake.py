"""Appending what producers send, and saying what became of it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Final, NamedTuple

import structlog

from consumers.context import Context
from consumers.state.furthest import open_events, open_furthest
from ledger.catalog import CatalogError
from ledger.client import digest_of
from ledger.locating import DigestIndex, Located, Standing, open_digests, standings_of
from ledger.logs import Log, LogUnavailableError
from ledger.state import StoreError
from schemas.errors import LedgerError

POLL_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 15.0
"""How long a request waits for those before it."""

log = structlog.get_logger()


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

    async def append(self, values: Sequence[bytes]) -> dict[str, Standing]:
        """Append events in this order; return how each stands, by digest.

        What is there already is not appended again: a request that is repeated, since its answer was lost, gets the
        answer of the first. But what was rejected is: it is judged anew.

        Raises:
            LogError: the log cannot be reached, or refuses. Some of them may be there all the same.
        """
        events = {digest_of(each): each for each in values}
        async with self._alone():
            opened = await self._reached()
            try:
                places = await _found(opened.digests, events, needs_all=False)
                standings = await standings_of(self._states, list(places.values()))
                known = {
                    digest: each
                    for digest, each in zip(places, standings, strict=True)
                    if each.shown is None or each.shown.verdict != "rejected"
                }
                new = {digest: event for digest, event in events.items() if digest not in known}
                indices = await opened.events.append(list(new.values())) if new else []
            except LedgerError:
                await self.close()
                raise
        return known | {digest: Standing(index, None) for digest, index in zip(new, indices, strict=True)}

    async def find(self, digests: Collection[str]) -> dict[str, list[Located]]:
        """Where events are on the log, by digest; without those that are not known.

        Raises:
            LogError, CatalogError: they cannot be asked.
        """
        async with self._alone():
            opened = await self._reached()
            try:
                return await _found(opened.digests, digests, needs_all=True)
            except LedgerError:
                await self.close()
                raise

    async def standings(self, records: Sequence[Sequence[Located]]) -> list[Standing]:
        """What became of events, each given by its places on the log."""
        return await standings_of(self._states, records)

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

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One request at a time. While a log does not answer, the others do not wait for it one after another.

        Raises:
            LogUnavailableError: others wait for too long.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._lock.acquire()
        except TimeoutError as error:
            raise LogUnavailableError("the log of events does not answer: others wait for it, too") from error
        try:
            yield
        finally:
            self._lock.release()

    async def _reached(self) -> _Opened:
        if self._opened is None:
            context = self._context
            try:
                events = await self._open.enter_async_context(open_events(context))
                digests = await self._open.enter_async_context(
                    open_digests(events, context.config.catalog, self._states)
                )
            except LedgerError:
                await self.close()
                raise
            self._opened = _Opened(events, digests)
        return self._opened


async def _found(digests: DigestIndex, wanted: Collection[str], *, needs_all: bool) -> dict[str, list[Located]]:
    """Where events are on the log; where the catalog cannot be asked, the latest alone.

    That it is away must not stop producers: an old event that is appended once more has no effect. But nobody is told
    that an event is not there (`needs_all`).
    """
    try:
        return await digests.find(wanted)
    except CatalogError as error:
        found = await digests.find_latest(wanted)
        if needs_all and len(found) < len(wanted):
            raise
        log.warning("the catalog cannot be asked for old events", why=str(error))
        return found
