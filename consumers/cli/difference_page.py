"""A page in HTML that shows what differs between two sides: one file that loads nothing and runs nothing.

Every text comes from the log, so it may come from anybody: all of it is escaped here, at one place.
"""

import html
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
from consumers.cli.paging import shown
from ledger.catalog.event_rows import EventRow
from ledger.disk.files import writing

_SHOWN_OPEN = 12
"""Up to so many targets are shown at once; more are folded, and open with a click."""

_STYLE = """
:root { color-scheme: light dark; --fg: #1c1e21; --bg: #fff; --dim: #5c636e; --line: #d8dce2; --soft: #f5f6f8;
  --add: #116329; --add-bg: #e6f6ea; --del: #a40e26; --del-bg: #fdecee; --mod: #7a4d00; --mod-bg: #fdf3dc;
  --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e6ea; --bg: #14161a; --dim: #9aa2ae; --line: #32363d;
  --soft: #1d2026; --add: #7ee2a0; --add-bg: #12301d; --del: #ff9aa5; --del-bg: #3a161b; --mod: #f1c671;
  --mod-bg: #34280f; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; color: var(--dim); font-weight: 600; }
a { color: var(--link); }
.sides { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0 0 1rem; }
.sides dt { color: var(--dim); } .sides dd { margin: 0; }
.note { background: var(--mod-bg); color: var(--mod); padding: .5rem .75rem; border-radius: .35rem; }
.counts { background: var(--soft); padding: .5rem .75rem; border-radius: .35rem; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: grid; grid-template-columns: 1.9rem 1fr; align-items: start; padding: .3rem 0; }
li + li { border-top: 1px solid var(--line); }
.mark { width: 1.35rem; text-align: center; border-radius: .25rem; font: 600 .9rem/1.35rem ui-monospace, monospace; }
.add .mark { background: var(--add-bg); color: var(--add); }
.del .mark { background: var(--del-bg); color: var(--del); }
.mod .mark { background: var(--mod-bg); color: var(--mod); }
.by { color: var(--dim); font-size: .9rem; display: block; }
.targets li { font: .85rem/1.45 ui-monospace, monospace; }
.targets .by { font: .85rem/1.45 system-ui, sans-serif; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--dim); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; border-top: 0; white-space: nowrap; }
tr:target, li:target { background: var(--mod-bg); }
@media print { body { max-width: none; } }
"""

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


def _text(text: object) -> str:
    """A text of the log, as HTML."""
    return html.escape(shown(str(text)))


def _write_head(heading: Heading, file: IO[str], counts: Counts) -> None:
    before, after = _text(heading.before), _text(heading.after)
    file.write(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{before} → {after}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_text(heading.title)}</h1>\n"
        f'<dl class="sides"><dt>from</dt><dd>{before}</dd><dt>to</dt><dd>{after}</dd></dl>\n'
    )
    for note in heading.notes:
        file.write(f'<p class="note">{_text(note)}</p>\n')
    file.write(f'<p class="counts">{_text(counts)}.</p>\n')


async def _write_sections(found: AsyncIterator[Said], file: IO[str], counts: Counts) -> None:
    section = ""
    async for each in found:
        if each.section != section:
            file.write("</ul>\n</section>\n" if section else "")
            section = each.section
            file.write(f"<section>\n<h2>{_text(section)}</h2>\n<ul>\n")
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
    file.write(f'<section id="project-{_text(name)}">\n<h2>{_text(name)}</h2>\n<ul>\n')
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
            f'<tr id="event-{index}"><td>{index}</td><td>{_text(event.type)}</td><td>{_text(who(event))}</td>'
            f"<td>{_text(event.time)}</td></tr>\n"
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
        cause = ", ".join(part for part in (_text(each.by), *causes) if part)
        file.write(
            f'<li class="{kind}"><span class="mark" role="img" aria-label="{name}">{each.mark}</span>'
            f"<span>{_text(each.text)}" + (f'<span class="by">{cause}</span>' if cause else "") + "</span></li>\n"
        )
