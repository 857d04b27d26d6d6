"""`tuf-ledger rebuild`: the repository from the logs."""

from pathlib import Path

import click

from consumers.cli.options import on_ledger
from consumers.cli.shared import Usage, plural, print_json, progress, say
from consumers.context import Context
from consumers.rebuild.choosing import read_at
from consumers.rebuild.rebuilding import rebuild as rebuild_tree


@click.command()
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write.",
)
@click.option("--at", metavar="PUBLICATION|TIME", help="Rebuild this publication, or the last one up to a UTC time.")
@click.option("--all-versions", is_flag=True, help="Rebuild every version published up to there.")
@click.option(
    "--files",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Public folder to take distribution files and other targets from; the logs hold only their digests.",
)
@on_ledger
async def rebuild(
    *,
    target: Path,
    at: str | None,
    all_versions: bool,
    files: Path | None,
    context: Context,
    as_json: bool,
) -> None:
    """Rebuild all metadata and pages from the two logs.

    The files are the same byte for byte, signatures included. No key is needed. Every file is checked against the log
    before it is written. DIR appears when it is complete.

    \b
    Example:
      tuf-ledger rebuild --to restored --at 4711
      tuf-ledger rebuild --log sqlite:copy-of-the-log --to restored --all-versions
    """
    try:
        wanted = read_at(at)
    except ValueError as error:
        raise Usage(str(error)) from error
    if wanted.number == 0:
        raise Usage("--at 0: publications are numbered from 1")
    with progress("Rebuilding") as advance:
        rebuilt = await rebuild_tree(context, target, wanted, all_versions=all_versions, files=files, report=advance)
    if as_json:
        print_json({"ok": True, **rebuilt._asdict()})
        return
    for path in rebuilt.missing[:20]:
        say("not there:", path, style="yellow")
    what = "all versions up to" if all_versions else "the repository as of"
    click.echo(
        f"{target} holds {what} publication {rebuilt.publication} ({rebuilt.time}, {plural(rebuilt.size, 'event')}): "
        f"{plural(rebuilt.files, 'file')}."
    )
