"""Where events stand: shown by which publication, pending, or held; and between which times they were published."""

from typing import NamedTuple

from consumers.catalog.asking import Asked
from ledger.catalog import published, writing
from ledger.catalog.database import Connection
from projections.index.upload_times import is_later
from projections.log.operations import AUTHORITY_TYPES


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


class Places:
    """Finds where events stand, in one transaction."""

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection = connection
        self._asked = asked
        self._known: dict[bool, list[tuple[int, int, Place]]] = {False: [], True: []}

    def of(self, index: int, kind: str | None) -> Place:
        """Where the event at an index stands, given its type (None: the record is no event)."""
        is_covered = kind is None or kind in AUTHORITY_TYPES
        for start, end, place in self._known[is_covered]:
            if start <= index < end:
                return place
        row = (
            published.first_covering(self._connection, index)
            if is_covered
            else published.first_showing(self._connection, index)
        )
        if row is None:
            held_from = self._asked.held_from
            return Place("held" if not is_covered and held_from is not None and index >= held_from else "pending")
        before = writing.publication_before(self._connection, row.number)
        place = Place(
            "shown", row.number, "" if before is None else before.time, row.time, row.number <= self._asked.reproduced
        )
        start = 0 if before is None else before.size if is_covered else before.content_size
        self._known[is_covered].append((start, row.size if is_covered else row.content_size, place))
        return place
