"""Claims by strangers and by thieves: what they cost, what they stop, and what is left of it afterwards."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from ledger.clock import from_instant
from projections import publications as chain
from projections.log.prefix import Prefix
from projections.log.reading import read_records
from projections.publications import Head, LogTooShortError
from schemas.codec import encode_record
from schemas.errors import NegativeAnswerError
from schemas.publications import Claim, Record, Seal
from tests import factory
from tests.factory import Team, ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.logs import on_every_log
from tests.fuzz.world import SMALL, Signing, World, following
from tests.simulation.ports import InlineWorkers

NEW = (ed25519_signer("online 2"),)
NEW_TEAM = SMALL.but(online=NEW)
YEARS = 400


def prefix_at(world: World, size: int | None = None) -> Prefix:
    return Prefix().extend(world.events.values[:size])[0]


def claim(world: World, head: Head, number: int, *, size: int | None = None, **changes: Any) -> Claim:
    values = {"time": max(head.time, factory.instant(0)), **changes}
    return factory.claim(prefix_at(world, size), head, number, **values)


def sealed(claimed: Claim, team: Team = SMALL) -> bytes:
    return encode_record(factory.seal_claim(claimed, team.online))


def unsealed(claimed: Claim, seals: int = 1) -> bytes:
    """Under seals of the key in force that are not its own."""
    signature = ed25519_signer("stranger").sign(b"").signature
    keyid = SMALL.online[0].public_key.keyid
    return encode_record(Record(signatures=(Seal(keyid=keyid, sig=signature),) * seals, signed=claimed))


# --- what is the same on every replay ----------------------------------------------------------------------------


async def test_live_and_later_followers_list_the_same(world: World) -> None:
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        head = signing.follower.head
        claims = [claim(world, head, 2, root_hash="0" * 64), claim(world, head, 1), claim(world, head, 2, renew=("x",))]
        world.publications.values.extend(sealed(each) for each in claims)
        await signing.publish(world.make.file_uploaded("b"))
        live = await signing.followed.judged()
    assert [row.code for row in live] == ["root-hash", "number", "renew"]
    assert (await oracle.check(world)).judged == live


async def test_a_claim_beyond_the_log_is_listed_alike_for_ever(world: World) -> None:
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        world.publications.values.append(unsealed(claim(world, signing.follower.head, 2, size=3, root_hash="0" * 64)))
        changed = msgspec.structs.replace(claim(world, signing.follower.head, 2), size=4)
        world.publications.values.append(unsealed(changed))
        await signing.publish()
        await signing.publish(world.make.file_uploaded("b"))
        live = await signing.followed.judged()
    later = (await oracle.follow(world, skipping=False)).judged
    assert [(row.record, row.code) for row in later] == [(row.record, row.code) for row in live]


@pytest.mark.xfail(strict=True, reason="docs/design.md, 'Known limits'")
async def test_a_key_that_comes_into_force_later_splits_nobody(world: World) -> None:
    """The thief knows the next ceremony (it is signed, and not yet appended) and holds the new online key."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        new = SMALL.but(online=NEW)
        event = factory.encode([world.make.roles_signed(factory.ceremony(new, signing.authority, SMALL))])
        future, _ = prefix_at(world).extend(event)
        theft = factory.claim(future, signing.follower.head, 100, time=signing.follower.head.time)
        world.publications.values.append(sealed(theft, new))
        await signing.publish()  # everybody rejects it
        world.append(*event)
        world.keyring.hold(NEW)
        await signing.publish()
        await signing.publish(world.make.file_uploaded("b"))
        live = signing.follower.head
        assert live.number == 3
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        assert followed.follower.head == live


# --- what strangers cost -----------------------------------------------------------------------------------------


