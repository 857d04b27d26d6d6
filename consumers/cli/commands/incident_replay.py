"""`tuf-ledger incident replay`: what the log would be without an incident."""

import tempfile
from pathlib import Path

import click

from consumers.catalog.asking import Asked
from consumers.cli.options import on_catalog
from consumers.cli.paging import listed, print_lines
from consumers.cli.recovery_text import replay_json, replay_lines
from consumers.cli.shared import print_json, progress
from consumers.context import Context
from consumers.incidents.drawing_up import making_of
from consumers.incidents.recording import incident_of
from consumers.incidents.replaying import CleanReplay, Suspected, replay, suspected_of
from consumers.sign.schedule import Schedule
from consumers.state.furthest import open_events
from ledger.disk.files import StorageError, writing
from projections.incidents.replays import deviations


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Make the whole repository as it should be, in this new folder, signed by keys that are thrown away.",
)
@on_catalog
async def replay_incident(*, context: Context, asked: Asked, name: str, target: Path | None, as_json: bool) -> None:
    """Show what the index should say: the log without the suspects of NAME, against the log as it is.

    For each project that suspects touched, first come the events of which something else becomes: a suspect took a
    filename, and the maintainer's own upload was rejected. Then comes what the index shows and should not, or should
    and does not. Answers to the incident, that is events that name it, are left out like suspects.

    \b
    Example:
      tuf-ledger incident replay theft
      tuf-ledger incident replay theft --to clean
    """
    known = await incident_of(asked, name)
    suspected = suspected_of(known)
    with progress("Replaying") as advance:
        made = await asked.database.run(replay, suspected, asked.size, making_of(name).event, advance)
    if target is not None:
        await _write_tree(context, asked, suspected, made, target)
    if not as_json:
        await print_lines(listed(replay_lines(made)))
        if target is not None:
            click.echo(f"The clean repository is in {target}. Its keys are not yours: clients must not trust it.")
        return
    for each in replay_json(made):
        print_json(each)
    print_json({"ok": True, "incident": name, **_counts(made), "size": asked.size, "publication": asked.number})


async def _write_tree(context: Context, asked: Asked, suspected: Suspected, made: CleanReplay, target: Path) -> None:
    """Publish the clean log once, in a ledger beside, and keep what is served."""
    from consumers.incidents.rewriting import write_clean_ledger  # noqa: PLC0415  # signs: rarely needed
    from consumers.service.publishing import publish_once  # noqa: PLC0415

    if target.exists() and any(target.iterdir()):
        raise StorageError(f"{target} is not empty: give --to a new folder")
    target = target.resolve()
    with writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as beside:
        async with open_events(context) as log:
            with progress("Writing the clean log") as advance:
                clean = await write_clean_ledger(asked, log, suspected, made, Path(beside) / "ledger", report=advance)
        with progress("Publishing") as advance:
            await publish_once(clean, Schedule(interval_seconds=0, grace_seconds=0), report=advance)
        clean.public.replace(target)


def _counts(made: CleanReplay) -> dict[str, int]:
    different = sum(1 for each in made.projects if deviations(each.live, each.clean))
    different += sum(1 for each in made.targets if each.live.offered != each.clean.offered)
    flips = sum(len(each.flips) for each in made.projects) + sum(len(each.flips) for each in made.targets)
    return {"touched": len(made.projects) + len(made.targets), "different": different, "flipped": flips}
