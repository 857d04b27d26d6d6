"""What a follower makes of claims before it knows the root that decides, and when that root comes."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.render.edition import DivergenceError
from ledger.logs import Logs, LogUnavailableError
from projections.log.prefix import Prefix
from projections.publications import LogTooShortError, first_head
from projections.roles.authority import UpgradeNeededError, Void
from schemas.codec import encode_record
from schemas.publications import Claim
from tests import factory
from tests.factory import Team, ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.logs import LateLog, on_every_log
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.world import SMALL, World, following

pytestmark = on_every_log

SECOND, THIRD = (SMALL.but(online=(ed25519_signer(f"online {number}"),)) for number in (2, 3))


@pytest.fixture
async def world(world: World) -> World:
    """A ledger with one publication."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
    return world


def late(world: World) -> tuple[Logs, LateLog]:
    """Logs of which `events` ends, for now, where it ends now."""
    logs = world.logs
    events = LateLog(logs.events, len(world.events.values))
    return Logs(events, logs.publications), events


@pytest.mark.parametrize("restarts", [False, True])
async def test_events_that_lag_across_a_key_change(world: World, restarts: bool) -> None:
    """The follower rejects honest claims by a key that it does not know yet, and then catches up by itself."""
    logs, events = late(world)
    with tempfile.TemporaryDirectory() as folder:
        async with following(logs, Path(folder)) as lagging:
            await lagging.follower.catch_up()
            async with world.signing() as signing:
                world.hold_ceremony(SECOND, signing.authority)
                await signing.publish(world.make.file_uploaded("b"))
                await signing.publish(world.make.file_uploaded("c"))
                live, head = await signing.followed.judged(), signing.follower.head
            await lagging.follower.catch_up()
            assert lagging.follower.head.number == 1
            codes = [row.code for row in await lagging.judged()]
            assert codes == ["seal", "no-open-claim", "other-predecessor", "no-open-claim"]
            events.seen = len(world.events.values)
            if not restarts:
                await lagging.follower.catch_up()
                assert lagging.follower.head == head
                assert await lagging.judged() == live == []
        async with following(logs, Path(folder)) as again:
            await again.follower.catch_up()
            assert again.follower.head == head
            assert await again.judged() == live


async def test_events_that_lag_behind_a_claim(world: World) -> None:
    """The follower halts at an honest claim, and goes on when it has the events."""
    logs, events = late(world)
    async with following(logs) as lagging:
        await lagging.follower.catch_up()
        async with world.signing() as signing:
            await signing.publish(world.make.file_uploaded("b"))
            for _ in range(2):
                with pytest.raises(LogTooShortError):
                    await lagging.follower.catch_up()
            events.seen = len(world.events.values)
            await lagging.follower.catch_up()
            assert lagging.follower.head == signing.follower.head
        assert await lagging.judged() == []


@pytest.mark.parametrize("skipping", [False, True])
async def test_unread_events_with_a_new_root_and_the_first_claim_by_its_key(world: World, skipping: bool) -> None:
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        async with world.signing() as signing:
            world.hold_ceremony(SECOND, signing.authority)
            await signing.publish(world.make.file_uploaded("b"))
            if skipping:
                assert await followed.follower.skip()
            await followed.follower.catch_up()
            assert followed.follower.head == signing.follower.head
            assert await followed.judged() == []


async def test_a_root_ends_an_open_claim_and_a_pending_void_and_they_come_back(world: World) -> None:
    """What was judged between is judged again, in one process and in the next."""
    world.add(world.make.file_uploaded("b"))
    forged = (await draft(world)).but_snapshot(lambda signed: signed.update(version=9)).sealed()
    world.publications.values.extend(forged)
    void = Void(number=2, digest=digest_of(forged[1]))
    voiding = SECOND.but(void=void, settings=msgspec.structs.replace(SMALL.settings, floor=3))
    with tempfile.TemporaryDirectory() as folder:
        async with world.signing() as signing, following(world.logs, Path(folder)) as followed:
            with pytest.raises(DivergenceError):
                await followed.follower.catch_up()
            with pytest.raises(DivergenceError):
                await signing.publish()
            world.hold_ceremony(voiding, signing.authority)
            world.publications.values.append(b"noise")
            await followed.follower.catch_up()
            assert followed.follower.reader.state.void_before_size == len(world.events.values)
            judged = await followed.judged()
            assert [row.code for row in judged] == ["void", "not-json"]
            world.team = THIRD
            end = await signing.follower.tail.read_on()
            ceremony = factory.ceremony(THIRD.but(settings=voiding.settings), end.authority, voiding)
            world.append(*factory.encode([world.make.roles_signed(ceremony)]))
            world.keyring.hold(THIRD.online)
            assert await signing.publish()
            await followed.follower.catch_up()
            assert followed.follower.head == signing.follower.head
            assert await followed.judged() == await signing.followed.judged() == judged
    assert (await oracle.check(world)).judged == judged


