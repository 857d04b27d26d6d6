"""`tuf-ledger incident list`: the incidents of a ledger."""

from collections.abc import AsyncIterator

import click

from consumers.catalog.asking import Asked
from consumers.cli.incident_text import incident_json, incident_lines
from consumers.cli.options import limit_option, on_catalog
from consumers.cli.paging import limited, print_found
from consumers.cli.shared import print_json
from consumers.context import Context
from consumers.incidents.known_incidents import KnownIncident, load_incident
from ledger.catalog.states import incident_names


@click.command("list")
@limit_option
@on_catalog
async def list_(*, context: Context, asked: Asked, limit: int | None, as_json: bool) -> None:
    """List the incidents, in the order in which they were opened.

    \b
    Example:
      tuf-ledger incident list
    """
    count = await print_found(limited(_known(asked), limit), incident_json, incident_lines, as_json=as_json)
    if as_json:
        print_json({"ok": True, "count": count, "size": asked.size, "publication": asked.number})
    elif not count:
        click.echo("No incident was ever opened.")


async def _known(asked: Asked) -> AsyncIterator[KnownIncident]:
    for name in await asked.database.run(incident_names):
        known = await asked.database.run(load_incident, asked, name)
        if known is not None:
            yield known
