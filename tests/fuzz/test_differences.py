"""Differences between publications and events of any history, with holds, ceremonies and new times."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.catalog.database import sqlite_catalog
from schemas.events import BaseEvent
from tests.factory import Make
from tests.fuzz.budget import seeds
from tests.fuzz.catalogs import fill
from tests.fuzz.differences import check_differences
from tests.fuzz.test_all_rules import TEAM, act, store_files
from tests.fuzz.world import World
from tests.property.histories import cuts, histories


def busy(rng: Random, make: Make) -> BaseEvent:
    """An event about few releases, which are changed again and again."""
    name, version = rng.choice(["one", "two"]), rng.choice(["1.0", "2.0"])
    form = rng.choice(["{}-{}.tar.gz", "{}-{}-py3-none-any.whl"])
    filename, withhold = form.format(name, version), rng.random() < 0.5
    makers: list[Callable[[], BaseEvent]] = [
        *[lambda: make.file_uploaded(name, version, filename=filename)] * 3,
        *[lambda: make.project_created(name)] * 2,
        lambda: make.file_removed(name, filename),
        lambda: make.file_restored(name, filename),
        lambda: make.file_yanked(name, filename),
        lambda: make.file_unyanked(name, filename),
        lambda: make.release_yanked(name, version, rng.choice(["", "bad", "worse"])),
        lambda: make.release_unyanked(name, version),
        lambda: make.release_quarantined(name, version),
        lambda: make.release_quarantine_cleared(name, version),
        lambda: make.release_removed(name, version),
        lambda: make.project_status_changed(name, rng.choice(["active", "archived", "quarantined"])),
        lambda: make.project_removed(name, withhold=withhold),
        lambda: make.target_added(rng.choice(["a", "b/c"])),
        lambda: make.target_removed(rng.choice(["a", "b/c"])),
    ]
    return rng.choice(makers)()


async def busy_world(folder: Path, seed: int) -> tuple[World, int]:
    """A world with such events and ceremonies, and the number of its last publication."""
    rng, world = Random(seed), World(folder)
    world.begin()
    async with world.signing() as signing:
        for _ in range(8):
            if rng.random() < 0.3:
                html = not world.team.settings.html_pages
                settings = msgspec.structs.replace(world.team.settings, html_pages=html)
                await signing.follower.tail.read_on()
                world.hold_ceremony(world.team.but(settings=settings), signing.authority)
            await signing.publish(*(busy(rng, world.make) for _ in range(rng.randrange(24))))
        return world, signing.follower.head.number


@pytest.mark.parametrize("seed", seeds(6))
async def test_releases_that_change_again_and_again(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other time all sides are far apart."""
    if seed % 2:
        monkeypatch.setattr("consumers.catalog.comparison.FEW_EVENTS", 0)
    world, number = await busy_world(tmp_path, seed)
    await check_world(world, tmp_path, number)


async def check_world(world: World, folder: Path, number: int) -> None:
    database = sqlite_catalog(folder / "catalog.sqlite", writes=True)
    await database.open()
    try:
        await fill(world, database)
        await check_differences(database, len(world.events.values), number)
    finally:
        await database.close()


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        world.begin()
        holds: list[str] = []
        async with world.signing() as signing:
            for piece in data.draw(cuts(values)):
                store_files(world.storage, piece)
                await act(world, signing, data, holds)
                world.append(*piece)
                await signing.publish()
            number = signing.follower.head.number
        await check_world(world, Path(folder), number)


@given(histories(40), st.data())
@settings(max_examples=12)
def test_what_differs_on_top_of_one_side_gives_the_other(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
