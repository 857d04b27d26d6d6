"""No question looks at every row of a table that grows with the log: SQLite says how it finds what is asked for."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, insert

from ledger.catalog import FOREVER, rights, states
from ledger.catalog.added import added_between
from ledger.catalog.database import create_indexes, create_tables
from ledger.catalog.event_rows import Wanted, events_before, events_from, indices_from
from ledger.catalog.tables import INDEXES, INDEXES_TO_FILL, actors, credentials, projects, types

LARGE = ("events", "files", "added_files", "file_states", "release_states", "event_bodies", "role_versions")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An empty catalog, but for names: two actors of one name, and some types."""
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with engine.begin() as connection:
        create_tables(connection, "")
        create_indexes(connection, [*INDEXES_TO_FILL, *INDEXES])
        connection.execute(insert(actors), [{"id": 1, "kind": "user", "name": "a"}])
        connection.execute(insert(actors), [{"id": 2, "kind": "system", "name": "a"}])
        connection.execute(insert(credentials), [{"id": 1, "name": "c"}, {"id": 2, "name": "d"}])
        connection.execute(insert(projects), [{"id": 1, "name": "p", "json_hash": 0, "html_hash": 0}])
        names = ("file.uploaded.v1", "file.yanked.v1", "release.yanked.v1", "access.granted.v1")
        connection.execute(insert(types), [{"id": number, "name": name} for number, name in enumerate(names, 1)])
    return engine


def plan_of(engine: Engine, ask: Callable[[Connection], object]) -> list[str]:
    """How SQLite finds what a question asks for, step by step."""
    found: list[str] = []
    with engine.connect() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def plan(_: object, cursor: object, statement: str, parameters: tuple[object, ...], *__: object) -> None:
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[attr-defined]
            found.extend(row[3] for row in rows)

        ask(connection)
    return found


def scans(plan: Iterable[str]) -> list[str]:
    """The steps that look at every row of a large table."""
    return [step for step in plan if any(step.split()[:2] == ["SCAN", name] for name in LARGE)]


WANTED = [
    Wanted(),
    Wanted(project="p"),
    Wanted(project="p", types=("file",)),
    Wanted(project="p", release="1"),
    Wanted(types=("file", "release")),
    Wanted(types=("access",)),
    Wanted(actors=("a",)),
    Wanted(actors=("a",), types=("file",)),
    Wanted(actors=("a",), rejected=True),
    Wanted(credentials=("c", "d")),
    Wanted(credentials=("c",), actors=("a",), types=("file",)),
    Wanted(rejected=True),
    Wanted(incident="i"),
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_pages_of_events_come_in_the_order_of_an_index(engine: Engine, wanted: Wanted) -> None:
    """So the first page costs the same, however many events are wanted."""
    for ask in (
        lambda connection: events_before(connection, wanted, FOREVER, 50),
        lambda connection: events_from(connection, wanted, 0, 50),
        lambda connection: indices_from(connection, wanted, 0, 50),
    ):
        plan = plan_of(engine, ask)
        assert plan
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
        assert wanted == Wanted() or not scans(plan), plan


def test_where_few_projects_attest_uploads_only_theirs_are_looked_at(engine: Engine) -> None:
    plan = plan_of(engine, lambda connection: events_before(connection, Wanted(unattested=True), FOREVER, 50))
    assert scans(plan) == ["SCAN files USING INDEX files_attested"]
    assert any(step.startswith("SEARCH events USING INDEX events_project") for step in plan), plan


QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "metadata and provenance": lambda connection: states.uploads_beside(connection, b"\0" * 32),
    "files of a release": lambda connection: states.uploads_of(connection, 1, release="1"),
    "flags of releases": lambda connection: states.states_of_releases(connection, 1, ["1"]),
    "bytes": lambda connection: states.uploads_of_bytes(connection, b"\0" * 32),
    "late files": lambda connection: added_between(connection, 5, 0, FOREVER, 9),
    "first uses": lambda connection: rights.ungranted_uses(connection, ["c"]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked_for_has_an_index(engine: Engine, name: str) -> None:
    plan = plan_of(engine, QUESTIONS[name])
    assert plan
    assert not scans(plan), plan


@pytest.mark.parametrize("subjects", [((1,), (), ()), ((), (1, 2), ()), ((), (), (1,))])
def test_acts_are_counted_without_a_look_at_each_event(engine: Engine, subjects: tuple[tuple[int, ...], ...]) -> None:
    """They may lie anywhere among ten million: an index has all that is counted."""
    plan = plan_of(engine, lambda connection: rights.count_acts(connection, rights.Subjects(*subjects), FOREVER))
    assert [step for step in plan if step.startswith("SEARCH events USING COVERING INDEX")], plan
