"""`tuf-ledger catalog`: make the catalog anew, or check it."""

import click

from consumers.catalog.asking import open_catalog
from consumers.catalog.renewing import check_catalog, rebuild_catalog
from consumers.cli.options import on_ledger
from consumers.cli.paging import shown
from consumers.cli.shared import Usage, plural, print_json, progress
from consumers.context import Context
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("action", type=click.Choice(["rebuild", "check"]))
@click.option("--full", is_flag=True, help="check: fold both logs once more, and compare every row.")
@on_ledger
async def catalog(*, context: Context, action: str, full: bool, as_json: bool) -> None:
    """Make the catalog anew from the logs, or check it against them.

    rebuild makes it beside the old one, which answers meanwhile, and then replaces it. check compares random events and
    publications with the logs, and re-makes random versions of roles from the catalog; --full compares every row.

    \b
    Example:
      tuf-ledger catalog rebuild --ledger my-index
      tuf-ledger catalog check --full --ledger my-index
    """
    if action == "rebuild":
        await _rebuild(context, full=full, as_json=as_json)
    else:
        await _check(context, full=full, as_json=as_json)


async def _rebuild(context: Context, *, full: bool, as_json: bool) -> None:
    if full:
        raise Usage("--full belongs to check")
    if context.is_elsewhere:
        raise Usage("rebuild makes the catalog of a ledger's folder: leave --log out")
    with progress("Reading the logs") as advance:
        made = await rebuild_catalog(context, advance)
    if as_json:
        print_json({"ok": True, "size": made.size, "publication": made.number})
    else:
        click.echo(f"Made the catalog anew: {plural(made.size, 'event')}, up to publication {made.number}.")


async def _check(context: Context, *, full: bool, as_json: bool) -> None:
    with progress("Reading the logs") as advance:
        async with open_catalog(context, advance) as asked:
            checked = await check_catalog(asked.database, context, full=full, report=advance)
    facts = {"events": checked.events, "publications": checked.publications, "versions": checked.versions}
    if checked.problems:
        if not as_json:
            for each in checked.problems:
                click.echo(shown(each))
        raise NegativeAnswerError(
            f"the catalog differs from the logs in {plural(len(checked.problems), 'place')}. Make it anew with "
            "`tuf-ledger catalog rebuild`",
            problems=checked.problems,
            **facts,
        )
    if as_json:
        print_json({"ok": True, **facts, "full": full})
    else:
        compared = f"{plural(checked.events, 'event')}, {plural(checked.publications, 'publication')}"
        rest = " and every row" if full else ""
        click.echo(f"The catalog is what the logs say: {compared}, {checked.versions:,} versions of roles{rest}.")
