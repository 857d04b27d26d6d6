"""`tuf-ledger incident note`: what was found out."""

import click

from consumers.catalog.asking import Asked
from consumers.cli.options import asking, on_ledger
from consumers.cli.shared import print_json
from consumers.context import Context
from consumers.incidents.recording import incident_event, incident_of
from consumers.produce.appending import append_all
from ledger.catalog.publication_rows import load_publication
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name")
@click.argument("text")
@click.option("--event", "events", type=click.IntRange(min=0), multiple=True, metavar="N", help="It is about an event.")
@click.option(
    "--publication",
    "publications",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="It is about a publication.",
)
@on_ledger
async def note(
    *, context: Context, name: str, text: str, events: tuple[int, ...], publications: tuple[int, ...], as_json: bool
) -> None:
    """Note TEXT on the incident NAME, for everybody who reads the log, and for ever.

    A note changes nothing. An incident that was closed takes notes, too.

    \b
    Example:
      tuf-ledger incident note theft "alice has revoked the token" --event 4711
    """
    async with asking(context) as asked:
        await incident_of(asked, name)
        await _check(asked, events, publications)
    data = {"note": text, "events": list(events) or None, "publications": list(publications) or None}
    (appended,) = await append_all(context, [incident_event("noted", name, data)])
    if as_json:
        print_json({"ok": True, "incident": name, "event": appended.event})
    else:
        click.echo(f"Noted on {name} as event {appended.event}.")


async def _check(asked: Asked, events: tuple[int, ...], publications: tuple[int, ...]) -> None:
    for each in events:
        if each >= asked.size:
            raise NegativeAnswerError(
                f"nothing was appended: there is no event {each}, the last one is {asked.size - 1}"
            )
    for each in publications:
        if await asked.database.run(load_publication, each) is None:
            raise NegativeAnswerError(f"nothing was appended: there is no publication {each}")
