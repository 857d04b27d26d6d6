"""docs/rules.md, played: every cell of its tables, and every code that its sections list.

A cell that cannot be read, a row without a player, a column without a way into its state and a code that nothing
produces are failures, so the page and these tests cannot drift apart.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from projections.log.holds import lock_of
from projections.outcomes import Outcome
from projections.roles.authority import Settings
from projections.text import clean
from schemas import events
from schemas.codec import encode_event
from tests import factory
from tests.factory import Make, Team, change, digest
from tests.fuzz.world import SMALL
from tests.property.ledger import begin, check
from tests.property.model import Model

pytestmark = pytest.mark.usefixtures("quiet")

RULES = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")

PROJECT = "demo"
REASON = "Because"


# --- reading the page --------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """One cell: an event in a state, and what becomes of it."""

    table: str
    row: str
    column: str
    expected: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.table}: {self.row} / {self.column}"


def read_cells(text: str) -> list[Cell]:
    lines = text.splitlines()
    cells = []
    for start, line in enumerate(lines):
        marker = re.fullmatch(r"<!-- table: (\w+) -->", line)
        if marker is None:
            assert "<!--" not in line, f"line {start + 1} has a comment that is no marker"
            continue
        table = _table(lines[start + 1 :])
        first, *columns = next(table)
        assert first == "event"
        for row, *texts in table:
            assert len(texts) == len(columns), f"row {row} has {len(texts)} cells"
            cells += [
                Cell(marker[1], row, column, _expected(cell)) for column, cell in zip(columns, texts, strict=True)
            ]
    return cells


def _table(lines: Sequence[str]) -> Iterator[list[str]]:
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            return
        if number == 1:
            assert set(line) <= set("|-"), "the second line of a table is its rule"
            continue
        yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def _expected(text: str) -> tuple[str, str]:
    if text == "accepted":
        return "accepted", ""
    match = re.fullmatch(r"(no effect|rejected) `([a-z-]+)`", text)
    assert match is not None, f"the cell {text!r} cannot be read"
    return match[1], match[2]


CELLS = read_cells(RULES)


def test_every_table_of_events_is_marked() -> None:
    assert RULES.count("\n| event |") == len(re.findall(r"<!-- table: ", RULES)) == len({cell.table for cell in CELLS})


def test_a_cell_that_cannot_be_read_fails() -> None:
    with pytest.raises(AssertionError, match="cannot be read"):
        read_cells("<!-- table: x -->\n| event | a |\n|---|---|\n| `e` | perhaps |")
    with pytest.raises(AssertionError, match="has 1 cells"):
        read_cells("<!-- table: x -->\n| event | a | b |\n|---|---|---|\n| `e` | accepted |")


# --- playing it --------------------------------------------------------------------------------------------------

History = list[events.BaseEvent]


class Played(NamedTuple):
    """What comes before, and the event of the row."""

    before: History
    event: events.BaseEvent


LISTED = [
    (digest(name), PROJECT, name)
    for name in ("demo-0.1.tar.gz", "demo-1.0.tar.gz", "demo-1.0.exe", "demo-1.0-py2.py3-none-any.whl")
]
"""Files that may be freed."""
TEAM = SMALL.but(
    settings=Settings(
        ruleset=0, importing=True, project_list_seconds=0, freeable=(digest("others"), factory.freeable_root(LISTED))
    )
)


def model_of_team() -> Model:
    """A model that knows the settings of the team."""
    return Model(freeable=factory.proofs_of(LISTED))


def freed(make: Make, filename: str = "demo-1.0.tar.gz", sha256: str | None = None) -> events.FileFreed:
    """A file is freed, with the proof that its name has in the list."""
    proof = factory.proof_of(LISTED, (digest(filename), PROJECT, filename))
    return make.file_freed(PROJECT, filename, sha256, proof)


def play(history: History, event: events.BaseEvent, *, apart: bool) -> Outcome:
    """The outcome of an event after others: all in one publication, or each in its own.

    What is published then is what a naive reading of the page gives.
    """
    ledger, model = begin(factory.beginning(Make(), TEAM)), model_of_team()
    values = factory.encode([*history, event])
    for piece in [[value] for value in values] if apart else [values]:
        ledger.publish(piece)
    outcomes = ledger.outcomes
    for index, (each, value) in enumerate(zip([*history, event], values, strict=True), 2):
        if isinstance(each, events.ProjectEvent | events.TargetEvent):
            assert outcomes[index][:2] == model.add(index, value)
    check(ledger, model)
    return outcomes[ledger.prefix.size - 1]


def file(version: str) -> str:
    return f"{PROJECT}-{version}.tar.gz"


# What each row of the project table is played on: a project in which the event would be accepted.
_CONTENT: dict[str, tuple[Callable[[Make], History], Callable[[Make], events.BaseEvent]]] = {
    "`project.created`": (lambda _: [], lambda make: make.project_created(PROJECT)),
    "`project.status_changed`": (lambda _: [], lambda make: make.project_status_changed(PROJECT, "active", "Other")),
    "`project.removed`": (lambda _: [], lambda make: make.project_removed(PROJECT)),
    "`project.removed` (withhold)": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.project_removed(PROJECT, withhold=True),
    ),
    "`file.uploaded`": (lambda _: [], lambda make: make.file_uploaded(PROJECT, "9.0")),
    "`file.removed`": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.file_removed(PROJECT, file("1.0")),
    ),
    "`file.removed` (withhold)": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.file_removed(PROJECT, file("1.0"), withhold=True),
    ),
    "`file.restored`": (
        lambda make: [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0"))],
        lambda make: make.file_restored(PROJECT, file("1.0")),
    ),
    "`file.freed`": (
        lambda make: [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0"))],
        freed,
    ),
    "`file.yanked`": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.file_yanked(PROJECT, file("1.0"), REASON),
    ),
    "`file.unyanked`": (
        lambda make: [make.file_uploaded(PROJECT), make.file_yanked(PROJECT, file("1.0"))],
        lambda make: make.file_unyanked(PROJECT, file("1.0")),
    ),
    "`release.removed`": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.release_removed(PROJECT),
    ),
    "`release.removed` (withhold)": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.release_removed(PROJECT, withhold=True),
    ),
    "`release.yanked`": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.release_yanked(PROJECT),
    ),
    "`release.unyanked`": (
        lambda make: [make.file_uploaded(PROJECT), make.release_yanked(PROJECT)],
        lambda make: make.release_unyanked(PROJECT),
    ),
    "`release.quarantined`": (
        lambda make: [make.file_uploaded(PROJECT)],
        lambda make: make.release_quarantined(PROJECT),
    ),
    "`release.quarantine_cleared`": (
        lambda make: [make.file_uploaded(PROJECT), make.release_quarantined(PROJECT)],
        lambda make: make.release_quarantine_cleared(PROJECT),
    ),
}

_PROJECT_STATES: dict[str, list[Callable[[Make, History], History]]] = {
    "absent": [
        lambda _make, _content: [],
        # What was rejected leaves nothing behind.
        lambda make, _content: [
            make.file_uploaded(PROJECT, filename="other-1.0.tar.gz"),
            make.project_removed(PROJECT),
        ],
    ],
    "active": [
        lambda make, content: [make.file_uploaded(PROJECT, "0.1"), *content],
        lambda make, content: [make.project_created(PROJECT), *content],
        lambda make, content: [
            make.project_created(PROJECT),
            *content,
            make.project_status_changed(PROJECT, "archived"),
            make.project_status_changed(PROJECT, "active"),
        ],
        lambda make, content: [
            make.project_created(PROJECT),
            make.project_status_changed(PROJECT, "archived"),
            make.project_removed(PROJECT),
            make.project_created(PROJECT),
            *content,
        ],
    ],
    "archived": [lambda make, content: _with_status(make, content, "archived")],
    "quarantined": [
        lambda make, content: _with_status(make, content, "quarantined"),
        lambda make, content: [
            make.project_created(PROJECT),
            *content,
            make.project_status_changed(PROJECT, "deprecated"),
            make.project_status_changed(PROJECT, "quarantined"),
        ],
    ],
    "deprecated": [lambda make, content: _with_status(make, content, "deprecated")],
    "removed": [
        lambda make, content: [make.project_created(PROJECT), *content, make.project_removed(PROJECT)],
        lambda make, content: [*_with_status(make, content, "quarantined"), make.project_removed(PROJECT)],
    ],
}


def _with_status(make: Make, content: History, status: events.ProjectStatus) -> History:
    return [make.project_created(PROJECT), *content, make.project_status_changed(PROJECT, status, "A reason")]


def _play_project(cell: Cell) -> Iterator[Played]:
    content, row_event = _CONTENT[cell.row]
    for state in _PROJECT_STATES[cell.column]:
        make = Make()
        yield Played(state(make, content(make)), row_event(make))


def _upload(make: Make) -> events.FileUploaded:
    return make.file_uploaded(
        PROJECT, requires_python=">=3.11", core_metadata_sha256=digest("metadata"), provenance_sha256=digest("p")
    )


_FILE_STATES: dict[str, list[Callable[[Make], History]]] = {
    "unknown": [lambda make: [make.project_created(PROJECT)], lambda make: [make.file_uploaded(PROJECT, "2.0")]],
    "listed": [
        lambda make: [_upload(make)],
        lambda make: [_upload(make), make.file_removed(PROJECT, file("1.0")), make.file_restored(PROJECT, file("1.0"))],
        lambda make: [
            _upload(make),
            make.file_yanked(PROJECT, file("1.0"), REASON),
            make.file_unyanked(PROJECT, file("1.0")),
        ],
        # A release's yank is not the file's own.
        lambda make: [_upload(make), make.release_yanked(PROJECT, "1.0", REASON)],
    ],
    "yanked": [
        lambda make: [_upload(make), make.file_yanked(PROJECT, file("1.0"), REASON)],
        lambda make: [
            _upload(make),
            make.file_yanked(PROJECT, file("1.0"), "First"),
            make.file_yanked(PROJECT, file("1.0"), REASON),
            make.release_yanked(PROJECT),
            make.release_unyanked(PROJECT),
        ],
        lambda make: [
            _upload(make),
            make.file_yanked(PROJECT, file("1.0"), REASON),
            make.file_removed(PROJECT, file("1.0")),
            make.file_restored(PROJECT, file("1.0")),
        ],
    ],
    "removed": [
        lambda make: [_upload(make), make.file_removed(PROJECT, file("1.0"))],
        lambda make: [_upload(make), make.release_removed(PROJECT)],
        lambda make: [
            _upload(make),
            make.file_yanked(PROJECT, file("1.0"), REASON),
            make.file_removed(PROJECT, file("1.0")),
        ],
        lambda make: [_upload(make), make.project_removed(PROJECT), make.project_created(PROJECT)],
        lambda make: [
            _upload(make),
            make.file_removed(PROJECT, file("1.0"), withhold=True),
            make.file_restored(PROJECT, file("1.0")),
            make.file_removed(PROJECT, file("1.0")),
        ],
    ],
    "withheld": [
        lambda make: [_upload(make), make.file_removed(PROJECT, file("1.0"), withhold=True)],
        lambda make: [_upload(make), make.release_removed(PROJECT, withhold=True)],
        lambda make: [
            _upload(make),
            make.file_removed(PROJECT, file("1.0")),
            make.file_removed(PROJECT, file("1.0"), withhold=True),
        ],
        lambda make: [
            _upload(make),
            make.project_removed(PROJECT),
            make.project_removed(PROJECT, withhold=True),
            make.project_created(PROJECT),
        ],
        lambda make: [
            _upload(make),
            make.project_removed(PROJECT),
            make.file_removed(PROJECT, file("1.0"), withhold=True),
            make.project_created(PROJECT),
        ],
    ],
    "freed": [
        lambda make: [_upload(make), make.file_removed(PROJECT, file("1.0")), freed(make)],
        lambda make: [_upload(make), make.release_removed(PROJECT, withhold=True), freed(make)],
        lambda make: [
            _upload(make),
            make.file_yanked(PROJECT, file("1.0"), REASON),
            make.project_removed(PROJECT),
            make.project_created(PROJECT),
            freed(make),
        ],
    ],
}

_OTHER_HASHES = events.Hashes(sha256=digest("other"), blake2b_256=digest(f"blake2b {file('1.0')}"))
_OTHER_PATH = events.Hashes(sha256=digest(file("1.0")), blake2b_256=digest("other"))
_FILE_ROWS: dict[str, list[Callable[[Make], events.BaseEvent]]] = {
    "`file.uploaded` (same facts)": [
        _upload,
        lambda make: change(_upload(make), actorid="another", actorkind="system", time="2031-01-01T00:00:00.5Z"),
        lambda make: change(_upload(make), data_commitments={"ip": digest("ip")}, source="another"),
    ],
    "`file.uploaded` (other sha256)": [
        lambda make: change(_upload(make), data_hashes=_OTHER_HASHES),
        lambda make: change(_upload(make), data_hashes=_OTHER_HASHES, data_legacy=True, data_length=7),
    ],
    "`file.uploaded` (same sha256, other facts)": [
        lambda make: change(_upload(make), data_length=1),
        lambda make: change(_upload(make), data_hashes=_OTHER_PATH),
        lambda make: change(_upload(make), data_version="1.0.0"),
        lambda make: change(_upload(make), data_requires_python=None),
        lambda make: change(_upload(make), data_core_metadata_sha256=None),
        lambda make: change(_upload(make), data_provenance_sha256=digest("other")),
        lambda make: change(_upload(make), data_legacy=True),
    ],
    "`file.removed`": [lambda make: make.file_removed(PROJECT, file("1.0"))],
    "`file.removed` (withhold)": [lambda make: make.file_removed(PROJECT, file("1.0"), withhold=True)],
    "`file.restored` (same sha256)": [lambda make: make.file_restored(PROJECT, file("1.0"))],
    "`file.restored` (other sha256)": [lambda make: make.file_restored(PROJECT, file("1.0"), digest("other"))],
    "`file.freed` (same sha256)": [freed],
    "`file.freed` (other sha256)": [lambda make: freed(make, sha256=digest("other"))],
    "`file.yanked` (same reason)": [lambda make: make.file_yanked(PROJECT, file("1.0"), REASON)],
    "`file.yanked` (other reason)": [
        lambda make: make.file_yanked(PROJECT, file("1.0"), "Another"),
        lambda make: make.file_yanked(PROJECT, file("1.0")),
    ],
    "`file.unyanked`": [lambda make: make.file_unyanked(PROJECT, file("1.0"))],
}


def _play_file(cell: Cell) -> Iterator[Played]:
    for state in _FILE_STATES[cell.column]:
        for row_event in _FILE_ROWS[cell.row]:
            make = Make()
            yield Played(state(make), row_event(make))


_RELEASE_STATES: dict[str, list[Callable[[Make], History]]] = {
    "unknown": [
        lambda make: [make.project_created(PROJECT)],
        lambda make: [make.file_uploaded(PROJECT, "2.0"), make.release_yanked(PROJECT, "2.0")],
    ],
    "listed": [
        lambda make: [make.file_uploaded(PROJECT)],
        # Another spelling of a version is the same release.
        lambda make: [make.file_uploaded(PROJECT, "1.0.0")],
        lambda make: [make.file_uploaded(PROJECT, "v1")],
        lambda make: [make.file_uploaded(PROJECT), make.file_yanked(PROJECT, file("1.0"), REASON)],
        lambda make: [
            make.file_uploaded(PROJECT),
            make.release_yanked(PROJECT, reason=REASON),
            make.release_unyanked(PROJECT),
        ],
        lambda make: [
            make.file_uploaded(PROJECT),
            make.release_quarantined(PROJECT, reason=REASON),
            make.release_quarantine_cleared(PROJECT),
        ],
    ],
    "yanked": [
        lambda make: [make.file_uploaded(PROJECT), make.release_yanked(PROJECT, reason=REASON)],
        lambda make: [
            make.file_uploaded(PROJECT),
            make.release_yanked(PROJECT),
            make.release_yanked(PROJECT, reason=REASON),
        ],
    ],
    "quarantined": [
        lambda make: [make.file_uploaded(PROJECT), make.release_quarantined(PROJECT, reason=REASON)],
        lambda make: [make.file_uploaded(PROJECT, "1.0.0"), make.release_quarantined(PROJECT, "0!1", reason=REASON)],
    ],
    "empty": [
        lambda make: [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0"))],
        lambda make: [make.file_uploaded(PROJECT), make.release_removed(PROJECT)],
        lambda make: [make.file_uploaded(PROJECT), make.project_removed(PROJECT), make.project_created(PROJECT)],
        # One of two is withheld.
        lambda make: [
            make.file_uploaded(PROJECT),
            make.file_uploaded(PROJECT, filename=f"{PROJECT}-1.0.0-py2-none-any.whl"),
            make.file_removed(PROJECT, file("1.0"), withhold=True),
            make.release_removed(PROJECT),
        ],
    ],
    "withheld": [
        lambda make: [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0"), withhold=True)],
        lambda make: [
            make.file_uploaded(PROJECT),
            make.file_uploaded(PROJECT, filename=f"{PROJECT}-1.0.0-py2-none-any.whl"),
            make.file_removed(PROJECT, file("1.0")),
            make.release_removed(PROJECT, "1", withhold=True),
        ],
        lambda make: [
            make.file_uploaded(PROJECT),
            make.release_removed(PROJECT),
            make.project_removed(PROJECT, withhold=True),
            make.project_created(PROJECT),
        ],
    ],
}

_RELEASE_ROWS: dict[str, list[Callable[[Make], events.BaseEvent]]] = {
    "`file.uploaded` (new filename)": [
        lambda make: make.file_uploaded(PROJECT, filename=f"{PROJECT}-1.0.egg", legacy=True),
        lambda make: make.file_uploaded(PROJECT, filename=f"{PROJECT}-1.0-py3-none-any.whl"),
    ],
    "`release.removed`": [lambda make: make.release_removed(PROJECT)],
    "`release.removed` (withhold)": [lambda make: make.release_removed(PROJECT, withhold=True)],
    "`release.yanked` (same reason)": [lambda make: make.release_yanked(PROJECT, reason=REASON)],
    "`release.yanked` (other reason)": [
        lambda make: make.release_yanked(PROJECT, reason="Another"),
        lambda make: make.release_yanked(PROJECT),
    ],
    "`release.unyanked`": [lambda make: make.release_unyanked(PROJECT)],
    "`release.quarantined`": [
        lambda make: make.release_quarantined(PROJECT, reason=REASON),
        lambda make: make.release_quarantined(PROJECT, reason="Another"),
    ],
    "`release.quarantine_cleared`": [lambda make: make.release_quarantine_cleared(PROJECT)],
}


def _play_release(cell: Cell) -> Iterator[Played]:
    for state in _RELEASE_STATES[cell.column]:
        for row_event in _RELEASE_ROWS[cell.row]:
            make = Make()
            yield Played(state(make), row_event(make))


_TARGET_STATES: dict[str, list[Callable[[Make], History]]] = {
    "unknown": [lambda _: [], lambda make: [make.target_removed("a/b")]],
    "present": [
        lambda make: [make.target_added("a/b")],
        lambda make: [make.target_added("a/b", "first"), make.target_added("a/b")],
        lambda make: [make.target_added("a/b"), make.target_removed("a/b"), make.target_added("a/b")],
    ],
    "removed": [lambda make: [make.target_added("a/b"), make.target_removed("a/b")]],
    "withheld": [
        lambda make: [make.target_added("a/b"), make.target_removed("a/b", withhold=True)],
        lambda make: [
            make.target_added("a/b"),
            make.target_removed("a/b"),
            make.target_removed("a/b", withhold=True),
        ],
    ],
}
_TARGET_ROWS: dict[str, list[Callable[[Make], events.BaseEvent]]] = {
    "`target.added` (same bytes)": [lambda make: make.target_added("a/b")],
    "`target.added` (other bytes)": [
        lambda make: make.target_added("a/b", "other"),
        lambda make: make.target_added("a/b", length=1),
    ],
    "`target.removed`": [lambda make: make.target_removed("a/b", REASON)],
    "`target.removed` (withhold)": [lambda make: make.target_removed("a/b", withhold=True)],
}


def _play_target(cell: Cell) -> Iterator[Played]:
    for state in _TARGET_STATES[cell.column]:
        for row_event in _TARGET_ROWS[cell.row]:
            make = Make()
            yield Played(state(make), row_event(make))


_INCIDENT_STATES: dict[str, list[Callable[[Make], History]]] = {
    "unknown": [lambda _: [], lambda make: [make.incident_opened("another")]],
    "open": [
        lambda make: [make.incident_opened()],
        lambda make: [make.incident_opened(), make.incident_closed(), make.incident_opened()],
    ],
    "closed": [lambda make: [make.incident_opened(), make.incident_closed()]],
}
_INCIDENT_ROWS: dict[str, Callable[[Make], events.BaseEvent]] = {
    "`incident.opened`": lambda make: make.incident_opened(),
    "`incident.noted`": lambda make: make.incident_noted(),
    "`incident.selected`": lambda make: make.incident_selected(),
    "`incident.closed`": lambda make: make.incident_closed(),
}


def _play_incident(cell: Cell) -> Iterator[Played]:
    for state in _INCIDENT_STATES[cell.column]:
        make = Make()
        yield Played(state(make), _INCIDENT_ROWS[cell.row](make))


SECRET = "5e" * 32


def _holds_end(make: Make, size: int) -> events.BaseEvent:
    """The ceremony that ends the holds below a size."""
    team = TEAM.but(settings=Settings(ruleset=0, project_list_seconds=0, holds_end=size))
    current = factory.ready_prefix(Make(), TEAM).authority
    return make.roles_signed(factory.ceremony(team, current, TEAM))


def _play_hold(cell: Cell) -> Iterator[Played]:
    make = Make()
    hold, locked = make.signing_held(reason=REASON), make.signing_held(lock=lock_of(SECRET))
    released = make.signing_released(locked.id, secret=SECRET)
    # The holds stand behind the beginning, as events 2 and 3.
    states: dict[str, list[History]] = {
        "unknown": [[], [make.signing_released("nothing")]],
        "held": [[hold], [hold, locked], [make.signing_held(), hold, _holds_end(make, 3)]],
        "locked": [[locked], [hold, locked, _holds_end(make, 3)]],
        "released": [
            [hold, make.signing_released(hold.id)],
            [locked, released],
            [locked, released, _holds_end(make, 3)],
        ],
        "ended": [[hold, _holds_end(make, 3)], [locked, _holds_end(make, 3)]],
    }
    about = {"held": hold, "locked": locked}.get(cell.column)
    for before in states[cell.column]:
        # A hold is known by its id, so only the same event is about the same hold.
        one = about or next((each for each in before if each in (hold, locked)), hold)
        for event in _hold_rows(make, one)[cell.row]:
            yield Played(before, event)


def _hold_rows(make: Make, hold: events.BaseEvent) -> dict[str, History]:
    return {
        "`signing.held`": [hold],
        "`signing.released` (right secret)": [make.signing_released(hold.id, secret=SECRET)],
        "`signing.released` (no secret, or another)": [
            make.signing_released(hold.id),
            make.signing_released(hold.id, secret=lock_of(SECRET)),
        ],
    }


PLAYERS: dict[str, Callable[[Cell], Iterator[Played]]] = {
    "project": _play_project,
    "file": _play_file,
    "release": _play_release,
    "target": _play_target,
    "incident": _play_incident,
    "hold": _play_hold,
}


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(cell: Cell, apart: bool) -> None:
    plays = list(PLAYERS[cell.table](cell))
    assert plays
    for played in plays:
        outcome = play(played.before, played.event, apart=apart)
        assert (outcome.verdict, outcome.code) == cell.expected, (played, outcome)


def test_every_player_is_used() -> None:
    """Rows and columns that the page no longer has are not played for nothing."""
    rows: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
        "project": (_CONTENT, _PROJECT_STATES),
        "file": (_FILE_ROWS, _FILE_STATES),
        "release": (_RELEASE_ROWS, _RELEASE_STATES),
        "target": (_TARGET_ROWS, _TARGET_STATES),
        "incident": (_INCIDENT_ROWS, _INCIDENT_STATES),
    }
    for table, (known_rows, known_columns) in rows.items():
        assert {cell.row for cell in CELLS if cell.table == table} == set(known_rows)
        assert {cell.column for cell in CELLS if cell.table == table} == set(known_columns)


# --- sentences beside the tables ---------------------------------------------------------------------------------


def outcome_of(*history: events.BaseEvent) -> tuple[str, str]:
    """The outcome of the last of these events."""
    outcome = play(list(history[:-1]), history[-1], apart=False)
    return outcome.verdict, outcome.code


@pytest.mark.parametrize("status", ["active", "archived", "quarantined", "deprecated"])
@pytest.mark.parametrize("reason", [None, "", "Why"])
def test_status_changed_to_the_same_status_with_the_same_reason(
    status: events.ProjectStatus, reason: str | None
) -> None:
    make = Make()
    before = [make.project_created(PROJECT), make.project_status_changed(PROJECT, status, reason)]
    assert outcome_of(*before, make.project_status_changed(PROJECT, status, reason)) == ("no effect", "same")
    assert outcome_of(*before, make.project_status_changed(PROJECT, status, "Other")) == ("accepted", "")


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_an_upload_that_repeats_a_file_is_answered_by_its_own_row(status: events.ProjectStatus) -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.project_status_changed(PROJECT, status)]
    assert outcome_of(*before, make.file_uploaded(PROJECT)) == ("no effect", "already-uploaded")
    assert outcome_of(*before, make.file_uploaded(PROJECT, length=1)) == ("rejected", "filename-taken")
    removed = make.file_removed(PROJECT, file("1.0"))
    assert outcome_of(*before, removed, make.file_uploaded(PROJECT)) == ("rejected", "file-removed")


def test_an_upload_that_repeats_a_file_of_a_quarantined_release() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.release_quarantined(PROJECT)]
    assert outcome_of(*before, make.file_uploaded(PROJECT)) == ("no effect", "already-uploaded")


def test_removing_and_uploading_again_is_not_a_way_out_of_quarantine() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.release_quarantined(PROJECT), make.release_removed(PROJECT)]
    upload = make.file_uploaded(PROJECT, filename=f"{PROJECT}-1.0-py3-none-any.whl")
    assert outcome_of(*before, upload) == ("rejected", "release-quarantined")
    again = [make.project_removed(PROJECT), make.project_created(PROJECT)]
    assert outcome_of(*before, *again, upload) == ("rejected", "release-quarantined")


def test_a_project_that_was_quarantined_when_it_was_removed_still_is() -> None:
    make = Make()
    before = [
        make.project_created(PROJECT),
        make.project_status_changed(PROJECT, "quarantined", REASON),
        make.project_removed(PROJECT),
        make.project_created(PROJECT),
    ]
    assert outcome_of(*before, make.file_uploaded(PROJECT)) == ("rejected", "project-quarantined")
    assert outcome_of(*before, make.project_status_changed(PROJECT, "quarantined", REASON)) == ("no effect", "same")


def test_a_project_that_is_created_again_is_active_without_a_reason() -> None:
    make = Make()
    before = [
        make.project_created(PROJECT),
        make.project_status_changed(PROJECT, "archived", REASON),
        make.project_removed(PROJECT),
        make.project_created(PROJECT),
    ]
    assert outcome_of(*before, make.project_status_changed(PROJECT, "active")) == ("no effect", "same")


def test_filenames_stay_taken_when_a_project_is_removed() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.project_removed(PROJECT), make.project_created(PROJECT)]
    assert outcome_of(*before, make.file_uploaded(PROJECT, length=1)) == ("rejected", "filename-taken")
    assert outcome_of(*before, make.file_restored(PROJECT, file("1.0"))) == ("accepted", "")


def test_the_same_reason_is_the_same_after_cleaning() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.file_yanked(PROJECT, file("1.0"), "a\x00")]
    assert outcome_of(*before, make.file_yanked(PROJECT, file("1.0"), "a\x1f")) == ("no effect", "same")


def test_no_reason_and_an_empty_one_are_the_same() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.file_yanked(PROJECT, file("1.0"), None)]
    assert outcome_of(*before, make.file_yanked(PROJECT, file("1.0"), "")) == ("no effect", "same")


GOOD_NAMES = [
    ("demo", "demo-1.0.tar.gz", "1.0"),
    ("demo", "Demo-1.0.zip", "1.0"),
    ("demo", "demo-1.0.0.tar.gz", "1.0"),
    ("demo", "demo-v1.0.tar.gz", "1"),
    ("de-mo", "De.Mo-1.0.tar.gz", "1.0"),
    ("de-mo", "de_-_mo-1.0.tar.gz", "1.0"),
    ("de-mo", "de_mo-1.0-py3-none-any.whl", "1.0"),
    ("de-mo", "de_mo-1.0-1-py3-none-any.whl", "1.0"),
    ("demo", "demo-1.0+local.1-py3-none-any.whl", "1.0+local-1"),
    ("demo", "demo-1.0_post1-py3-none-any.whl", "1.0.post1"),
]
FOREIGN_NAMES = [
    ("demo", "other-1.0.tar.gz", "1.0"),
    ("demo", "demo2-1.0.tar.gz", "1.0"),
    ("demo", "demo-extra-1.0.tar.gz", "1.0"),
    ("demo", "demo.tar.gz", "1.0"),
    ("demo", "demo-1.0.exe", "1.0"),
    ("demo", "demo-1.0.egg", "1.0"),
    ("demo", "demo-1.0.tar.bz2", "1.0"),
    ("demo", "demo-1.0.whl", "1.0"),
    ("demo", "demo-1.0-a-b-c-d-e.whl", "1.0"),
    ("demo", "demo_-1.0.tar.gz", "1.0"),
    ("demo", "demo-1.0.TAR.GZ", "1.0"),
]
BAD_VERSIONS = [
    ("demo", "demo-1.0.tar.gz", "2.0"),
    ("demo", "demo-1.0.tar.gz", "1.0.post0"),
    ("demo", "demo-1.0.tar.gz", "1.0+local"),
    ("demo", "demo-x.tar.gz", "x"),
    ("demo", "demo-1.0-py3-none-any.whl", "1.0rc1"),
    ("demo", "demo-.tar.gz", "1"),
    # As `packaging` reads them: an underscore is no hyphen, and a build tag has a number.
    ("demo", "demo-1.0_1-py3-none-any.whl", "1.0.post1"),
    ("demo", "demo-1.0_1-py3-none-any.whl", "1.0-1"),
    ("demo", "demo-1.0-x1-py3-none-any.whl", "1.0"),
]


@pytest.mark.parametrize(("project", "filename", "version"), GOOD_NAMES)
def test_a_filename_belongs_to_its_project_and_version(project: str, filename: str, version: str) -> None:
    assert outcome_of(Make().file_uploaded(project, version, filename=filename)) == ("accepted", "")


@pytest.mark.parametrize(("project", "filename", "version"), FOREIGN_NAMES)
def test_other_filenames_are_foreign(project: str, filename: str, version: str) -> None:
    upload = Make().file_uploaded(project, version, filename=filename)
    assert outcome_of(upload) == ("rejected", "foreign-filename")


@pytest.mark.parametrize(("project", "filename", "version"), BAD_VERSIONS)
def test_a_version_is_equal_to_the_one_in_the_filename(project: str, filename: str, version: str) -> None:
    upload = Make().file_uploaded(project, version, filename=filename)
    assert outcome_of(upload) == ("rejected", "bad-version")


def test_the_filename_is_checked_before_the_tables() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.project_status_changed(PROJECT, "archived")]
    known = make.file_uploaded(PROJECT, "2.0", filename=file("1.0"))
    assert outcome_of(*before, known) == ("rejected", "bad-version")
    foreign = make.file_uploaded(PROJECT, filename="other-1.0.tar.gz")
    assert outcome_of(*before, foreign) == ("rejected", "foreign-filename")
    # But not before the rows that say what becomes of a project's events at all.
    assert outcome_of(*before, make.project_removed(PROJECT), foreign) == ("rejected", "project-removed")


@pytest.mark.parametrize(
    ("filename", "version", "expected"),
    [
        ("demo-1.0.exe", "anything", ("accepted", "")),
        ("Demo_extra-1.0.tar.bz2", "1.0", ("accepted", "")),
        ("demo.1.0.egg", "dev-r7", ("accepted", "")),
        ("demo-1.0.tar.gz", "2.0", ("accepted", "")),
        ("demo", "1.0", ("rejected", "foreign-filename")),
        ("demo2-1.0.exe", "1.0", ("rejected", "foreign-filename")),
        ("other-1.0.exe", "1.0", ("rejected", "foreign-filename")),
        ("demo-1.0.exe.metadata", "1.0", ("rejected", "foreign-filename")),
        ("demo-1.0.exe.provenance", "1.0", ("rejected", "foreign-filename")),
    ],
)
def test_legacy_allows_older_forms(filename: str, version: str, expected: tuple[str, str]) -> None:
    assert outcome_of(Make().file_uploaded(PROJECT, version, filename=filename, legacy=True)) == expected


class Ending:
    """A ledger that imports, until a root says that the import is over."""

    def __init__(self) -> None:
        self.make, self.model = Make(), model_of_team()
        self.ledger = begin(factory.beginning(self.make, TEAM))

    def end(self) -> None:
        """The root that ends the import."""
        settings = msgspec.structs.replace(TEAM.settings, importing=False)
        ceremony = factory.ceremony(TEAM.but(settings=settings), self.ledger.prefix.authority, TEAM)
        self.ledger.publish(factory.encode([self.make.roles_signed(ceremony)]))
        self.model.importing = False

    def outcome(self, event: events.BaseEvent) -> tuple[str, str]:
        """The outcome of the next event."""
        index, (value,) = self.ledger.prefix.size, factory.encode([event])
        self.ledger.publish([value])
        assert self.ledger.outcomes[index][:2] == self.model.add(index, value)
        check(self.ledger, self.model)
        return self.ledger.outcomes[index][:2]


EQUIVALENT = [
    ("demo-1.0.tar.gz", "demo-1.0.zip"),
    ("demo-1.0.tar.gz", "demo-1.tar.gz"),
    ("Demo-1.0.tar.gz", "demo-1.0.zip"),
    ("demo-1.0+local.1.tar.gz", "demo-1.0+local_1.tar.gz"),
    ("demo-1.0-py3-none-any.whl", "Demo-1.0.0-py3-none-any.whl"),
    ("demo-1.0-py3-none-any.whl", "demo-1.0-py2.py3-none-any.whl"),
    ("demo-1.0-py2.py3-none-any.whl", "demo-1.0-py3.py2-none-any.whl"),
    ("demo-1.0-py2.py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
    ("demo-1.0-cp312-abi3.cp312-linux_x86_64.any.whl", "demo-1.0-cp311.cp312-cp312-any.whl"),
    ("demo-1.0-py3-none-any.whl", "demo-1.0-PY3-None-ANY.whl"),
    ("demo-1.0-1-py3-none-any.whl", "demo-1.0-01-py3-none-any.whl"),
    ("demo-1.0-0-py3-none-any.whl", "demo-1.0-00-py3-none-any.whl"),
]
NOT_EQUIVALENT = [
    ("demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl"),
    ("demo-1.0.tar.gz", "demo-1.0.1.tar.gz"),
    ("demo-1.0.tar.gz", "demo-1.0+local.tar.gz"),
    ("demo-1.0.tar.gz", "demo-1.0.post0.tar.gz"),
    ("demo-1.0-py3-none-any.whl", "demo-1.0-1-py3-none-any.whl"),
    ("demo-1.0-1-py3-none-any.whl", "demo-1.0-1a-py3-none-any.whl"),
    ("demo-1.0-1-py3-none-any.whl", "demo-1.0-0-py3-none-any.whl"),
    ("demo-1.0-py2-none-any.whl", "demo-1.0-py3-none-any.whl"),
    ("demo-1.0-cp312-abi3-any.whl", "demo-1.0-cp312-cp312-any.whl"),
    # No component stands for others.
    ("demo-1.0-cp312-cp312-macosx_11_0_universal2.whl", "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"),
    ("demo-1.0-py3-none-any.whl", "demo-1.0-py31-none-any.whl"),
    # Each set has something in common with the same set of one of the others, but of none has all.
    ("demo-1.0-py2-none-any.whl", "demo-1.0-py3-none-linux_x86_64.whl"),
]


def version_in(filename: str) -> str:
    """The version in a filename."""
    return re.split(r"-|\.tar|\.zip", filename)[1]


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize(("first", "second"), [*EQUIVALENT, *((second, first) for first, second in EQUIVALENT)])
def test_one_distribution_has_one_name(first: str, second: str, removed: bool) -> None:
    make = Make()
    before: History = [make.file_uploaded(PROJECT, version_in(first), filename=first)]
    if removed:
        before += [make.file_removed(PROJECT, first)]
    other = make.file_uploaded(PROJECT, version_in(second), filename=second)
    assert outcome_of(*before, other) == ("rejected", "equivalent-filename")
    # Of another project it is another distribution.
    assert outcome_of(*before, change(other, subject="x", data_filename=f"x{second[4:]}")) == ("accepted", "")


@pytest.mark.parametrize(("first", "second"), NOT_EQUIVALENT)
def test_what_installers_tell_apart_may_stand_side_by_side(first: str, second: str) -> None:
    make = Make()
    uploads = [make.file_uploaded(PROJECT, version_in(each), filename=each) for each in (first, second)]
    assert outcome_of(*uploads) == ("accepted", "")


def test_a_wheel_may_meet_several() -> None:
    make = Make()
    names = ["demo-1.0-py2-none-any.whl", "demo-1.0-py3-abi3-any.whl", "demo-1.0-py4-none-win32.whl"]
    before = [make.file_uploaded(PROJECT, filename=name) for name in names]
    third = make.file_uploaded(PROJECT, filename="demo-1.0-py3.py4-none-any.whl")
    assert outcome_of(*before, third) == ("accepted", "")
    fourth = make.file_uploaded(PROJECT, filename="demo-1.0-py4-none.abi3-any.win32.whl")
    assert outcome_of(*before, fourth) == ("rejected", "equivalent-filename")


@pytest.mark.parametrize(
    ("legacy", "modern"),
    [
        ("demo-1.0.zip", "demo-1.0.tar.gz"),
        ("demo-1.0.tar.bz2", "demo-1.0.tar.gz"),
        ("demo-1.0.tgz", "demo-1.0.tar.gz"),
        ("demo-1.0.tar.xz", "demo-1.0.tar.gz"),
        ("demo-1.0.tar.Z", "demo-1.0.tar.gz"),
        ("demo-1.0.tar", "demo-1.0.tar.gz"),
        ("demo_1.0.zip", "demo-1.0.tar.gz"),
        ("demo.1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
    ],
)
def test_imported_files_take_their_distribution(legacy: str, modern: str) -> None:
    make = Make()
    imported = make.file_uploaded(PROJECT, "1.0", filename=legacy, legacy=True)
    later = make.file_uploaded(PROJECT, "1.0", filename=modern)
    assert outcome_of(imported, later) == ("rejected", "equivalent-filename")
    # What is imported is what the index had.
    assert outcome_of(imported, change(later, data_legacy=True)) == ("accepted", "")
    assert outcome_of(later, imported) == ("accepted", "")
    # By the filename alone, whatever the import says of its version.
    assert outcome_of(change(imported, data_version="9"), later) == ("rejected", "equivalent-filename")


@pytest.mark.parametrize(
    "legacy",
    ["demo-1.0.egg", "demo-1.0.exe", "demo-1.0.TAR.GZ", "demo-dev.tar.gz", "demo-x-1.0.tar.gz", "demo 1.0.tar.gz"],
)
def test_other_names_take_nothing(legacy: str) -> None:
    make = Make()
    imported = make.file_uploaded(PROJECT, "1.0", filename=legacy, legacy=True)
    assert outcome_of(imported, make.file_uploaded(PROJECT)) == ("accepted", "")


def test_legacy_takes_its_part_in_one_name_when_the_import_is_over() -> None:
    ending = Ending()
    assert ending.outcome(ending.make.file_uploaded(PROJECT, filename="demo-1.0.zip", legacy=True))[0] == "accepted"
    ending.end()
    again = ending.make.file_uploaded(PROJECT, legacy=True)
    assert ending.outcome(again) == ("rejected", "equivalent-filename")


def test_the_filename_is_compared_before_the_tables_and_after_the_version() -> None:
    make = Make()
    before = [make.file_uploaded(PROJECT), make.project_status_changed(PROJECT, "archived")]
    other = make.file_uploaded(PROJECT, filename="demo-1.0.zip")
    assert outcome_of(*before, other) == ("rejected", "equivalent-filename")
    assert outcome_of(*before, change(other, data_version="2")) == ("rejected", "bad-version")


def test_the_spelling_that_came_first_is_shown() -> None:
    make = Make()
    ledger = begin(factory.beginning(make, TEAM))
    names = {"1.0": "demo-1.0.tar.gz", "1": "demo-1-py3-none-any.whl", "1.0.0": "demo-1.0.0-py2-none-any.whl"}

    def shown(*made: events.BaseEvent) -> list[str]:
        ledger.publish(factory.encode(made))
        versions: list[str] = json.loads(ledger.pages["simple/demo/index.json"])["versions"]
        return versions

    assert shown(*(make.file_uploaded(PROJECT, version, filename=name) for version, name in names.items())) == ["1.0"]
    assert shown(make.file_removed(PROJECT, names["1.0"])) == ["1"]
    assert shown(make.file_restored(PROJECT, names["1.0"])) == ["1"]
    assert shown(make.file_removed(PROJECT, names["1"])) == ["1.0.0"]
    assert shown(make.file_removed(PROJECT, names["1.0.0"])) == ["1.0"]
    assert shown(make.release_removed(PROJECT)) == []


ODD_NAMES = [
    "demo-1.0 (python 2.5).exe",
    "Demo 1.0.tar.gz",
    "demo-0.9~rc1.tar.gz",
    "demo-1.0,fixed=yes@home$.zip",
    "demo-1.0&amp;<b>'x'.egg",
    "demo-1.0-1.src.rpm",
    "demo-1.0.linux-i686.tar.bz2",
]


@pytest.mark.parametrize("filename", ODD_NAMES)
def test_filenames_of_every_form_need_legacy(filename: str) -> None:
    upload = Make().file_uploaded(PROJECT, filename=filename, legacy=True, requires_python=">=3.6.*, <'4'&")
    assert outcome_of(upload) == ("accepted", "")
    assert outcome_of(change(upload, data_legacy=False)) == ("rejected", "foreign-filename")


OLD_FORMS = [("demo-1.0.exe", "anything"), ("Demo_extra-1.0.tar.bz2", "1.0"), ("demo-1.0.tar.gz", "2.0")]


@pytest.mark.parametrize(("filename", "version"), OLD_FORMS)
def test_legacy_counts_while_root_says_that_an_index_is_imported(filename: str, version: str) -> None:
    ending = Ending()
    upload = ending.make.file_uploaded(PROJECT, version, filename=filename, legacy=True)
    assert ending.outcome(upload) == ("accepted", "")
    ending.end()
    # An import can be repeated; what is new is judged as everything else.
    assert ending.outcome(upload) == ("no effect", "already-uploaded")
    other = change(upload, data_length=1)
    assert ending.outcome(other) == ("rejected", "filename-taken")
    twin = "Demo-1.0" + filename[filename.index("1.0") + 3 :]
    new = change(upload, data_filename=f"new_{twin}", subject="new-demo")
    assert ending.outcome(new)[0] == "rejected"


def test_a_modern_name_may_say_that_it_is_legacy() -> None:
    ending = Ending()
    ending.end()
    upload = ending.make.file_uploaded(PROJECT, legacy=True)
    assert ending.outcome(upload) == ("accepted", "")
    assert ending.outcome(upload) == ("no effect", "already-uploaded")
    assert ending.outcome(change(upload, data_legacy=False)) == ("rejected", "filename-taken")
    assert ending.outcome(change(upload, data_version="2.0")) == ("rejected", "bad-version")


def test_a_root_judges_what_comes_after_it_in_the_same_publication() -> None:
    ending = Ending()
    make, ledger = ending.make, ending.ledger
    settings = msgspec.structs.replace(TEAM.settings, importing=False)
    ceremony = factory.ceremony(TEAM.but(settings=settings), ledger.prefix.authority, TEAM)
    first, second = (make.file_uploaded(PROJECT, filename=f"demo-{name}.exe", legacy=True) for name in "ab")
    ledger.publish(factory.encode([first, make.roles_signed(ceremony), second]))
    assert [ledger.outcomes[index].code for index in (2, 3, 4)] == ["", "", "foreign-filename"]


@pytest.mark.parametrize("path", ["simple/x", "packages/x", "simple/demo/index.json", "packages/ab/cd/ef/demo.whl"])
def test_paths_of_pages_and_packages_are_reserved(path: str) -> None:
    assert outcome_of(Make().target_added(path)) == ("rejected", "reserved-path")
    assert outcome_of(Make().target_removed(path)) == ("rejected", "reserved-path")


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
def test_other_bytes_of_a_target_lift_nothing(apart: bool) -> None:
    make = Make()
    bad: list[events.BaseEvent] = [make.target_added("a/b", "bad"), make.target_removed("a/b", withhold=True)]
    good = make.target_added("a/b", "good")
    assert play(bad, good, apart=apart).verdict == "accepted"
    assert play([*bad, good], make.target_added("a/b", "bad"), apart=apart).verdict == "accepted"
    assert play([*bad, good], make.target_removed("a/b", withhold=True), apart=apart).verdict == "accepted"


@pytest.mark.parametrize("path", ["simple", "packages", "Simple/x", "simpler/x", "packages.txt", "a/simple/x"])
def test_other_paths_are_free(path: str) -> None:
    assert outcome_of(Make().target_added(path)) == ("accepted", "")


def test_access_and_erasure_are_always_accepted() -> None:
    make = Make()
    made = [make.access("granted"), make.access("revoked"), make.access("revoked"), make.access("noted")]
    made += [make.opening_erased(), make.opening_erased(), make.opening_erased("never-seen")]
    for event in made:
        assert outcome_of(event) == ("accepted", "")


# --- known ids ---------------------------------------------------------------------------------------------------


def remembered() -> list[tuple[events.BaseEvent, ...]]:
    """For every type that is remembered: what comes before, and the event."""
    make = Make()
    upload = make.file_uploaded(PROJECT)
    files = {
        "file.unyanked": make.file_yanked(PROJECT, file("1.0")),
        "file.restored": make.file_removed(PROJECT, file("1.0")),
    }
    hold = make.signing_held()
    return [
        (make.project_created(PROJECT),),
        (upload, make.project_status_changed(PROJECT, "archived")),
        (upload, make.project_removed(PROJECT)),
        (upload, make.file_removed(PROJECT, file("1.0"))),
        (upload, files["file.restored"], make.file_restored(PROJECT, file("1.0"))),
        (upload, files["file.restored"], freed(make)),
        (upload, make.file_yanked(PROJECT, file("1.0"))),
        (upload, files["file.unyanked"], make.file_unyanked(PROJECT, file("1.0"))),
        (upload, make.release_removed(PROJECT)),
        (upload, make.release_yanked(PROJECT)),
        (upload, make.release_yanked(PROJECT), make.release_unyanked(PROJECT)),
        (upload, make.release_quarantined(PROJECT)),
        (upload, make.release_quarantined(PROJECT), make.release_quarantine_cleared(PROJECT)),
        (make.target_added("a/b"),),
        (make.target_added("a/b"), make.target_removed("a/b")),
        (make.access("granted"),),
        (make.access("revoked"),),
        (make.access("noted"),),
        (make.incident_opened(),),
        (make.incident_opened(), make.incident_noted()),
        (make.incident_opened(), make.incident_selected()),
        (make.incident_opened(), make.incident_closed()),
        (make.opening_erased(),),
        (hold,),
        (hold, make.signing_released(hold.id)),
    ]


def _kind(history: Sequence[events.BaseEvent]) -> str:
    return str(history[-1].__struct_config__.tag)


def test_every_type_but_three_is_remembered() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in events.Event.__args__}
    kinds -= {"ledger.created.v1", "file.uploaded.v1", "roles.signed.v1"}
    assert {_kind(history) for history in remembered()} == kinds


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
@pytest.mark.parametrize("history", remembered(), ids=_kind)
def test_the_same_id_again(history: tuple[events.BaseEvent, ...], apart: bool) -> None:
    event = history[-1]
    assert play(list(history[:-1]), event, apart=apart).verdict == "accepted"
    assert play(list(history), event, apart=apart)[:2] == ("no effect", "repeated")
    other = change(event, actorid="another")
    assert play(list(history), other, apart=apart)[:2] == ("rejected", "id-conflict")
    # Twice: the conflict did not take the place of what is remembered.
    assert play([*history, other], event, apart=apart)[:2] == ("no effect", "repeated")


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
def test_an_event_without_effect_is_remembered(apart: bool) -> None:
    make = Make()
    upload, again = make.file_uploaded(PROJECT), make.file_unyanked(PROJECT, file("1.0"))
    assert play([upload], again, apart=apart)[:2] == ("no effect", "not-yanked")
    yanked = make.file_yanked(PROJECT, file("1.0"))
    assert play([upload, again, yanked], again, apart=apart)[:2] == ("no effect", "repeated")


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
def test_rejected_events_are_not_remembered_and_may_be_sent_again(apart: bool) -> None:
    make = Make()
    yank, upload = make.file_yanked(PROJECT, file("1.0")), make.file_uploaded(PROJECT)
    assert play([], yank, apart=apart)[:2] == ("rejected", "no-project")
    assert play([yank, upload], yank, apart=apart)[:2] == ("accepted", "")
    assert play([yank, upload], change(yank, actorid="another"), apart=apart)[:2] == ("accepted", "")
    hold = make.signing_held()
    release = make.signing_released(hold.id)
    assert play([release, hold], release, apart=apart)[:2] == ("accepted", "")


def test_ids_are_remembered_within_an_aggregate() -> None:
    make = Make()
    first = make.project_created("first")
    for other in (
        make.having(id=first.id).project_created("second"),
        make.having(id=first.id).target_added("first"),
        make.having(id=first.id).access("granted", "first"),
        make.having(id=first.id).incident_opened("first"),
        make.having(id=first.id).signing_held(),
        make.having(id=first.id).opening_erased("first"),
    ):
        assert outcome_of(first, other) == ("accepted", "")


def test_all_signing_events_share_one_memory() -> None:
    make = Make()
    hold = make.signing_held()
    release = make.having(id=hold.id).signing_released(hold.id)
    assert outcome_of(hold, release) == ("rejected", "id-conflict")


def test_uploads_are_idempotent_by_meaning_not_by_id() -> None:
    make = Make()
    first = make.file_uploaded(PROJECT)
    other = make.having(id=first.id).file_uploaded(PROJECT, "2.0")
    assert outcome_of(first, other) == ("accepted", "")
    assert outcome_of(first, first) == ("no effect", "already-uploaded")
    # An upload's id is not remembered either, so another event may have it.
    assert outcome_of(first, make.having(id=first.id).file_yanked(PROJECT, file("1.0"))) == ("accepted", "")


def test_ids_are_remembered_for_ever() -> None:
    make = Make()
    first = make.project_created(PROJECT)
    history: History = [first]
    for number in range(300):
        history += [make.project_status_changed(PROJECT, "archived" if number % 2 else "deprecated")]
    assert outcome_of(*history, first) == ("no effect", "repeated")


def test_bytes_are_compared_not_meaning() -> None:
    make = Make()
    event = make.project_created(PROJECT)
    ledger = begin(factory.beginning(make, SMALL))
    ledger.publish([encode_event(event), encode_event(event).replace(b'":', b'": ')])
    assert ledger.outcomes[3][:2] == ("rejected", "id-conflict")


# --- freed names -------------------------------------------------------------------------------------------------

BAD = digest("demo-1.0.tar.gz")
"""The bytes that are freed."""


def gone(make: Make) -> History:
    """A file was uploaded, removed and freed."""
    return [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0")), freed(make)]


def with_bytes(upload: events.FileUploaded, sha256: str) -> events.FileUploaded:
    """An upload with other bytes."""
    blake = upload.data.hashes.blake2b_256
    return change(upload, data_hashes=events.Hashes(sha256=sha256, blake2b_256=blake))


def test_a_freed_name_can_be_used_by_other_bytes() -> None:
    make = Make()
    assert outcome_of(*gone(make), make.file_uploaded(PROJECT)) == ("rejected", "file-freed")
    second = with_bytes(make.file_uploaded(PROJECT), digest("second"))
    assert outcome_of(*gone(make), second) == ("accepted", "")
    # It is a file as any other.
    assert outcome_of(*gone(make), second, second) == ("no effect", "already-uploaded")
    assert outcome_of(*gone(make), second, make.file_yanked(PROJECT, file("1.0"))) == ("accepted", "")
    again = [make.file_removed(PROJECT, file("1.0")), make.file_restored(PROJECT, file("1.0"), digest("second"))]
    assert outcome_of(*gone(make), second, *again) == ("accepted", "")


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("demo-1.0.tar.gz", {"requires_python": ">=3"}),
        ("demo-1.0.tar.gz", {"length": 7, "core_metadata_sha256": digest("x")}),
        ("Demo-1.0.0.tar.gz", {}),
        ("demo-1.0.zip", {}),
        ("demo-1.tar.xz", {"legacy": True}),
    ],
)
def test_freed_bytes_never_come_back(filename: str, data: dict[str, object]) -> None:
    make = Make()
    upload = with_bytes(make.file_uploaded(PROJECT, version_in(filename), filename=filename, **data), BAD)
    assert outcome_of(*gone(make), upload) == ("rejected", "file-freed")
    # Nor when the name has other bytes, nor when these are freed, too.
    second = with_bytes(make.file_uploaded(PROJECT), digest("second"))
    assert outcome_of(*gone(make), second, upload) == ("rejected", "file-freed")
    listed = [(digest("second"), PROJECT, file("1.0")), *LISTED]
    team = TEAM.but(settings=msgspec.structs.replace(TEAM.settings, freeable=(factory.freeable_root(listed),)))
    ledger = begin(factory.beginning(Make(), team))
    proofs = [factory.proof_of(listed, each) for each in ((BAD, PROJECT, file("1.0")), listed[0])]
    history: History = [
        make.file_uploaded(PROJECT),
        make.file_removed(PROJECT, file("1.0")),
        make.file_freed(PROJECT, file("1.0"), BAD, proofs[0]),
        second,
        make.file_removed(PROJECT, file("1.0")),
        make.file_freed(PROJECT, file("1.0"), digest("second"), proofs[1]),
        upload,
        second,
        with_bytes(upload, digest("third")),
    ]
    for value in factory.encode(history):
        ledger.publish([value])
    assert [ledger.outcomes[index].code for index in range(2, 2 + len(history))] == [*[""] * 6, *["file-freed"] * 2, ""]


def test_freed_bytes_may_be_those_of_another_distribution() -> None:
    """What a thief uploads under a wrong name can be what a project is about to upload under the right one."""
    make = Make()
    for other in (
        make.file_uploaded(PROJECT, "2.0"),
        make.file_uploaded(PROJECT, filename="demo-1.0-py3-none-any.whl"),
        make.file_uploaded("another", "1.0"),
    ):
        assert outcome_of(*gone(make), with_bytes(other, BAD)) == ("accepted", "")


def test_of_names_that_take_nothing_the_name_counts() -> None:
    make, name = Make(), "demo-1.0.exe"
    upload = make.file_uploaded(PROJECT, filename=name, legacy=True)
    before: History = [upload, make.file_removed(PROJECT, name), freed(make, name)]
    assert outcome_of(*before, upload) == ("rejected", "file-freed")
    assert outcome_of(*before, with_bytes(upload, digest("second"))) == ("accepted", "")
    assert outcome_of(*before, change(upload, data_filename="demo-1.0.msi")) == ("accepted", "")


def test_a_freed_file_gives_up_what_it_took_and_no_more() -> None:
    make = Make()
    other = make.file_uploaded(PROJECT, "1.0", filename="demo-1.0.zip")
    assert outcome_of(*gone(make), other) == ("accepted", "")
    # An imported twin still holds it.
    twin = make.file_uploaded(PROJECT, filename="demo-1.0.tgz", legacy=True)
    assert outcome_of(twin, change(make.file_uploaded(PROJECT), data_legacy=True)) == ("accepted", "")
    upload = change(make.file_uploaded(PROJECT), data_legacy=True)
    freeing: History = [make.file_removed(PROJECT, file("1.0")), freed(make)]
    assert outcome_of(twin, upload, *freeing, other) == ("rejected", "equivalent-filename")


def test_a_freed_wheel_gives_its_tags_up() -> None:
    make, wheel = Make(), "demo-1.0-py2.py3-none-any.whl"
    before: History = [make.file_uploaded(PROJECT, filename=wheel)]
    freeing: History = [make.file_removed(PROJECT, wheel), freed(make, wheel)]
    upload = make.file_uploaded(PROJECT, filename="demo-1.0-py3-none-any.whl")
    assert outcome_of(*before, upload) == ("rejected", "equivalent-filename")
    assert outcome_of(*before, *freeing, upload) == ("accepted", "")
    # What comes after it takes what it has, and the freed one's bytes come back under no name that meets its tags.
    again = with_bytes(before[0], digest("second"))  # type: ignore[arg-type]  # an upload
    assert outcome_of(*before, *freeing, upload, again) == ("rejected", "equivalent-filename")
    assert outcome_of(*before, *freeing, with_bytes(upload, digest(wheel))) == ("rejected", "file-freed")
    apart = make.file_uploaded(PROJECT, filename="demo-1.0-cp312-cp312-any.whl")
    assert outcome_of(*before, *freeing, with_bytes(apart, digest(wheel))) == ("accepted", "")
    build = make.file_uploaded(PROJECT, filename="demo-1.0-1-py3-none-any.whl")
    assert outcome_of(*before, *freeing, with_bytes(build, digest(wheel))) == ("accepted", "")


def test_a_freed_file_is_withheld_and_counts_so() -> None:
    make = Make()
    assert outcome_of(*gone(make), make.release_removed(PROJECT)) == ("no effect", "already-removed")
    assert outcome_of(*gone(make), make.release_removed(PROJECT, withhold=True)) == ("no effect", "already-withheld")
    removed = make.project_removed(PROJECT)
    withhold = make.project_removed(PROJECT, withhold=True)
    assert outcome_of(*gone(make), removed, withhold) == ("no effect", "already-withheld")
    second = with_bytes(make.file_uploaded(PROJECT), digest("second"))
    assert outcome_of(*gone(make), second, make.release_removed(PROJECT, withhold=True)) == ("accepted", "")


def test_flags_of_a_release_outlive_that_its_file_is_freed() -> None:
    make = Make()
    before: History = [make.file_uploaded(PROJECT), make.release_quarantined(PROJECT)]
    freeing: History = [make.file_removed(PROJECT, file("1.0")), freed(make)]
    second = with_bytes(make.file_uploaded(PROJECT), digest("second"))
    assert outcome_of(*before, *freeing, second) == ("rejected", "release-quarantined")


@pytest.mark.parametrize("which", ["none", "of another file", "of another project", "in no list", "too long"])
def test_a_proof_must_lead_to_a_list_that_root_names(which: str) -> None:
    make, (digest_of, project, name) = Make(), (BAD, PROJECT, file("1.0"))
    other = LISTED[0] if which == "of another file" else (digest_of, "another", name)
    proofs = {
        "none": None,
        "of another file": factory.proof_of(LISTED, other) if which == "of another file" else None,
        "of another project": factory.proof_of([other], other),
        "in no list": factory.proof_of([(digest_of, project, name)], (digest_of, project, name)),
        "too long": events.Proof(leaf=1, size=2**53, path=(digest("x"),) * 64),
    }
    wrong = make.file_freed(PROJECT, name, proof=proofs[which])
    before: History = [make.file_uploaded(PROJECT), make.file_removed(PROJECT, name)]
    assert outcome_of(*before, wrong) == ("rejected", "not-freeable")


def test_the_root_at_the_events_index_decides_what_is_freeable() -> None:
    ending = Ending()
    make = ending.make
    for event in (make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0"))):
        assert ending.outcome(event) == ("accepted", "")
    settings = msgspec.structs.replace(TEAM.settings, freeable=())
    ceremony = factory.ceremony(TEAM.but(settings=settings), ending.ledger.prefix.authority, TEAM)
    after, before = freed(make), freed(make)
    ending.ledger.publish(factory.encode([make.roles_signed(ceremony), after]))
    assert ending.ledger.outcomes[ending.ledger.prefix.size - 1].code == "not-freeable"
    first = Ending()
    first.ledger.publish(
        factory.encode(
            [make.file_uploaded(PROJECT), make.file_removed(PROJECT, file("1.0")), before, make.roles_signed(ceremony)]
        )
    )
    assert [first.ledger.outcomes[index].code for index in (2, 3, 4, 5)] == [""] * 4


# --- preconditions -----------------------------------------------------------------------------------------------

NOTHING = "0" * 64


def value_digest(event: events.BaseEvent) -> str:
    """The digest of an event's record."""
    return sha256(encode_event(event)).hexdigest()


