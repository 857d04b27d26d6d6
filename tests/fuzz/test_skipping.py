"""`Follower.skip` against stepping: all of the last publication is compared; what lay between is for `verify`."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from consumers.follow.follower import SKIP_FROM
from consumers.render.edition import DivergenceError
from tests.fuzz.commands import rebuilt, verified
from tests.fuzz.thief import Signed, digest_of, draft
from tests.fuzz.world import World, following

LIE = "packages/evil-1.0.tar.gz"


def tell_lie(signed: Signed) -> None:
    signed["targets"][LIE] = {"hashes": {"sha256": "0" * 64}, "length": 1}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Publication 2 adds a target that no event names; number 3 signs that bin again, as it should be, and so on."""
    with tempfile.TemporaryDirectory() as folder:
        honest = World(Path(folder))
        honest.begin()
        async with honest.signing() as signing:
            await signing.publish(honest.make.file_uploaded("a"))
        world = World(Path(folder), events=honest.events, make=honest.make, storage=honest.storage)
        world.keyring.hold(world.team.online)
        world.publications.values.extend(honest.publications.values)
        honest.add(honest.make.file_uploaded("a", "2.0"))
        second = await draft(honest)
        name = second.names[0]
        world.publications.values.extend(second.but_bin(name, tell_lie).sealed())
        honest.publications.values.extend(second.sealed())
        for _ in range(SKIP_FROM):
            following_draft = await draft(honest, renew=(name,))
            last = world.publications.values[-1] or b""
            claim = msgspec.structs.replace(following_draft.claim, previous=digest_of(last))
            world.publications.values.extend(following_draft.but(claim=claim).sealed())
            honest.publications.values.extend(following_draft.sealed())
        yield world


async def test_stepping_halts_at_the_lie(world: World) -> None:
    async with following(world.logs) as followed:
        with pytest.raises(DivergenceError, match=r"publication 2 "):
            await followed.follower.catch_up()
    with pytest.raises(DivergenceError, match=r"publication 2 "):
        await verified(world)
    with pytest.raises(DivergenceError, match=r"publication 2 "):
        await rebuilt(world, all_versions=True)


async def test_skipping_and_rebuilding_give_what_the_events_make(world: World) -> None:
    """The lie was in a version that a true one replaced: nothing of it is left."""
    async with following(world.logs) as followed:
        assert await followed.follower.skip()
        files = followed.storage.files
    assert not any(LIE.encode() in data for data in files.values())
    _, tree = await rebuilt(world)
    assert tree["metadata/timestamp.json"] == files["metadata/timestamp.json"]


async def test_a_rebuild_of_the_lie_halts(world: World) -> None:
    del world.publications.values[4:]
    with pytest.raises(DivergenceError, match=r"publication 2 "):
        await rebuilt(world)


async def test_whoever_halted_halts_again_after_a_restart(world: World) -> None:
    """As `run_signer` and `run_publisher` start."""
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            with pytest.raises(DivergenceError):
                await followed.follower.catch_up()
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.skip(at_least=SKIP_FROM)
            with pytest.raises(DivergenceError):
                await followed.follower.catch_up()


async def test_skipping_begins_between_a_claim_and_its_publication(world: World) -> None:
    """`step` has left the publication where it is; then `skip` takes it."""
    del world.publications.values[2:]
    async with following(world.logs) as followed:
        assert await followed.follower.step(lambda _: False)
        assert not await followed.follower.step(lambda _: False)
        assert await followed.follower.skip()
