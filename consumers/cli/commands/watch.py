"""`tuf-ledger watch`: events as they come."""

from contextlib import aclosing

import click
from packaging.utils import canonicalize_name

from consumers.catalog.concerns import Concern, Watched, watch_events
from consumers.cli.event_text import event_json, event_lines
from consumers.cli.options import on_ledger
from consumers.cli.shared import print_json
from consumers.context import Context

_NOTES = {
    "unattested": "no provenance, although earlier releases of the project had one",
    "never-granted": "the first act of a credential that nobody granted",
}


@click.command()
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
@click.option("--key", "keyids", multiple=True, metavar="KEYID", help="Ceremonies that list or drop a key.")
@click.option("--actor", "actors", multiple=True, metavar="ACTOR", help="What an actor does, and may do.")
@click.option("--from", "first", type=click.IntRange(min=0), metavar="EVENT", help="Begin with this event.")
@on_ledger
async def watch(
    *,
    context: Context,
    projects: tuple[str, ...],
    keyids: tuple[str, ...],
    actors: tuple[str, ...],
    first: int | None,
    as_json: bool,
) -> None:
    """Follow the log, and print the events that concern you, as they come.

    That is what happens to the PROJECTs: uploads, yanks, removals, changes of owners, rejected records. Ceremonies and
    holds concern everybody. Without a PROJECT, a key and an actor, everything is printed. An event is printed as soon
    as it is on the log; most often it is pending then.

    What is odd is marked: an upload without provenance where earlier releases had one, and the first act of a
    credential that nobody granted.

    It runs until Ctrl-C or SIGTERM. With --json, each event is a line, for a program that reads them.

    \b
    Example:
      tuf-ledger watch alpha beta
      tuf-ledger watch --actor alice --from 0 --json | ./notify
    """
    concern = Concern([canonicalize_name(each) for each in projects], keyids, actors)
    async with aclosing(watch_events(context, concern, first)) as found:
        async for each in found:
            _print(each, as_json=as_json)


def _print(each: Watched, *, as_json: bool) -> None:
    if as_json:
        print_json(event_json(each.answer) | ({"notes": each.notes} if each.notes else {}))
        return
    for line in event_lines(each.answer):
        click.echo(line)
    for note in each.notes:
        click.echo(click.style(f"    odd: {_NOTES[note]}", fg="red"))
