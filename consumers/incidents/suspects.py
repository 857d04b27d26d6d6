"""Finding the events that selectors choose, at any size of the log.

Selectors of different kinds must all fit an event; of one kind, any of them. What a `not` finds is taken away. Events
about the ledger itself (`ledger.created`, `roles.signed`, `signing.*`) and records that are no events are never
selected, nor are the records of the incident itself.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, product
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import late_among
from consumers.catalog.keys import find_key, spans_of
from consumers.catalog.times import late_uploads, since, surely_since, surely_until, until
from consumers.incidents.incident_selectors import Selector, SelectorError, chosen, events_of
from ledger.catalog import publication_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import (
    Wanted,
    actor_ids,
    digests_at,
    digests_between,
    indices_from,
    is_credential,
    is_of_file,
    is_project,
    unreadable_between,
)
from ledger.catalog.selecting import AT_ONCE
from projections.incidents.selection import (
    Run,
    Selected,
    common,
    count_of,
    runs_of,
    selection_of,
    together,
    without,
)
from projections.log.operations import type_of
from schemas.codec import AUTHORITY_TYPES
from schemas.events import LedgerCreated

PAGE = 20_000
"""Number of events that are read at a time."""

NEVER = (*sorted(AUTHORITY_TYPES), type_of(LedgerCreated))
"""The types of events that are about the ledger itself."""


class Own(NamedTuple):
    """An incident, and the event that opened it: later events that name it are answers to it, and no part of it."""

    incident: str
    opened_idx: int


class Matching(NamedTuple):
    """The events that selectors find, and sentences about what they name and the log does not have."""

    runs: tuple[Run, ...]
    unknown: tuple[str, ...]


def find_matching(
    connection: Connection, asked: Asked, selectors: Sequence[Selector], own: Own | None = None
) -> Matching:
    """Find the events that selectors choose; without any, all events.

    Raises:
        SelectorError: the beginning of a key id fits several keys.
    """
    finder = _Finder(connection, asked)
    runs = _run(0, asked.size)
    is_strict = any(each.kind == "strict" for each in selectors)
    for kind in ("since", "until", "events", "key"):
        if values := chosen(selectors, kind):
            runs = common(runs, together(*(finder.span(kind, value, is_strict=is_strict) for value in values)))
    if any(not each.takes_away and each.kind not in _SPANS for each in selectors):
        runs = common(runs, finder.narrow(selectors, _hull(runs)))
    taken = [finder.alone(each, _hull(runs)) for each in selectors if each.takes_away]
    if own is not None:
        wanted = Wanted(first=own.opened_idx, end=asked.size, incident=own.incident)
        taken.append(runs_of(finder.indices(wanted)))
    runs = without(runs, together(finder.never(_hull(runs)), *taken))
    return Matching(runs, tuple(finder.unknown(selectors)))


_SPANS = frozenset({"since", "until", "strict", "events", "key"})
"""Kinds that choose by the index of an event alone."""


class _Finder:
    """Answers selectors from a catalog, in one transaction."""

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection = connection
        self._asked = asked

    def never(self, hull: Run) -> tuple[Run, ...]:
        """What is never selected, in a range."""
        first, end = hull
        about_itself = self.indices(Wanted(first=first, end=end, types=NEVER))
        unreadable = _pages(lambda at: unreadable_between(self._connection, max(at, first), end, PAGE))
        return together(runs_of(about_itself), runs_of(chain.from_iterable(unreadable)))

    def span(self, kind: str, value: str, *, is_strict: bool = False) -> tuple[Run, ...]:
        """The events from one index to another that a selector of `_SPANS` chooses."""
        connection, size = self._connection, self._asked.size
        if kind == "key":
            return self._under_key(value)
        if kind == "events":
            first, last = events_of(Selector(kind, value))
            return _run(first, min(last + 1, size))
        if kind == "since":
            start = surely_since(connection, value) if is_strict else since(connection, value)[0]
            return () if start is None else _run(start, size)
        end = surely_until(connection, value) if is_strict else until(connection, value)[0]
        return _run(0, size if end is None else min(end, size))

    def narrow(self, selectors: Sequence[Selector], hull: Run) -> tuple[Run, ...]:
        """The events that all selectors choose which look at what an event says, in a range."""
        actors = chosen(selectors, "actor")
        publishers = [_publisher(value) for value in chosen(selectors, "publisher")]
        names = [each for each in (actors, publishers) if each] or [[]]
        found: tuple[Run, ...] | None = None
        for some in names:
            wanted = Wanted(
                first=hull[0],
                end=hull[1],
                actors=some,
                credentials=chosen(selectors, "credential"),
                unattested=bool(chosen(selectors, "unattested")),
                first_use=bool(chosen(selectors, "first-use")),
            )
            projects: list[str | None] = [*chosen(selectors, "project")] or [None]
            hashes: list[str | None] = [*chosen(selectors, "sha256")] or [None]
            days = chosen(selectors, "late-files")
            runs = together(*(self._one(wanted, *each, days) for each in product(projects, hashes)))
            found = runs if found is None else common(found, runs)
        return found or ()

    def alone(self, selector: Selector, hull: Run) -> tuple[Run, ...]:
        """The events that a selector finds by itself, in a range."""
        if selector.kind in _SPANS:
            return self.span(selector.kind, selector.value)
        return self.narrow([selector._replace(takes_away=False)], hull)

    def _one(self, wanted: Wanted, project: str | None, sha256: str | None, days: Sequence[str]) -> tuple[Run, ...]:
        """The events about one project, and about files of one digest."""
        wanted = wanted._replace(project=project)
        if sha256 is None:
            ways = [wanted]
        else:
            digest = bytes.fromhex(sha256)
            ways = [wanted._replace(bytes_of_file=digest)]
            added = states.artifacts_of_bytes(self._connection, digest)
            ways += [
                wanted._replace(first=each.from_idx, end=each.from_idx + 1)
                for each in added
                if wanted.first <= each.from_idx < (wanted.end or 0)
            ]
        found = []
        for way in ways:
            if days:
                found.append(together(*(self._late(way, float(each)) for each in days)))
            else:
                found.append(runs_of(self.indices(way)))
        return together(*found)

    def _late(self, wanted: Wanted, days: float) -> tuple[Run, ...]:
        found: list[int] = []
        for span in late_uploads(self._connection, days):
            end = span.end if wanted.end is None else min(span.end, wanted.end)
            some = wanted._replace(first=max(span.first, wanted.first), end=end, added=span.below)
            for page in self._pages(some):
                found += sorted(late_among(self._connection, self._asked, page, days))
        return runs_of(found)

    def _under_key(self, keyid: str) -> tuple[Run, ...]:
        """The events that publications were the first to show while the online roles listed a key."""
        found = []
        for each in self._keys(keyid):
            for span in spans_of(self._connection, each):
                if span.role != "timestamp":
                    continue
                rows = publication_rows.publications_under_roles(self._connection, span.since, span.until)
                if rows is not None:
                    before = writing.publication_before(self._connection, rows[0].number)
                    found.append(_run(0 if before is None else before.content_size, rows[1].content_size))
        return together(*found)

    def _keys(self, beginning: str) -> list[str]:
        keys = [each.keyid for each in find_key(self._connection, beginning)]
        if len(keys) > 1:
            raise SelectorError(f"key={beginning}: {len(keys)} keys have an id that begins so; write more of it")
        return keys

    def indices(self, wanted: Wanted) -> Iterator[int]:
        """The indices of wanted events, in order."""
        return chain.from_iterable(self._pages(wanted))

    def _pages(self, wanted: Wanted) -> Iterator[list[int]]:
        return _pages(lambda at: indices_from(self._connection, wanted, at, PAGE))

    def unknown(self, selectors: Sequence[Selector]) -> Iterator[str]:
        """What selectors name and the log does not have, in sentences."""
        for each in selectors:
            value = each.value
            if each.kind in {"actor", "publisher"}:
                name = value if each.kind == "actor" else _publisher(value)
                if not actor_ids(self._connection, name):
                    yield f"no event is by {each.kind} {value}"
            elif each.kind == "credential" and not is_credential(self._connection, value):
                yield f"no event was made with credential {value}"
            elif each.kind == "project" and not is_project(self._connection, value):
                yield f"no event is about project {value}"
            elif each.kind == "sha256" and not is_of_file(self._connection, bytes.fromhex(value)):
                yield f"no file or target has SHA-256 {value}"
            elif each.kind == "key" and not self._under_key(value):
                yield f"no publication under an online key {value} was the first to show an event"
            elif each.kind == "events" and events_of(each)[1] >= self._asked.size:
                yield f"there are {self._asked.size:,} events, so not all of {value}"


def _publisher(name: str) -> str:
    return f"trusted-publisher:{name}"


def _run(first: int, end: int) -> tuple[Run, ...]:
    return ((first, end),) if first < end else ()


def _hull(runs: Sequence[Run]) -> Run:
    """The range that runs lie in."""
    return (runs[0][0], runs[-1][1]) if runs else (0, 0)


def _pages(read: Callable[[int], list[int]]) -> Iterator[list[int]]:
    """Indices, page by page: those of each page from an index on."""
    at = 0
    while page := read(at):
        yield page
        at = page[-1] + 1


# --- digests ---------------------------------------------------------------------------------------------------------


def freeze(connection: Connection, runs: tuple[Run, ...]) -> Selected:
    """A list of events, with its Merkle root."""
    return Selected(runs, count_of(runs), selection_root(connection, runs))


def selection_root(connection: Connection, runs: Sequence[Run]) -> str:
    """The Merkle root over the events of some runs."""
    return selection_of(_digests(connection, runs))


def _digests(connection: Connection, runs: Iterable[Run]) -> Iterator[tuple[int, bytes]]:
    """The events of runs, each with its digest, in order."""
    for short, run in in_readable_parts(runs):
        yield from digests_at(connection, short) if run is None else digests_between(connection, *run)


def in_readable_parts(runs: Iterable[Run], page: int = PAGE) -> Iterator[tuple[list[int], Run | None]]:
    """Runs as parts that are read by one query each, in order: the indices of short runs, or a page of a long one."""
    short: list[int] = []
    for first, end in runs:
        if end - first < AT_ONCE:
            short += range(first, end)
        if short and (len(short) >= AT_ONCE or end - first >= AT_ONCE):
            yield short, None
            short = []
        if end - first >= AT_ONCE:
            for at in range(first, end, page):
                yield [], (at, min(at + page, end))
    if short:
        yield short, None
