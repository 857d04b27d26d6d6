"""Waiting for a publication, and asking for the verdicts of events.

The fold decides whether the ledger accepts an event. A state answers, by the index of the event.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import NamedTuple

from consumers.context import Context
from consumers.follow.replayed import Replayed, replayed
from consumers.produce.appending import Appended
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report, nobody
from ledger.state import StoreError
from ledger.state.store import Store
from schemas.errors import TemporaryError

POLL_SECONDS = 0.1


class NotCoveredError(TemporaryError):
    """An event is on the log, but no publication covers it yet."""


class Answer(NamedTuple):
    """The verdict of an event, and the first publication that covers it."""

    appended: Appended
    verdict: str
    code: str
    why: str
    publication: int


async def wait_for(
    context: Context, appended: Sequence[Appended], timeout_seconds: float, report: Report = nobody
) -> list[Answer]:
    """Wait until a publication covers events, and return the verdict of each.

    The answers come from the furthest state on this machine. Without a state, the logs are replayed.

    Args:
        context: the ledger.
        appended: the events.
        timeout_seconds: longest time to wait; a replay that takes longer still runs to its end.
        report: called with the progress of a long replay.

    Raises:
        NotCoveredError: no publication covered the events in time.
    """
    if not appended:
        return []
    deadline = monotonic() + timeout_seconds
    last = max(each.event for each in appended)
    async with AsyncExitStack() as stack:
        replay = None
        async with open_furthest(context) as furthest:
            is_known = furthest is not None
        if not is_known:
            replay = await stack.enter_async_context(replayed(context, report=report))
            await replay.follower.skip()
        while True:
            answers = await (_ask(context, appended, last) if replay is None else _ask_replay(replay, appended, last))
            if answers is not None:
                return answers
            if monotonic() > deadline:
                raise _not_covered(appended, timeout_seconds)
            await asyncio.sleep(POLL_SECONDS)


async def _ask(context: Context, appended: Sequence[Appended], last: int) -> list[Answer] | None:
    try:
        async with open_furthest(context) as furthest:
            if furthest is None or furthest.position.size <= last:
                return None
            return [await _answer(furthest.store, each) for each in appended]
    except StoreError:
        return None  # its consumer is starting


async def _ask_replay(replay: Replayed, appended: Sequence[Appended], last: int) -> list[Answer] | None:
    await replay.follower.catch_up()
    if replay.follower.head.size <= last:
        return None
    return [await _answer(replay.store, each) for each in appended]


async def _answer(store: Store, each: Appended) -> Answer:
    judged = await store.judged("events", each.event)
    covering = await store.publication_covering(each.event)
    number = covering.number if covering else 0
    if judged is None:
        return Answer(each, "accepted", "", "", number)
    return Answer(each, judged.verdict, judged.code, judged.detail, number)


def _not_covered(appended: Sequence[Appended], timeout_seconds: float) -> NotCoveredError:
    first, last = min(each.event for each in appended), max(each.event for each in appended)
    events = f"event {first}" if first == last else f"events {first} to {last}"
    return NotCoveredError(
        f"not covered by a publication after {timeout_seconds:g} s. Already on the log: {events}. Check "
        "that a signer runs (`tuf-ledger run`) and that signing is not held (`tuf-ledger info`)"
    )
