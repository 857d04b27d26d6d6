"""docs/catalog.md: every question in SQL has an answer, the same in both databases."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.catalog.database import Connection, Database, sqlite_catalog
from ledger.catalog.tables import metadata
from ledger.catalog.views import VIEWS
from tests.catalog.story import story_catalog
from tests.fuzz.catalogs import fill

MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^(\S.*\?)\n\n```sql\n((?:[^`].*\n)*)```", MANUAL, flags=re.MULTILINE)


def ask(connection: Connection, sql: str) -> list[tuple[object, ...]]:
    """The rows of a statement."""
    return [tuple(row) for row in connection.execute(text(sql))]


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) >= 10
    assert MANUAL.count("```sql") == len(QUESTIONS)


async def test_each_question_has_an_answer(tmp_path: Path, database: Database) -> None:
    world = await story_catalog(tmp_path, database)
    other = sqlite_catalog(tmp_path / "other.sqlite", writes=True)
    await other.open()
    await fill(world, other)
    for question, sql in QUESTIONS:
        found = await database.run(ask, sql)
        assert found, question
        assert found == await other.run(ask, sql), question
    await other.close()


@pytest.mark.parametrize("view", VIEWS)
async def test_views_are_documented(tmp_path: Path, database: Database, view: str) -> None:
    """Each has rows, and each of its columns is named in the manual."""
    await story_catalog(tmp_path, database)
    (row,) = re.findall(rf"^\| `{view}` \| (.*) \|$", MANUAL, flags=re.MULTILINE)
    documented = set(re.findall(r"`(\w+)`", row))
    found = await database.run(lambda connection: connection.execute(text(f"SELECT * FROM {view}")).mappings().all())
    assert found
    assert set(found[0]) == documented


def test_tables_are_documented() -> None:
    rows = re.findall(r"^\| (`.*?) \|", MANUAL.partition("## Tables")[2], flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} >= set(metadata.tables) - {
        "types",
        "actors",
        "credentials",
        "subjects",
    }