def about_projects() -> list[tuple[events.BaseEvent, ...]]:
    """For every type of event about a project: what comes before, and the event, which is accepted."""
    upload = Make().file_uploaded(PROJECT)
    found = [history for history in remembered() if isinstance(history[-1], events.ProjectEvent)]
    return [(upload,), (upload, Make().file_uploaded(PROJECT, "2.0")), *found]


def last_accepted(history: Sequence[events.BaseEvent]) -> str:
    """What an event after these expects."""
    return value_digest(history[-1]) if history else NOTHING


def test_every_event_about_a_project_can_expect_something() -> None:
    kinds = {kind for kind in events.Event.__args__ if issubclass(kind, events.ProjectEvent)}
    assert {type(history[-1]) for history in about_projects()} == kinds


@pytest.mark.parametrize("apart", [False, True], ids=["one publication", "one each"])
@pytest.mark.parametrize("history", about_projects(), ids=_kind)
def test_what_is_expected(history: tuple[events.BaseEvent, ...], apart: bool) -> None:
    *before, event = history
    right = change(event, data_expects=last_accepted(before))
    assert play(before, right, apart=apart).verdict == "accepted"
    for expected in {digest("another"), NOTHING, *map(value_digest, before)} - {last_accepted(before)}:
        wrong = change(event, data_expects=expected)
        assert play(before, wrong, apart=apart)[:2] == ("rejected", "expects")
        # It may be sent again; and it is no last accepted record.
        assert play([*before, wrong], right, apart=apart).verdict == "accepted"
    # Who has the answer already gets it again, although the precondition no longer holds.
    assert play([*before, right], right, apart=apart)[:2] == ("no effect", "repeated")
    assert play([*before, right], change(right, actorid="another"), apart=apart)[:2] == ("rejected", "id-conflict")


