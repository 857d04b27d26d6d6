"""A catalog that is filled while a test goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumers.catalog.filling import Filling
from ledger.catalog.database import Database
from tests.fuzz.world import World
from tests.simulation.ports import InlineWorkers


@asynccontextmanager
async def opened(world: World, database: Database) -> AsyncIterator[Filling]:
    """Fill a catalog of a world."""
    await database.open()
    logs = world.logs
    await logs.open()
    filling = Filling(logs, database, InlineWorkers())
    await filling.start()
    yield filling
    await filling.close()
    await logs.close()
    await database.close()
