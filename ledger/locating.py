"""Where events stand on a log, by the digests of their records.

The log has no index of digests. A catalog has one; what it has not read yet, and the latest records where there is no
catalog, are hashed and remembered here.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger.catalog import FILE
from ledger.config import CatalogSection
from ledger.logs import Log
from ledger.state import StoreError
from ledger.state.picking import open_furthest_of
from ledger.state.shown import ShownEvent, load_shown
from ledger.state.statements import State
from schemas.codec import AUTHORITY_TYPES, Rejection, decode_event

if TYPE_CHECKING:
    from ledger.catalog.database import Database

REMEMBERED = 100_000
"""How many of the latest records are remembered: about 30 MB. Older ones are found by the catalog alone."""

_AUTHORITY = tuple(kind.encode() for kind in AUTHORITY_TYPES)


class Located(NamedTuple):
    """A record: its index, and whether it is of one of `AUTHORITY_TYPES`."""

    event: int
    is_authority: bool


class DigestIndex:
    """Finds records of `events` by digest. Used by one asyncio task at a time, as the log is.

    Args:
        events: the log, open.
        catalog: the catalog, open; None: there is none.
    """

    def __init__(self, events: Log, catalog: "Database | None" = None) -> None:
        self._events = events
        self._catalog = catalog
        self._size: int | None = None
        self._latest: OrderedDict[bytes, list[Located]] = OrderedDict()

    async def find(self, digests: Collection[str]) -> dict[str, list[Located]]:
        """All records with some digests that are known, in order, by digest; without those of which there is none.

        Raises:
            LogError: the log cannot be read.
            CatalogError: the catalog cannot be asked.
        """
        await self._read_on()
        wanted = {bytes.fromhex(each): each for each in digests}
        found: dict[str, dict[int, Located]] = {}
        for digest, text in wanted.items():
            for each in self._latest.get(digest, []):
                found.setdefault(text, {})[each.event] = each
        if self._catalog is not None:
            from ledger.catalog.event_rows import events_with_digests  # noqa: PLC0415  # SQLAlchemy

            for row in await self._catalog.run(events_with_digests, wanted):
                places = found.setdefault(wanted[row.digest], {})
                places[row.idx] = Located(row.idx, row.type in AUTHORITY_TYPES)
        return {digest: [places[index] for index in sorted(places)] for digest, places in found.items()}

    async def _read_on(self) -> None:
        if self._size is None:
            self._size = await self._begin()
        while values := await self._events.read(self._size):
            for value in values:
                if value is not None:
                    self._remember(self._size, value)
                self._size += 1

    async def _begin(self) -> int:
        """Where reading begins: at the latest records, or where the catalog ends if that is later."""
        start = max(await self._events.size() - REMEMBERED, 0)
        if self._catalog is None:
            return start
        from ledger.catalog.event_rows import count_events, position_before  # noqa: PLC0415  # SQLAlchemy

        start = max(start, await self._catalog.run(count_events))
        near = await self._catalog.run(position_before, start)
        if near is not None:
            self._events.resume(*near)
        return start

    def _remember(self, event: int, value: bytes) -> None:
        self._latest.setdefault(sha256(value).digest(), []).append(Located(event, _is_authority(value)))
        while len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)


def _is_authority(value: bytes) -> bool:
    """Whether a record is an event of one of `AUTHORITY_TYPES`. Only the few that name such a type are decoded."""
    if not any(kind in value for kind in _AUTHORITY):
        return False
    event = decode_event(value)
    return not isinstance(event, Rejection) and event.__struct_config__.tag in AUTHORITY_TYPES


async def shown_at(states: Path | None, places: Sequence[Sequence[Located]]) -> list[ShownEvent | None]:
    """What became of records, each of which is on the log at some places: of the first that was not rejected, or else
    of the last. None: no publication that a state of the folder has applied shows it yet, or there is no folder.
    """
    try:
        async with open_furthest_of(states) as furthest:
            if furthest is None:
                return [None] * len(places)
            return [await furthest.store.run(_first_that_counts, each) for each in places]
    except StoreError:
        return [None] * len(places)  # its consumer is starting


def _first_that_counts(state: State, places: Sequence[Located]) -> ShownEvent | None:
    shown = None
    for each in places:
        shown = load_shown(state, each.event, is_authority=each.is_authority)
        if shown is None or shown.verdict != "rejected":
            break
    return shown


@asynccontextmanager
async def open_written_catalog(section: CatalogSection, states: Path) -> "AsyncIterator[Database | None]":
    """The catalog that somebody else keeps up to date, open for reading; None: there is none that can be used."""
    if not section.url and not (states / FILE).exists():
        yield None
        return
    from ledger.catalog.database import catalog_of, has_tables  # noqa: PLC0415  # SQLAlchemy
    from ledger.catalog.writing import is_of_other_format  # noqa: PLC0415

    catalog = catalog_of(section, states, writes=False)
    await catalog.open()
    try:
        is_usable = await catalog.run(has_tables) and not await catalog.run(is_of_other_format)
        yield catalog if is_usable else None
    finally:
        await catalog.close()