def test_events_that_change_nothing_are_not_expected() -> None:
    make = Make()
    upload = make.file_uploaded(PROJECT)
    before: History = [upload, make.file_unyanked(PROJECT, file("1.0")), make.file_uploaded("another")]
    assert outcome_of(*before, change(make.release_yanked(PROJECT), data_expects=value_digest(upload)))[0] == "accepted"


def test_preconditions_come_first() -> None:
    make = Make()
    foreign = change(make.file_uploaded(PROJECT, filename="other-1.0.tar.gz"), data_expects=digest("x"))
    assert outcome_of(foreign) == ("rejected", "expects")
    assert outcome_of(change(make.project_removed(PROJECT), data_expects=digest("x"))) == ("rejected", "expects")
    assert outcome_of(change(make.project_removed(PROJECT), data_expects=NOTHING)) == ("rejected", "no-project")
    removed: History = [make.project_created(PROJECT), make.project_removed(PROJECT)]
    yanked = make.release_yanked(PROJECT)
    assert outcome_of(*removed, change(yanked, data_expects=NOTHING)) == ("rejected", "expects")
    assert outcome_of(*removed, change(yanked, data_expects=value_digest(removed[-1]))) == (
        "rejected",
        "project-removed",
    )


def test_a_precondition_is_no_fact() -> None:
    make = Make()
    upload = make.file_uploaded(PROJECT)
    expecting = change(make.file_uploaded(PROJECT), data_expects=value_digest(upload))
    assert outcome_of(upload, expecting) == ("no effect", "already-uploaded")
    first = change(upload, data_expects=NOTHING)
    assert outcome_of(first, make.file_uploaded(PROJECT)) == ("no effect", "already-uploaded")


