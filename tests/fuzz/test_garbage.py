"""Garbage on `publications`: read and decoded once, with one check of a signature for each record that names a key."""

import logging
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from consumers.render.edition import DivergenceError
from ledger.state.statements import State
from projections import publications as chain
from projections.log.prefix import Prefix
from projections.publications import Head
from projections.roles import keys
from projections.roles.authority import Void
from schemas.codec import encode_record
from schemas.publications import Claim, Record, Seal
from tests import factory
from tests.factory import ed25519_signer
from tests.fuzz.logs import on_every_log
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.world import SMALL, World, following
from tests.simulation.ports import InlineWorkers

pytestmark = on_every_log

COUNT = 20_000
SECOND = SMALL.but(online=(ed25519_signer("online 2"),))


@pytest.fixture
async def world(world: World) -> World:
    """A ledger whose online key was replaced once."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        world.hold_ceremony(SECOND, signing.authority)
        await signing.publish()
    return world


def garbage(world: World, head: Head) -> tuple[list[bytes | None], int]:
    """`COUNT` records without a key in force, and how many of them name a key that was ever online and no other."""
    prefix = Prefix().extend(world.events.values)[0]
    first = factory.claim(prefix, head, head.number + 1, time=head.time)
    known, stranger = SMALL.online[0], ed25519_signer("stranger")
    forged = Seal(keyid=SECOND.online[0].public_key.keyid, sig=stranger.sign(b"").signature)
    values: list[bytes | None] = []
    named = 0
    for number in range(COUNT // 8):
        claim = msgspec.structs.replace(first, number=head.number + 1 + number, size=prefix.size + number)
        within = msgspec.structs.replace(claim, size=max(head.size, number % prefix.size))
        values += [
            None,
            b"noise %d" % number,
            _record(claim, [forged]),
            _record(within, [forged]),
            _record(claim, list(factory.seal_claim(claim, [stranger]).signatures)),
            _record(claim, [Seal(keyid="0" * 64, sig="00"), forged]),
            _record(msgspec.structs.replace(claim, previous="0" * 64), [forged]),
            encode_record(factory.seal_claim(within, [known])),
        ]
        named += 3
    return values, named


def _record(claim: Claim, signatures: list[Seal]) -> bytes:
    return encode_record(Record(signatures=tuple(signatures), signed=claim))


class CountingWorkers(InlineWorkers):
    """Counts the switches to another thread."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return function(*args, **kwargs)


class Counted:
    """What was read from `publications`, verified, and written to the state."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[int] = []
        self.verified = self.statements = 0
        verify, rows, many = keys.verify, State.rows, State.many

        def verifying(*arguments: Any) -> bool:
            self.verified += 1
            return verify(*arguments)

        def one(state: State, *arguments: Any) -> list[Any]:
            self.statements += 1
            return rows(state, *arguments)

        def several(state: State, *arguments: Any) -> None:
            self.statements += 1
            many(state, *arguments)

        world.publications.watch = self.starts.append
        monkeypatch.setattr(chain, "verify", verifying)
        monkeypatch.setattr(State, "rows", one)
        monkeypatch.setattr(State, "many", several)

    def again(self) -> None:
        self.starts.clear()
        self.verified = self.statements = 0


@pytest.fixture
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged, warnings and worse."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


async def test_garbage_costs_one_check_a_record_and_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch, lines: list[MutableMapping[str, Any]]
) -> None:
    counted, workers = Counted(world, monkeypatch), CountingWorkers()
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            values, named = garbage(world, followed.follower.head)
        first = len(world.publications.values)
        world.publications.values.extend(values)
        counted.again()
        async with following(world.logs, Path(folder), workers=workers) as followed:
            opened = counted.statements
            await followed.follower.catch_up()
        assert counted.verified == named
        assert workers.count < 100
        assert counted.statements - opened < 5 * COUNT / 1000
        (line,) = lines
        assert (line["event"], line["count"], line["first_record"], line["last_record"]) == (
            "records rejected",
            COUNT,
            first,
            first + COUNT - 1,
        )
        assert sum(line["codes"].values()) == COUNT
        counted.again()
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            assert len(await followed.judged()) == COUNT
        assert counted.verified == 0
        assert min(counted.starts) == first + COUNT - 1  # the last one is compared with what the state knows
        # A root that changes nothing about who may seal does not change that.
        end = Prefix().extend(world.events.values)[0]
        settings = msgspec.structs.replace(SMALL.settings, html_pages=True)
        world.hold_ceremony(SECOND.but(settings=settings), end.authority)
        counted.again()
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            assert followed.follower.reader.state.root_version == 3
            assert len(await followed.judged()) == COUNT
        assert min(counted.starts) == first + COUNT - 1


async def _open(world: World) -> None:
    """Leave a claim open."""
    world.add(world.make.file_uploaded("b"))
    world.publications.values.append((await draft(world)).sealed()[0])


async def _void(world: World) -> None:
    """Publish a lie and void it."""
    world.add(world.make.file_uploaded("b"))
    forged = (await draft(world)).but_snapshot(lambda signed: signed.update(version=99)).sealed()
    world.publications.values.extend(forged)
    async with following(world.logs) as followed:
        with pytest.raises(DivergenceError):
            await followed.follower.catch_up()
        number = followed.follower.head.number + 1
        settings = msgspec.structs.replace(SMALL.settings, floor=number + 1)
        world.hold_ceremony(
            SECOND.but(void=Void(number, digest_of(forged[1])), settings=settings), followed.follower.tail.end.authority
        )


@pytest.mark.parametrize("before", [_open, _void])
async def test_a_restart_in_the_middle(
    world: World, before: Callable[[World], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an open claim, or with a void that is pending: both are there again, and the garbage is not read again."""
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        values, _ = garbage(world, followed.follower.head)
    await before(world)
    world.publications.values.extend(values[:400])
    counted = Counted(world, monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        states = []
        for _ in range(2):
            counted.again()
            async with following(world.logs, Path(folder)) as followed:
                await followed.follower.catch_up()
                states.append((followed.follower.reader.state, await followed.judged()))
        assert states[0] == states[1]
        assert states[0][0].open_claim or states[0][0].void_before_size
        assert min(counted.starts) == len(world.publications.values) - 1
        assert counted.verified == 0
        # A root that changes who may seal, read meanwhile: all is judged again.
        end = Prefix().extend(world.events.values)[0]
        world.hold_ceremony(world.team.but(online=(ed25519_signer("online 3"),), void=None), end.authority)
        world.publications.values.append(b"more noise")
        counted.again()
        async with world.signing() as signing, following(world.logs, Path(folder)) as followed:
            assert await signing.publish()
            await followed.follower.catch_up()
            assert followed.follower.head == signing.follower.head
            assert await followed.judged() == await signing.followed.judged()
        assert counted.verified > 0
