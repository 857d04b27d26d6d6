"""`tuf-ledger incident show`: an incident as the log has it, and what its selectors find now."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import click

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer
from consumers.cli.event_text import event_line
from consumers.cli.incident_text import (
    events_in,
    incident_details,
    incident_json,
    incident_lines,
    suspect_json,
    tally_json,
    tally_lines,
)
from consumers.cli.options import limit_option, on_catalog
from consumers.cli.paging import limited, print_lines
from consumers.cli.shared import plural, print_json
from consumers.context import Context
from consumers.incidents.incident_selectors import SelectorError, read_selectors
from consumers.incidents.known_incidents import KnownIncident, Tallies, tally
from consumers.incidents.recording import incident_of
from consumers.incidents.suspects import find_matching
from ledger.catalog.database import Connection
from projections.incidents.selection import Run, count_of, without


class _Compared(NamedTuple):
    """A list against what its selectors find now: the list, what is only found now, what is only in the list."""

    runs: tuple[Run, ...]
    only_now: tuple[Run, ...]
    no_longer: tuple[Run, ...]
    problem: str = ""


@click.command()
@click.argument("name")
@limit_option
@on_catalog
async def show(*, context: Context, asked: Asked, name: str, limit: int | None, as_json: bool) -> None:
    """Show the incident NAME: its list of events, and what its selectors find now.

    First comes who opened it and with which selectors, the list in force with counts, what was noted, and how many
    events were appended in answer to it (measures). Then come events that the selectors find now and that are not in
    the list, and then the list. Events that the selectors do not find (any more) are marked.

    \b
    Example:
      tuf-ledger incident show theft
      tuf-ledger incident show theft --limit 20 --json
    """
    known = await incident_of(asked, name)
    compared = await asked.database.run(_compare, asked, known)
    counts = await asked.database.run(tally, compared.runs)
    only_now = limited(events_in(asked, compared.only_now), limit)
    listed = limited(events_in(asked, compared.runs), limit)
    if not as_json:
        await print_lines(_lines(known, counts, compared, only_now, listed))
        return
    lost = _Indices(compared.no_longer)
    async for each in only_now:
        print_json(suspect_json(each, selected=False, matches=True))
    async for each in listed:
        print_json(suspect_json(each, selected=True, matches=each.row.idx not in lost))
    facts = incident_json(known) | tally_json(counts)
    frozen = known.in_force
    if frozen is not None:
        facts |= {"selection": frozen.events.selection, "made_of": frozen.size, "made_at": frozen.publication}
    facts |= {"only_now": count_of(compared.only_now), "no_longer": count_of(compared.no_longer)}
    facts |= {"noted": [{"event": each.row.idx, "what": each.what} for each in known.notes]}
    print_json({"ok": True, **facts, "size": asked.size, "publication": asked.number})


class _Indices:
    """Whether indices, asked for in ascending order, are in runs."""

    def __init__(self, runs: tuple[Run, ...]) -> None:
        self._runs = runs
        self._place = 0

    def __contains__(self, index: int) -> bool:
        while self._place < len(self._runs) and self._runs[self._place][1] <= index:
            self._place += 1
        return self._place < len(self._runs) and self._runs[self._place][0] <= index


def _compare(connection: Connection, asked: Asked, known: KnownIncident) -> _Compared:
    runs = () if known.in_force is None else known.in_force.events.runs
    if not known.selectors:
        return _Compared(runs, (), ())
    try:
        found = find_matching(connection, asked, read_selectors(known.selectors), known.own).runs
    except SelectorError as error:  # somebody else's program wrote them
        return _Compared(runs, (), (), f"{error}")
    return _Compared(runs, without(found, runs), without(runs, found))


async def _lines(
    known: KnownIncident,
    counts: Tallies,
    compared: _Compared,
    only_now: AsyncIterator[EventAnswer],
    listed: AsyncIterator[EventAnswer],
) -> AsyncIterator[str]:
    for line in (*incident_lines(known), *incident_details(known), *tally_lines(counts)):
        yield line
    if compared.problem:
        yield f"    What its selectors find now is not known: {compared.problem}"
    if compared.only_now:
        yield ""
        yield f"Its selectors also find {plural(count_of(compared.only_now), 'event')} that the list does not have:"
        async for each in only_now:
            yield event_line(each)
    yield ""
    if not compared.runs:
        yield "The list is empty." if known.in_force is not None else "It has no list."
        return
    lost = _Indices(compared.no_longer)
    rest = f", {count_of(compared.no_longer):,} of which its selectors do not find" if compared.no_longer else ""
    yield f"The list has {plural(count_of(compared.runs), 'event')}{rest}:"
    async for each in listed:
        mark = click.style("  (not found by its selectors)", fg="yellow") if each.row.idx in lost else ""
        yield f"{event_line(each)}{mark}"
