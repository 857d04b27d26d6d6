"""The report of an incident as a page in HTML, with its timeline: one file that loads nothing and runs nothing."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from consumers.cli.page_parts import escaped, page_head
from consumers.cli.report_document import Block, Bullets, Grid, Lines, Paragraph, Section, sections, title_of
from consumers.incidents.reporting import IncidentReport
from ledger.clock import from_instant, to_instant

_SHOWN_OPEN = 25
"""Up to so many rows or lines are shown at once; more are folded, and open with a click."""

_LONGEST_WORD = 24
"""Longer words may be broken anywhere."""

_STYLE = """
.wide { overflow-x: auto; } td { overflow-wrap: break-word; } td.long { overflow-wrap: anywhere; min-width: 11rem; }
pre { background: var(--soft); padding: .5rem .75rem; border-radius: .35rem; overflow-x: auto; font-size: .8rem; }
main > section > ul > li { display: list-item; list-style: disc; margin-left: 1.2rem; border: 0; padding: .15rem 0; }
#summary { background: var(--soft); padding: .5rem 1rem; border-radius: .35rem; font-size: 1.05rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: var(--fg); }
svg .dim { fill: var(--dim); } svg .grid { stroke: var(--line); } svg .offered { fill: var(--del); }
svg .suspect { fill: var(--del); } svg .measure { fill: var(--add); } svg .flip { fill: var(--mod); }
svg .lane { fill: var(--soft); }
"""


def html_page(report: IncidentReport, url: str = "") -> str:
    """The whole page; `url` is where everything is served."""
    title = escaped(title_of(report))
    parts = [page_head(title, _STYLE), f"<h1>{title}</h1>\n"]
    for section in sections(report, url):
        is_summary = section.title == "In short"
        parts += _section(section, is_summary=is_summary)
        if is_summary:
            parts.append(_timeline(report))
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def _section(section: Section, *, is_summary: bool) -> Iterator[str]:
    name = ' id="summary"' if is_summary else ""
    yield f"<section{name}>\n<h2>{escaped(section.title)}</h2>\n"
    for block in section.blocks:
        yield from _block(block)
    yield "</section>\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        note = ' class="note"' if block.is_warning else ""
        yield f"<p{note}>{escaped(block.text)}</p>\n"
    elif isinstance(block, Bullets):
        items = "".join(f"<li>{escaped(each)}</li>\n" for each in block.items)
        yield from _folded(f"<ul>\n{items}</ul>\n", len(block.items), "entries")
    elif isinstance(block, Lines):
        text = "\n".join(map(escaped, block.lines))
        yield from _folded(f"<pre>{text}</pre>\n", len(block.lines), "lines")
    else:
        yield from _folded(_table(block), len(block.rows), "rows")


def _table(table: Grid) -> str:
    head = "".join(f"<th>{escaped(each)}</th>" for each in table.headers) if any(table.headers) else ""
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}</table></div>\n'


def _cell(text: str) -> str:
    is_long = any(len(word) > _LONGEST_WORD for word in text.split())
    return f"<td{' class=long' if is_long else ''}>{escaped(text)}</td>"


def _folded(body: str, count: int, what: str) -> Iterator[str]:
    if count <= _SHOWN_OPEN:
        yield body
        return
    yield f"<details><summary>{count:,} {what}</summary>\n{body}</details>\n"


# --- the timeline ----------------------------------------------------------------------------------------------------

_WIDTH, _LEFT, _LANE, _TOP, _TICKS = 960, 250, 22, 30, 2
_MOST_LANES = 40
_LONGEST_NAME = 34


class _Bar(NamedTuple):
    """What was offered, from one time to another; `is_open`: it still is."""

    name: str
    first: datetime
    end: datetime
    is_open: bool
    title: str


class _Dot(NamedTuple):
    """An event at a time."""

    kind: str
    at: datetime
    title: str


def _timeline(report: IncidentReport) -> str:
    """The timeline as SVG; empty if nothing was published."""
    bars, dots = list(_bars(report)), list(_dots(report))
    times = [time for bar in bars for time in (bar.first, bar.end)] + [dot.at for dot in dots]
    if not times:
        return ""
    pad = max((max(times) - min(times)) / 30, timedelta(seconds=5))
    scale = _Scale(min(times) - pad, max(times) + pad)
    kinds = [kind for kind in ("suspect", "flip", "measure") if any(dot.kind == kind for dot in dots)]
    shown = bars[:_MOST_LANES]
    height = _TOP + _LANE * (len(kinds) + len(shown)) + 12
    label = "Timeline: when suspects came, and when each file was offered"
    parts = [
        f'<section>\n<h2>Timeline</h2>\n<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">\n',
        *_grid(scale, height),
        *(part for place, kind in enumerate(kinds) for part in _dot_lane(place, kind, dots, scale)),
        *(part for place, bar in enumerate(shown, len(kinds)) for part in _bar_lane(place, bar, scale)),
        "</svg>\n",
    ]
    if len(bars) > len(shown):
        parts.append(f"<p>{len(bars) - len(shown):,} more windows are in the table below.</p>\n")
    return "".join([*parts, "</section>\n"])


class _Scale(NamedTuple):
    """Where times lie, from left to right."""

    start: datetime
    end: datetime

    def x(self, time: datetime) -> float:
        """The place of a time, in the units of the drawing."""
        return _LEFT + (_WIDTH - _LEFT - 10) * ((time - self.start) / (self.end - self.start))


def _grid(scale: _Scale, height: int) -> Iterator[str]:
    step = (scale.end - scale.start) / _TICKS
    for number in range(_TICKS + 1):
        time = scale.start + step * number
        x, anchor = scale.x(time), "start" if number == 0 else "end" if number == _TICKS else "middle"
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height}"/>\n'
        label = to_instant(time).replace("T", " ")
        yield f'<text class="dim" x="{x:.1f}" y="14" text-anchor="{anchor}">{label}</text>\n'


_LANES = {"suspect": "suspect events", "flip": "ended otherwise", "measure": "measures"}


def _dot_lane(place: int, kind: str, dots: Sequence[_Dot], scale: _Scale) -> Iterator[str]:
    y = _TOP + place * _LANE
    yield f'<text x="0" y="{y + 14}">{_LANES[kind]}</text>\n'
    for dot in dots:
        if dot.kind == kind:
            title = f"<title>{escaped(dot.title)}</title>"
            yield f'<circle class="{kind}" cx="{scale.x(dot.at):.1f}" cy="{y + 10}" r="4.5">{title}</circle>\n'


def _bar_lane(place: int, bar: _Bar, scale: _Scale) -> Iterator[str]:
    y = _TOP + place * _LANE
    name = bar.name if len(bar.name) <= _LONGEST_NAME else f"{bar.name[: _LONGEST_NAME - 1]}…"
    first, end = scale.x(bar.first), _WIDTH - 10 if bar.is_open else scale.x(bar.end)
    yield f'<text x="0" y="{y + 14}">{escaped(name)}</text>\n'
    yield f'<rect class="lane" x="{_LEFT}" y="{y + 3}" width="{_WIDTH - _LEFT - 10}" height="{_LANE - 6}"/>\n'
    yield (
        f'<rect class="offered" x="{first:.1f}" y="{y + 3}" width="{max(end - first, 2):.1f}" height="{_LANE - 6}">'
        f"<title>{escaped(bar.title)}</title></rect>\n"
    )


def _bars(report: IncidentReport) -> Iterator[_Bar]:
    newest = report.head.publication
    for each in report.exposures:
        name = each.path if each.filename is None else each.filename
        for window in each.windows:
            if window.first is None or newest is None:
                continue
            end = newest if window.gone is None else window.gone
            first, until = window.first.effective_time, end.effective_time
            title = f"{name}: offered from {first} until {'now' if window.gone is None else until}"
            yield _Bar(name, from_instant(first), from_instant(until), window.gone is None, title)


def _dots(report: IncidentReport) -> Iterator[_Dot]:
    flips = [flip.event for each in report.differences for flip in each.flips]
    for kind, events in (("suspect", report.suspects), ("flip", flips), ("measure", report.measures)):
        for each in events:
            if each.not_after:
                text = f"event {each.event}: {each.what}, published {each.not_after}"
                yield _Dot(kind, from_instant(each.not_after), text)
