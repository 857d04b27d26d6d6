"""`Follower.skip` against stepping: all of the last publication is compared; what lay between is for `verify`."""

import tempfile
from pathlib import Path

import msgspec
import pytest

from consumers.follow.follower import SkippedError
from consumers.limits import LIMITS
from consumers.render.edition import DivergenceError
from projections.log.prefix import Prefix
from projections.roles.authority import Void
from tests.factory import ed25519_signer
from tests.fuzz.commands import rebuilt, verified
from tests.fuzz.logs import RealLogs, StrangeLog, on_every_log
from tests.fuzz.thief import Signed, digest_of, draft
from tests.fuzz.world import World, following

LIE = "packages/evil-1.0.tar.gz"


def tell_lie(signed: Signed) -> None:
    signed["targets"][LIE] = {"hashes": {"sha256": "0" * 64}, "length": 1}


@pytest.fixture
async def world(real: RealLogs | None, tmp_path: Path) -> World:
    """Publication 2 adds a target that no event names; number 3 signs that bin again, as it should be, and so on."""
    honest = World(tmp_path / "signer")
    honest.begin()
    async with honest.signing() as signing:
        await signing.publish(honest.make.file_uploaded("a"))
    world = World(honest.folder, events=honest.events, make=honest.make, storage=honest.storage, real=real)
    world.keyring.hold(world.team.online)
    world.publications.values.extend(honest.publications.values)
    honest.add(honest.make.file_uploaded("a", "2.0"))
    second = await draft(honest)
    name = second.names[0]
    world.publications.values.extend(second.but_bin(name, tell_lie).sealed())
    honest.publications.values.extend(second.sealed())
    for _ in range(LIMITS.skip_from):
        following_draft = await draft(honest, renew=(name,))
        last = world.publications.values[-1] or b""
        claim = msgspec.structs.replace(following_draft.claim, previous=digest_of(last))
        world.publications.values.extend(following_draft.but(claim=claim).sealed())
        honest.publications.values.extend(following_draft.sealed())
    return world


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
        files = followed.storage.tree.files
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
            await followed.follower.skip(at_least=LIMITS.skip_from)
            with pytest.raises(DivergenceError):
                await followed.follower.catch_up()


async def test_skipping_begins_between_a_claim_and_its_publication(world: World) -> None:
    """`step` has left the publication where it is; then `skip` takes it."""
    del world.publications.values[2:]
    async with following(world.logs) as followed:
        assert await followed.follower.step(lambda _: False)
        assert not await followed.follower.step(lambda _: False)
        assert await followed.follower.skip()


# --- voiding what was skipped ------------------------------------------------------------------------------------


def replace_and_void(world: World, number: int, record: bytes) -> None:
    """A root with another online key that voids a publication."""
    end = Prefix().extend(world.events.values)[0]
    settings = msgspec.structs.replace(world.team.settings, floor=1000)
    new = world.team.but(online=(ed25519_signer("online 2"),), settings=settings, void=Void(number, digest_of(record)))
    world.hold_ceremony(new, end.authority)


async def publish_anew(world: World) -> int:
    """A signer whose state steps to where the logs end, and publishes."""
    async with world.signing() as signing:
        assert await signing.publish(world.make.file_uploaded("b"))
        return signing.follower.head.number


@on_every_log
async def test_who_skipped_over_a_lie_stops_when_a_root_voids_it(world: World) -> None:
    """They serve what comes after the lie, and cannot step back; a state that is made anew goes on."""
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            assert await followed.follower.skip()
            assert followed.follower.head.number == LIMITS.skip_from + 2
            replace_and_void(world, 2, world.publications.values[3] or b"")
            world.storage.tree.files.clear()
            number = await publish_anew(world)
            for go in (followed.follower.catch_up, followed.follower.skip):
                with pytest.raises(SkippedError, match=r"publication 2, which .*state\.sqlite has skipped over"):
                    await go()
        async with following(world.logs, Path(folder)) as followed:
            for go in (followed.follower.skip, followed.follower.catch_up):
                with pytest.raises(SkippedError, match="Stop the consumer and delete"):
                    await go()
            assert followed.follower.head.number == LIMITS.skip_from + 2
    async with following(world.logs) as anew:
        await anew.follower.skip()
        await anew.follower.catch_up()
        assert anew.follower.head.number == number
        assert [row.code for row in await anew.judged()][:1] == ["void"]


@on_every_log
async def test_who_was_there_before_the_lie_goes_on(world: World) -> None:
    """They halted at it."""
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            with pytest.raises(DivergenceError):
                await followed.follower.catch_up()
            replace_and_void(world, 2, world.publications.values[3] or b"")
            world.storage.tree.files.clear()
            number = await publish_anew(world)
            await followed.follower.catch_up()
            assert followed.follower.head.number == number


@on_every_log
async def test_a_mistyped_void_stops_nobody_who_stepped(world: World) -> None:
    """Publication 1 reproduces: whoever rendered it goes on, and so does whoever begins after the root."""
    del world.publications.values[2:]
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            replace_and_void(world, 1, world.publications.values[1] or b"")
            number = await publish_anew(world)
            await followed.follower.catch_up()
            assert followed.follower.head.number == number
            assert await followed.judged() == []
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
    for skips in (False, True):
        async with following(world.logs) as anew:
            if skips:
                await anew.follower.skip()
            await anew.follower.catch_up()
            assert anew.follower.head.number == number
            assert await anew.judged() == []


async def test_a_root_that_comes_while_publications_are_collected(world: World) -> None:
    """It voids one of them: the run ends before that one."""
    del world.publications.values[2:]
    async with world.signing() as signing:
        for name in "bcdef":
            await signing.publish(world.make.file_uploaded(name))
        head = signing.follower.head
    record = world.publications.values[5] or b""
    publications = world.publications
    publications.read_records = 3

    async def reading(start: int) -> list[bytes | None]:
        values = await StrangeLog.read(publications, start)
        if start > 6 and world.team.void is None:
            replace_and_void(world, 3, record)
            await publish_anew(world)
        return values

    with pytest.MonkeyPatch.context() as patch:
        async with following(world.logs) as followed:
            patch.setattr(publications, "read", reading)
            assert await followed.follower.skip()
            assert followed.follower.head.number == 2
            await followed.follower.catch_up()
            assert followed.follower.head.number > head.number
