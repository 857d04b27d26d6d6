"""`tuf-ledger show`: one thing, whole."""

import json
from pathlib import Path
from typing import Any

import click

from consumers.catalog.asking import Asked
from consumers.catalog.blaming import blame_upload
from consumers.catalog.event_answers import EventAnswer, find_events
from consumers.catalog.keys import KeyAnswer
from consumers.catalog.naming import find_thing
from consumers.catalog.showing import PublicationAnswer, RoleAnswer, count_verdicts, with_facts
from consumers.cli.event_text import event_json, event_lines
from consumers.cli.options import on_catalog
from consumers.cli.paging import listed, print_lines, shown
from consumers.cli.shared import Usage, plural, print_json
from consumers.cli.things import (
    key_json,
    key_lines,
    publication_json,
    publication_lines,
    reproduced_text,
    role_json,
    role_lines,
    standing_json,
    standing_text,
    target_json,
    target_lines,
)
from consumers.context import Context
from ledger.catalog.event_rows import Wanted
from ledger.disk.files import write_file, writing

FIRST_EVENTS = 5
LONGEST = 400
"""Characters of a member of an event's data that people are shown."""


@click.command()
@click.argument("what", metavar="EVENT|PUBLICATION|ROLE@VERSION|PATH|KEYID")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the bytes of a version of a role to a file.",
)
@on_catalog
async def show(*, context: Context, asked: Asked, what: str, out: Path | None, as_json: bool) -> None:
    """Show one thing, whole: an event, a publication, a version of a role, a target or a key.

    A number is the index of an event; #7 or publication:7 is a publication. An event may also be named by its id
    (event:ID, where the id looks like something else). ROLE@VERSION is a version of any role, which is made again from
    the catalog and compared with the digest on the log. PATH is a target path, or a path below which something is
    served. KEYID is the id of a key, or its beginning.

    \b
    Example:
      tuf-ledger show 17
      tuf-ledger show '#7'
      tuf-ledger show snapshot@7 --out snapshot.json
      tuf-ledger show simple/six/index.json
      tuf-ledger show aed09190
    """
    found = await asked.database.run(find_thing, asked, what)
    if out is not None:
        if not isinstance(found, RoleAnswer):
            raise Usage("--out writes a version of a role: name one, such as snapshot@7")
        with writing(out):
            write_file(str(out), found.file.data)
    if isinstance(found, EventAnswer):
        found = await asked.database.run(with_facts, found)
        file = await asked.database.run(blame_upload, asked, found.row.idx)
        facts, lines = {"kind": "event", **event_json(found)}, _event_lines(found)
        if file is not None:
            facts |= standing_json(file)
            lines.append(f"    the file is {standing_text(file)}")
    elif isinstance(found, PublicationAnswer):
        facts, lines = await _publication(asked, found)
    elif isinstance(found, RoleAnswer):
        facts, lines = {"kind": "role", **role_json(found)}, role_lines(found)
    elif isinstance(found, KeyAnswer):
        facts, lines = {"kind": "key", **key_json(found)}, key_lines(found)
    else:
        facts = {"kind": "target", "targets": [target_json(each) for each in found]}
        lines = [line for each in found for line in target_lines(each)]
    if as_json:
        print_json({"ok": True, **facts})
    else:
        await print_lines(listed(lines))


def _event_lines(answer: EventAnswer) -> list[str]:
    row, place = answer.row, answer.place
    lines = event_lines(answer)
    if place.publication is not None:
        lines[-1] += f", {reproduced_text(reproduced=place.reproduced)}"
    lines.append(f"    {row.type or 'no event'}" + ("" if row.event_id is None else f", id {shown(row.event_id)}"))
    lines.append(f"    record {row.digest.hex()}")
    for name, value in sorted((answer.data or {}).items()):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        more = f"… ({len(text):,} characters; --json has all)" if len(text) > LONGEST else ""
        lines.append(f"    {shown(name)}: {shown(text[:LONGEST])}{more}")
    return lines


async def _publication(asked: Asked, answer: PublicationAnswer) -> tuple[dict[str, Any], list[str]]:
    start, end = answer.first_shown
    verdicts = await asked.database.run(count_verdicts, start, end)
    first: list[EventAnswer] = []
    async for each in find_events(asked, Wanted(first=start, end=end), oldest_first=True):
        if len(first) == FIRST_EVENTS:
            break
        first.append(each)
    facts = {
        "kind": "publication",
        **publication_json(answer),
        "verdicts": verdicts,
        "events": [event_json(each) for each in first],
    }
    lines = publication_lines(answer)
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items() if count)
    lines.append(
        f"    first to show {plural(end - start, 'event')}" + (f" ({counts}), from {start} on" * (end > start))
    )
    lines += [f"    {line}" for each in first for line in event_lines(each)]
    if end - start > len(first):
        before = 0 if answer.before is None else answer.before.number
        lines.append(f"    … `tuf-ledger log --between {before} {answer.row.number}` shows all")
    return facts, lines
