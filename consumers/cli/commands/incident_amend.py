"""`tuf-ledger incident amend`: another version of the list of an incident."""

from collections.abc import Sequence

import click

from consumers.cli.incident_options import incident_selectors
from consumers.cli.incident_previews import print_preview, refuse_nothing
from consumers.cli.incident_text import say_unknown
from consumers.cli.options import asking, limit_option, on_ledger
from consumers.cli.shared import Usage, plural, print_json
from consumers.context import Context
from consumers.incidents.incident_selectors import Selector, read_selectors
from consumers.incidents.recording import incident_event, incident_of, list_records, read_back
from consumers.incidents.suspects import Matching, find_matching, freeze
from consumers.produce.appending import append_all
from projections.incidents.selection import Run, count_of, together, without
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name")
@click.option("--take-away", is_flag=True, help="Take what is found out of the list instead of adding it.")
@click.option("--reason", metavar="TEXT", help="Why, for people.")
@click.option("--preview", is_flag=True, help="Count and show what would be in the list; write nothing.")
@click.option("--empty", is_flag=True, help="Amend it also if nothing is left in the list.")
@limit_option
@on_ledger
@incident_selectors
async def amend(
    *,
    context: Context,
    name: str,
    selectors: Sequence[Selector],
    take_away: bool,
    reason: str | None,
    preview: bool,
    empty: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Add events to the list of the incident NAME, or take some away.

    The options are those of `tuf-ledger incident open`. Without any, the incident's own selectors are asked again. The
    new list is the next version; the old one stays on the log. What was done is noted on the incident.

    \b
    Example:
      tuf-ledger incident amend theft
      tuf-ledger incident amend theft --credential token:alice-2 --reason "a second token" --preview
      tuf-ledger incident amend theft --take-away --events 4711 --reason "that was alice"
    """
    if take_away and not selectors:
        raise Usage("--take-away: name at least one selector")
    async with asking(context) as asked:
        known = await incident_of(asked, name)
        if not known.is_open:
            raise NegativeAnswerError(
                f"incident {name} is closed: open it again with `tuf-ledger incident open --again`"
            )
        asking_for = tuple(selectors) or read_selectors(known.selectors)
        if not asking_for:
            raise Usage("name at least one selector: the incident was opened without any")
        found: Matching = await asked.database.run(find_matching, asked, asking_for, known.own)
        say_unknown(found)
        before = () if known.in_force is None else known.in_force.events.runs
        after = Matching(without(before, found.runs) if take_away else together(before, found.runs), found.unknown)
        if after.runs == before and known.in_force is not None:
            raise NegativeAnswerError(f"nothing was written: the list stays as it is. {_why(before, found, take_away)}")
        if not empty:
            refuse_nothing(after)
        if preview:
            await print_preview(asked, after, name, limit=limit, as_json=as_json)
            return
        selected, version = await asked.database.run(freeze, after.runs), len(known.lists) + 1
        added, taken = count_of(without(after.runs, before)), count_of(without(before, after.runs))
        done = _noted(version, added, taken, asking_for, reason)
        records = [
            incident_event("noted", name, {"note": done}),
            *await list_records(context, asked, name, selected, version),
        ]
    appended = await append_all(context, records)
    async with asking(context) as asked:
        await read_back(asked, name, selected, version)
    facts = {"incident": name, "event": appended[0].event, "version": version, "count": selected.total}
    facts |= {"added": added, "removed": taken, "selection": selected.selection, "records": len(appended)}
    if as_json:
        print_json({"ok": True, **facts, "unknown": list(found.unknown)})
        return
    click.echo(f"The list of {name} is now version {version}, with {plural(selected.total, 'event')}:")
    click.echo(f"{added:,} added, {taken:,} taken away. Its selection is {selected.selection}.")


def _why(before: tuple[Run, ...], found: Matching, take_away: bool) -> str:
    if not found.runs:
        return "No event is found" + "".join(f"; {each}" for each in found.unknown)
    count = plural(count_of(found.runs), "event")
    return f"None of {count} is in it" if take_away else f"It has all of {count} already"


def _noted(version: int, added: int, taken: int, selectors: Sequence[Selector], reason: str | None) -> str:
    """What was done, as a note on the incident."""
    what = f"added {plural(added, 'event')}" if added or not taken else f"took {plural(taken, 'event')} away"
    by = ", ".join(map(str, selectors)) or "no selector"
    return f"version {version} of the list: {what} found by {by}" + (f": {reason}" if reason else "")