async def test_a_claim_beyond_the_log_costs_one_verification_for_each_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 MiB of such a claim hold 40,000 seals and 8 MiB to hash for each: a quarter of an hour for one record."""
    verified = []

    def counting(*arguments: Any) -> bool:
        verified.append(arguments)
        return False

    head = Head(0, sha256(world.events.values[0] or b"").hexdigest(), "", 0)
    claimed = msgspec.structs.replace(claim(world, head, 1), size=1000)
    world.publications.values.append(unsealed(claimed, seals=500))
    monkeypatch.setattr(chain, "verify", counting)
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        assert [row.kind for row in await followed.judged()] == ["claim"]
    assert len(verified) <= len(SMALL.online)


class CountingWorkers(InlineWorkers):
    """Counts the records that are decoded, or of which prefixes take in what they say."""

    def __init__(self) -> None:
        self.passed = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is read_records:
            self.passed += len(args[1])
        elif getattr(function, "__func__", None) is Prefix.advance:
            self.passed += args[0].end - args[0].start
        return function(*args, **kwargs)


@pytest.mark.parametrize("skipping", [False, True])
async def test_strangers_claims_do_not_make_followers_read_again(world: World, skipping: bool) -> None:
    """Two hundred claims of half a kilobyte, and the log is read two hundred times."""
    world.add(*(world.make.access("noted") for _ in range(300)))
    head = Head(0, sha256(world.events.values[0] or b"").hexdigest(), "", 0)
    sizes = [10, 300] * 100
    world.publications.values.extend(unsealed(claim(world, head, 1, size=size)) for size in sizes)
    async with world.signing() as signing:
        await signing.publish()
    workers = CountingWorkers()
    async with following(world.logs, workers=workers) as followed:
        if skipping:
            await followed.follower.skip()
        await followed.follower.catch_up()
        assert followed.follower.head.number == 1
    count = len(world.events.values)
    assert count <= workers.passed <= 6 * count


# --- what a thief leaves behind ----------------------------------------------------------------------------------


async def rotate(world: World, signing: Signing, team: Team | None = None) -> None:
    """The remedy: another online key."""
    await signing.follower.tail.read_on()
    world.hold_ceremony(team or SMALL.but(online=NEW), signing.authority)


@on_every_log
async def test_the_highest_number_does_not_end_the_ledger(world: World) -> None:
    """One claim, never completed; then the key is replaced."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        world.publications.values.append(sealed(claim(world, signing.follower.head, 2**53)))
        await rotate(world, signing)
        for _ in range(3):
            await signing.publish(world.make.file_uploaded("b"))
        assert signing.follower.head.size > 3
        before = len(world.publications.values)
        await signing.publish(world.make.file_uploaded("c"))
        assert signing.follower.head.number < 2**53
        assert len(world.publications.values) == before + 2


@on_every_log
async def test_a_claim_from_the_future_is_not_completed(world: World) -> None:
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        future = from_instant(factory.instant(0)).replace(year=2030 + YEARS).strftime("%Y-%m-%dT%H:%M:%SZ")
        world.publications.values.append(sealed(claim(world, signing.follower.head, 2, time=future)))
        await signing.publish(world.make.file_uploaded("b"))
        assert signing.follower.head.time < future
        await rotate(world, signing)
        assert await signing.publish(world.make.file_uploaded("c"))


NUMBERS = [1, 2, 3, 4, 1_000_003, 2**53 - 1, 2**53]
SIZES = [3, 9, 2**53 - 1, 2**53]
TIMES = ["2000-01-01T00:00:00Z", factory.instant(0), "2999-12-31T23:59:59Z"]


def whole_range(world: World, head: Head, *, size: int) -> list[Claim]:
    """Claims on a head of every number and time, and of sizes from this one on."""
    first = claim(world, head, 1)
    return [
        msgspec.structs.replace(first, number=number, size=each, time=time)
        for number in NUMBERS
        for each in SIZES
        for time in TIMES
        if each >= size
    ]


