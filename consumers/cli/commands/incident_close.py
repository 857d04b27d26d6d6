"""`tuf-ledger incident close`: record how it ended."""

from pathlib import Path

import click

from consumers.catalog.asking import Asked
from consumers.cli.options import asking, on_ledger
from consumers.cli.shared import Usage, print_json
from consumers.context import Context
from consumers.incidents.confirming import confirm
from consumers.incidents.known_incidents import KnownIncident
from consumers.incidents.recording import incident_event, incident_of
from consumers.incidents.replaying import suspected_of
from consumers.incidents.step_states import check_head, load_plan, residuals_digest
from consumers.produce.appending import append_all
from consumers.state.furthest import open_events
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name")
@click.option(
    "--plan",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="The plan that was applied: it is looked at once more whether the last publication shows the clean state.",
)
@click.option("--reason", help="Reason, for people. Needed without --plan.")
@on_ledger
async def close(*, context: Context, name: str, path: Path | None, reason: str | None, as_json: bool) -> None:
    """Close the incident NAME, with the publication that shows the result, and the digests of plan and residuals.

    With --plan, the incident is closed only if the last publication shows the clean state. Without it, say why: nothing
    was found, for instance. A closed incident can be opened again.

    \b
    Example:
      tuf-ledger incident close theft --plan plan.jsonl
      tuf-ledger incident close leak --reason "none of the leaked tokens was used"
    """
    if path is None and reason is None:
        raise Usage("give --plan, or say with --reason why there is none")
    async with asking(context) as asked:
        known = await incident_of(asked, name)
        if not known.is_open:
            raise NegativeAnswerError(f"nothing was appended: {name} is closed already")
        data: dict[str, object] = {"reason": reason, "publication": asked.number or None}
        if path is not None:
            data |= await _prove(context, asked, known, path)
    (appended,) = await append_all(context, [incident_event("closed", name, data)])
    if as_json:
        print_json({"ok": True, "incident": name, "event": appended.event, "publication": data["publication"]})
    else:
        click.echo(f"Closed {name} as event {appended.event}.")


async def _prove(context: Context, asked: Asked, known: KnownIncident, path: Path) -> dict[str, object]:
    plan, digest = load_plan(path, known.name)
    async with open_events(context) as log:
        await check_head(asked, log, plan.head, known)
    found = await confirm(asked.database, suspected_of(known), plan.head, asked.number, None)
    if not found.holds:
        raise NegativeAnswerError(
            f"nothing was appended: publication {asked.number} does not show the clean state. Look at it with "
            f"`tuf-ledger incident recover {known.name} --plan {path}`",
            deviations=[{"about": about, **each._asdict()} for about, each in found.deviations],
        )
    return {"plan": digest, "residuals": residuals_digest(plan.head)}
