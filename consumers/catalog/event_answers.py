"""Events as answers: what each says, who said it, where it stands, and what became of it."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.placing import Place, Places
from consumers.catalog.times import late_uploads
from consumers.catalog.words import describe, describe_upload
from ledger.catalog import FOREVER
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import (
    EventRow,
    Wanted,
    events_before,
    events_from,
    first_uploads,
    load_bodies,
)
from ledger.catalog.tables import OUTCOMES
from ledger.clock import from_instant
from projections.index.names import release_key
from schemas.codec import decode_event

FIRST_PAGE, PAGE = 50, 500
"""Number of events that are read at a time: few at first, so that they are seen at once."""


class EventAnswer(NamedTuple):
    """One record of the events log. `what` says it in words. `data` is that of the event, if the catalog keeps the
    record: of accepted uploads it keeps the file instead.
    """

    row: EventRow
    place: Place
    what: str
    data: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        """What became of it: `accepted`, `no effect`, `rejected`."""
        return OUTCOMES[self.row.outcome]

    @property
    def is_outside(self) -> bool:
        """Whether the event's own time is not in the bracket of its publication."""
        return self.row.time is not None and not self.place.contains(self.row.time)


async def find_events(
    asked: Asked, wanted: Wanted, *, oldest_first: bool = False, late_days: float | None = None
) -> AsyncIterator[EventAnswer]:
    """All events that are wanted, the newest first or the oldest.

    Args:
        asked: the catalog.
        wanted: which events. With a release, what is about another one is left out.
        oldest_first: their order.
        late_days: only uploads to a release that came so long after its first one. An upload counts from the effective
            time of the first publication that covers it; if none does, from that of the last one.
    """
    if late_days is None:
        async for page in _pages(asked, wanted, oldest_first=oldest_first):
            for each in page:
                yield each
        return
    spans = await asked.database.run(late_uploads, late_days)
    for span in spans if oldest_first else reversed(spans):
        end = span.end if wanted.end is None else min(span.end, wanted.end)
        some = wanted._replace(first=max(span.first, wanted.first), end=end, added=span.below)
        async for page in _pages(asked, some, oldest_first=oldest_first):
            late = await asked.database.run(late_among, asked, [each.row.idx for each in page], late_days)
            for each in page:
                if each.row.idx in late:
                    yield each


async def _pages(asked: Asked, wanted: Wanted, *, oldest_first: bool) -> AsyncIterator[list[EventAnswer]]:
    at, count = (wanted.first, FIRST_PAGE) if oldest_first else (FOREVER, FIRST_PAGE)
    read = events_from if oldest_first else events_before
    while page := await asked.database.run(_page, asked, read, wanted, (at, count)):
        yield page if wanted.release is None else [each for each in page if _is_about(each, wanted.release)]
        if len(page) < count:
            return
        last = page[-1].row.idx
        at, count = (last + 1 if oldest_first else last), PAGE


async def merged(
    streams: Sequence[AsyncIterator[EventAnswer]], *, oldest_first: bool = False
) -> AsyncIterator[EventAnswer]:
    """Events that come from several sides, in one order, each once."""
    choose = min if oldest_first else max
    heads = [await anext(stream, None) for stream in streams]
    while some := [each for each in heads if each is not None]:
        first = choose(some, key=lambda each: each.row.idx)
        yield first
        for place, head in enumerate(heads):
            if head is not None and head.row.idx == first.row.idx:
                heads[place] = await anext(streams[place], None)


def _page(
    connection: Connection, asked: Asked, read: Callable[..., list[EventRow]], wanted: Wanted, some: tuple[int, int]
) -> list[EventAnswer]:
    return answers(connection, asked, read(connection, wanted, *some))


def _is_about(answer: EventAnswer, release: str) -> bool:
    """Whether an event is about a release of its project, given by its key: by itself, or by its file."""
    names = answer.row.version, (answer.data or {}).get("version")
    return any(isinstance(name, str) and release_key(name) == release for name in names)


def late_among(connection: Connection, asked: Asked, uploads: Sequence[int], days: float) -> set[int]:
    """Those of some uploads that came so long after the first one to their release."""
    places, found = Places(connection, asked), set()
    for index, first in first_uploads(connection, uploads).items():
        before, after = places.latest_time(first), places.latest_time(index)
        if before and after and from_instant(after) - from_instant(before) >= timedelta(days=days):
            found.add(index)
    return found


def answers(connection: Connection, asked: Asked, rows: Sequence[EventRow]) -> list[EventAnswer]:
    """Events as answers."""
    places, bodies = Places(connection, asked), load_bodies(connection, [row.idx for row in rows])
    found = []
    for row in rows:
        body = bodies.get(row.idx)
        what, data = _read(row, body)
        found.append(EventAnswer(row, places.of(row.idx, row.type), what, data))
    return found


def _read(row: EventRow, body: bytes | None) -> tuple[str, dict[str, Any] | None]:
    if row.type is None:
        return f"unreadable record ({row.detail or row.code})", None
    if body is None:
        return describe_upload(row.filename or "", row.project or "", row.version or ""), None
    event: Any = decode_event(body)  # it has a type, so it can be read
    return describe(event), json.loads(body)["data"]
