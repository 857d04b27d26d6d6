"""`tuf-ledger blame`: which events made files what they are."""

from typing import Any

import click
from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.blaming import Blame, blame_file, blame_project
from consumers.cli.event_text import event_json, event_line
from consumers.cli.options import limit_option, on_catalog, read_release
from consumers.cli.paging import limited, listed, print_found, shown
from consumers.cli.shared import print_json
from consumers.cli.things import standing_json, standing_text
from consumers.context import Context
from ledger.catalog.event_rows import is_project
from projections.index.names import release_key
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("about", metavar="PROJECT|NAME==VERSION|FILE")
@limit_option
@on_catalog
async def blame(*, context: Context, asked: Asked, about: str, limit: int | None, as_json: bool) -> None:
    """Show the events that made each file of a project what it is, and who said so.

    For each file these are its upload, and the last event that changed whether it is there, its own yank, the yank or
    the quarantine of its release, or the quarantine of its project. With each file stand the publications that offered
    it. `tuf-ledger log FILE` shows all events about a file. All spellings of a VERSION are the same release.

    \b
    Example:
      tuf-ledger blame six
      tuf-ledger blame six==1.17.0
      tuf-ledger blame six-1.17.0.tar.gz --json
    """
    release = read_release(about)
    if release is not None:
        found = blame_project(asked, release[0], release=release_key(release[1]))
    elif await asked.database.run(is_project, canonicalize_name(about)):
        found = blame_project(asked, canonicalize_name(about))
    else:
        found = listed(await blame_file(asked, about))
    count = await print_found(limited(found, limit), _json, _lines, as_json=as_json)
    if not count:
        name = f"no file of {about}" if release else f"no file {about}, and no file of a project {about},"
        raise NegativeAnswerError(f"{name} was ever uploaded")
    if as_json:
        print_json({"ok": True, "files": count, "size": asked.size, "publication": asked.number})


def _lines(answer: Blame) -> list[str]:
    name = click.style(shown(answer.standing.upload.filename), bold=True)
    return [f"{name}  {standing_text(answer)}", *(f"    {event_line(each)}" for each in answer.events)]


def _json(answer: Blame) -> dict[str, Any]:
    upload = answer.standing.upload
    return {
        "project": answer.project,
        "file": upload.filename,
        "version": upload.version,
        "sha256": upload.sha256.hex(),
        "length": upload.length,
        "target": answer.standing.path,
        "events": [event_json(each) for each in answer.events],
        **standing_json(answer),
    }
