"""A short history that has something of everything that people ask about."""

from pathlib import Path

from ledger.catalog.database import Database
from schemas.events import BaseEvent
from tests.fuzz.catalogs import fill
from tests.fuzz.world import World

TOKEN = {"actorid": "alice", "actorcredential": "token:alice-1"}
THIEF = {"actorid": "alice", "actorcredential": "token:alice-2"}


async def tell_story(folder: Path) -> World:
    """The logs of the history. Alice owns alpha; somebody uses a token of hers that nobody granted."""
    world = World(folder)
    make = world.make
    alice, thief = make.having(**TOKEN), make.having(**THIEF)
    world.begin()
    async with world.signing() as signing:

        async def publish(*events: BaseEvent) -> None:
            world.clock.advance(3600)
            await signing.publish(*events)

        await publish(
            make.access("granted", "alice", account="alice", role="owner", project="alpha"),
            make.access("granted", "alice", kind="credential", account="alice", credential="token:alice-1", role=None),
            alice.project_created("alpha"),
            alice.file_uploaded("alpha", "1.0"),
        )
        await publish(
            alice.file_uploaded("alpha", "1.0", filename="alpha-1.0-py3-none-any.whl", provenance_sha256="ab" * 32),
            make.having(actorkind="trusted-publisher", actorid="github/beta").file_uploaded("beta", "1"),
        )
        await publish(alice.release_yanked("alpha", "1.0", "use 1.1"), alice.file_uploaded("alpha", "1.1"))
        await publish(
            thief.file_uploaded("alpha", "1.0", filename="alpha-1.0-1-py3-none-any.whl"),
            thief.file_uploaded("alpha", "1.1", length=7),
            make.release_quarantined("beta", "1", "looks bad"),
            make.access("revoked", "alice", account="alice", role="owner", project="gamma"),
        )
        await publish(make.file_removed("alpha", "alpha-1.0-1-py3-none-any.whl", "malware", withhold=True))
        world.add(make.signing_held(), alice.file_uploaded("alpha", "1.2"))
        await publish()
    return world


async def story_catalog(folder: Path, database: Database) -> World:
    """The history in an open catalog, which is empty before."""
    world = await tell_story(folder)
    await fill(world, database)
    return world
