"""`tuf-ledger diff`: what differs between two publications, and who did it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from packaging.utils import canonicalize_name

from consumers.catalog.comparison import Comparison, compare_sides
from consumers.catalog.sides import Side, is_side
from consumers.cli.difference_page import Heading, write_page, write_sections
from consumers.cli.differences import PROJECTS, ROLES, TARGETS, Counts, Said, said_of, said_of_trees
from consumers.cli.logs import configure_logging
from consumers.cli.options import asking, json_option, ledger_options
from consumers.cli.paging import print_lines, shown
from consumers.cli.shared import Usage, open_context, print_json, runs_async
from consumers.context import found_files, give_up
from consumers.reading.trees import MetadataTree
from schemas.errors import NegativeAnswerError

_COUNTS = {"+": "added", "-": "removed", "~": "changed", "±": "came_and_went"}
_COLOURS = {"+": "green", "-": "red", "~": "yellow", "±": "magenta"}


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--project", metavar="NAME", help="Only this project.")
@click.option("--stat", is_flag=True, help="Only counts: a line for each project or role, and one for all.")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page for people: one file that loads nothing.",
)
@click.option("--exit-code", is_flag=True, help="End with exit code 1 if anything differs.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many differences.")
@ledger_options
@json_option
@runs_async
async def diff(
    *,
    before: str,
    after: str,
    project: str | None,
    folder: Path,
    log: str | None,
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

    A and B can also be two folders or URLs of TUF repositories, whoever made them. They need no ledger. Their roles are
    compared one by one, without causes, and signatures are not checked.

    \b
    Example:
      tuf-ledger diff 7 9
      tuf-ledger diff 2026-11-01 2026-12-01 --project alpha
      tuf-ledger diff root@1 root@2 --json
      tuf-ledger diff 7 9 --html diff.html
      tuf-ledger diff public https://mirror.example.org
    """
    trees = [_is_tree(each) for each in (before, after)]
    wanted = _Wanted(stat, page, limit, as_json)
    if all(trees):
        if project is not None:
            raise Usage("--project: folders and URLs are compared by their roles")
        counts, facts = await _tell_trees(before, after, wanted)
    elif any(trees):
        raise Usage("compare two folders or URLs; `tuf-ledger compare` holds one of them against the log")
    else:
        context = open_context(folder, log)
        configure_logging(context.config.logging, default_level="warning")
        async with asking(context) as asked:
            name = None if project is None else canonicalize_name(project)
            counts, facts = await _tell(await compare_sides(asked, before, after, name), wanted)
    facts |= {**counts.facts(), "differs": counts.differs}
    if exit_code and counts.differs:
        raise NegativeAnswerError(f"{before} and {after} differ", **facts)
    if as_json:
        print_json({"ok": True, **facts})


class _Wanted(NamedTuple):
    """How it is told."""

    stat: bool
    page: Path | None
    limit: int | None
    as_json: bool


def _is_tree(text: str) -> bool:
    return text.startswith(("http://", "https://")) or (not is_side(text) and Path(text).is_dir())


async def _tell(comparison: Comparison, wanted: _Wanted) -> tuple[Counts, dict[str, Any]]:
    """Tell what differs between two sides of a ledger; return the counts, and facts for machines."""
    if wanted.page is not None:
        counts = await write_page(comparison, wanted.page)
        _tell_page(wanted, counts)
    else:
        counts = await _print(_heading(comparison), said_of(comparison, is_by_project=wanted.stat), wanted)
    sides = {"from": _side(comparison, comparison.before), "to": _side(comparison, comparison.after)}
    return counts, {**sides, "backwards": comparison.is_backwards}


async def _tell_trees(before: str, after: str, wanted: _Wanted) -> tuple[Counts, dict[str, Any]]:
    """The same for two repositories."""
    sources = [found_files(each)[0] for each in (before, after)]
    try:
        trees = [
            await asyncio.to_thread(MetadataTree, files, name)
            for files, name in zip(sources, (before, after), strict=True)
        ]
        found = _in_thread(said_of_trees(*trees))
        if wanted.page is not None:
            heading = Heading("What differs", before, after, ["Signatures were not checked."])
            counts = await write_sections(heading, found, wanted.page)
            _tell_page(wanted, counts)
        else:
            counts = await _print(f"{before} → {after} (signatures are not checked)", found, wanted)
    finally:
        for files in sources:
            give_up(files)
    return counts, {"from": {"what": before}, "to": {"what": after}}


async def _in_thread(found: Iterator[Said]) -> AsyncIterator[Said]:
    while (each := await asyncio.to_thread(next, found, None)) is not None:
        yield each


def _tell_page(wanted: _Wanted, counts: Counts) -> None:
    if not wanted.as_json:
        click.echo(f"{wanted.page}: {counts}.")


async def _print(heading: str, differences: AsyncIterator[Said], wanted: _Wanted) -> Counts:
    counts = Counts()
    found = _counted(differences, counts, wanted.limit)
    if not wanted.as_json:
        await print_lines((_stat if wanted.stat else _lines)(heading, found, counts))
        return counts
    if wanted.stat:
        async for group in _groups(found):
            print_json(group.facts())
    else:
        async for each in found:
            print_json(each.facts)
    return counts


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


async def _lines(heading: str, found: AsyncIterator[Said], counts: Counts) -> AsyncIterator[str]:
    yield click.style(shown(heading), bold=True)
    section = ""
    async for each in found:
        if each.section != section:
            section = each.section
            yield ""
            yield click.style(shown(section), bold=True)
        yield _line(each)
    yield ""
    yield f"{counts}."


async def _stat(heading: str, found: AsyncIterator[Said], counts: Counts) -> AsyncIterator[str]:
    yield click.style(shown(heading), bold=True)
    async for group in _groups(found):
        yield group.line()
    yield f"{counts}."


class _Group(NamedTuple):
    """How much differs of a project, or of a role of a tree: the numbers by mark."""

    section: str
    name: str
    marks: Counter[str]

    def line(self) -> str:
        """The numbers in one line."""
        name = self.name if self.section == PROJECTS else self.section
        return f"  {shown(name):<40} " + " ".join(
            click.style(f"{mark}{self.marks[mark]}", fg=colour) for mark, colour in _COLOURS.items() if self.marks[mark]
        )

    def facts(self) -> dict[str, Any]:
        """The numbers for machines."""
        counts = {word: self.marks[mark] for mark, word in _COUNTS.items()}
        return {"project" if self.section == PROJECTS else "role": self.name, **counts}


async def _groups(found: AsyncIterator[Said]) -> AsyncIterator[_Group]:
    """Differences by project, or by role of a tree, as they come."""
    group: _Group | None = None
    async for each in found:
        if each.section in {ROLES, TARGETS}:
            continue
        name = each.facts["project"] if each.section == PROJECTS else each.section.removeprefix("Role ")
        if group is None or (group.section, group.name) != (each.section, name):
            if group is not None:
                yield group
            group = _Group(each.section, name, Counter())
        group.marks[each.mark] += len(each.facts.get("files", ())) or 1
    if group is not None:
        yield group


def _line(said: Said) -> str:
    """A difference in one line."""
    mark = click.style(said.mark, fg=_COLOURS[said.mark])
    cause = said.cause
    return f"  {mark} {shown(said.text)}" + (f"{_separator(said)}{shown(cause)}" if cause else "")


def _separator(said: Said) -> str:
    return " — " if ": " in said.text else ": "
