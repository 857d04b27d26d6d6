"""`tuf-ledger log`: what happened, event by event."""

from collections.abc import AsyncIterator
from typing import Any

import click
from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.events import EventAnswer, find_events
from consumers.cli.events import event_json, event_lines
from consumers.cli.options import limit_option, on_catalog
from consumers.cli.pages import limited, print_lines
from consumers.cli.shared import print_json
from consumers.context import Context
from ledger.catalog.history import Wanted, is_filename, is_project
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("about", required=False, metavar="[PROJECT|FILENAME]")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of a type: file, file.yanked, …")
@click.option("--actor", "actors", multiple=True, metavar="ACTOR", help="Only events by an actor: NAME or KIND:NAME.")
@click.option("--credential", "credentials", multiple=True, metavar="ID", help="Only events made with a credential.")
@click.option("--incident", metavar="ID", help="Only events that belong to an incident.")
@click.option("--rejected", is_flag=True, help="Only rejected records.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest event instead of the newest.")
@limit_option
@on_catalog
async def log(
    *,
    context: Context,
    asked: Asked,
    about: str | None,
    oldest_first: bool,
    limit: int | None,
    as_json: bool,
    **only: Any,
) -> None:
    """Show what happened, event by event, the newest first.

    Each event has what it says, what became of it, the publication that first showed it with the times between which
    that happened, the time that the event itself says (marked if it lies outside), and who said it with which
    credential. An event that nothing shows yet is pending, or held.

    \b
    Example:
      tuf-ledger log alpha
      tuf-ledger log --actor alice --type file --limit 20
      tuf-ledger log --rejected --json
    """
    wanted = Wanted(**only)
    if about is not None:
        wanted = await _about(asked, wanted, about)
    found = limited(find_events(asked, wanted, oldest_first=oldest_first), limit)
    if not as_json:
        await print_lines(_lines(found))
        return
    count = 0
    async for each in found:
        print_json(event_json(each))
        count += 1
    print_json({"ok": True, "events": count, "size": asked.size, "publication": asked.number})


async def _about(asked: Asked, wanted: Wanted, text: str) -> Wanted:
    """Narrow events to a project, or to a file.

    Raises:
        NegativeAnswerError: no event is about either.
    """
    name = canonicalize_name(text)
    if await asked.database.run(is_project, name):
        return wanted._replace(project=name)
    if await asked.database.run(is_filename, text):
        return wanted._replace(filename=text)
    raise NegativeAnswerError(f"no event is about a project or a file {text}")


async def _lines(found: AsyncIterator[EventAnswer]) -> AsyncIterator[str]:
    async for each in found:
        for line in event_lines(each):
            yield line