@on_every_log
async def test_an_old_key_cannot_halt_everybody_for_ever(world: World) -> None:
    """The key was replaced long ago; all that the thief still needs is write access to `publications`."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await rotate(world, signing)
        await signing.publish(world.make.file_uploaded("b"))
        size, head = len(world.events.values), signing.follower.head
        theft = [sealed(each) for each in whole_range(world, head, size=size)]
        world.publications.values.extend(theft)
        assert await signing.publish(world.make.file_uploaded("c"))
        live = await signing.followed.judged()
    assert len(live) == len(theft)
    assert {row.code for row in live} == {"number", "seal"}
    assert (await oracle.check(world)).judged == live


@on_every_log
async def test_one_replacement_ends_whatever_a_stolen_key_claimed_beyond_the_end(world: World) -> None:
    """However many claims there are; and those that the thief appends after it."""
    async with world.signing() as signing, following(world.logs) as halted:
        await signing.publish(world.make.file_uploaded("a"))
        await halted.follower.catch_up()
        beyond = [each for each in whole_range(world, signing.follower.head, size=9) if each.number > 1]
        assert len(beyond) > 40
        world.publications.values.extend(map(sealed, beyond))
        for _ in range(2):
            with pytest.raises(LogTooShortError, match="by a key that is online, beyond the end of `events`"):
                await signing.publish(world.make.file_uploaded("b"))
            with pytest.raises(LogTooShortError, match="treat the key as stolen"):
                await halted.follower.catch_up()
        assert len(world.events.values) < 9
        world.append(*factory.encode([world.make.roles_signed(factory.ceremony(NEW_TEAM, signing.authority, SMALL))]))
        world.keyring.hold(NEW)
        world.team = NEW_TEAM
        assert await signing.publish()
        world.publications.values.extend(sealed(each) for each in whole_range(world, signing.follower.head, size=9))
        assert await signing.publish(world.make.file_uploaded("c"))
        await halted.follower.catch_up()
        assert halted.follower.head == signing.follower.head
        assert await halted.judged() == await signing.followed.judged()
    await oracle.check(world)


@on_every_log
async def test_a_halting_seal_is_not_copied(world: World) -> None:
    """A signature beside the stolen one must not make another record of the same claim, without the key."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        beyond = msgspec.structs.replace(claim(world, signing.follower.head, 2), size=2**53)
        seal = factory.seal_claim(beyond, SMALL.online).signatures[0]
        stranger = factory.seals(b"", [ed25519_signer("stranger")])[0]
        for seals in (
            (Seal(keyid="0" * 64, sig="00"), seal),
            (seal, Seal(keyid="f" * 64, sig="00")),
            (seal, seal),
            tuple(sorted((seal, stranger), key=lambda each: each.keyid)),
        ):
            world.publications.values.append(encode_record(Record(signatures=seals, signed=beyond)))
        assert await signing.publish(world.make.file_uploaded("b"))
        live = await signing.followed.judged()
    assert [row.code for row in live] == ["seal"] * 4
    assert (await oracle.check(world)).judged == live


@on_every_log
async def test_when_numbers_run_out_the_signer_says_so(world: World) -> None:
    """Only owners of root can bring it there: a floor near the last number."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        settings = msgspec.structs.replace(SMALL.settings, floor=2**53)
        world.hold_ceremony(SMALL.but(settings=settings), signing.authority)
        assert await signing.publish()
        assert signing.follower.head.number == 2**53
        before = list(world.publications.values)
        with pytest.raises(NegativeAnswerError, match="no number is left"):
            await signing.publish(world.make.file_uploaded("b"))
        assert world.publications.values == before


@on_every_log
async def test_a_thief_of_the_key_in_force_exhausts_no_numbers(world: World) -> None:
    """Each claim may skip a million numbers: of 2^53, the thief takes what the log has room for."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        head = signing.follower.head
        within = [1_000_001, 2_000_001, 2**53, 2**53 - 1, 2_000_001, 3_000_002]
        world.publications.values.extend(sealed(claim(world, head, number)) for number in within)
        await signing.publish()
        assert signing.follower.head.number == 2_000_001
        codes = [row.code for row in await signing.followed.judged()]
        assert codes == ["number"] * 4
    await oracle.check(world)


@on_every_log
async def test_the_old_key_does_not_count_once_a_claim_covers_the_new_root(world: World) -> None:
    """The thief claims, under the old key and a size before the new root, after each claim of the signer's."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        head = signing.follower.head
        await rotate(world, signing)
        numbers = iter(range(10, 10_000, 10))

        def void() -> Iterable[bytes]:
            number = (
                next(numbers) if signing.follower.open_claim is None else signing.follower.open_claim.claim.number + 1
            )
            return [sealed(claim(world, head, number, size=head.size))]

        world.publications.strangers = void
        for _ in range(20):
            await signing.publish(world.make.file_uploaded("b"))
        assert signing.follower.head.number > 1


@on_every_log
async def test_the_online_key_is_replaced_while_a_hold_lasts(world: World) -> None:
    """A hold stops content, and no root: what is served is signed by the new key at once, and shows nothing held."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        hold = world.make.signing_held()
        world.add(hold, world.make.file_uploaded("b"))
        await rotate(world, signing)
        assert await signing.publish()
        assert factory.authority_of(signing.follower.base).online.keyids == (NEW[0].public_key.keyid,)
        assert signing.follower.head.size == 6
        assert signing.follower.head.content_size == 3
        view = await oracle.check(world)
        assert "targets/simple/b/index.json" not in view.files
        assert await signing.publish(world.make.signing_released(hold.id))
        view = await oracle.check(world)
        assert "targets/simple/b/index.json" in view.files
