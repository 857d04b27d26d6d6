"""The end of the events log, for commands without a follower."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from consumers.context import Context
from consumers.reading.tail import Tail
from consumers.state import records
from consumers.state.furthest import open_events, open_furthest
from consumers.work.workers import ThreadWorkers
from ledger.state.picking import Furthest
from projections.log.holds import SigningEvent
from projections.log.prefix import Prefix
from projections.publications import Held, held

MOST_HOLDS = 1_000
"""The most holds that are listed: anybody who may append events can append a million."""


class Holds(NamedTuple):
    """The holds at the end of the log: the prefix there, what is shown, and open holds by id, the lowest size first."""

    end: Prefix
    shown: int
    open: dict[str, SigningEvent]


async def prefix_at_end(context: Context) -> Prefix:
    """The prefix at the end of the events log, read on from the furthest state on this machine.

    Raises:
        StoreError: no state on this machine can be used.
        LogError, NotALedgerError, UpgradeNeededError: see there.
    """
    async with _read(context) as (end, _):
        return end


async def held_now(context: Context) -> Held | None:
    """What is held at the end of the events log; None if nothing is, or if this machine has no state.

    Without a state, the whole log would have to be read.

    Raises:
        The errors of `prefix_at_end`.
    """
    async with open_furthest(context) as furthest:
        if furthest is None:
            return None
    async with _read(context) as (end, furthest):
        return held(furthest.position.content_size if furthest else 0, end)


async def holds_at_end(context: Context) -> Holds:
    """The holds at the end of the events log, at most `MOST_HOLDS`. Raises the errors of `prefix_at_end`."""
    async with _read(context) as (end, furthest):
        found: dict[str, SigningEvent] = {}
        shown = 0
        if furthest is not None:
            size, shown = furthest.position.size, furthest.position.content_size
            found = await furthest.store.run(
                records.load_open_holds, end.holds_end, size, MOST_HOLDS + len(end.signing)
            )
        found |= dict(end.signing.since(0))
    holds = {name: each for name, each in found.items() if each.holds(end.holds_end) is not None}
    lowest = sorted(holds.items(), key=lambda item: (item[1].size or 0, item[1].index))
    return Holds(end, shown, dict(lowest[:MOST_HOLDS]))


@asynccontextmanager
async def _read(context: Context) -> AsyncIterator[tuple[Prefix, Furthest | None]]:
    """The prefix at the end of the log, and the furthest state on this machine, open."""
    workers = ThreadWorkers()
    try:
        async with open_furthest(context) as furthest, open_events(context) as events:
            if furthest is None:
                yield await Tail(events, workers, Prefix()).read_on(), None
                return
            base = await furthest.store.run(records.load_prefix, furthest.position.prefix)
            yield await Tail(events, workers, base, store=furthest.store).read_on(), furthest
    finally:
        workers.close()
