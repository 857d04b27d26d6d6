"""Printing events of a catalog, for people and for machines: `log`, `show` and others print them alike."""

from typing import Any

import click

from consumers.catalog.event_answers import EventAnswer
from consumers.cli.paging import shown

_COLOURS = {"accepted": "green", "no effect": "yellow", "rejected": "red"}


def event_lines(answer: EventAnswer) -> list[str]:
    """An event for people: what it says and what became of it, then where it stands, when, and by whom."""
    row, verdict = answer.row, answer.verdict
    head = click.style(f"event {row.idx}", bold=True)
    outcome = "" if verdict == "accepted" else click.style(f"  [{shown(_outcome(answer))}]", fg=_COLOURS[verdict])
    details = [_place(answer)]
    if row.time is not None:
        flag = click.style(" (outside)", fg="red") if answer.is_outside else ""
        details.append(f"says {shown(row.time)}{flag}")
    if row.actor is not None:
        details.append(f"by {_who(answer)}")
    if row.incident is not None:
        details.append(f"incident {shown(row.incident)}")
    return [f"{head}  {shown(answer.what)}{outcome}", f"    {', '.join(details)}"]


def event_line(answer: EventAnswer) -> str:
    """An event in one line: index, what it says, where it stands, and by whom."""
    place = answer.place
    where = place.status if place.publication is None else f"publication {place.publication}"
    who = "" if answer.row.actor is None else f", by {_who(answer)}"
    return f"event {answer.row.idx}  {shown(answer.what)} ({where}{who})"


def _outcome(answer: EventAnswer) -> str:
    why = f": {answer.row.detail}" if answer.row.detail else ""
    return f"{answer.verdict}, {answer.row.code}{why}"


def _place(answer: EventAnswer) -> str:
    place = answer.place
    if place.publication is None:
        return click.style(place.status, fg="yellow")
    start = f"{place.not_before} to " if place.not_before else "until "
    return f"publication {place.publication} ({start}{place.not_after})"


def _who(answer: EventAnswer) -> str:
    row = answer.row
    kind = "" if row.actor_kind == "user" else f" ({row.actor_kind})"
    credential = "" if row.credential is None else f" with {row.credential}"
    return shown(f"{row.actor}{kind}{credential}")


def event_json(answer: EventAnswer) -> dict[str, Any]:
    """An event for machines."""
    row, place = answer.row, answer.place
    facts: dict[str, Any] = {
        "event": row.idx,
        "digest": row.digest.hex(),
        "type": row.type,
        "verdict": answer.verdict,
        "standing": place.status,
        "publication": place.publication,
        "not_before": place.not_before or None,
        "not_after": place.not_after or None,
        "reproduced": place.reproduced,
        "what": answer.what,
    }
    optional = {
        "id": row.event_id,
        "project": row.project,
        "subject": row.subject,
        "file": row.filename,
        "version": row.version,
        "time": row.time,
        "actor": None if row.actor is None else {"kind": row.actor_kind, "id": row.actor},
        "credential": row.credential,
        "incident": row.incident,
        "code": row.code,
        "why": row.detail,
        "data": answer.data,
    }
    facts |= {name: value for name, value in optional.items() if value is not None}
    return facts | ({"outside": True} if answer.is_outside else {})
