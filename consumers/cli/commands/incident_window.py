"""`tuf-ledger incident window`: whom one thing reached, and until when."""

import click

from consumers.catalog.asking import Asked
from consumers.cli.exposures import exposure_json, exposure_lines
from consumers.cli.options import limit_option, on_catalog
from consumers.cli.paging import limited, print_found
from consumers.cli.shared import print_json
from consumers.context import Context
from consumers.incidents.exposure import find_exposures


@click.command()
@click.argument("thing", metavar="FILE|NAME==VERSION|TARGET|sha256:HEX")
@limit_option
@on_catalog
async def window(*, context: Context, asked: Asked, thing: str, limit: int | None, as_json: bool) -> None:
    """Show from when until when something was offered, and until when a frozen mirror could show it.

    A file is listed while it is there, its project neither removed nor quarantined, and its release not quarantined.
    For each time that it was listed come the first and the last publication that offered it, when a client behind a
    frozen mirror could have been shown it for the last time, the same if the online key counts as lost, and the
    versions of roles that carried it, with the keys that signed them. Times are those of publications: a server may
    have lagged. No incident has to be open.

    \b
    Example:
      tuf-ledger incident window six-1.17.0.tar.gz
      tuf-ledger incident window six==1.17.0 --json
      tuf-ledger incident window sha256:0d63b4f8f0a1...
    """
    found = find_exposures(asked, thing)
    count = await print_found(limited(found, limit), exposure_json, exposure_lines, as_json=as_json)
    if as_json:
        print_json({"ok": True, "count": count, "size": asked.size, "publication": asked.number})