# --- incidents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [*remembered(), (Make().file_uploaded(PROJECT),)], ids=_kind)
def test_that_an_event_belongs_to_an_incident_changes_nothing(history: tuple[events.BaseEvent, ...]) -> None:
    before, event = history[:-1], history[-1]
    assert outcome_of(*before, change(event, incident="never-opened")) == ("accepted", "")
    assert outcome_of(*before, event, change(event, incident="x", id="other")) == outcome_of(
        *before, event, change(event, id="other")
    )


# --- holds -------------------------------------------------------------------------------------------------------


def test_the_default_size_of_a_hold_is_the_number_of_records_before_it() -> None:
    make = Make()
    prefix = factory.ready_prefix(make, Team())
    assert prefix.held_at is None
    prefix, _ = factory.extend(prefix, make.project_created("a"), make.signing_held())
    assert prefix.held_at == 3


def test_the_lowest_size_that_is_held_counts() -> None:
    make = Make()
    prefix = factory.ready_prefix(make, Team())
    first, second = make.signing_held(1), make.signing_held(0)
    prefix, _ = factory.extend(prefix, first, second)
    assert prefix.held_at == 0
    prefix, _ = factory.extend(prefix, make.signing_released(second.id))
    assert prefix.held_at == 1
    prefix, _ = factory.extend(prefix, make.signing_released(first.id))
    assert prefix.held_at is None


