"""What differs, in both databases, and in the words in which people are told."""

from pathlib import Path

from consumers.catalog.asking import Asked
from consumers.catalog.comparison import compare_sides
from consumers.cli.differences import said_of
from ledger.catalog.database import Database
from tests.catalog.story import story_catalog
from tests.fuzz.catalogs import fill
from tests.fuzz.differences import check_differences
from tests.fuzz.test_differences import busy_world


async def told(asked: Asked, before: str, after: str) -> list[str]:
    """What differs of projects and of targets that are no pages, a line each."""
    comparison = await compare_sides(asked, before, after, None)
    return [
        f"{each.mark} {each.text}: {each.cause}"
        async for each in said_of(comparison)
        if "simple/" not in each.text and "packages/" not in each.text
    ]


async def test_the_words_of_a_story(database: Database, tmp_path: Path) -> None:
    world = await story_catalog(tmp_path, database)
    size = len(world.events.values)
    asked = Asked(database, size, 6, 6, size - 1)
    assert await told(asked, "1", "3") == [
        "+ alpha 1.0 (1 file): alice, token:alice-1, event 6",
        "~ yanked alpha 1.0: use 1.1: alice, token:alice-1, event 8",
        "+ alpha 1.1 (1 file): alice, token:alice-1, event 9",
        "+ project beta: github/beta (trusted-publisher), event 7",
        "+ beta 1 (1 file): github/beta (trusted-publisher), event 7",
    ]
    assert await told(asked, "3", "5") == [
        "± came and went: alpha 1.0 (1 file): alice, token:alice-2, events 10, 14",
        "~ quarantined beta 1: looks bad: account-1, event 12",
    ]
    assert await told(asked, "5", "4") == ["+ restored alpha 1.0 (1 file): account-1, event 14"]
    assert await told(asked, "6", f"event:{size - 1}") == ["+ alpha 1.2 (1 file): alice, token:alice-1, event 16"]


async def test_what_differs_on_top_of_one_side_gives_the_other(database: Database, tmp_path: Path) -> None:
    world, number = await busy_world(tmp_path, 7)
    await fill(world, database)
    await check_differences(database, len(world.events.values), number)
