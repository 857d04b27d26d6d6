"""What `incident open` and `incident amend` would select, before anything is written."""

import click

from consumers.catalog.asking import Asked
from consumers.cli.event_text import event_json, event_line
from consumers.cli.incident_text import PREVIEW, events_in, tally_json, tally_lines
from consumers.cli.paging import limited
from consumers.cli.shared import plural, print_json
from consumers.incidents.known_incidents import tally
from consumers.incidents.suspects import Matching
from projections.incidents.selection import count_of
from schemas.errors import NegativeAnswerError


async def print_preview(asked: Asked, matching: Matching, name: str, *, limit: int | None, as_json: bool) -> None:
    """Print counts of the events that would be in the list of an incident, and the first of them."""
    counts, total = await asked.database.run(tally, matching.runs), count_of(matching.runs)
    some = limited(events_in(asked, matching.runs), limit or PREVIEW)
    if as_json:
        async for each in some:
            print_json(event_json(each))
        facts = {"incident": name, "count": total, "unknown": list(matching.unknown), **tally_json(counts)}
        print_json({"ok": True, **facts, "size": asked.size, "publication": asked.number})
        return
    click.echo(f"{plural(total, 'event')} of {asked.size:,} would be in the list of {name}. Nothing was written.")
    for line in tally_lines(counts):
        click.echo(line)
    shown_events = 0
    async for each in some:
        click.echo(event_line(each))
        shown_events += 1
    if shown_events < total:
        click.echo(f"… and {total - shown_events:,} more; --limit shows more of them")


def refuse_nothing(matching: Matching) -> None:
    """Refuse selectors that find nothing.

    Raises:
        NegativeAnswerError: nothing is selected.
    """
    if not matching.runs:
        unknown = "".join(f"; {each}" for each in matching.unknown)
        raise NegativeAnswerError(
            f"nothing was written: no event is selected{unknown}. Events about the ledger itself never are. If none is "
            "the answer, say so with --empty",
            unknown=list(matching.unknown),
        )
