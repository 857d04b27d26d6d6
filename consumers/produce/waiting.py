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
from consumers.reading.end import held_now
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report, nobody
from ledger.state import StoreError
from ledger.state.shown import load_shown
from ledger.state.store import ReadingStore
from projections.publications import Held, held
from schemas.codec import AUTHORITY_TYPES
from schemas.errors import TemporaryError

POLL_SECONDS = 0.1
HELD_SECONDS = 1.0
"""Time between two looks for a hold: each reads the unread events."""


class NotCoveredError(TemporaryError):
    """An event is on the log, but no publication covers it yet."""


class HeldError(TemporaryError):
    """An event is on the log, and a hold keeps it from being shown."""


class Answer(NamedTuple):
    """The verdict of an event, and the first publication that shows it, or covers it if holds do not concern it."""

    appended: Appended
    verdict: str
    code: str
    why: str
    publication: int


async def wait_for(
    context: Context, appended: Sequence[Appended], timeout_seconds: float, report: Report = nobody
) -> list[Answer]:
    """Wait until a publication shows events, and return the verdict of each.

    Offline roles, holds and releases count as soon as they are covered. The answers come from the furthest state on
    this machine. Without a state, the logs are replayed.

    Args:
        context: the ledger.
        appended: the events.
        timeout_seconds: longest time to wait; a replay that takes longer still runs to its end.
        report: called with the progress of a long replay.

    Raises:
        HeldError: a hold keeps an event from being shown.
        NotCoveredError: no publication covered the events in time.
    """
    if not appended:
        return []
    deadline = monotonic() + timeout_seconds
    needed = _needed(appended)
    async with AsyncExitStack() as stack:
        replay = None
        async with open_furthest(context) as furthest:
            is_known = furthest is not None
        if not is_known:
            replay = await stack.enter_async_context(replayed(context, report=report))
            await replay.follower.skip()
        look_at = monotonic()
        while True:
            answers = await (
                _ask(context, appended, needed) if replay is None else _ask_replay(replay, appended, needed)
            )
            if answers is not None:
                return answers
            if monotonic() >= look_at:
                look_at = monotonic() + HELD_SECONDS
                _check_held(await _held(context, replay), appended, needed)
            if monotonic() > deadline:
                raise _not_covered(appended, timeout_seconds)
            await asyncio.sleep(POLL_SECONDS)


class _Needed(NamedTuple):
    """The sizes that a publication needs to answer: how much it must cover, and how much it must show."""

    size: int
    content_size: int


def _needed(appended: Sequence[Appended]) -> _Needed:
    content = [each.event + 1 for each in appended if each.of.type not in AUTHORITY_TYPES]
    return _Needed(max(each.event + 1 for each in appended), max(content, default=0))


async def _ask(context: Context, appended: Sequence[Appended], needed: _Needed) -> list[Answer] | None:
    try:
        async with open_furthest(context) as furthest:
            if furthest is None:
                return None
            position = furthest.position
            if position.size < needed.size or position.content_size < needed.content_size:
                return None
            return await _answers(furthest.store, appended)
    except StoreError:
        return None  # its consumer is starting


async def _ask_replay(replay: Replayed, appended: Sequence[Appended], needed: _Needed) -> list[Answer] | None:
    await replay.follower.catch_up()
    head = replay.follower.head
    if head.size < needed.size or head.content_size < needed.content_size:
        return None
    return await _answers(replay.store, appended)


async def _held(context: Context, replay: Replayed | None) -> Held | None:
    try:
        if replay is None:
            return await held_now(context)
        return held(replay.follower.head.content_size, await replay.follower.tail.read_on())
    except StoreError:
        return None  # its consumer is starting


def _check_held(now: Held | None, appended: Sequence[Appended], needed: _Needed) -> None:
    if now is not None and now.size < needed.content_size:
        raise HeldError(
            f"{describe_held(now)}. Already on the log: {_events(appended)}. `tuf-ledger unhold` releases a hold",
            held_at=now.size,
            waiting=now.waiting,
        )


def describe_held(now: Held) -> str:
    """What is held, in words."""
    return f"held at {now.size}: {now.waiting:,} {'event waits' if now.waiting == 1 else 'events wait'}"


async def _answers(store: ReadingStore, appended: Sequence[Appended]) -> list[Answer] | None:
    answers = []
    for each in appended:
        shown = await store.run(load_shown, each.event, is_authority=each.of.type in AUTHORITY_TYPES)
        if shown is None:
            return None
        answers.append(Answer(each, shown.verdict, shown.code, shown.why, shown.publication))
    return answers


def _not_covered(appended: Sequence[Appended], timeout_seconds: float) -> NotCoveredError:
    return NotCoveredError(
        f"not covered by a publication after {timeout_seconds:g} s. Already on the log: {_events(appended)}. Check "
        "that a signer runs (`tuf-ledger run`; `tuf-ledger info`)"
    )


def _events(appended: Sequence[Appended]) -> str:
    first, last = min(each.event for each in appended), max(each.event for each in appended)
    return f"event {first}" if first == last else f"events {first} to {last}"
