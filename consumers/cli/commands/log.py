"""`tuf-ledger log`: what happened, event by event."""

from collections.abc import AsyncIterator

import click
from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import find_events
from consumers.catalog.showing import find_publications
from consumers.catalog.story import Sentence, how_it_stands, tell
from consumers.cli.event_text import event_json, event_lines
from consumers.cli.options import limit_option, on_catalog, read_release
from consumers.cli.paging import limited, print_found, print_lines, shown
from consumers.cli.selectors import Selection, selectors
from consumers.cli.shared import Usage, print_json
from consumers.cli.things import summary_json, summary_lines
from consumers.context import Context
from ledger.catalog.event_rows import Wanted, is_filename, is_project
from projections.index.names import release_key
from schemas.errors import NegativeAnswerError

_UNSEEN = {"pending": "not visible yet     ", "held": "held back for now   "}


@click.command()
@click.argument("about", required=False, metavar="[PROJECT|NAME==VERSION|FILENAME]")
@click.option("--publications", is_flag=True, help="Show publications instead of events.")
@click.option("--story", is_flag=True, help="Tell the story of the PROJECT in plain sentences.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest instead of the newest.")
@limit_option
@on_catalog
@selectors
async def log(
    *,
    context: Context,
    asked: Asked,
    selection: Selection,
    about: str | None,
    publications: bool,
    story: bool,
    oldest_first: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what happened, event by event, the newest first.

    Each event has what it says, what became of it, the publication that first showed it with the times between which
    that happened, the time that the event itself says (marked if it lies outside), and who said it with which
    credential. An event that nothing shows yet is pending, or held.

    Events about NAME==VERSION are those about the release, however its version is spelled, and about its files.

    TIMEs are compared with the times of the publications before and at which an event was first covered, not with the
    time that it says itself. --publications shows publications instead: number, times, sizes, and what each signed.

    \b
    Example:
      tuf-ledger log alpha
      tuf-ledger log alpha==1.2
      tuf-ledger log --actor alice --type file --limit 20
      tuf-ledger log --since 2026-11-01 --type access
      tuf-ledger log --between 4000 4711 --late-files 30 --json
      tuf-ledger log --publications --limit 10
      tuf-ledger log --story alpha
    """
    if publications:
        if about is not None or selection.is_of_events:
            raise Usage("--publications takes --since, --until and --between, and no other choice of events")
        await _publications(asked, selection, oldest_first=oldest_first, limit=limit, as_json=as_json)
        return
    if story:
        if about is None or selection.is_narrow or oldest_first:
            raise Usage("--story takes a PROJECT, and no choice of events")
        await _tell(asked, canonicalize_name(about), limit=limit, as_json=as_json)
        return
    wanted = selection.wanted
    if about is not None:
        wanted = await _about(asked, wanted, about)
    found = limited(find_events(asked, wanted, oldest_first=oldest_first, late_days=selection.late_days), limit)
    count = await print_found(found, event_json, event_lines, as_json=as_json)
    if not count and wanted.release is not None and not selection.is_narrow:
        raise NegativeAnswerError(f"no event is about a release {about}")
    if as_json:
        print_json({"ok": True, "events": count, "size": asked.size, "publication": asked.number})


async def _tell(asked: Asked, project: str, *, limit: int | None, as_json: bool) -> None:
    if not await asked.database.run(is_project, project):
        raise NegativeAnswerError(f"no event is about a project {project}")
    sentences = limited(tell(asked, project), limit)
    if not as_json:
        await print_lines(_story_lines(asked, project, sentences))
        return
    count = 0
    async for each in sentences:
        place = each.place
        facts = {"what": each.text, "standing": place.status, "publication": place.publication}
        print_json({**facts, "time": place.not_after or None, "first_event": each.first, "last_event": each.last})
        count += 1
    end = await asked.database.run(how_it_stands, project)
    print_json({"ok": True, "count": count, "what": end, "size": asked.size, "publication": asked.number})


async def _story_lines(asked: Asked, project: str, sentences: AsyncIterator[Sentence]) -> AsyncIterator[str]:
    yield click.style(f"The story of {shown(project)}", bold=True)
    yield "Each step has the time from which everybody could see it."
    yield ""
    async for each in sentences:
        time = (
            f"{each.place.not_after[:16].replace('T', ' ')} UTC" if each.place.not_after else _UNSEEN[each.place.status]
        )
        yield f"{time}  {shown(each.text)}"
    yield ""
    yield shown(await asked.database.run(how_it_stands, project))


async def _publications(
    asked: Asked, selection: Selection, *, oldest_first: bool, limit: int | None, as_json: bool
) -> None:
    found = limited(find_publications(asked, *selection.publications, oldest_first=oldest_first), limit)
    count = await print_found(found, summary_json, summary_lines, as_json=as_json)
    if as_json:
        print_json({"ok": True, "publications": count, "size": asked.size, "publication": asked.number})


async def _about(asked: Asked, wanted: Wanted, text: str) -> Wanted:
    """Narrow events to a project, to one of its releases, or to a file.

    Raises:
        NegativeAnswerError: no event is about either.
        Usage: the text ends or begins with `==`.
    """
    release = read_release(text)
    if release is not None:
        return wanted._replace(project=release[0], release=release_key(release[1]))
    name = canonicalize_name(text)
    if await asked.database.run(is_project, name):
        return wanted._replace(project=name)
    if await asked.database.run(is_filename, text):
        return wanted._replace(filename=text)
    raise NegativeAnswerError(f"no event is about a project or a file {text}")
