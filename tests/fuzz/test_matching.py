"""What a catalog says of files that were found is what a follower says of the same files, in the same words."""

from pathlib import Path
from random import Random

import pytest

from consumers.catalog.asking import Asked
from consumers.catalog.matching import Matcher
from consumers.follow.examining import Examiner
from consumers.reading.trees import read_name
from ledger.catalog.database import sqlite_catalog
from projections.metadata.paths import TIMESTAMP
from tests.fuzz.budget import seeds
from tests.fuzz.catalogs import fill
from tests.fuzz.test_differences import busy_world
from tests.fuzz.world import following


def damaged(rng: Random, file: bytes) -> bytes:
    """A file with another byte, without its end, with a space, or signed by nobody."""
    place = rng.randrange(len(file))
    return rng.choice(
        [
            file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :],
            file[:place],
            file.replace(b",", b", ", 1),
            file.replace(b'"sig":"', b'"sig":"00', 1),
        ]
    )


@pytest.mark.parametrize("seed", seeds(3))
async def test_the_words_are_those_of_a_follower(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    world, number = await busy_world(tmp_path, seed)
    database = sqlite_catalog(tmp_path / "catalog.sqlite", writes=True)
    await database.open()
    try:
        await fill(world, database)
        matcher = Matcher(Asked(database, len(world.events.values), number, 0))
        files = {path: data for path, data in world.storage.tree.files.items() if path.startswith("metadata/")}
        async with following(world.logs) as followed:
            await followed.follower.catch_up()
            examiner = Examiner(followed.follower)
            for path, data in sorted(files.items()):
                name = read_name(path)
                assert name is not None
                assert (await matcher.match(*name, data)).finding is None
                wrong = rng.choice([damaged(rng, data), files[rng.choice(sorted(files))]])
                if wrong != data:
                    found = (await matcher.match(*name, wrong)).finding
                    expected = await examiner.examine(path, wrong)
                    assert found is not None
                    if path != TIMESTAMP:
                        assert found == expected
    finally:
        await database.close()
