"""The report of an incident on a terminal, and as Markdown."""

from collections.abc import Iterator, Sequence

import click

from consumers.cli.paging import shown
from consumers.cli.report_document import Block, Bullets, Grid, Lines, Paragraph, Section, sections, title_of
from consumers.incidents.reporting import IncidentReport

_WIDEST = 72
"""A table whose cells are longer is told row by row."""
_MARKED = "\\`*_{}[]<>#|~&"


def terminal_lines(report: IncidentReport, url: str = "") -> Iterator[str]:
    """The report for a terminal; `url` is where everything is served."""
    yield click.style(shown(title_of(report)), bold=True)
    for section in sections(report, url):
        yield ""
        yield click.style(section.title, bold=True, underline=True)
        for block in section.blocks:
            yield from _terminal(block)


def _terminal(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield click.style(shown(block.text), fg="yellow") if block.is_warning else shown(block.text)
    elif isinstance(block, Bullets):
        yield from (f"  - {shown(each)}" for each in block.items)
    elif isinstance(block, Lines):
        yield from (f"  {shown(each)}" for each in block.lines)
    else:
        yield from _terminal_table(block)


def _terminal_table(table: Grid) -> Iterator[str]:
    rows = [[shown(cell) for cell in row] for row in table.rows]
    if any(len(cell) > _WIDEST for row in rows for cell in row):
        for first, *rest in rows:
            yield f"  {click.style(first, bold=True)}"
            yield from (
                f"      {header}: {cell}" if header else f"      {cell}"
                for header, cell in zip(table.headers[1:], rest, strict=True)
                if cell
            )
        return
    lines = [list(table.headers), *rows] if any(table.headers) else rows
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.headers))]
    for place, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        yield "  " + (click.style(text, dim=True) if any(table.headers) and place == 0 else text)


# --- Markdown --------------------------------------------------------------------------------------------------------


def markdown(report: IncidentReport, url: str = "") -> Iterator[str]:
    """The lines of the report as Markdown (GitHub's tables); `url` is where everything is served."""
    yield f"# {_marked(title_of(report))}"
    for section in sections(report, url):
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {section.title}"
    for block in section.blocks:
        yield ""
        if isinstance(block, Paragraph):
            yield f"**{_marked(block.text)}**" if block.is_warning else _marked(block.text)
        elif isinstance(block, Bullets):
            yield from (f"- {_marked(each)}" for each in block.items)
        elif isinstance(block, Lines):
            yield from ("```", *map(shown, block.lines), "```")
        else:
            yield _row(block.headers)
            yield _row(["---"] * len(block.headers), is_plain=True)
            yield from (_row(row) for row in block.rows)


def _row(cells: Sequence[str], *, is_plain: bool = False) -> str:
    return f"| {' | '.join(cells if is_plain else map(_marked, cells))} |"


def _marked(text: str) -> str:
    """A text of the log, in one line, in which nothing is Markdown or HTML."""
    return "".join(f"\\{each}" if each in _MARKED else each for each in shown(text))
