"""Incidents as the log has them: opened, noted on, with lists of events, closed; and the answers to them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.incidents.incident_selectors import SelectorError, read_selectors
from consumers.incidents.suspects import Own, find_matching, in_readable_parts, selection_root
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import (
    Tally,
    Wanted,
    events_from,
    load_bodies,
    load_events,
    measures_of,
    tally_at,
    tally_between,
)
from ledger.catalog.states import is_incident_open
from ledger.catalog.tables import OUTCOMES
from projections.incidents.selection import Frozen, Part, Run, count_of, lists_of, without
from projections.log.operations import type_of
from schemas import events
from schemas.codec import decode_event

PAGE = 500
COUNTED = 2_000_000
"""How many events are counted at a time. The database counts them, and answers with one row for each value."""
_OPENED, _NOTED, _SELECTED, _CLOSED = (
    type_of(kind)
    for kind in (events.IncidentOpened, events.IncidentNoted, events.IncidentSelected, events.IncidentClosed)
)


class KnownIncident(NamedTuple):
    """An incident.

    Attributes:
        name: what it is called.
        is_open: whether it is open at the end of the log.
        openings: the events that opened it: the first time, and again.
        notes: the events that noted something on it.
        closings: the events that closed it.
        lists: its lists of events, by version. The last one is in force.
        ignored: how many lists were begun on the log that do not count: not complete, wrong, or not the first.
        measures: the accepted events that name it, but for those about itself: also from before it was opened.
    """

    name: str
    is_open: bool
    openings: Sequence[EventAnswer]
    notes: Sequence[EventAnswer]
    closings: Sequence[EventAnswer]
    lists: Sequence[Frozen]
    ignored: int
    measures: Sequence[int]

    @property
    def in_force(self) -> Frozen | None:
        """The list in force; None: there is none, since it was never complete."""
        return self.lists[-1] if self.lists else None

    @property
    def title(self) -> str:
        """What it is about, as it was opened last."""
        return f"{(self.openings[-1].data or {}).get('title', '')}"

    @property
    def selectors(self) -> tuple[str, ...]:
        """By what its events are found, as it was opened last."""
        return tuple((self.openings[-1].data or {}).get("selectors", ()))

    @property
    def own(self) -> Own:
        """Which events are its own records."""
        return Own(self.name, self.openings[0].row.idx)


def load_incident(connection: Connection, asked: Asked, name: str) -> KnownIncident | None:
    """An incident as the log has it; None: it was never opened."""
    found: dict[str, list[EventAnswer]] = {_OPENED: [], _NOTED: [], _CLOSED: []}
    parts: list[Part] = []
    about_itself: set[int] = set()
    for each in _accepted(connection, asked, name):
        about_itself.add(each.row.idx)
        if each.row.type == _SELECTED:
            parts += _part(connection, each.row.idx)
        elif each.row.type in found:
            found[each.row.type].append(each)
    if not found[_OPENED]:
        return None
    lists = lists_of(parts, partial(selection_root, connection))
    return KnownIncident(
        name,
        is_incident_open(connection, name),
        found[_OPENED],
        found[_NOTED],
        found[_CLOSED],
        lists,
        sum(data.part == 0 for _, data in parts) - len(lists),
        [each for each in measures_of(connection, name, 0, asked.size) if each not in about_itself],
    )


def count_besides(connection: Connection, asked: Asked, known: KnownIncident) -> int:
    """How many events the incident's own selectors find now that its list does not have: a thief may go on."""
    if not known.selectors:
        return 0
    try:
        selectors = read_selectors(known.selectors)
        found = find_matching(connection, asked, selectors, known.own)
    except SelectorError:  # somebody else's program wrote them
        return 0
    return count_of(without(found.runs, known.in_force.events.runs if known.in_force else ()))


def _accepted(connection: Connection, asked: Asked, name: str) -> Iterator[EventAnswer]:
    """The accepted events about an incident, in order."""
    wanted, at = Wanted(subject=name, types=("incident",), end=asked.size), 0
    while rows := events_from(connection, wanted, at, PAGE):
        yield from answers(connection, asked, [row for row in rows if OUTCOMES[row.outcome] == "accepted"])
        at = rows[-1].idx + 1


def _part(connection: Connection, index: int) -> Iterator[Part]:
    event = decode_event(load_bodies(connection, [index])[index])
    if isinstance(event, events.IncidentSelected):
        yield index, event.data


# --- what a list consists of -----------------------------------------------------------------------------------------


class Tallies(NamedTuple):
    """How many events have each type, actor, credential and project, and what became of them."""

    by_type: Counter[str]
    by_actor: Counter[str]
    by_credential: Counter[str]
    by_project: Counter[str]
    by_verdict: Counter[str]


def tally(connection: Connection, runs: Sequence[Run]) -> Tallies:
    """Count the events of runs. What has no credential or project is not counted there."""
    found = Tallies(Counter(), Counter(), Counter(), Counter(), Counter())
    hull = [(runs[0][0], runs[-1][1])] if runs else []
    gaps = without(hull, runs)
    if count_of(gaps) * len(gaps) < count_of(runs):  # a few long ranges are counted faster than many short ones
        _count(connection, found, hull, 1)
        _count(connection, found, gaps, -1)
    else:
        _count(connection, found, runs, 1)
    return Tallies(*(+each for each in found))


def _count(connection: Connection, found: Tallies, runs: Iterable[Run], sign: int) -> None:
    for short, run in in_readable_parts(runs, COUNTED):
        for each in tally_at(connection, short) if run is None else tally_between(connection, *run):
            _add(found, each, sign * each.events)


def _add(found: Tallies, each: Tally, count: int) -> None:
    if each.column == "actor":
        kind, name = each.value
        found.by_actor[name if kind == "user" else f"{kind}:{name}"] += count
    elif each.column == "outcome":
        found.by_verdict[OUTCOMES[each.value[0]]] += count
    else:
        counter: Counter[str] = getattr(found, f"by_{each.column}")
        counter[each.value[0]] += count


def event_answers(connection: Connection, asked: Asked, indices: Sequence[int]) -> list[EventAnswer]:
    """Some events, in order."""
    return answers(connection, asked, load_events(connection, indices))
