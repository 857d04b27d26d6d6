"""Snapshots that state the lengths of long bins are re-made, too. The border is lowered: a real one takes 2 MB."""

from pathlib import Path

import pytest

from consumers.catalog import remaking
from consumers.render import tasks
from consumers.render.rounds import job
from ledger.catalog.database import Database
from projections.metadata import repository
from tests.catalog.test_filling import remake
from tests.fuzz.catalogs import fill
from tests.fuzz.world import World


@pytest.fixture(autouse=True)
def _low_border(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (repository, remaking, job, tasks):
        monkeypatch.setattr(module, "LENGTH_ABOVE_BYTES", 1_100)


async def test_the_lengths_of_long_bins_are_those_that_were_published(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path)
    world.begin()
    async with world.signing() as signing:
        for number in range(3):
            world.clock.advance(3600)
            name = f"project-{number}"
            await signing.publish(*(world.make.file_uploaded(name, f"{release}.0") for release in range(8)))
        world.clock.advance(3600)
        await signing.publish(world.make.project_removed("project-1"))
    snapshots = [data for path, data in world.storage.tree.files.items() if path.endswith(".snapshot.json")]
    assert sum(b'"length":' in each for each in snapshots) > 1
    await fill(world, database)
    count, wrong = await database.run(remake)
    assert count > len(snapshots)
    assert wrong == []
