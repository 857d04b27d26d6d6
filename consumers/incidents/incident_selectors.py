"""Selectors: the questions that find the events of an incident, as texts (`actor=alice`, `not project=x`)."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from packaging.utils import canonicalize_name

from schemas.errors import LedgerError
from schemas.fields import PROJECT_PATTERN, is_instant

_NAMES = frozenset({"actor", "credential", "publisher"})
_TIMES = frozenset({"since", "until"})
_FLAGS = frozenset({"first-use", "strict", "unattested"})
KINDS = (
    *("since", "until", "strict", "events", "actor", "credential", "publisher", "project", "sha256", "key"),
    *("unattested", "late-files", "first-use"),
)
"""All kinds, in the order of `--help`. The flags among them have no value."""

MAX_DAYS = 366_000
_IDENTIFIER = re.compile(r"[!-~]{1,128}")
_PROJECT = re.compile(PROJECT_PATTERN)
_EVENTS = re.compile(r"([0-9]{1,15})(?:\.\.([0-9]{1,15}))?")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_KEYID = re.compile(r"[0-9a-f]{6,64}")
_DAYS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


class SelectorError(LedgerError):
    """A text is no selector."""


class Selector(NamedTuple):
    """A question. `takes_away`: what it finds does not belong to the incident."""

    kind: str
    value: str = ""
    takes_away: bool = False

    def __str__(self) -> str:
        text = f"{self.kind}={self.value}" if self.value else self.kind
        return f"not {text}" if self.takes_away else text


def read_selectors(texts: Iterable[str]) -> tuple[Selector, ...]:
    """Selectors from their texts, each once.

    Raises:
        SelectorError: a text is no selector.
    """
    return tuple(dict.fromkeys(map(_read, texts)))


def events_of(selector: Selector) -> tuple[int, int]:
    """The first and the last event that a selector `events` names."""
    first, _, last = selector.value.partition("..")
    return int(first), int(last or first)


def _read(text: str) -> Selector:
    takes_away = text.startswith("not ")
    kind, equals, value = text.removeprefix("not ").strip().partition("=")
    if kind not in KINDS:
        raise SelectorError(f"{text!r} is no selector: write KIND=VALUE, with one of the kinds {', '.join(KINDS)}")
    if takes_away and kind in {*_TIMES, "strict"}:
        raise SelectorError(f"{text!r}: a time cannot be taken away; choose another --since or --until")
    if kind in _FLAGS:
        if equals:
            raise SelectorError(f"{text!r}: {kind} takes no value")
        return Selector(kind, "", takes_away)
    return Selector(kind, _value(kind, value, text), takes_away)


def _value(kind: str, value: str, text: str) -> str:
    """The value in its one form."""
    if kind in _TIMES:
        value = f"{value}T00:00:00Z" if len(value) == len("2026-11-21") else value
        if is_instant(value):
            return value
        raise SelectorError(f"{text!r}: write a UTC time such as 2026-11-21T10:00:00Z or 2026-11-21")
    if kind in _NAMES and _IDENTIFIER.fullmatch(value):
        return value
    if kind == "project" and _PROJECT.fullmatch(canonicalize_name(value)):
        return canonicalize_name(value)
    if kind == "sha256" and (found := _SHA256.fullmatch(value.lower())):
        return found[1]
    if kind == "key" and _KEYID.fullmatch(value.lower()):
        return value.lower()
    if kind == "late-files" and _DAYS.fullmatch(value) and float(value) <= MAX_DAYS:
        return value
    if kind == "events" and (found := _EVENTS.fullmatch(value)):
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last:
            return f"{first}..{last}"
    raise SelectorError(f"{text!r}: {_ADVICE.get(kind, 'write a name of printable ASCII without spaces')}")


_ADVICE = {
    "project": "write the name of a project",
    "sha256": "write the 64 hexadecimal digits of a SHA-256",
    "key": "write a key id, or at least its first 6 hexadecimal digits",
    "late-files": f"write a number of days, at most {MAX_DAYS:,}",
    "events": "write A..B, the first and the last event, or one event",
}


def chosen(selectors: Sequence[Selector], kind: str) -> list[str]:
    """The values of a kind, of selectors that take nothing away."""
    return [each.value for each in selectors if each.kind == kind and not each.takes_away]