async def test_a_publication_that_is_being_applied_is_finished_first(world: World) -> None:
    """The root comes while a publication is rendered."""
    world.add(world.make.file_uploaded("b"))
    world.publications.values.extend((await draft(world)).sealed())
    async with following(world.logs) as followed:
        follower = followed.follower
        while follower.head.number < 1 or follower.open_claim is None:
            await follower.step()
        current = Prefix().extend(world.events.values)[0].authority
        world.hold_ceremony(SECOND, current)
        await follower.tail.read_on()
        assert follower.reader.is_outdated
        # The claim is judged again, and its publication is valid all the same.
        await follower.catch_up()
        assert (follower.head.number, follower.reader.is_outdated) == (2, False)
        assert await followed.judged() == []


async def test_a_lie_that_a_root_makes_invalid_halts_nobody_who_meets_both(world: World) -> None:
    """A claim by a key that the follower does not know comes first; the root that makes it valid, last."""
    world.add(world.make.file_uploaded("b"))
    logs, events = late(world)
    forged = (await draft(world)).but_snapshot(lambda signed: signed.update(version=9)).sealed()
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        head = followed.follower.head
    world.hold_ceremony(SECOND, Prefix().extend(world.events.values)[0].authority)
    claim = factory.claim(Prefix().extend(world.events.values)[0], head, 2, time=head.time)
    world.publications.values.extend((encode_record(factory.seal_claim(claim, SECOND.online)), *forged))
    async with following(logs) as lagging:
        follower = lagging.follower
        while follower.open_claim is None:
            await follower.step()
        assert follower.open_claim.claim != claim
        events.seen = len(world.events.values)
        await follower.catch_up()
        assert follower.open_claim is not None
        assert follower.open_claim.claim == claim
        assert [row.code for row in await lagging.judged()] == ["older-root", "no-open-claim"]


# --- a root that this program does not know ----------------------------------------------------------------------


def append_unknown_root(world: World, team: Team) -> None:
    """A root of a ruleset to come, signed as it must be."""
    current = Prefix().extend(world.events.values)[0].authority
    made = factory.drafts(team, current)
    made["root"]["x-ledger"] = {**made["root"]["x-ledger"], "ruleset": 1}
    world.append(*factory.encode([world.make.roles_signed(factory.sign_all(made, team, world.team))]))


@pytest.mark.parametrize("skipping", [False, True])
async def test_an_unknown_root_far_behind_stops_no_older_claims(world: World, skipping: bool) -> None:
    async with world.signing() as signing:
        for name in ("b", "c", "d"):
            await signing.publish(world.make.file_uploaded(name))
        head = signing.follower.head
    world.publications.values.append(
        encode_record(factory.seal_claim(_claim(world, number=1), [ed25519_signer("stranger")]))
    )
    world.add(world.make.file_uploaded("e"))
    append_unknown_root(world, SECOND)
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            if skipping:
                assert await followed.follower.skip()
            with pytest.raises(UpgradeNeededError, match="ruleset 1"):
                await followed.follower.catch_up()
            assert followed.follower.head == head
            assert [row.code for row in await followed.judged()] == ["other-predecessor"]
        world.publications.values.append(
            encode_record(factory.seal_claim(_claim(world, previous=head.digest, number=9, size=99), SECOND.online))
        )
        async with following(world.logs, Path(folder)) as followed:
            with pytest.raises(UpgradeNeededError, match="ruleset 1"):
                await followed.follower.catch_up()
            assert followed.follower.next_record == len(world.publications.values) - 1


