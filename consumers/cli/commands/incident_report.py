"""`tuf-ledger incident report`: all that there is to say about an incident."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from consumers.catalog.asking import Asked
from consumers.cli.exposures import exposure_json
from consumers.cli.options import on_catalog
from consumers.cli.paging import listed, print_lines
from consumers.cli.report_page import html_page
from consumers.cli.report_text import markdown, terminal_lines
from consumers.cli.shared import Usage, print_json, progress
from consumers.context import Context
from consumers.incidents.advising import osv_records
from consumers.incidents.recording import incident_of
from consumers.incidents.reporting import IncidentReport, load_report
from ledger.disk.files import write_file, writing


@click.command()
@click.argument("name")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--osv", "as_osv", is_flag=True, help="Print a record of the OSV schema for each project, one a line.")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page for people to a file, which needs nothing else.",
)
@click.option("--url", default="", metavar="URL", help="Where everything is served, for what is to be purged.")
@on_catalog
async def report(
    *,
    context: Context,
    asked: Asked,
    name: str,
    as_markdown: bool,
    as_osv: bool,
    page: Path | None,
    url: str,
    as_json: bool,
) -> None:
    """Tell all about the incident NAME: whom it reached, until when, and what undoes it.

    First come the suspects and what they brought, with the times that each file was offered, and until when a client
    behind a frozen mirror could be shown it. Then what else the same actors and credentials did, what else may belong
    to it and why (nothing is added by itself), what the index says against what it should say, keys and what their loss
    means, everything to purge from caches and to search download logs for, and names that are burnt. The same log size,
    publication and list give the same report, byte for byte.

    \b
    Example:
      tuf-ledger incident report theft
      tuf-ledger incident report theft --html theft.html --url https://files.example.org
      tuf-ledger incident report theft --osv > theft.ndjson
    """
    if as_markdown + as_osv + as_json + (page is not None) > 1:
        raise Usage("--markdown, --osv, --html and --json: only one of them")
    known = await incident_of(asked, name)
    with progress("Replaying") as advance:
        found = await load_report(context, asked, known, advance)
    if page is not None:
        with writing(page):
            write_file(str(page), html_page(found, url).encode())
        click.echo(f"Wrote {page}.")
    elif as_json:
        print_json({"ok": True, **report_json(found)})
    elif as_osv:
        for record in osv_records(found):
            click.echo(json.dumps(record, sort_keys=True))
    elif as_markdown:
        click.echo("\n".join(markdown(found, url)))
    else:
        await print_lines(listed(terminal_lines(found, url)))


def report_json(found: IncidentReport) -> dict[str, Any]:
    """The report for machines, in the words of other commands."""
    facts: dict[str, Any] = _in_words(msgspec.to_builtins(found))
    return {**facts, "exposures": [exposure_json(each) for each in found.exposures]}


def _in_words(value: Any) -> Any:
    """A value in which each actor is a kind and an id."""
    if isinstance(value, list | tuple):
        return [_in_words(each) for each in value]
    if not isinstance(value, dict):
        return value
    facts = {name: _in_words(each) for name, each in value.items()}
    if "actor_kind" in facts:
        facts["actor"] = {"kind": facts.pop("actor_kind"), "id": facts["actor"]}
    return facts
