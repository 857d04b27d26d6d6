"""Upload times that nobody can backdate (docs/rules.md, section 3, "What the page shows").

The `time` of an upload is its producer's claim. Whoever holds the index's credential can put anything there, and every
cooldown of an installer rests on it. So a page shows it only if it lies in the *bracket* of the publication that first
shows the upload: between the time of the publication before and its own.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from sys import byteorder
from typing import NamedTuple

from projections.roles.authority import Terms, terms_at

_SECONDS = len("2026-11-21T10:00:00")
_INSTANT = len("2026-11-21T10:00:00Z")
_SIZE = 8


class Dated(NamedTuple):
    """What of a publication shapes upload times: it shows the events below its size. `time_from` is that of its root.

    Before the first publication, the time is an empty text.
    """

    size: int
    time: str
    time_from: str


class Bracket(NamedTuple):
    """The bracket of the uploads that one publication is the first to show: those below its size.

    `not_before` and `not_after` are whole seconds. `not_before` is empty for the first publication, and above
    `not_after` where a new time began.
    """

    size: int
    not_before: str
    not_after: str


def brackets_of(before: Dated, publications: Iterable[Dated]) -> tuple[list[Bracket], str]:
    """The brackets of publications in order, given the one before; and the time to which a new time lowers all before.

    A publication that starts a new time lowers upload times to its own, also those that earlier ones of these
    publications show first. The second result is an empty text if none of them starts a new time, or if there is
    nothing before.
    """
    brackets: list[Bracket] = []
    starts: list[bool] = []
    time, time_from = before.time, before.time_from
    for each in publications:
        brackets.append(Bracket(each.size, time, each.time))
        starts.append(bool(time) and each.time_from != time_from)
        time, time_from = each.time, each.time_from
    lowered = ""
    for place in range(len(brackets) - 1, -1, -1):
        own = brackets[place].not_after
        if lowered and lowered < own:
            brackets[place] = brackets[place]._replace(not_after=lowered)
        if starts[place]:
            lowered = min(lowered, own) if lowered else own
    return brackets, lowered if before.time else ""


def pack_brackets(brackets: Sequence[Bracket]) -> bytes:
    """Brackets as bytes that `UploadTimes` reads where they lie, in a file for instance. Their sizes do not go down."""
    sizes = b"".join(bracket.size.to_bytes(_SIZE, byteorder) for bracket in brackets)
    bounds = "".join(f"{bracket.not_before:{_INSTANT}}{bracket.not_after}" for bracket in brackets)
    return sizes + bounds.encode("ascii")


class UploadTimes:
    """The upload times of the events in a batch.

    Args:
        packed: the brackets of the batch's publications, from `pack_brackets`.
        new_time: what `brackets_of` says with them.
    """

    def __init__(self, packed: bytes | memoryview, new_time: str = "") -> None:
        self.new_time = new_time
        whole = memoryview(packed)
        count = len(whole) // (_SIZE + 2 * _INSTANT)
        self._sizes = whole[: count * _SIZE].cast("q")
        self._bounds = whole[count * _SIZE :]
        self._first = self._end = 0
        self._not_before = self._not_after = self._low = self._high = ""

    def shown(self, index: int, time: str, terms: Sequence[Terms]) -> str:
        """The upload time that a page shows, given the index and the `time` of an upload.

        Args:
            index: the index of the event, below the size of the last publication.
            time: the event's time, with up to six digits of fraction.
            terms: as in `projections.index.fold.fold_events`. While `importing`, nothing is too early.
        """
        if not self._first <= index < self._end:
            self._find(index)
        whole = time[:_SECONDS]
        if self._low <= whole < self._high:  # nearly always
            return time
        if is_later(time, self._not_after):
            return self._not_after
        if whole < self._low and not terms_at(terms, index).importing:
            return min(self._not_before, self._not_after)
        return time

    def _find(self, index: int) -> None:
        place = bisect_right(self._sizes, index)
        self._first, self._end = self._sizes[place - 1] if place else 0, self._sizes[place]
        bounds = bytes(self._bounds[2 * _INSTANT * place : 2 * _INSTANT * (place + 1)]).decode("ascii")
        self._not_before, self._not_after = bounds[:_INSTANT].rstrip(), bounds[_INSTANT:]
        self._low, self._high = self._not_before[:_SECONDS], self._not_after[:_SECONDS]


OWN_TIMES = UploadTimes(pack_brackets([Bracket(2**63 - 1, "", "9999-12-31T23:59:59Z")]))
"""The times that events say: for whoever folds beyond the last publication, and shows no page."""


def is_later(time: str, second: str) -> bool:
    """Whether a time is after an instant of whole seconds. As texts, `…00.5Z` would come before `…00Z`."""
    whole, bound = time[:_SECONDS], second[:_SECONDS]
    return whole > bound or (whole == bound and time[_SECONDS:].strip(".0Z") != "")
