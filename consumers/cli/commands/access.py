"""`tuf-ledger access`: who was allowed to act, and what they did."""

from typing import Any

import click

from consumers.catalog.accessing import AccessAnswer, Acts, Grant, find_access
from consumers.catalog.asking import Asked
from consumers.catalog.words import describe_access
from consumers.cli.event_text import event_json, event_line
from consumers.cli.options import INSTANT, limit_option, on_catalog
from consumers.cli.paging import listed, print_lines, shown
from consumers.cli.shared import plural, print_json
from consumers.context import Context
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name", metavar="PROJECT|ACTOR|CREDENTIAL")
@click.option(
    "--at", type=INSTANT, metavar="TIME", help="Who was allowed to act at this time, and what was done by then."
)
@limit_option
@on_catalog
async def access(
    *, context: Context, asked: Asked, name: str, at: str | None, limit: int | None, as_json: bool
) -> None:
    """Show who was allowed to act, since when and by whose grant, what they did, and what no grant explains.

    A grant is known by its kind, account, role, credential and project: it ends where just that is revoked. Odd are
    revocations of what was not granted, and credentials that were used before any grant of them. At a TIME, a grant
    that may have held counts; it is marked if that depends on when in between two publications something came.

    \b
    Example:
      tuf-ledger access six
      tuf-ledger access alice --at 2026-11-21T10:00:00Z
      tuf-ledger access token-17 --json
    """
    found = await find_access(asked, name, at)
    if found.is_empty:
        raise NegativeAnswerError(f"no event grants, or was made with, anything that is called {name}")
    if not as_json:
        await print_lines(listed(_lines(found, limit)))
        return
    for each in _items(found)[:limit]:
        print_json(each)
    print_json({"ok": True, "count": len(_items(found)[:limit]), "size": asked.size, "publication": asked.number})


def _items(found: AccessAnswer) -> list[dict[str, Any]]:
    return [
        *({"kind": "oddity", "oddity": each.what, **event_json(each.event)} for each in found.oddities),
        *(_grant_json(each) for each in found.grants),
        *({"kind": "note", **event_json(each)} for each in found.notes),
        *(_acts_json(each) for each in found.acts),
    ]


def _grant_json(grant: Grant) -> dict[str, Any]:
    names = ("kind", "account", "role", "credential", "project")
    return {
        "kind": "grant",
        "grant": {name: getattr(grant.row, name) for name in names},
        "granted": event_json(grant.granted),
        "revoked": None if grant.revoked is None else event_json(grant.revoked),
        "certain": grant.is_certain,
    }


def _acts_json(acts: Acts) -> dict[str, Any]:
    return {
        "kind": "acts",
        "actor": {"kind": acts.actor_kind, "id": acts.actor},
        "credential": acts.credential,
        "events": acts.events,
        "rejected": acts.rejected,
        "types": dict(acts.types),
        "first_event": acts.first,
        "last_event": acts.last,
    }


def _lines(found: AccessAnswer, limit: int | None) -> list[str]:
    odd = [line for each in found.oddities for line in (f"    {each.what}:", f"        {event_line(each.event)}")]
    sections = (
        ("odd", odd),
        ("grants", [line for each in found.grants[:limit] for line in _grant_lines(each)]),
        ("notes", [f"    {event_line(each)}" for each in found.notes[:limit]]),
        ("acts", [_acts_line(each) for each in found.acts[:limit]]),
    )
    return [line for title, lines in sections if lines for line in (click.style(title, bold=True), *lines)]


def _grant_lines(grant: Grant) -> list[str]:
    row = grant.row
    names = {name: getattr(row, name) for name in ("kind", "account", "role", "credential", "project")}
    doubt = "" if grant.is_certain else click.style(" (perhaps)", fg="yellow")
    lines = [f"    {shown(describe_access('', names).strip())}{doubt}", f"        since {event_line(grant.granted)}"]
    return lines if grant.revoked is None else [*lines, f"        until {event_line(grant.revoked)}"]


def _acts_line(acts: Acts) -> str:
    kind = "" if acts.actor_kind == "user" else f" ({acts.actor_kind})"
    credential = "" if acts.credential is None else f" with {acts.credential}"
    types = ", ".join(f"{count:,} {name.removesuffix('.v1')}" for name, count in acts.types.items())
    rejected = f", {acts.rejected:,} rejected" if acts.rejected else ""
    who = f"{shown(acts.actor)}{kind}{shown(credential)}"
    span = f"event {acts.first}" if acts.first == acts.last else f"events {acts.first} to {acts.last}"
    return f"    {who}: {plural(acts.events, 'event')} ({types}{rejected}), {span}"