def _claim(world: World, **changes: Any) -> Claim:
    prefix = Prefix().extend(world.events.values[:2])[0]
    assert prefix.ledger is not None
    return factory.claim(prefix, first_head(prefix.ledger), **{"time": factory.instant(10**6), **changes})


# --- a root that was shown too early -----------------------------------------------------------------------------


async def test_a_root_that_was_rejected_cannot_be_used_to_split(world: World) -> None:
    """Two keys, threshold two, one stolen. A root that lowers the threshold stood in a ceremony that was rejected, so
    the thief has its bytes. They claim what it will cover, wait, and append it themselves.
    """
    pair = SMALL.but(online=(*SMALL.online, *SECOND.online), online_threshold=2)
    async with world.signing() as signing:
        world.hold_ceremony(pair, signing.authority)
        assert await signing.publish()
        coming = pair.but(online_threshold=1, expires="2041-01-01T00:00:00Z")
        files = factory.ceremony(coming, signing.authority, pair, everything=True)
        world.add(world.make.roles_signed({**files, "targets": {}}))
        await signing.publish(world.make.file_uploaded("b"))
        theirs = factory.encode([world.make.roles_signed(files)])
        future, _ = Prefix().extend([*world.events.values, *theirs])
        claim = factory.claim(future, signing.follower.head, 100, time=signing.follower.head.time)
        world.publications.values.append(encode_record(factory.seal_claim(claim, pair.online[:1])))
        async with following(world.logs) as early:
            await early.follower.catch_up()
            assert await signing.publish(world.make.signing_released("nothing"))
            await early.follower.catch_up()
            world.append(*theirs)
            assert await signing.publish(world.make.file_uploaded("c"))
            await early.follower.catch_up()
            assert early.follower.head == signing.follower.head
            live = await early.judged()
    async with following(world.logs) as late:
        await late.follower.catch_up()
        assert late.follower.head == signing.follower.head
        assert await late.judged() == live
    assert [row.code for row in live if row.kind == "roles.signed.v1"] == ["roles-malformed", "roles-used"]


async def test_a_signer_does_not_sign_a_number_again_under_another_claim(world: World) -> None:
    """While it signs publication 2, its key is replaced, and another signer claims the same number by the new one."""
    async with world.signing() as signing:
        first = Prefix().extend(world.events.values)[0].authority
        appended: list[bytes] = []

        def another() -> list[bytes]:
            if len(appended) or signing.follower.open_claim is None:
                return []
            world.hold_ceremony(SECOND, first)
            prefix = Prefix().extend(world.events.values)[0]
            head = signing.follower.head
            claim = factory.claim(prefix, head, 2, time=head.time)
            appended.append(encode_record(factory.seal_claim(claim, SECOND.online)))
            return appended

        world.publications.strangers = another
        await signing.publish(world.make.file_uploaded("b"))
        await signing.publish()
        assert appended
        assert signing.follower.head.number == 3
        assert (signing.follower.head.size, await signing.follower.publication(2)) == (len(world.events.values), None)
    await oracle.check(world)


async def test_a_signer_does_not_claim_a_number_again_that_it_signed(world: World) -> None:
    """Publication 2 is signed, and cannot be appended; its key is replaced, so that the claim of it counts no more."""
    async with world.signing() as signing:
        first = Prefix().extend(world.events.values)[0].authority
        failed: list[int] = []

        def fail_once() -> list[bytes]:
            if signing.follower.open_claim is not None and not failed:
                failed.append(signing.follower.open_claim.claim.number)
                raise LogUnavailableError("not now")
            return []

        world.publications.strangers = fail_once
        with pytest.raises(LogUnavailableError):
            await signing.publish(world.make.file_uploaded("b"))
        world.hold_ceremony(SECOND, first)
        assert await signing.publish()
        assert (failed, signing.follower.head.number) == ([2], 3)
    await oracle.check(world)


async def test_what_comes_before_a_record_that_stops_followers_is_skipped_to(world: World) -> None:
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("b"))
        head = signing.follower.head
    beyond = _claim(world, previous=head.digest, number=9, size=99)
    world.publications.values.append(encode_record(factory.seal_claim(beyond, SMALL.online)))
    async with following(world.logs) as followed:
        assert await followed.follower.skip()
        assert followed.follower.head == head
        with pytest.raises(LogTooShortError):
            await followed.follower.skip()
