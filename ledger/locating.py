"""Where events stand on a log, by the digests of their records, and what became of them.

The log has no index of digests. A catalog has one; what it has not read yet, and the latest records where there is no
catalog, are hashed and remembered here.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger.catalog import CatalogError
from ledger.config import CatalogSection
from ledger.logs import Log
from ledger.state import StoreError
from ledger.state.picking import open_furthest_of
from ledger.state.position import load_position
from ledger.state.shown import ShownEvent, load_shown
from ledger.state.statements import State
from schemas.codec import AUTHORITY_TYPES, Rejection, decode_event

if TYPE_CHECKING:
    from ledger.catalog.database import Connection, Database

REMEMBERED = 100_000
"""How many of the latest records are remembered: about 30 MB. Older ones are found by the catalog alone."""

_AUTHORITY = tuple(kind.encode() for kind in AUTHORITY_TYPES)


# --- where events stand ----------------------------------------------------------------------------------------------


class Located(NamedTuple):
    """A record: its index, and whether it is of one of `AUTHORITY_TYPES`."""

    event: int
    is_authority: bool


class DigestIndex:
    """Finds records of `events` by digest. Used by one asyncio task at a time, as the log is.

    Args:
        events: the log, open.
        catalog: the catalog, open; somebody else fills it, or does not. None: there is none of this log.
    """

    def __init__(self, events: Log, catalog: "Database | None") -> None:
        self._events = events
        self._catalog = catalog
        self._size: int | None = None
        self._latest: OrderedDict[bytes, list[Located]] = OrderedDict()

    async def find_latest(self, digests: Iterable[str]) -> dict[str, list[Located]]:
        """The latest records with some digests, in order, by digest; without those of which there is none.

        Raises:
            LogError: the log cannot be read.
        """
        if self._size is None:
            self._size = await self._begin()
        while values := await self._events.read(self._size):
            for value in values:
                if value is not None:
                    self._remember(self._size, value)
                self._size += 1
        found = {each: self._latest.get(bytes.fromhex(each), []) for each in digests}
        return {digest: list(places) for digest, places in found.items() if places}

    async def find(self, digests: Collection[str]) -> dict[str, list[Located]]:
        """All records with some digests that are known, in order, by digest; without those of which there is none.

        Raises:
            LogError: the log cannot be read.
            CatalogError: the catalog cannot be asked.
        """
        found = {digest: set(places) for digest, places in (await self.find_latest(digests)).items()}
        catalog = self._catalog_there()
        if catalog is not None:
            for digest, place in await catalog.run(_in_catalog, digests):
                found.setdefault(digest, set()).add(place)
        return {digest: sorted(places) for digest, places in found.items()}

    async def _begin(self) -> int:
        """Where reading begins: at the latest records, or where the catalog ends if that is later."""
        start = max(await self._events.size() - REMEMBERED, 0)
        catalog = self._catalog_there()
        try:
            size, near = (0, None) if catalog is None else await catalog.run(_begin_in_catalog, start)
        except CatalogError:
            return start
        if near is not None:
            self._events.resume(*near)
        return max(start, size)

    def _catalog_there(self) -> "Database | None":
        """The catalog, unless it is a file that was not made yet."""
        is_missing = self._catalog is not None and self._catalog.path is not None and not self._catalog.path.exists()
        return None if is_missing else self._catalog

    def _remember(self, event: int, value: bytes) -> None:
        self._latest.setdefault(sha256(value).digest(), []).append(Located(event, _is_authority(value)))
        while len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)


@asynccontextmanager
async def open_digests(events: Log, section: CatalogSection, states: Path | None) -> AsyncIterator[DigestIndex]:
    """An index of digests over an open log, and over its catalog.

    Args:
        events: the log.
        section: where the catalog is.
        states: the folder of states; None: it does not belong to this log, nor does the catalog.

    Raises:
        CatalogError: the URL of the catalog cannot be used.
    """
    if states is None:
        yield DigestIndex(events, None)
        return
    from ledger.catalog.database import catalog_of  # noqa: PLC0415  # SQLAlchemy

    catalog = catalog_of(section, states, writes=False)
    await catalog.open()
    try:
        yield DigestIndex(events, catalog)
    finally:
        await catalog.close()


def _in_catalog(connection: "Connection", digests: Iterable[str]) -> list[tuple[str, Located]]:
    from ledger.catalog.event_rows import events_with_digests  # noqa: PLC0415
    from ledger.catalog.writing import can_be_asked  # noqa: PLC0415

    if not can_be_asked(connection):
        return []
    rows = events_with_digests(connection, map(bytes.fromhex, digests))
    return [(row.digest.hex(), Located(row.idx, row.type in AUTHORITY_TYPES)) for row in rows]


def _begin_in_catalog(connection: "Connection", start: int) -> tuple[int, tuple[int, int] | None]:
    """The number of events in a catalog, and the nearest record before where reading begins, with its token."""
    from ledger.catalog.event_rows import count_events, position_before  # noqa: PLC0415
    from ledger.catalog.writing import can_be_asked  # noqa: PLC0415

    if not can_be_asked(connection):
        return 0, None
    size = count_events(connection)
    return size, position_before(connection, max(start, size))


def _is_authority(value: bytes) -> bool:
    """Whether a record is an event of one of `AUTHORITY_TYPES`. Only the few that name such a type are decoded."""
    if not any(kind in value for kind in _AUTHORITY):
        return False
    event = decode_event(value)
    return not isinstance(event, Rejection) and event.__struct_config__.tag in AUTHORITY_TYPES


# --- what became of them ---------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """Which of several records with the same bytes counts: the first that was not rejected, or else the last; and what
    became of it (None: no publication that is known here shows it yet). It is held if one covers it without showing it.
    """

    event: int
    shown: ShownEvent | None
    is_held: bool = False


async def standings_of(states: Path | None, records: Sequence[Sequence[Located]]) -> list[Standing]:
    """How events stand, each given by its places on the log, as the furthest state of a folder knows it.

    Where there is no folder, or no state in it that can be read, none of them is shown.
    """
    try:
        async with open_furthest_of(states) as furthest:
            if furthest is not None:
                return [await furthest.store.run(_standing, each) for each in records]
    except StoreError:
        pass  # its consumer is starting
    return [Standing(each[0].event, None) for each in records]


def _standing(state: State, places: Sequence[Located]) -> Standing:
    for each in places:
        shown = load_shown(state, each.event, is_authority=each.is_authority)
        if shown is None:
            position = load_position(state)
            return Standing(each.event, None, is_held=position is not None and each.event < position.size)
        if shown.verdict != "rejected" or each is places[-1]:
            return Standing(each.event, shown)
    raise ValueError("an event without a place")
