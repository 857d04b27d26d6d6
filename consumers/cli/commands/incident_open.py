"""`tuf-ledger incident open`: freeze what is suspect, under a name."""

import re
from collections.abc import Sequence
from typing import Any

import click

from consumers.catalog.asking import Asked
from consumers.cli.incident_options import incident_selectors
from consumers.cli.incident_previews import print_preview, refuse_nothing
from consumers.cli.incident_text import say_unknown
from consumers.cli.options import asking, limit_option, on_ledger
from consumers.cli.shared import Usage, plural, print_json
from consumers.context import Context
from consumers.incidents.incident_selectors import Selector
from consumers.incidents.known_incidents import KnownIncident, load_incident
from consumers.incidents.recording import incident_event, list_records, read_back
from consumers.incidents.suspects import Matching, find_matching, freeze
from consumers.produce.appending import Appended, append_all
from projections.incidents.selection import Selected
from schemas.errors import NegativeAnswerError

_NAME = re.compile(r"[!-~]{1,128}")


@click.command("open")
@click.argument("name")
@click.option("--reason", "--title", "title", metavar="TEXT", help="What happened, for people.  [default: NAME]")
@click.option("--preview", is_flag=True, help="Count and show what would be selected; write nothing.")
@click.option("--empty", is_flag=True, help="Open it also if nothing is selected.")
@click.option("--again", is_flag=True, help="Open an incident again that was closed.")
@limit_option
@on_ledger
@incident_selectors
async def open_(
    *,
    context: Context,
    name: str,
    selectors: Sequence[Selector],
    title: str | None,
    preview: bool,
    empty: bool,
    again: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Open an incident NAME, and freeze the list of its events.

    Options of different kinds must all fit an event; if one is given several times, any of them. --not takes away what
    it finds. What is found now becomes the list of the incident, whatever the same options find later. Look first, with
    --preview: it writes nothing. Events about the ledger itself are never selected.

    \b
    Example:
      tuf-ledger incident open theft --credential token:alice-1 --since 2026-11-20 --preview
      tuf-ledger incident open theft --credential token:alice-1 --since 2026-11-20 --reason "a stolen token"
      tuf-ledger incident open worm --unattested --since 2026-11-20T10:00:00Z --not project=alpha
      tuf-ledger incident open leak --credential token:ci --empty --reason "leaked, and never used"
    """
    if not _NAME.fullmatch(name):
        raise Usage(f"{name!r}: the name of an incident is at most 128 characters of printable ASCII, without spaces")
    if not selectors and not empty:
        raise Usage("name at least one selector, or open it with an empty list: --empty")
    async with asking(context) as asked:
        known = await asked.database.run(load_incident, asked, name)
        _refuse_if_taken(known, name, again=again)
        matching = await _matching(asked, selectors, known)
        say_unknown(matching)
        if not empty:
            refuse_nothing(matching)
        if preview:
            await print_preview(asked, matching, name, limit=limit, as_json=as_json)
            return
        selected = await asked.database.run(freeze, matching.runs)
        version = 1 if known is None else len(known.lists) + 1
        data = {"title": title or name, "selectors": [str(each) for each in selectors]}
        records = [
            incident_event("opened", name, data),
            *await list_records(context, asked, name, selected, version),
        ]
    appended = await append_all(context, records)
    async with asking(context) as asked:
        found = await read_back(asked, name, selected, version)
    _refuse_if_opened_by_others(found, appended)
    _print(found, selected, matching, appended, as_json=as_json)


async def _matching(asked: Asked, selectors: Sequence[Selector], known: KnownIncident | None) -> Matching:
    if not selectors:
        return Matching((), ())
    own = None if known is None else known.own
    found: Matching = await asked.database.run(find_matching, asked, selectors, own)
    return found


def _refuse_if_taken(known: KnownIncident | None, name: str, *, again: bool) -> None:
    if known is None:
        return
    if known.is_open:
        raise NegativeAnswerError(
            f"incident {name} is open since event {known.openings[-1].row.idx}. Change its list with `tuf-ledger "
            "incident amend`, or choose another name",
            incident=name,
        )
    if not again:
        raise NegativeAnswerError(
            f"incident {name} was closed by event {known.closings[-1].row.idx}. Open it again with --again, or choose "
            "another name",
            incident=name,
        )


def _refuse_if_opened_by_others(found: KnownIncident, appended: Sequence[Appended]) -> None:
    last = found.openings[-1].row
    if last.idx != appended[0].event:
        raise NegativeAnswerError(
            f"somebody else opened incident {found.name} at the same time (event {last.idx}), with another title and "
            "other selectors; the list in force is this one. Look at it with `tuf-ledger incident show`",
            incident=found.name,
            event=last.idx,
        )


def _print(
    found: KnownIncident, selected: Selected, matching: Matching, appended: Sequence[Appended], *, as_json: bool
) -> None:
    facts: dict[str, Any] = {
        "incident": found.name,
        "event": appended[0].event,
        "version": len(found.lists),
        "count": selected.total,
        "selection": selected.selection,
        "records": len(appended),
        "unknown": list(matching.unknown),
    }
    if as_json:
        print_json({"ok": True, **facts})
        return
    click.echo(f"Opened {found.name} as event {appended[0].event}, with {plural(selected.total, 'event')}.")
    click.echo(f"Its list is version {len(found.lists)}, selection {selected.selection}.")
