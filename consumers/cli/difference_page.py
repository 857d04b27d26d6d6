"""A page in HTML that shows what differs between two sides: one file that loads nothing and runs nothing.

Every text comes from the log, so it may come from anybody: all of it is escaped here, at one place.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, NamedTuple

from consumers.catalog.changes import changes_of
from consumers.catalog.comparison import Comparison
from consumers.cli.differences import (
    MOST_CAUSES,
    ROLES,
    Counts,
    Said,
    numbered,
    said_of_change,
    said_of_others,
    said_of_roles,
    said_of_target,
    who,
)
from consumers.cli.page_parts import escaped, page_head
from ledger.catalog.event_rows import EventRow
from ledger.disk.files import writing

_SHOWN_OPEN = 12
"""Up to so many targets are shown at once; more are folded, and open with a click."""

_CLASSES = {"+": ("add", "added"), "-": ("del", "removed"), "~": ("mod", "changed"), "±": ("mod", "came and went")}


class Heading(NamedTuple):
    """What stands above the differences: a title, the two sides, and notes."""

    title: str
    before: str
    after: str
    notes: Sequence[str] = ()


async def write_page(comparison: Comparison, path: Path) -> Counts:
    """Write the page for a comparison; return how many differences it shows.

    Raises:
        StorageError: the file cannot be written.
    """
    notes = ["Read backwards: the events that are named are undone."] if comparison.is_backwards else []
    unseen = comparison.not_reproduced()
    if unseen:
        notes.append(f"Not reproduced by a follower on this machine: publication {', '.join(map(str, unseen))}.")
    of = f" of {comparison.project}" if comparison.project else ""
    heading = Heading(f"What differs{of}", comparison.before.text, comparison.after.text, notes)
    return await _write(heading, path, partial(_write_body, comparison))


async def write_sections(heading: Heading, found: AsyncIterator[Said], path: Path) -> Counts:
    """Write a page of differences without causes, section by section; return how many they are.

    Raises:
        StorageError: the file cannot be written.
    """
    return await _write(heading, path, partial(_write_sections, found))


async def _write(heading: Heading, path: Path, write: Callable[[IO[str], Counts], Awaitable[None]]) -> Counts:
    """The counts stand at the top and are known at the end: so the body is written beside the page."""
    counts = Counts()
    with writing(path):
        new = partial(NamedTemporaryFile, "w+", dir=path.parent, encoding="utf-8", prefix=".", delete=False)
        body, whole = new(), new()
        try:
            with body, whole:
                await write(body, counts)
                _write_head(heading, whole, counts)
                body.seek(0)
                shutil.copyfileobj(body, whole)
                whole.write("</main>\n</body>\n</html>\n")
            Path(whole.name).chmod(0o644)
            Path(whole.name).replace(path)
        finally:
            for each in (body, whole):
                Path(each.name).unlink(missing_ok=True)
    return counts


def _write_head(heading: Heading, file: IO[str], counts: Counts) -> None:
    before, after = escaped(heading.before), escaped(heading.after)
    file.write(
        f"{page_head(f'{before} → {after}')}<h1>{escaped(heading.title)}</h1>\n"
        f'<dl class="sides"><dt>from</dt><dd>{before}</dd><dt>to</dt><dd>{after}</dd></dl>\n'
    )
    for note in heading.notes:
        file.write(f'<p class="note">{escaped(note)}</p>\n')
    file.write(f'<p class="counts">{escaped(counts)}.</p>\n')


async def _write_sections(found: AsyncIterator[Said], file: IO[str], counts: Counts) -> None:
    section = ""
    async for each in found:
        if each.section != section:
            file.write("</ul>\n</section>\n" if section else "")
            section = each.section
            file.write(f"<section>\n<h2>{escaped(section)}</h2>\n<ul>\n")
        _write_list(file, [each], counts)
    file.write("</ul>\n</section>\n" if section else "")


async def _write_body(comparison: Comparison, file: IO[str], counts: Counts) -> None:
    if comparison.is_of_bin:
        page = await comparison.bin_targets()
        said = [said_of_target(each, page.events) for each in page.targets]
        _write_targets(file, said, counts)
        _write_events(file, said, page.events)
        return
    roles = await comparison.roles()
    if roles.changes:
        said = said_of_roles(roles)
        file.write(f"<section>\n<h2>{ROLES}</h2>\n<ul>\n")
        _write_list(file, said, counts)
        file.write("</ul>\n")
        _write_events(file, said, roles.events)
        file.write("</section>\n")
    if comparison.before.role:
        return
    async for projects in comparison.projects(targets=True):
        for each in projects.projects:
            changes = [said_of_change(change) for change in changes_of(each, projects.events)]
            targets = [said_of_target(target, projects.events) for target in projects.targets.get(each.id, ())]
            if changes or targets:
                _write_project(file, each.name, (changes, targets), projects.events, counts)
    await _write_others(said_of_others(comparison), file, counts)


def _write_project(
    file: IO[str],
    name: str,
    said: tuple[Sequence[Said], Sequence[Said]],
    events: Mapping[int, EventRow],
    counts: Counts,
) -> None:
    changes, targets = said
    file.write(f'<section id="project-{escaped(name)}">\n<h2>{escaped(name)}</h2>\n<ul>\n')
    _write_list(file, changes, counts)
    file.write("</ul>\n")
    _write_targets(file, targets, counts)
    _write_events(file, (*changes, *targets), events)
    file.write("</section>\n")


def _write_events(file: IO[str], said: Iterable[Said], events: Mapping[int, EventRow]) -> None:
    """The events that differences name, which link here."""
    indices = sorted({index for each in said for index in each.events})
    is_open = " open" if len(indices) <= _SHOWN_OPEN else ""
    file.write(f"<details{is_open}><summary>Events ({len(indices):,})</summary>\n<table>\n")
    file.write("<tr><th>event</th><th>type</th><th>who</th><th>its own time</th></tr>\n")
    for index in indices:
        event = events[index]
        file.write(
            f'<tr id="event-{index}"><td>{index}</td><td>{escaped(event.type)}</td><td>{escaped(who(event))}</td>'
            f"<td>{escaped(event.time)}</td></tr>\n"
        )
    file.write("</table>\n</details>\n")


async def _write_others(found: AsyncIterator[Said], file: IO[str], counts: Counts) -> None:
    """The targets of no project that differs, as they come."""
    is_open = False
    async for each in found:
        if not is_open:
            file.write('<section class="targets">\n<h2>Other targets</h2>\n<ul>\n')
            is_open = True
        _write_list(file, [each], counts, links=False)
    if is_open:
        file.write("</ul>\n</section>\n")


def _write_targets(file: IO[str], targets: Sequence[Said], counts: Counts) -> None:
    if not targets:
        return
    is_open = " open" if len(targets) <= _SHOWN_OPEN else ""
    file.write(f'<details class="targets"{is_open}><summary>Targets ({len(targets):,})</summary>\n<ul>\n')
    _write_list(file, targets, counts)
    file.write("</ul>\n</details>\n")


def _write_list(file: IO[str], said: Iterable[Said], counts: Counts, *, links: bool = True) -> None:
    for each in said:
        counts.add(each)
        kind, name = _CLASSES[each.mark]
        linked = [f'<a href="#event-{index}">event {index}</a>' for index in each.events[:MOST_CAUSES]]
        if len(each.events) > MOST_CAUSES:
            linked.append(f"… ({len(each.events):,} of them)")
        causes = linked if links else [numbered(each.events)]
        cause = ", ".join(part for part in (escaped(each.by), *causes) if part)
        file.write(
            f'<li class="{kind}"><span class="mark" role="img" aria-label="{name}">{each.mark}</span>'
            f"<span>{escaped(each.text)}" + (f'<span class="by">{cause}</span>' if cause else "") + "</span></li>\n"
        )
