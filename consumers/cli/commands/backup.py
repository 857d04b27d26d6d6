"""`tuf-ledger backup`: a copy of everything that cannot be computed again."""

from pathlib import Path

import click

from consumers.backup.backing_up import FIRST_ROOT, LOG_FOLDER, back_up
from consumers.cli.options import on_ledger
from consumers.cli.shared import plural, print_json, progress, say
from consumers.context import Context
from ledger.config import FILENAME


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@on_ledger
async def backup(*, target: Path, context: Context, as_json: bool) -> None:
    """Copy both logs, the configuration and the first root into DIR.

    Consumers may run and events may be appended meanwhile. DIR must be new or empty; it appears when the copy is
    complete. Keys are never copied: keep copies of keys apart. Do not copy the files of a SQLite log with cp: the
    records appended last may be lost. Records of a log on Kafka are copied into a SQLite log; topics and their
    settings are not copied.

    \b
    Example:
      tuf-ledger backup --ledger my-index copy
      tuf-ledger verify --log sqlite:copy/log --root copy/1.root.json
    """
    with progress("Copying") as advance:
        done = await back_up(context, target, advance)
    if as_json:
        sizes = {"events": done.events, "publications": done.publications}
        print_json({"ok": True, "ledger": done.ledger, "sizes": sizes, "files": done.files, "missing": done.missing})
        return
    click.echo(
        f"{target} holds both logs ({plural(done.events, 'event')}, {plural(done.publications, 'record')} of "
        f"publications){_others(done.missing)}."
    )
    if not done.from_sqlite:
        click.echo("The copy holds the records of the topics as a SQLite log, not the topics' settings.")
    anchor = f" --root {target / FIRST_ROOT}" if FIRST_ROOT not in done.missing else ""
    click.echo(f"Check it: `tuf-ledger verify --log sqlite:{target / LOG_FOLDER}{anchor}`.")
    if FIRST_ROOT in done.missing:
        why = "this machine does not serve it. Keep the first root that you handed out."
        say("The first root is not in the copy:", why, style="yellow")
    say("No keys are in the copy:", "keep copies of keys apart.", style="yellow")


def _others(missing: list[str]) -> str:
    shown = {FILENAME: FILENAME, FIRST_ROOT: "the first root"}
    found = [text for name, text in shown.items() if name not in missing]
    return "".join(f" and {text}" if text is found[-1] else f", {text}" for text in found)
