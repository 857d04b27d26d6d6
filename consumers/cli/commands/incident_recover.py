"""`tuf-ledger incident recover`: apply a plan, and prove that clients have the clean state."""

from pathlib import Path
from typing import Any

import click

from consumers.cli.incident_text import say_besides
from consumers.cli.options import on_ledger
from consumers.cli.paging import listed, print_lines, shown
from consumers.cli.recovery_text import deviation_text, residual_lines, state_json, state_lines
from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context
from consumers.incidents.confirming import Confirmation
from consumers.incidents.responding import Recovery, Wishes, recover_incident
from consumers.incidents.step_states import OutdatedPlanError
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name")
@click.option(
    "--plan",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="The plan, as `tuf-ledger incident plan` made it.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Release the hold whose secret is in this file, when the steps are on the log.",
)
@click.option(
    "--served",
    metavar="DIR|URL",
    default="",
    help="Where clients read.  [default: the ledger's public folder]",
)
@click.option(
    "--cdn",
    "caches",
    multiple=True,
    metavar="URL",
    help="Ask this server for everything that is withheld or that changed.",
)
@click.option(
    "--wait-seconds",
    default=600.0,
    show_default=True,
    metavar="N",
    type=float,
    help="Longest time to wait for the publication that shows the steps, and for new keys.",
)
@on_ledger
async def recover(
    *,
    context: Context,
    name: str,
    path: Path,
    secret_file: Path | None,
    served: str,
    caches: tuple[str, ...],
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Apply the plan for NAME, wait until it is published, and prove that clients have the clean state.

    The steps about each project are appended only if nothing else about it came in between. Offline roles are never
    signed here: where the plan counts online keys as lost, the command says which documents are needed and waits for
    them. Then it releases the hold, waits for the publication, compares it with the clean state, and lets TUF clients
    look at what is served: one that saw the compromise, one from before, and a new one. After an interruption, the same
    command goes on.

    \b
    Example:
      tuf-ledger incident recover theft --plan plan.jsonl
      tuf-ledger incident recover theft --plan plan.jsonl --secret-file brake.secret --cdn https://files.example.org
    """
    wishes = Wishes(path, secret_file, served, caches, wait_seconds)
    with progress("Recovering") as advance:
        done = await recover_incident(context, name, wishes, advance, lambda text: _say(text, as_json=as_json))
    if as_json:
        for each in done.applied.steps:
            print_json(state_json(each))
    else:
        await print_lines(listed(_lines(done, served or str(context.public))))
    facts = _facts(done)
    say_besides(name, done.only_now)
    if done.applied.open:
        raise OutdatedPlanError(
            f"{plural(len(done.applied.open), 'step')} of the plan could not be applied: make a new plan with "
            f"`tuf-ledger incident plan {name}`, read it, and recover again",
            **facts,
        )
    if not done.proven:
        raise NegativeAnswerError(
            f"all steps are on the log, but it is not proven that everybody has the clean state ({_why(done)})", **facts
        )
    if as_json:
        print_json({"ok": True, "incident": name, **facts})
    else:
        click.echo(f"Recovered. Record it with `tuf-ledger incident close {name} --plan {path}`")


def _say(text: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(shown(text))


def _lines(done: Recovery, served: str) -> list[str]:
    lines = list(state_lines(done.applied.steps))
    found = done.confirmation
    if found is not None:
        lines += _confirmed(found)
        lines += [shown(f"what is served was looked at in {served} (--served names another place)")] * bool(found.wrong)
        lines += [shown(f"not purged: {each}") for each in done.caches.answering]
        lines += [shown(f"not known whether it is purged: {each}") for each in done.caches.unasked]
    return [*lines, *residual_lines(done.residuals)]


def _confirmed(found: Confirmation) -> list[str]:
    lines = [shown(f"{about}: {deviation_text(each)}") for about, each in found.deviations]
    lines += [f"the version of {role} did not go up" for role in found.lower]
    lines += [shown(each) for each in found.wrong]
    if not lines:
        is_new = found.publication > found.planned_at
        went_up = ", and every version went up" if is_new else "; it is the one that the plan was made at"
        lines.append(f"publication {found.publication} shows the clean state{went_up}")
    lines += [f"{each.client} is shown publication {each.version}" for each in found.visits if not each.error]
    return lines


def _why(done: Recovery) -> str:
    found = done.confirmation
    if found is None:
        return "it was not looked at"
    counts = (
        (len(found.deviations), "difference"),
        (len(found.wrong), "client"),
        (len(done.caches.answering), "URL"),
        (len(done.caches.unasked), "server"),
    )
    return ", ".join(plural(count, what) for count, what in counts if count) or "a version did not go up"


def _facts(done: Recovery) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "appended": done.applied.appended,
        "residuals": [{"about": each.about, "name": each.name, "code": each.code} for each in done.residuals],
    }
    found = done.confirmation
    if found is not None:
        facts |= {
            "publication": found.publication,
            "deviations": [{"about": about, **each._asdict()} for about, each in found.deviations],
            "lower": list(found.lower),
            "clients": [
                {"client": each.client, "publication": each.version, "why": each.error} for each in found.visits
            ],
            "wrong": list(found.wrong),
            "answering": list(done.caches.answering),
            "only_now": done.only_now,
            "unasked": list(done.caches.unasked),
        }
    return facts
