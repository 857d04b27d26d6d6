"""What all tests here share."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.factory import Team
from tests.fuzz import logs
from tests.fuzz.logs import RealLogs
from tests.fuzz.world import SMALL, Signing, World


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """Consumers report each of the thousands of records that they reject."""


@pytest.fixture
async def real(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RealLogs | None]:
    """The real logs of a world, if the test is one `on_every_log`."""
    kind = getattr(request, "param", "memory")
    async with AsyncExitStack() as stack:
        if kind == "sqlite":
            yield await logs.in_files(tmp_path / "log", stack)
        elif kind == "kafka":
            broker: Broker = request.getfixturevalue("session_broker")
            broker.start()
            yield await logs.on_broker(broker.bootstrap_servers, uuid.uuid4().hex[:12], stack)
        else:
            yield None


@pytest.fixture
def team() -> Team:
    """Who signs in the beginning."""
    return SMALL


@pytest.fixture
async def world(real: RealLogs | None, team: Team, tmp_path: Path) -> World:
    """A ledger that was not published yet."""
    world = World(tmp_path / "signer", team=team, real=real)
    world.begin()
    return world


@pytest.fixture
async def signing(world: World) -> AsyncIterator[Signing]:
    """A signer that has published one project, `a`."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        yield signing
