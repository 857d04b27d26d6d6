"""Printing incidents, and the events that selectors find, for people and for machines."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import click

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer
from consumers.cli.event_text import event_json, event_line
from consumers.cli.paging import shown
from consumers.cli.shared import plural, say
from consumers.incidents.known_incidents import KnownIncident, Tallies, event_answers
from consumers.incidents.suspects import Matching, in_readable_parts
from projections.incidents.selection import Run

MOST_NAMES = 8
"""Number of names in one line."""
MOST_COUNTS = 1000
"""Number of names in one map for machines: those with the most events."""
PREVIEW = 20
"""Number of events in a preview."""
_PAGE = 500

_TITLES = {
    "types": "by_type",
    "actors": "by_actor",
    "credentials": "by_credential",
    "projects": "by_project",
    "outcomes": "by_verdict",
}


def say_unknown(matching: Matching) -> None:
    """Say what selectors name that is not on the log: perhaps a name is mistyped."""
    for each in matching.unknown:
        say("note:", each)


def say_besides(incident: str, count: int) -> None:
    """Say how many events selectors find that a list does not have: a thief may go on."""
    if count:
        events = plural(count, "event")
        say(
            "note:",
            f"its selectors also find {events} that its list does not have: `tuf-ledger incident show {incident}`",
        )


def tally_lines(found: Tallies) -> Iterator[str]:
    """Counts of events for people."""
    for title, name in _TITLES.items():
        counter: Counter[str] = getattr(found, name)
        if counter:
            yield f"    {title:<12} {_counts(counter)}"


def _counts(counter: Counter[str]) -> str:
    ordered = _ordered(counter)
    text = ", ".join(f"{shown(name)} {count:,}" for name, count in ordered[:MOST_NAMES])
    more = len(ordered) - MOST_NAMES
    return f"{text}, and {more:,} more" if more > 0 else text


def _ordered(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))


def tally_json(found: Tallies) -> dict[str, Any]:
    """Counts of events for machines."""
    return {name: dict(_ordered(getattr(found, name))[:MOST_COUNTS]) for name in _TITLES.values()}


async def events_in(asked: Asked, runs: tuple[Run, ...]) -> AsyncIterator[EventAnswer]:
    """The events of runs, in order."""
    for short, run in in_readable_parts(runs):
        indices = short if run is None else range(*run)
        for start in range(0, len(indices), _PAGE):
            for each in await asked.database.run(event_answers, asked, indices[start : start + _PAGE]):
                yield each


# --- incidents -------------------------------------------------------------------------------------------------------


def incident_json(known: KnownIncident) -> dict[str, Any]:
    """An incident for machines, without its list."""
    frozen = known.in_force
    facts: dict[str, Any] = {
        "incident": known.name,
        "state": "open" if known.is_open else "closed",
        "event": known.openings[0].row.idx,
        "title": known.title,
        "selectors": list(known.selectors),
        "measures": len(known.measures),
        "version": None if frozen is None else frozen.version,
        "count": None if frozen is None else frozen.events.total,
    }
    return facts


def incident_lines(known: KnownIncident) -> list[str]:
    """An incident for people, without its list."""
    frozen = known.in_force
    state = "open" if known.is_open else click.style("closed", fg="green")
    what = "no list" if frozen is None else f"{plural(frozen.events.total, 'event')} (version {frozen.version})"
    head = f"{click.style(shown(known.name), bold=True)}  {state}, {what}"
    opening = known.openings[0]
    measures = f", {plural(len(known.measures), 'measure')} since" if known.measures else ""
    return [
        f"{head}: {shown(known.title)}",
        f"    opened by event {opening.row.idx} of {shown(opening.row.actor or '')}{measures}",
    ]


def incident_details(known: KnownIncident) -> Iterator[str]:
    """What else there is to say of an incident."""
    yield f"    selectors    {shown(', '.join(known.selectors)) or 'none'}"
    for again in known.openings[1:]:
        yield f"    opened again by event {again.row.idx} of {shown(again.row.actor or '')}"
    frozen = known.in_force
    if frozen is not None:
        made = "" if frozen.publication is None else f", publication {frozen.publication}"
        yield f"    list         version {frozen.version}, made of {frozen.size:,} records{made}"
        yield f"    selection    {frozen.events.selection}"
    if known.ignored:
        yield click.style(f"    ignored      {plural(known.ignored, 'list')} on the log that do not count", fg="yellow")
    for each in (*known.notes, *known.closings):
        yield f"    {event_line(each)}"


def suspect_json(answer: EventAnswer, *, selected: bool, matches: bool) -> dict[str, Any]:
    """An event for machines, and whether it is in the list, and whether selectors find it now."""
    return {**event_json(answer), "selected": selected, "matches": matches}
