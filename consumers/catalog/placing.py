"""Where events stand: shown by which publication, pending, or held; and between which times they were published."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from consumers.catalog.asking import Asked
from ledger.catalog import publication_rows, writing
from ledger.catalog.database import Connection
from projections.index.upload_times import is_later
from schemas.codec import AUTHORITY_TYPES


class Place(NamedTuple):
    """Where an event stands: `shown`, `pending` or `held`.

    `publication` is the first one that shows it, or for events about the ledger itself covers it. It was made between
    `not_before` (its predecessor's time; empty: none) and `not_after` (its own): these are times of claims, and a
    server may have lagged. `reproduced` says whether a follower on this machine has reproduced it.
    """

    status: str
    publication: int | None = None
    not_before: str = ""
    not_after: str = ""
    reproduced: bool = False

    def contains(self, time: str) -> bool:
        """Whether an event's own time lies in its bracket; if there is none yet, it does."""
        if self.publication is None:
            return True
        return not is_later(time, self.not_after) and (
            not self.not_before or is_later(time, self.not_before) or time[:19] == self.not_before[:19]
        )


class Offering(NamedTuple):
    """The publications that offer something: from the first to the last (None: the newest still does)."""

    first: int
    last: int | None


class _Shown(NamedTuple):
    """The events that a publication shows first, from one index to another, and the number of the one before it."""

    start: int
    end: int
    place: Place
    before: int
    effective_time: str


class Places:
    """Finds where events stand, in one transaction."""

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection = connection
        self._asked = asked
        self._known: dict[bool, list[_Shown]] = {False: [], True: []}

    def of(self, index: int, kind: str | None) -> Place:
        """Where the event at an index stands, given its type (None: the record is no event)."""
        is_covered = kind is None or kind in AUTHORITY_TYPES
        found = self._find(index, is_covered=is_covered)
        if found is not None:
            return found.place
        held_from = self._asked.held_from
        return Place("held" if not is_covered and held_from is not None and index >= held_from else "pending")

    def latest_time(self, index: int) -> str:
        """The effective time of the first publication that covers an event; of the last publication, if none does."""
        found = self._find(index, is_covered=True)
        if found is not None:
            return found.effective_time
        last = publication_rows.last_publication(self._connection)
        return "" if last is None else last.effective_time

    def offerings(self, intervals: Iterable[tuple[int, int]]) -> list[Offering]:
        """The publications that show what holds in some intervals of events, in order.

        What ended and began again between two publications was offered all the time.
        """
        found: list[Offering] = []
        for from_idx, to_idx in intervals:
            offer, first = self.offer(from_idx, to_idx), self._find(from_idx, is_covered=False)
            if offer is not None and first is not None:
                start = found.pop().first if found and found[-1].last == first.before else offer.first
                found.append(Offering(start, offer.last))
        return found

    def offer(self, from_idx: int, to_idx: int) -> Offering | None:
        """The publications that show what holds from the event at one index until the one at another; None: none."""
        return self._between(from_idx, to_idx, is_covered=False)

    def cover(self, from_idx: int, to_idx: int) -> Offering | None:
        """The same for offline roles, and all that counts as soon as it is covered."""
        return self._between(from_idx, to_idx, is_covered=True)

    def _between(self, from_idx: int, to_idx: int, *, is_covered: bool) -> Offering | None:
        first = self._find(from_idx, is_covered=is_covered)
        if first is None or first.place.publication is None:
            return None
        end = self._find(to_idx, is_covered=is_covered)
        if end is None:
            return Offering(first.place.publication, None)
        return None if end.before < first.place.publication else Offering(first.place.publication, end.before)

    def _find(self, index: int, *, is_covered: bool) -> _Shown | None:
        known = self._known[is_covered]
        at = bisect_right(known, index, key=lambda each: each.start)
        if at and index < known[at - 1].end:
            return known[at - 1]
        if index >= self._asked.size:
            return None
        find = publication_rows.first_covering if is_covered else publication_rows.first_showing
        row = find(self._connection, index)
        if row is None:
            return None
        before = writing.publication_before(self._connection, row.number)
        not_before, reproduced = "" if before is None else before.time, row.number <= self._asked.reproduced
        place = Place("shown", row.number, not_before, row.time, reproduced)
        start = 0 if before is None else before.size if is_covered else before.content_size
        end = row.size if is_covered else row.content_size
        found = _Shown(start, end, place, 0 if before is None else before.number, row.effective_time)
        known.insert(at, found)
        return found
