"""`tuf-ledger reconcile`: what another index shows, held against the ledger."""

from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.cli.event_text import event_json, event_line
from consumers.cli.options import on_catalog, source_options
from consumers.cli.paging import shown
from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context
from consumers.importing.reconciling import Discrepancy, Reconciled, reconcile
from ledger.simple.any_source import open_source
from schemas.errors import NegativeAnswerError

SHOWN = 200


@click.command("reconcile")
@click.argument("source", metavar="SOURCE")
@click.argument("projects", nargs=-1, metavar="[PROJECT]…")
@source_options
@on_catalog
async def reconcile_command(
    *,
    context: Context,
    asked: Asked,
    source: str,
    projects: tuple[str, ...],
    ca_file: Path | None,
    requests: int,
    as_json: bool,
) -> None:
    """Compare another index with the ledger, and name the records that explain each difference.

    SOURCE is what `tuf-ledger import` takes: the URL of an index as pip takes it, the folder of a mirror, or a folder
    of files. All projects are compared that one of both has, or the given ones. The ledger is taken as it stands at the
    end of its log: what waits for a publication is no difference. Nothing is changed.

    Exit code 1 means that there are differences, or that neither has a project that was named.

    \b
    Example:
      tuf-ledger reconcile https://packages.example.org/simple/
      tuf-ledger reconcile /srv/mirror six requests
      tuf-ledger reconcile https://old.example.org/simple/ --json
    """
    del context
    counts, names, found, printed = Reconciled(), [str(canonicalize_name(each)) for each in projects], 0, 0
    index = open_source(source, ca_file=ca_file, requests=requests)
    try:
        with progress("Comparing") as advance:
            async for each in reconcile(asked, index, names, counts, advance):
                found += 1
                if as_json:
                    print_json(_json(each))
                elif printed < SHOWN:
                    _print(each)
                    printed += 1
    finally:
        await index.close()
    facts = {"projects": counts.projects, "files": counts.files, "different": found, "uncompared": counts.unknown}
    if not as_json:
        if found > printed:
            click.echo(f"… and {plural(found - printed, 'more difference')} (--json lists all)")
        unknown = f" The source does not say {plural(counts.unknown, 'fact')}: not compared." * bool(counts.unknown)
        click.echo(
            f"{plural(counts.projects, 'project')}, {plural(counts.files, 'file')} that both list: "
            f"{plural(found, 'difference')}.{unknown}"
        )
    if found:
        raise NegativeAnswerError(
            f"{index.name} and the ledger differ. `tuf-ledger import` appends what the source has and the ledger "
            "lacks. What an upload said of its file stays",
            **facts,
        )
    if counts.nowhere:
        raise NegativeAnswerError(f"neither {index.name} nor the ledger has {', '.join(counts.nowhere)}", **facts)
    if as_json:
        print_json({"ok": True, **facts, "size": asked.size})


_WORDS = {
    "sha256": "the SHA-256",
    "length": "the length",
    "requires_python": "Requires-Python",
    "upload_time": "the upload time",
    "core_metadata": "the core metadata",
    "provenance": "the provenance",
    "status": "the status",
    "reason": "the reason of the status",
}


def _print(each: Discrepancy) -> None:
    name = click.style(shown(each.filename or each.project), bold=True)
    click.echo(f"{name}: {shown(_text(each))}")
    for event in each.events:
        click.echo(f"    {event_line(event)}")


def _text(each: Discrepancy) -> str:
    if each.aspect == "entry":
        return f"{'the entry of the source' if each.filename else 'its page'} {each.there}"
    if each.aspect in {"file", "project"}:
        if each.there is None:
            return f"only the ledger has it ({each.here})"
        here = "which no accepted event is about" if each.here is None else f"which the ledger has {each.here}"
        return f"only the source has it, {here}"
    if each.aspect == "yanked":
        return f"{_yanked(each.there)} in the source, {_yanked(each.here)} in the ledger"
    return f"{_WORDS[each.aspect]} is {_value(each.there)} in the source, {_value(each.here)} in the ledger"


def _yanked(reason: str | int | None) -> str:
    return "not yanked" if reason is None else f"yanked ({reason})" if reason else "yanked without a reason"


def _value(value: str | int | None) -> str:
    return "not there" if value is None else f"{value}"


def _json(each: Discrepancy) -> dict[str, Any]:
    return {
        "project": each.project,
        "file": each.filename or None,
        "aspect": each.aspect,
        "there": each.there,
        "here": each.here,
        "events": [event_json(event) for event in each.events],
    }
