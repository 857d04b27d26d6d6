"""Which events belong to a time, or to publications.

An event's own time is a claim. What is known is its bracket: it came after the last publication that does not cover it
was made, and before the first one that does. These times are effective ones, so that a publication that a thief dated
2999 hides nothing.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from consumers.catalog.asking import Asked
from ledger.catalog import FOREVER, publication_rows
from ledger.catalog.added import added_between, level_of
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Between, Wanted
from ledger.catalog.writing import PublicationRow
from ledger.clock import from_instant
from schemas.codec import AUTHORITY_TYPES
from schemas.errors import NegativeAnswerError

LOOKED_AT = 20_000
"""Number of uploads that are looked at, whether they are late; where there are more, their first page is soon found."""

SAME_LEVELS = 4
"""Number of levels that are looked at together: between times that differ more, an index has grown 16 times faster."""

NEARNESS = 20
"""The part of a wait within which publications are taken together."""


def since(connection: Connection, time: str) -> tuple[int, int]:
    """The index of the first event that may have come at a time or later, and the number of a publication below which
    all are earlier.
    """
    row = publication_rows.last_before(connection, time)
    return (0, 0) if row is None else (row.size, row.number + 1)


def until(connection: Connection, time: str) -> tuple[int | None, int | None]:
    """The index of the first event that surely came after a time, and the number of the first publication that did;
    None: there is none.
    """
    row = publication_rows.first_after(connection, time)
    return (None, None) if row is None else (row.size, row.number)


def surely_since(connection: Connection, time: str) -> int | None:
    """The index of the first event that surely came at a time or later; None: no event surely did."""
    row = publication_rows.first_from(connection, time)
    return None if row is None else row.size


def surely_until(connection: Connection, time: str) -> int:
    """The index of the first event that may have come after a time."""
    row = publication_rows.publication_at(connection, time)
    return 0 if row is None else row.size


class Lateness(NamedTuple):
    """Uploads from one index to below another can be late if the first one to their release is below a third."""

    first: int
    end: int
    below: int


def late_uploads(connection: Connection, days: float) -> list[Lateness]:
    """Where there are uploads that came so long after the first one to their release, in order.

    It is exact but for a small part of these days: publications that are near each other are taken together. Where many
    are as many events behind the first as late ones are, it is not looked at each.
    """
    found = list[Lateness]()
    for _, together in groupby(_possible(connection, days), key=lambda span: _least_level(span) // SAME_LEVELS):
        spans = list(together)
        first, end = spans[0].first, spans[-1].end
        added = added_between(connection, min(map(_least_level, spans)), first, end, LOOKED_AT)
        if len(added) < LOOKED_AT:
            starts = [span.first for span in spans]
            places = [(bisect_right(starts, each.upload_idx) - 1, each.first_idx) for each in added]
            late = {place for place, first_idx in places if first_idx < spans[place].below}
            spans = [spans[place] for place in sorted(late)]
        found += spans
    return found


def _least_level(span: Lateness) -> int:
    """The level of the uploads of a span that can be late, at least."""
    return level_of(max(span.first - span.below + 1, 1))


def _possible(connection: Connection, days: float) -> list[Lateness]:
    """Where such uploads can be, by the times of publications alone."""
    wait, found = timedelta(days=days), list[Lateness]()
    sizes, times = [0], [datetime.min.replace(tzinfo=UTC)]
    for size, time in publication_rows.effective_times(connection):
        sizes.append(size)
        times.append(from_instant(time))
    start = 1
    while start < len(times):
        stop = max(start + 1, bisect_right(times, times[start] + wait / NEARNESS))
        below = sizes[bisect_right(times, times[stop - 1] - wait) - 1]
        is_last = stop == len(times)  # what is pending counts from the last publication
        if below:
            found.append(Lateness(sizes[start - 1], FOREVER if is_last else sizes[stop - 1], below))
        start = stop
    return found


def between(connection: Connection, asked: Asked, wanted: Wanted, numbers: tuple[int, int]) -> Wanted:
    """Narrow to what the publications after one number, up to another, were the first to show; 0: from the beginning.

    Raises:
        NegativeAnswerError: there is no such publication.
    """
    first, last = (_publication(connection, asked, number) for number in numbers)
    covered = (0 if first is None else first.size), (0 if last is None else last.size)
    shown = (0 if first is None else first.content_size), (0 if last is None else last.content_size)
    start, end = min(covered[0], shown[0]), max(covered[1], shown[1])
    return wanted._replace(
        first=max(wanted.first, start),
        end=end if wanted.end is None else min(wanted.end, end),
        between=None if covered == shown else Between(sorted(AUTHORITY_TYPES), covered, shown),
    )


def _publication(connection: Connection, asked: Asked, number: int) -> PublicationRow | None:
    row = publication_rows.load_publication(connection, number)
    if row is None and number:
        raise NegativeAnswerError(f"there is no publication {number}: the last one is {asked.number}")
    return row
