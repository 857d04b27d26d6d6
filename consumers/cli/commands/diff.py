"""`tuf-ledger diff`: what differs between two publications, and who did it."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.comparing import Comparison, compare_sides
from consumers.catalog.sides import Side
from consumers.cli.difference_page import write_page
from consumers.cli.differences import PROJECTS, Counts, Said, said_of
from consumers.cli.options import on_catalog
from consumers.cli.pages import print_lines, shown
from consumers.cli.shared import print_json
from consumers.context import Context
from schemas.errors import NegativeAnswerError

_COLOURS = {"+": "green", "-": "red", "~": "yellow", "±": "magenta"}


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--project", metavar="NAME", help="Only this project.")
@click.option("--stat", is_flag=True, help="Only counts: a line for each project, and one for everything.")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page for people: one file that loads nothing.",
)
@click.option("--exit-code", is_flag=True, help="End with exit code 1 if anything differs.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many differences.")
@on_catalog
async def diff(
    *,
    context: Context,
    asked: Asked,
    before: str,
    after: str,
    project: str | None,
    stat: bool,
    page: Path | None,
    exit_code: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what differs between A and B, and the events that made it so.

    A and B are each a publication (7), a version of a role (root@2, bin-3a@7), a UTC time or day (the publication in
    force then), or an event (event:120: as of this event, published or not). 0 is before everything. First come keys
    and settings, then projects as people know them, then targets. If A is the later one, everything is read backwards:
    the events that are named are undone.

    \b
    Example:
      tuf-ledger diff 7 9
      tuf-ledger diff 2026-11-01 2026-12-01 --project alpha
      tuf-ledger diff root@1 root@2 --json
      tuf-ledger diff 7 9 --html diff.html
    """
    comparison = await compare_sides(asked, before, after, None if project is None else canonicalize_name(project))
    counts = Counts()
    if page is not None:
        counts = await write_page(comparison, page)
        if not as_json:
            click.echo(f"{page}: {counts}.")
    else:
        await _print(comparison, counts, limit, stat=stat, as_json=as_json)
    sides = {"from": _side(comparison, comparison.before), "to": _side(comparison, comparison.after)}
    facts = {**sides, **counts.facts(), "differs": counts.differs, "backwards": comparison.is_backwards}
    if exit_code and counts.differs:
        raise NegativeAnswerError(f"{before} and {after} differ", **facts)
    if as_json:
        print_json({"ok": True, **facts})


async def _print(comparison: Comparison, counts: Counts, limit: int | None, *, stat: bool, as_json: bool) -> None:
    found = _counted(said_of(comparison), counts, limit)
    if not as_json:
        await print_lines(_stat(comparison, found, counts) if stat else _lines(comparison, found, counts))
        return
    async for each in found:
        if not stat:
            print_json(each.facts)


def _side(comparison: Comparison, side: Side) -> dict[str, Any]:
    """A side for machines."""
    facts: dict[str, Any] = {"what": side.text, "size": side.size, "content_size": side.content_size}
    if side.publication is not None:
        facts |= {"publication": side.number, "time": side.publication.time}
        facts |= {"reproduced": comparison.is_reproduced(side)}
    return facts


async def _counted(found: AsyncIterator[Said], counts: Counts, limit: int | None) -> AsyncIterator[Said]:
    count = 0
    async for each in found:
        counts.add(each)
        yield each
        count += 1
        if count == limit:
            return


def _heading(comparison: Comparison) -> str:
    before, after = comparison.before, comparison.after
    text = f"{before.text} → {after.text}"
    unseen = comparison.not_reproduced()
    if unseen:
        text = f"{text} ({', '.join(map(str, unseen))} not reproduced by a follower here)"
    return f"{text}, backwards: the events are undone" if comparison.is_backwards else text


async def _lines(comparison: Comparison, found: AsyncIterator[Said], counts: Counts) -> AsyncIterator[str]:
    yield click.style(shown(_heading(comparison)), bold=True)
    section = ""
    async for each in found:
        if each.section != section:
            section = each.section
            yield ""
            yield click.style(section, bold=True)
        yield _line(each)
    yield ""
    yield f"{counts}."


async def _stat(comparison: Comparison, found: AsyncIterator[Said], counts: Counts) -> AsyncIterator[str]:
    yield click.style(shown(_heading(comparison)), bold=True)
    project, marks = "", Counter[str]()
    async for each in found:
        if each.section != PROJECTS:
            continue
        if each.facts["project"] != project:
            if project:
                yield _stat_line(project, marks)
            project, marks = each.facts["project"], Counter()
        marks[each.mark] += len(each.facts.get("files", ())) or 1
    if project:
        yield _stat_line(project, marks)
    yield f"{counts}."


def _stat_line(project: str, marks: Counter[str]) -> str:
    return f"  {shown(project):<40} " + " ".join(
        click.style(f"{mark}{marks[mark]}", fg=colour) for mark, colour in _COLOURS.items() if marks[mark]
    )


def _line(said: Said) -> str:
    """A difference in one line."""
    mark = click.style(said.mark, fg=_COLOURS[said.mark])
    cause = said.cause
    return f"  {mark} {shown(said.text)}" + (f"{_separator(said)}{shown(cause)}" if cause else "")


def _separator(said: Said) -> str:
    return " — " if ": " in said.text else ": "
