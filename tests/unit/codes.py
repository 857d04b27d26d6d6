"""What the tests of codes share: the codes that docs/rules.md lists, and how a scenario for each is played."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from projections.log.prefix import Prefix
from projections.outcomes import Outcome
from schemas.codec import Rejection
from tests import factory
from tests.factory import Make, Team, digest
from tests.unit.test_rules import RULES

Scenario = Callable[[], Outcome | Rejection]
Scenarios = Mapping[str, Mapping[str, Scenario]]


def section(number: int) -> str:
    return re.split(r"(?m)^## (?=\d)", RULES)[number]


VOCABULARY = {
    1: {"events", "type", "time", "id"},
    2: {"reason", "note", "title", "comment"},
    6: {"root", "targets", "bins", "x-ledger"},
    7: {"events", "publications", "x-void"},
}
"""Words in `code font` that are no codes. Whatever is not listed is taken for one."""


def codes_of(number: int) -> set[str]:
    """The codes that a section lists, in its tables and in its sentences."""
    rows = [line for line in section(number).splitlines() if line.startswith("|")]
    prose = "\n".join(line for line in section(number).splitlines() if not line.startswith("|"))
    codes = {match[1] for row in rows for match in re.finditer(r"\| `([a-z-]+)` \|$", row)}
    last_checks = [row for row in rows if not row.startswith(("| check", "|--"))]
    assert len(codes) == len({row.rsplit("|", 2)[1] for row in last_checks}), "a row has no code"
    codes |= set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", prose)) - VOCABULARY[number]
    if "Section 1's first four checks apply" in prose:
        codes |= set(re.findall(r"\| `([a-z-]+)` \|\n", section(1))[:4])
    return codes


def judged(*values: bytes | None, team: Team | None = None) -> Outcome:
    """The outcome of the last of these records, in a ledger that has begun."""
    prefix = factory.ready_prefix(Make(), team or Team())
    _, extension = prefix.extend(values)
    return extension.judged[-1].outcome


def without_root(*values: bytes | None) -> Outcome:
    """The outcome of the last of these records, in a ledger without a root."""
    prefix, _ = Prefix().extend(factory.encode([Make().ledger_created(digest("root"))]))
    _, extension = prefix.extend(values)
    return extension.judged[-1].outcome


UPLOAD = factory.encode([Make().file_uploaded("demo")])[0]


def replaced(old: bytes, new: bytes, value: bytes = UPLOAD) -> bytes:
    """A record with a part replaced; the part must be there."""
    assert value.count(old) == 1, old
    return value.replace(old, new)


NO_EFFECT = {"repeated", "same"}


def cases(scenarios: Scenarios) -> list[Any]:
    """Every scenario with its code, to be checked one by one."""
    return [
        pytest.param(code, scenario, id=f"{code}: {name}")
        for code, each in scenarios.items()
        for name, scenario in each.items()
    ]


def check(code: str, scenario: Scenario) -> None:
    """A scenario ends in this code."""
    outcome = scenario()
    assert outcome.code == code, outcome
    if isinstance(outcome, Outcome):
        assert outcome.verdict == ("no effect" if code in NO_EFFECT else "rejected")