@pytest.mark.parametrize(("size", "held_at"), [(0, 0), (1, 1), (2, 2), (3, 2), (100, 2), (2**53, 2)])
def test_a_hold_holds_the_size_in_its_data_but_nothing_that_comes_after_it(size: int, held_at: int) -> None:
    """Whoever calls for a halt means now, whatever size they believe the log to have."""
    make = Make()
    prefix, _ = factory.extend(factory.ready_prefix(make, Team()), make.signing_held(size))
    assert prefix.held_at == held_at


def test_holds_below_the_index_that_root_names_have_ended() -> None:
    """A thief's holds end with the next root; the operators' own hold comes last, and stays."""
    make = Make()
    prefix = factory.ready_prefix(make, TEAM)
    thieves, own = [make.signing_held(size) for size in (0, 1, 2)], make.signing_held(2, lock=lock_of(SECRET))
    prefix, _ = factory.extend(prefix, *thieves, own)
    assert prefix.held_at == 0
    prefix, _ = factory.extend(prefix, _holds_end(make, 5))
    assert prefix.held_at == 2
    prefix, extension = factory.extend(prefix, make.signing_released(thieves[0].id), make.signing_held(1))
    assert [each.outcome[:2] for each in extension.judged] == [("no effect", "ended"), ("accepted", "")]
    assert prefix.held_at == 1, "a later hold counts"


