"""Printing whom something reached, for people and for machines."""

from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from consumers.cli.paging import shown
from consumers.cli.shared import plural
from consumers.incidents.exposure import Exposure, ExposureWindow, FrozenBound, Moment, SignedVersions
from consumers.incidents.losing import KeyBound
from ledger.clock import from_instant

_REACHES = {
    "never": "never offered: no publication showed it",
    "pending": "not offered so far: no publication shows it yet",
    "held": "not offered so far: a hold keeps it back",
}
_COLOURS = {"offered": "red", "ended": "yellow"}


def exposure_lines(each: Exposure) -> list[str]:
    """An exposure for people."""
    of = "" if each.project is None else f" of {shown(each.project)} {shown(each.version or '')}"
    name = each.path if each.filename is None else each.filename
    lines = [
        f"{click.style(shown(name), bold=True)}  {each.kind}{of}, {each.state}, by event {each.event}",
        *([] if each.filename is None else [f"    {shown(each.path)}"]),
        f"    SHA-256 {each.sha256}, {each.length:,} bytes",
    ]
    if not each.windows:
        lines.append("    never listed, so never offered")
    return [*lines, *(f"    {line}" for window in each.windows for line in _window_lines(window))]


def _window_lines(window: ExposureWindow) -> Iterator[str]:
    events = ", ".join(_interval(*each) for each in window.listed)
    if window.first is None or window.last is None or window.frozen is None:
        yield f"{_REACHES[window.reach]} (listed {events})"
        return
    if window.gone is None:
        until = click.style("until now", fg=_COLOURS["offered"])
        numbers = f"{_numbers(window.first, window.last)}, the newest"
    else:
        took = duration(window.first, window.gone)
        until = click.style(f"until {moment_text(window.gone)}", fg=_COLOURS["ended"]) + f": {took}"
        numbers = f"{_numbers(window.first, window.last)}, not {window.gone.publication}"
    yield f"offered from {moment_text(window.first)} {until}"
    yield f"    {numbers} (listed {events})"
    yield f"    {frozen_text(window.frozen)}" + (", and longer while it is offered" * (window.gone is None))
    yield from (f"    {line}" for line in lost_lines(window.lost))
    for keyids, versions in carriers(window.carried):
        yield f"    carried by {', '.join(versions)}, signed by {', '.join(keyids)}"


def _numbers(first: Moment, last: Moment) -> str:
    if first == last:
        return f"publication {first.publication}"
    return f"publications {first.publication} to {last.publication}"


def moment_text(moment: Moment) -> str:
    """When a publication was made: its effective time, and its own where they differ."""
    own = "" if moment.time == moment.effective_time else f" (it says {moment.time})"
    return f"{moment.effective_time}{own}"


def duration(first: Moment, end: Moment) -> str:
    """How long something was offered, by effective times: `2 hours 13 minutes`."""
    left = int((from_instant(end.effective_time) - from_instant(first.effective_time)).total_seconds())
    words = []
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, seconds)
        if count:
            words.append(plural(count, unit))
    return " ".join(words) or "less than a second"


def _interval(start: int, end: int | None) -> str:
    return f"since event {start}" if end is None else f"from event {start} until event {end}"


def frozen_text(frozen: FrozenBound) -> str:
    """The bound of frozen mirrors: `a frozen mirror could have shown it until …`."""
    return (
        f"a client behind a frozen mirror could be shown it until {frozen.until}, when the {frozen.role} of "
        f"publication {frozen.publication} expires"
    )


def lost_lines(bounds: Sequence[KeyBound]) -> Iterator[str]:
    """The bounds of lost keys, those that are the same in one line."""
    alike: dict[tuple[str, int], list[str]] = {}
    for each in bounds:
        if each.until is None:
            continue
        alike.setdefault((each.until, each.threshold), []).append(each.keyid)
    for (until, threshold), keyids in alike.items():
        lost = f"{'an online key' if threshold == 1 else f'{threshold} online keys'} counted as lost"
        yield f"if {lost}, until {until}, when the last offline roles that list it expire: {', '.join(keyids)}"


def carriers(carried: Sequence[SignedVersions]) -> list[tuple[tuple[str, ...], list[str]]]:
    """What carried something, by who signed it: key ids, and versions in words (`bin-3@3 to @9 (4 versions)`)."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for each in carried:
        last = "" if each.count == 1 else f" to @{each.last} ({plural(each.count, 'version')})"
        alike.setdefault(each.keyids, []).append(f"{each.role}@{each.first}{last}")
    return list(alike.items())


# --- for machines ----------------------------------------------------------------------------------------------------


def exposure_json(each: Exposure) -> dict[str, Any]:
    """An exposure for machines."""
    optional = {"project": each.project, "file": each.filename, "version": each.version}
    return {
        "kind": each.kind,
        "target": each.path,
        "sha256": each.sha256,
        "length": each.length,
        "event": each.event,
        "state": each.state,
        "windows": [_window_json(window) for window in each.windows],
        **{name: value for name, value in optional.items() if value is not None},
    }


def _window_json(window: ExposureWindow) -> dict[str, Any]:
    return {
        "reach": window.reach,
        "listed": [{"from_event": start, "to_event": end} for start, end in window.listed],
        "first_offered": _moment_json(window.first),
        "last_offered": _moment_json(window.last),
        "first_without": _moment_json(window.gone),
        "frozen": None if window.frozen is None else msgspec.to_builtins(window.frozen),
        "lost": [msgspec.to_builtins(each) for each in window.lost],
        "carried": [msgspec.to_builtins(each) for each in window.carried],
    }


def _moment_json(moment: Moment | None) -> dict[str, Any] | None:
    return None if moment is None else msgspec.to_builtins(moment)
