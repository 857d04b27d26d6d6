"""Whole ledgers of random histories: recovered over a catalog, published, and confirmed; then replay, verification, a
rebuild and clients must agree, as in every other world.
"""

import asyncio
import tempfile
from pathlib import Path
from random import Random

import pytest

from consumers.incidents.confirming import confirm
from consumers.incidents.recovering import apply_plan, catch_up
from consumers.incidents.replaying import Suspected, replay
from ledger.catalog.database import sqlite_catalog
from projections.incidents.applying import Making, read_plan, write_plan
from schemas.plans import PlanHead
from tests.factory import encode
from tests.fuzz.oracle import check
from tests.fuzz.world import World
from tests.incidents.opening import opened
from tests.incidents.random_histories import random_world

ZEROS = "0" * 64
EVERY = 50
QUICK = range(0, 500, 100)
MANY = range(500, 20_500, EVERY)


async def recover(seed: int, folder: Path) -> None:
    random = Random(seed)
    history, chosen = random_world(random, random.randrange(3, 60))
    world = World(folder / "signer")  # no root allows that files are freed: the plain oracle does not know it
    world.begin()
    first = len(world.events.values) - 1  # its record 0 is the ledger's, as here
    values = history.values[1:]
    suspects = frozenset(first + index for index in chosen)
    database = sqlite_catalog(folder / "catalog.sqlite", writes=True)
    async with world.signing() as signing, opened(world, database) as filling:
        cut = random.randint(0, len(values))
        for part in (values[:cut], values[cut:]):
            world.append(*part)
            await signing.publish(seconds=3600)
        await catch_up(filling)
        opening = len(world.events.values)
        world.append(*encode([world.make.incident_opened("theft")]))
        await catch_up(filling)
        suspected = Suspected("theft", suspects, frozenset())
        making = Making("nonce", "theft", "2030-02-01T00:00:00Z", "responder")
        made = await database.run(replay, suspected, filling.size, making.event)
        head = PlanHead(
            incident="theft",
            ledger=ZEROS,
            size=filling.size,
            root_hash=ZEROS,
            publication=filling.number,
            version=1,
            selection=ZEROS,
            expects={each.name: each.expects for each in made.projects},
            targets=tuple(each.path for each in made.targets),
            residuals=tuple(made.residuals),
        )
        plan = read_plan(write_plan(head, made.steps, making))
        applied = await apply_plan(filling, database, world.events, plan)
        assert applied.open == []
        await signing.publish(seconds=3600)
        await catch_up(filling)
        measures = frozenset(range(opening + 1, len(world.events.values)))
        found = await confirm(database, suspected._replace(measures=measures), plan.head, filling.number, world.storage)
        assert (found.deviations, found.lower, found.wrong) == ([], [], [])
    await check(world)


@pytest.mark.parametrize("seed", QUICK)
def test_a_recovered_ledger(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(recover(seed, Path(folder)))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_many_recovered_ledgers(part: int) -> None:
    for seed in MANY[part::10]:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(recover(seed, Path(folder)))
