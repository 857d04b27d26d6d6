"""`tuf-ledger find`: everywhere that something occurs."""

import os
from collections.abc import AsyncIterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

import click

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer
from consumers.catalog.finding import Beside, Found, find_beside, find_mentions, find_things, read_digest
from consumers.catalog.keys import KeyAnswer
from consumers.catalog.recognizing import PageVersion, Recognized, recognize
from consumers.catalog.showing import RoleAnswer, TargetAnswer
from consumers.cli.event_text import event_json, event_lines
from consumers.cli.options import limit_option, on_catalog
from consumers.cli.paging import limited, print_found, shown
from consumers.cli.selectors import Selection, selectors
from consumers.cli.shared import print_json
from consumers.cli.things import (
    key_json,
    key_lines,
    offer_text,
    offers_json,
    role_json,
    role_lines,
    target_json,
    target_lines,
)
from consumers.context import Context
from ledger.catalog.tables import OUTCOMES
from ledger.disk.files import reading
from schemas.errors import NegativeAnswerError

LONGEST_BYTES = 2**27
"""No page and no metadata file is longer."""

Item = Found | Recognized | EventAnswer


@click.command()
@click.argument("what", metavar="sha256:HEX|FILENAME|KEYID|ACTOR|CREDENTIAL|EVENT-ID|FILE")
@limit_option
@on_catalog
@selectors
async def find(
    *, context: Context, asked: Asked, selection: Selection, what: str, limit: int | None, as_json: bool
) -> None:
    """Find everywhere that something occurs: in files, other targets, versions of roles, keys, records and events.

    What is found first are things, then the events that mention WHAT, the newest first. The options choose events, as
    those of `tuf-ledger log`; with any of them, only events are found.

    If WHAT is a file on this machine, its SHA-256 is looked for. A page or a metadata file also leads to its place by
    what it says itself: its name and serial, or its role and version. If its bytes are others than those that were
    published there, that is said.

    \b
    Example:
      tuf-ledger find sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
      tuf-ledger find six-1.17.0.tar.gz
      tuf-ledger find mallory --since 2026-11-01
      tuf-ledger find suspicious/index.json
    """
    path = Path(what)
    is_file = os.path.isfile(what)  # noqa: PTH113  # Path.is_file raises where a name is too long
    text, data = _read(path) if is_file else (what, None)
    found = limited(_search(asked, selection, text, data), limit)
    count = await print_found(found, _json, _lines, as_json=as_json)
    if not count:
        name = f"{what} (SHA-256 {text})" if is_file else what
        raise NegativeAnswerError(
            f"{name} occurs nowhere on the logs" + (" in what was selected" * selection.is_narrow)
        )
    if as_json:
        print_json({"ok": True, "count": count, "size": asked.size, "publication": asked.number})


def _read(path: Path) -> tuple[str, bytes | None]:
    """The SHA-256 of a file, and what is in it, if that may be a page or metadata."""
    with reading(path), path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return digest, path.read_bytes() if path.stat().st_size <= LONGEST_BYTES else None


async def _search(asked: Asked, selection: Selection, text: str, data: bytes | None) -> AsyncIterator[Item]:
    things = [] if selection.is_narrow else await asked.database.run(find_things, asked, text)
    for thing in things:
        yield thing
    if data is not None and not selection.is_narrow and not any(isinstance(each, RoleAnswer) for each in things):
        recognized = await asked.database.run(recognize, asked, data)
        if recognized is not None:
            yield recognized
    async for event in find_mentions(asked, text, selection.wanted, late_days=selection.late_days):
        yield event
    digest = read_digest(text)
    if digest is not None and not selection.is_narrow:
        for beside in await asked.database.run(find_beside, asked, digest):
            yield beside


def _lines(item: Item) -> list[str]:
    if isinstance(item, EventAnswer):
        return event_lines(item)
    if isinstance(item, KeyAnswer):
        return key_lines(item)
    if isinstance(item, RoleAnswer):
        return role_lines(item)
    if isinstance(item, TargetAnswer):
        return target_lines(item)
    if isinstance(item, Beside):
        head, *rest = target_lines(item.file)
        return [f"{item.what} beside {head}", *rest]
    if isinstance(item, Recognized):
        return _recognized_lines(item)
    verdict = f"{OUTCOMES[item.outcome]}" + (f", {item.code}: {shown(item.detail or '')}" if item.code else "")
    number = "" if item.number is None else f" of publication {item.number}"
    return [click.style(f"record {item.record}", bold=True) + f"  {item.kind or 'no claim'}{number}, {verdict}"]


def _recognized_lines(item: Recognized) -> list[str]:
    says = "is" if item.is_same else "says that it is"
    altered = [] if item.is_same else [click.style("    the bytes are not those that were published there", fg="red")]
    if isinstance(item.answer, RoleAnswer):
        head, *rest = role_lines(item.answer)
        return [f"{says} {head}", *altered, *rest]
    page = item.answer
    offers = [] if page.offered is None else [page.offered]
    where = offer_text(offers) if offers else "no publication shows that serial"
    if page.offered is None and page.publication is not None:
        where = f"publication {page.publication} is the first to show that serial"
    return [
        f"{says} {click.style(shown(page.path), bold=True)}, serial {page.serial}",
        *altered,
        f"    {where}",
    ]


def _json(item: Item) -> dict[str, Any]:
    if isinstance(item, EventAnswer):
        return {"kind": "event", **event_json(item)}
    if isinstance(item, KeyAnswer):
        return {"kind": "key", **key_json(item)}
    if isinstance(item, RoleAnswer):
        return {"kind": "role", **role_json(item)}
    if isinstance(item, TargetAnswer):
        return target_json(item)
    if isinstance(item, Beside):
        return {**target_json(item.file), "beside": item.what}
    if isinstance(item, Recognized):
        return {**_recognized_json(item.answer), "altered": not item.is_same}
    code = {} if item.code is None else {"code": item.code, "why": item.detail}
    return {
        "kind": "record",
        "record": item.record,
        "digest": item.digest.hex(),
        "type": item.kind or None,
        "publication": item.number,
        "verdict": OUTCOMES[item.outcome],
        **code,
    }


def _recognized_json(answer: RoleAnswer | PageVersion) -> dict[str, Any]:
    if isinstance(answer, RoleAnswer):
        return {"kind": "role", **role_json(answer)}
    return {
        "kind": "page",
        "target": answer.path,
        "project": answer.project,
        "serial": answer.serial,
        "publication": answer.publication,
        "offered": offers_json([] if answer.offered is None else [answer.offered]),
    }
