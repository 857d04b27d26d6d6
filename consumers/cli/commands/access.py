"""`tuf-ledger access`: who was allowed to act, and what they did."""

from typing import Any

import click

from consumers.catalog.accessing import AccessItem, Acts, Grant, Note, Oddity, find_access
from consumers.catalog.asking import Asked
from consumers.catalog.words import describe_access
from consumers.cli.event_text import event_json, event_line
from consumers.cli.options import INSTANT, limit_option, on_catalog
from consumers.cli.paging import limited, print_found, shown
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
    found = limited(find_access(asked, name, at), limit)
    count = await print_found(found, _json, _Sections(), as_json=as_json)
    if not count:
        raise NegativeAnswerError(f"no event grants, or was made with, anything that is called {name}")
    if as_json:
        print_json({"ok": True, "count": count, "size": asked.size, "publication": asked.number})


def _json(item: AccessItem) -> dict[str, Any]:
    if isinstance(item, Oddity):
        return {"kind": "oddity", "oddity": item.what, **event_json(item.event)}
    if isinstance(item, Grant):
        return _grant_json(item)
    return {"kind": "note", **event_json(item.event)} if isinstance(item, Note) else _acts_json(item)


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


class _Sections:
    """Items in words, with a heading where another kind begins."""

    def __init__(self) -> None:
        self._title = ""

    def __call__(self, item: AccessItem) -> list[str]:
        title, lines = _told(item)
        heading = [] if title == self._title else [click.style(title, bold=True)]
        self._title = title
        return [*heading, *lines]


def _told(item: AccessItem) -> tuple[str, list[str]]:
    """The section that an item belongs to, and its lines."""
    if isinstance(item, Oddity):
        return "odd", [f"    {item.what}:", f"        {event_line(item.event)}"]
    if isinstance(item, Grant):
        return "grants", _grant_lines(item)
    return ("notes", [f"    {event_line(item.event)}"]) if isinstance(item, Note) else ("acts", [_acts_line(item)])


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
