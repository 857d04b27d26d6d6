"""`tuf-ledger incident rehearse`: a story of an incident in a ledger of its own, to practise on."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option
from consumers.cli.paging import shown
from consumers.cli.shared import Usage, open_context, print_json, progress, runs_async
from consumers.incidents.stories.deeds import Story
from consumers.incidents.stories.rehearsing import Rehearsal, days_until, load_rehearsal, moved, save_rehearsal
from consumers.incidents.stories.shelf import STORIES
from ledger.clock import SystemClock
from ledger.config import LoggingSection

if TYPE_CHECKING:
    from consumers.incidents.stories.marking import Marking


@click.command()
@click.argument("name", metavar="[STORY]", required=False)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Play it in this new folder; with --answer, the folder of a rehearsal.  [default: a temporary folder]",
)
@click.option("--answer", is_flag=True, help="Open the sealed answer; nothing is played.")
@json_option
@runs_async
async def rehearse(*, name: str | None, folder: Path | None, answer: bool, as_json: bool) -> None:
    """Practise on an incident that happened: play STORY in a new ledger, and leave you in front of it.

    Without STORY, all stories are listed. What happened is played through a real signer, on a clock of its own, with
    keys that are made for it. Dates are moved, so that the team is told within the last 24 hours. Then it is your
    turn. The answer stays sealed until you ask for it; then your own incident is compared with it. docs/incidents has
    a page about each story.

    \b
    Example:
      tuf-ledger incident rehearse
      tuf-ledger incident rehearse publisher-then-token --to night
      tuf-ledger incident rehearse --answer --to night
    """
    if answer:
        await _answer(_rehearsed(name, folder), folder, as_json=as_json)
    elif name is not None:
        await _play(_find(name), folder, as_json=as_json)
    elif folder is not None:
        raise Usage("say which story is to be played; `tuf-ledger incident rehearse` lists them")
    else:
        _list(as_json=as_json)


def _find(name: str) -> Story:
    if name not in STORIES:
        raise Usage(f"there is no story {name!r}; `tuf-ledger incident rehearse` lists them")
    return STORIES[name]()


def _rehearsed(name: str | None, folder: Path | None) -> Rehearsal:
    """The rehearsal in a folder; or a story on the dates on which it happened."""
    if folder is not None:
        found = load_rehearsal(folder)
        if name not in {None, found.story}:
            raise Usage(f"{folder} is a rehearsal of {found.story}")
        return found
    if name is None:
        raise Usage("say whose answer: name a story, or with --to the folder of a rehearsal")
    return Rehearsal(name)


def _list(*, as_json: bool) -> None:
    stories = [make() for make in STORIES.values()]
    width = max(len(story.name) for story in stories)
    for story in stories:
        if as_json:
            print_json({"story": story.name, "title": story.title})
        else:
            click.echo(f"{story.name:{width}}  {story.title}")
    if as_json:
        print_json({"ok": True, "count": len(stories)})


async def _play(story: Story, folder: Path | None, *, as_json: bool) -> None:
    from consumers.service.playing import play  # noqa: PLC0415  # it signs: not needed to list stories

    configure_logging(LoggingSection(), default_level="error")
    days = days_until(story, SystemClock().now())
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="tuf-ledger-rehearsal-"))
    with progress("Playing") as advance:
        await play(story, folder, days, report=advance)
    save_rehearsal(folder, Rehearsal(story.name, days))
    told_at, told, question = (moved(text, days) for text in (story.told_at, story.told, story.question))
    if as_json:
        facts = {"story": story.name, "title": story.title, "told_at": told_at, "briefing": told, "question": question}
        print_json({"ok": True, **facts, "to": str(folder)})
        return
    click.secho(f"It is {told_at}.", bold=True)
    click.echo(f"\n{told}\n\n{question}\n")
    click.echo(f"The ledger is in {folder}: change to it, or name it with --ledger. No signer runs there:")
    click.echo("`tuf-ledger publish` makes a publication, `tuf-ledger run` goes on publishing.")
    click.echo("When you are done, or have had enough:")
    click.echo(f"  tuf-ledger incident rehearse --answer --to {folder}")


async def _answer(rehearsal: Rehearsal, folder: Path | None, *, as_json: bool) -> None:
    story, days = _find(rehearsal.story), rehearsal.days
    marking = await _mark(folder, story)
    if not as_json:
        for text in _answer_lines(story):
            click.echo(moved(text, days))
        if marking is not None:
            click.echo(f"\n{_marking_text(marking)}")
        return
    for line in story.lines:
        print_json({"command": moved(line.whole, days), "why": line.why, "exit": line.exit_code})
    sealed = story.answer
    facts: dict[str, Any] = {"answer": moved(sealed.text, days), "suspects": story.suspects}
    facts["residuals"] = [{"about": about, "name": name, "code": code} for about, name, code in sealed.residuals]
    if marking is not None:
        facts |= {"beyond": marking.beyond, "overlooked": marking.overlooked}
    print_json({"ok": True, "story": story.name, **facts, "elsewhere": list(sealed.elsewhere)})


async def _mark(folder: Path | None, story: Story) -> "Marking | None":
    """What the team found in its rehearsal; None: it opened no incident, or the story happens beside the log."""
    if folder is None or not story.is_on_log:
        return None
    from consumers.incidents.stories.marking import mark  # noqa: PLC0415  # SQLAlchemy: imported on demand

    marking = await mark(open_context(folder, None), story)
    return marking if marking.incidents else None


def _marking_text(marking: "Marking") -> str:
    names = ", ".join(map(shown, marking.incidents))
    what = f"Your {'incident' if len(marking.incidents) == 1 else 'incidents'} ({names})"
    if not marking.beyond and not marking.overlooked:
        return f"{what}: exactly these events."
    parts = (("events that do not belong to it", marking.beyond), ("events that it lacks", marking.overlooked))
    return f"{what}: {'; '.join(f'{text}: {_listed(events)}' for text, events in parts if events)}."


def _listed(events: Sequence[int]) -> str:
    return ", ".join(map(str, events)) or "none"


def _answer_lines(story: Story) -> Iterator[str]:
    sealed = story.answer
    yield f"{story.name}: {story.title}\n"
    yield f"{sealed.text}\n"
    yield f"Suspect events: {_listed(story.suspects)}."
    for reach in sealed.reaches:
        yield f"{reach.file}: offered from {reach.first} until {reach.gone or 'now'}."
    for about, filename, code in sealed.residuals:
        yield f"What no step repairs: {' '.join(filter(None, (about, filename)))} ({code})."
    for text in sealed.elsewhere:
        yield f"Outside of the ledger: {text}"
    for file, content in story.written.items():
        yield f"Write into {file}: {content.rstrip()}"
    yield "\nCommands:"
    for line in story.lines:
        code = f" (exit code {line.exit_code})" if line.exit_code else ""
        yield f"  {line.whole}"
        yield f"      {line.why}{code}"