def test_holds_end_never_goes_down_and_ends_nothing_that_comes_later() -> None:
    make = Make()
    prefix = factory.ready_prefix(make, TEAM)
    prefix, _ = factory.extend(prefix, *(make.signing_held() for _ in range(4)))
    team = TEAM
    for holds_end, expected in [(7, "roles-settings"), (6, ""), (6, ""), (5, "roles-settings"), (0, "roles-settings")]:
        wished = team.but(settings=Settings(ruleset=0, project_list_seconds=0, holds_end=holds_end))
        prefix, extension = factory.extend(prefix, make.roles_signed(factory.ceremony(wished, prefix.authority, team)))
        assert extension.judged[0].outcome.code == expected, holds_end
        if not expected:
            team = wished
    without = factory.drafts(team, prefix.authority)
    del without["root"]["x-ledger"]["holds_end"]
    _, extension = factory.extend(prefix, make.roles_signed(factory.sign_all(without, team)))
    assert extension.judged[0].outcome.code == "roles-settings", "it is never left out once it was set"


# --- section 2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_control_characters_and_lone_surrogates_become_the_replacement_character(code: int) -> None:
    assert clean(f"a{chr(code)}b") == "a\ufffdb"


@pytest.mark.parametrize(
    "text", ["", "x", " ", "~", "\u00a0", "é", "\u2028", "\ufffd", "\U0001f40d", "x" * 1000, "\U0001f40d" * 1000]
)
def test_other_text_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("character", ["x", "\U0001f40d", "\x00"])
def test_what_exceeds_1000_code_points_is_cut_and_ends_in_an_ellipsis(character: str) -> None:
    cut = clean(character * 1001)
    assert len(cut) == 1000
    assert cut.endswith("…")
    assert clean(character * 60_000) == cut


def test_free_text_of_any_length_and_content_is_accepted() -> None:
    make = Make()
    text = "\x00\x7f" + "é" * 10_000
    upload = make.file_uploaded(PROJECT)
    assert outcome_of(upload, make.project_status_changed(PROJECT, "archived", text)) == ("accepted", "")
    assert outcome_of(upload, make.release_yanked(PROJECT, reason=text)) == ("accepted", "")
    assert outcome_of(upload, make.file_yanked(PROJECT, file("1.0"), text)) == ("accepted", "")
    assert outcome_of(make.access("noted", note=text)) == ("accepted", "")
    assert outcome_of(make.incident_opened(title=text)) == ("accepted", "")
    assert outcome_of(make.signing_held(reason=text)) == ("accepted", "")
    assert outcome_of(make.incident_opened(), make.incident_noted(note=text)) == ("accepted", "")
