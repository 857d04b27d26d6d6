"""`tuf-ledger incident plan`: the steps that lead to the clean state, or whether they still fit."""

from hashlib import sha256
from pathlib import Path

import click

from consumers.catalog.asking import Asked
from consumers.cli.incident_text import say_besides
from consumers.cli.options import on_catalog
from consumers.cli.paging import listed, print_lines
from consumers.cli.recovery_text import plan_lines, state_json, state_lines
from consumers.cli.shared import Usage, plural, print_json, progress, say
from consumers.context import Context
from consumers.incidents.drawing_up import draw_up
from consumers.incidents.known_incidents import KnownIncident, count_besides
from consumers.incidents.recording import incident_of
from consumers.incidents.step_states import check_head, examine, load_plan, lost_keys_in_force
from consumers.state.furthest import open_events
from ledger.disk.files import writing
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the plan to this new file, and say what it does.  [default: standard output]",
)
@click.option(
    "--lost-key",
    "lost",
    multiple=True,
    metavar="KEYID",
    help="This online key (or the beginning of its id) counts as lost: `recover` waits until no root lists it.",
)
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Say whether the plan in this file still fits the log.",
)
@on_catalog
async def plan(
    *,
    context: Context,
    asked: Asked,
    name: str,
    target: Path | None,
    lost: tuple[str, ...],
    checked: Path | None,
    as_json: bool,
) -> None:
    """Plan the recovery from NAME: which events lead from what the index says to what it should say.

    The plan is a file of JSON lines: its head, and one line for each event to append, with the reason. Read it. Delete
    the lines that you do not want. `tuf-ledger incident recover` appends the rest. What no event can repair is a
    residual, with its remedy. Nothing is appended here.

    \b
    Example:
      tuf-ledger incident plan theft --to plan.jsonl
      tuf-ledger incident plan theft --check plan.jsonl
    """
    known = await incident_of(asked, name)
    if checked is not None:
        if target is not None or lost:
            raise Usage("--check reads a plan: leave --to and --lost-key out")
        await _check(context, asked, known, checked, as_json=as_json)
        return
    if as_json and target is None:
        raise Usage("with --json, say with --to where the plan goes")
    if target is not None and target.exists():
        raise NegativeAnswerError(f"{target} is there already: nothing was written")
    async with open_events(context) as log:
        with progress("Replaying") as advance:
            drawn = await draw_up(asked, log, known, lost, advance)
    only_now = await asked.database.run(count_besides, asked, known)
    say_besides(name, only_now)
    steps, residuals = len(drawn.replay.steps), len(drawn.head.residuals)
    summary = f"{plural(steps, 'step')}, {plural(residuals, 'residual')}, made from {plural(asked.size, 'event')}"
    if target is None:
        click.echo(drawn.data, nl=False)
        say("plan:", summary)
        return
    with writing(target), target.open("xb") as file:
        file.write(drawn.data)
    if as_json:
        facts = {"steps": steps, "residuals": residuals, "plan_sha256": sha256(drawn.data).hexdigest()}
        print_json({"ok": True, "incident": name, "to": str(target), **facts, "only_now": only_now, "size": asked.size})
        return
    await print_lines(listed([*plan_lines(drawn.replay), f"The plan is in {target}: {summary}."]))


async def _check(context: Context, asked: Asked, known: KnownIncident, path: Path, *, as_json: bool) -> None:
    read, digest = load_plan(path, known.name)
    async with open_events(context) as log:
        await check_head(asked, log, read.head, known)
    states = await asked.database.run(examine, read, asked.size)
    keys = await asked.database.run(lost_keys_in_force, read.head)
    wrong = [each for each in states if each.state in {"overtaken", "refused"}]
    if as_json:
        for each in states:
            print_json(state_json(each))
    else:
        await print_lines(listed(state_lines(states)))
        for key in keys:
            click.echo(f"online key {key} counts as lost, and is in force: `tuf-ledger ceremony --replace-online`")
    facts = {"steps": len(states), "keys_in_force": keys, "plan_sha256": digest}
    facts |= {state: sum(each.state == state for each in states) for state in ("done", "fits", "overtaken", "refused")}
    if wrong:
        raise NegativeAnswerError(
            f"{plural(len(wrong), 'step')} of {len(states)} no longer fit: make a new plan with `tuf-ledger incident "
            f"plan {known.name}`",
            **facts,
        )
    if as_json:
        print_json({"ok": True, "incident": known.name, **facts, "size": asked.size})
    else:
        click.echo("The plan fits.")
