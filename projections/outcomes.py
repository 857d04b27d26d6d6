"""Outcomes of records: accepted, no effect, or rejected, with a code of docs/rules.md."""

from typing import Literal, NamedTuple

import msgspec

Verdict = Literal["accepted", "no effect", "rejected"]


MAX_DETAIL_CHARACTERS = 500
"""Length of the longest detail. A detail may quote the record, and the record may come from a stranger."""


class Outcome(NamedTuple):
    """The verdict on a record. `detail` is for people and not part of the rules."""

    verdict: Verdict
    code: str = ""
    detail: str = ""


ACCEPTED = Outcome("accepted")


def no_effect(code: str, detail: str = "") -> Outcome:
    """The record is well-formed and allowed, and changes nothing."""
    return Outcome("no effect", code, detail)


def rejected(code: str, detail: str = "") -> Outcome:
    """The record breaks a rule; it has no effect."""
    return Outcome("rejected", code, _printable(detail[:MAX_DETAIL_CHARACTERS]))


def _printable(text: str) -> str:
    """The text without characters that a terminal would obey: details are printed, logged and stored line by line."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


class Judged(msgspec.Struct, frozen=True):
    """A record and its outcome. `digest` is the SHA-256 of the record's value, in hexadecimal."""

    index: int
    digest: str
    kind: str
    outcome: Outcome
