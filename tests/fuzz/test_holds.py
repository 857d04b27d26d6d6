"""Holds stop content, not authority: whatever is held, whoever follows, whatever a thief of the online key claims."""

import json
import tempfile
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.render.edition import DivergenceError
from ledger.logs.memory import MemoryLog
from projections.log.holds import lock_of
from projections.log.reading import Reading
from projections.roles.authority import Settings, Void
from projections.roles.layout import Layout
from schemas.codec import encode_event
from schemas.events import BaseEvent
from tests import factory
from tests.factory import Team, ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.world import SMALL, Signing, World, following
from tests.property.holds import content_sizes, stated_sizes

NEW = (ed25519_signer("online 2"),)


def projects(world: World) -> list[str]:
    """The projects whose pages are served."""
    paths = [path.split("/") for path in world.storage.tree.files if path.endswith("/index.json")]
    return sorted(path[2] for path in paths if len(path) == 4)


async def check(world: World) -> None:
    """All followers agree, and every publication shows what no hold holds, and no more."""
    view = await oracle.check(world, rng=Random("holds"))
    numbers = sorted(
        int(path.split("/")[1].split(".")[0]) for path in world.storage.tree.files if path.endswith(".snapshot.json")
    )
    stated = [stated_sizes(world.storage.tree.files[f"metadata/{number}.snapshot.json"]) for number in numbers]
    ceremonies = [index for index, value in enumerate(world.events.values) if b'"roles.signed.' in (value or b"")]
    assert [shown for _, shown in stated] == content_sizes(
        world.events.values, ceremonies, [size for size, _ in stated]
    )
    assert view.number == numbers[-1]


async def change_to(world: World, signing: Signing, team: Team) -> bool:
    """A ceremony, published."""
    await signing.follower.tail.read_on()
    world.hold_ceremony(team, signing.authority)
    return await signing.publish()


async def test_a_first_publication_may_be_held_at_nothing(world: World) -> None:
    async with world.signing() as signing:
        hold = world.make.signing_held(0)
        assert await signing.publish(world.make.file_uploaded("a"), hold)
        assert signing.follower.head.content_size == 2, "the first root is shown, and nothing else"
        assert projects(world) == []
        await check(world)
        assert await signing.publish(world.make.signing_released(hold.id))
        assert projects(world) == ["a"]
        await check(world)


async def test_what_stands_before_the_first_root_is_not_shown_when_a_hold_is_released() -> None:
    """No root was in force: it counts for no aggregate, held or not."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.keyring.hold(world.team.online)
        created, ceremony = factory.beginning(world.make, SMALL)
        early, hold = world.make.project_created("early"), world.make.signing_held(0)
        world.append(created, encode_event(early), ceremony, *factory.encode([hold, world.make.file_uploaded("a")]))
        async with world.signing() as signing:
            assert await signing.publish()
            assert (projects(world), signing.follower.head.content_size) == ([], 3)
            assert await signing.publish(world.make.signing_released(hold.id))
            assert projects(world) == ["a"]
        stepped = await oracle.follow(world, skipping=False)
        oracle.same_view(stepped, await oracle.follow(world, skipping=True))
        assert [(row.record, row.code) for row in stepped.judged] == [(1, "no-root")]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_holds_are_released_in_every_order(world: World, signing: Signing, order: tuple[int, ...]) -> None:
    """What is shown is what the lowest of the others holds; it never shrinks."""
    make = world.make
    holds: list[BaseEvent] = []
    for name in ("b", "c", "d"):
        holds.append(make.signing_held())
        await signing.publish(holds[-1], make.file_uploaded(name))
    assert projects(world) == ["a"]
    sizes = [3, 5, 7]
    for step, each in enumerate(order):
        await signing.publish(make.signing_released(holds[each].id))
        open_sizes = [sizes[other] for other in order[step + 1 :]]
        assert signing.follower.head.content_size == min(open_sizes, default=len(world.events.values))
    assert projects(world) == ["a", "b", "c", "d"]
    await check(world)


@pytest.mark.parametrize("size", [0, 2, 3, 4, 5, 6, None])
async def test_a_hold_below_at_and_above_what_is_shown(world: World, size: int | None) -> None:
    make = world.make
    async with world.signing() as signing:
        await signing.publish(make.file_uploaded("a"), make.file_uploaded("b"))  # 4 events are shown
        hold = make.signing_held(size)
        await signing.publish(make.file_uploaded("c"), hold, make.file_uploaded("d"))
        expected = 4 if size is not None and size <= 4 else 5
        assert signing.follower.head.content_size == expected
        assert projects(world) == (["a", "b"] if expected == 4 else ["a", "b", "c"])
        await signing.publish(make.signing_released(hold.id))
        assert projects(world) == ["a", "b", "c", "d"]
        await check(world)


# --- a thief -----------------------------------------------------------------------------------------------------


async def test_a_publication_that_shows_what_is_held_diverges(world: World, signing: Signing) -> None:
    """The thief has the online key, and covers the hold; whoever steps, skips or begins halts, and a root voids it."""
    make = world.make
    hold = make.signing_held()
    world.add(hold, make.file_uploaded("b"))
    claim, record = (await draft(world, shown=5)).sealed()
    world.publications.values.extend([claim, record])
    for skipping in (False, True):
        async with following(world.logs) as followed:
            if skipping:
                await followed.follower.skip()
            with pytest.raises(DivergenceError, match="publication 2"):
                await followed.follower.catch_up()
    with pytest.raises(DivergenceError):
        await signing.publish()
    assert projects(world) == ["a"]
    settings = Settings(ruleset=0, project_list_seconds=0, floor=3)
    void = Void(number=2, digest=digest_of(record))
    assert await change_to(world, signing, SMALL.but(online=NEW, void=void, settings=settings))
    assert projects(world) == ["a"]
    assert signing.follower.head.content_size == 3
    await oracle.check(world)


async def test_what_is_shown_too_little_diverges_too(world: World, signing: Signing) -> None:
    """A thief cannot hold content back without a hold on the log."""
    world.add(world.make.file_uploaded("b"))
    world.publications.values.extend((await draft(world, shown=3)).sealed())
    with pytest.raises(DivergenceError):
        await signing.publish()


async def test_a_publication_that_does_not_cover_the_hold_shows_what_it_shows(world: World, signing: Signing) -> None:
    """It was made before the hold was read, or by a thief: nobody can tell, and followers judge it as any other."""
    make = world.make
    world.add(make.file_uploaded("b"), make.signing_held(3), make.file_uploaded("c"))
    world.publications.values.extend((await draft(world, size=4)).sealed())
    assert await signing.publish()
    assert signing.follower.head.content_size == 4, "b is shown: the claim of size 4 does not cover the hold"
    assert projects(world) == ["a", "b"]
    await check(world)


async def test_an_open_claim_that_would_show_what_is_held_is_voided(world: World, signing: Signing) -> None:
    make = world.make
    world.add(make.file_uploaded("b"))
    claim, publication = (await draft(world)).sealed()
    world.publications.values.append(claim)
    world.add(make.signing_held(3))
    assert await signing.publish()
    assert signing.follower.head.number == 3
    world.publications.values.append(publication)
    await signing.publish()
    assert projects(world) == ["a"]
    await check(world)


async def test_an_open_claim_that_shows_no_more_than_it_may_is_completed(world: World, signing: Signing) -> None:
    make = world.make
    world.add(make.file_uploaded("b"))
    world.publications.values.append((await draft(world)).sealed()[0])
    world.add(make.signing_held())
    assert await signing.publish()
    assert signing.follower.head.number == 2
    assert projects(world) == ["a", "b"]
    await signing.publish()
    await check(world)


async def test_a_thiefs_holds_stop_nothing_but_content_and_end_with_a_root(world: World, signing: Signing) -> None:
    """The thief can append events: locked holds, again and again."""
    make = world.make
    for number in range(5):
        world.add(make.signing_held(number % 3, lock=lock_of("5e" * 32)), make.file_uploaded("b", f"{number}.0"))
        assert await signing.publish(), "holds are covered at once"
    own = make.signing_held(3, lock=lock_of("0a" * 32))
    world.add(own)
    index = len(world.events.values) - 1
    team = SMALL.but(online=NEW, settings=Settings(ruleset=0, project_list_seconds=0, holds_end=index))
    assert await change_to(world, signing, team)
    assert projects(world) == ["a"]
    await check(world)
    assert await signing.publish(make.signing_released(own.id, secret="0a" * 32))
    assert projects(world) == ["a", "b"]
    await check(world)


# --- what goes on during a hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"layout": Layout(1)},
        {"layout": Layout(3)},
        {"layout": Layout(2, "other")},
        {"layout": Layout(2, succinct=False)},
        {"settings": Settings(ruleset=0, project_list_seconds=0, html_pages=True)},
        {"online": NEW},
    ],
    ids=["fewer bins", "more bins", "other names", "prefixes", "HTML", "another key"],
)
async def test_offline_roles_change_during_a_hold(world: World, change: dict[str, object]) -> None:
    """Everything that shapes files changes at once; what waits is folded later, into what is then."""
    make = world.make
    async with world.signing() as signing:
        await signing.publish(make.file_uploaded("a"), make.file_uploaded("b"))
        hold = make.signing_held()
        await signing.publish(hold, make.project_removed("b"), make.file_uploaded("c"))
        assert await change_to(world, signing, SMALL.but(**change))
        assert projects(world) == ["a", "b"]
        await check(world)
        await signing.publish(make.file_uploaded("a", "2.0"))
        assert await signing.publish(make.signing_released(hold.id))
        assert projects(world) == ["a", "c"]
        await check(world)


async def test_the_list_of_projects_during_a_hold(world: World, signing: Signing) -> None:
    """It has the serial of what is shown, and waits for its time, which passes during the hold."""
    make = world.make

    def listed() -> tuple[list[str], int]:
        page = json.loads(world.storage.tree.files["targets/simple/index.json"])
        return [each["name"] for each in page["projects"]], page["meta"]["_last-serial"]

    assert await change_to(world, signing, SMALL.but(settings=Settings(ruleset=0, project_list_seconds=100)))
    await signing.publish(make.file_uploaded("b"))
    assert listed() == (["a"], 2)
    hold = make.signing_held()
    await signing.publish(hold, make.file_uploaded("c"))
    assert listed() == (["a"], 2)
    await signing.publish(make.file_uploaded("d"), seconds=100)
    assert listed() == (["a", "b"], 4)
    assert await signing.publish(make.signing_released(hold.id))
    assert listed() == (["a", "b"], 4)
    await check(world)
    async with following(world.logs) as followed:  # c and d were covered before the list was rendered, and not shown
        assert await followed.follower.skip()
        assert followed.follower.head == signing.follower.head
    await signing.publish(make.access("noted"), seconds=100)
    assert listed() == (["a", "b", "c", "d"], 9)
    await check(world)


async def test_events_that_wait_are_covered_once_a_minute(world: World, signing: Signing) -> None:
    make = world.make

    async def publishes(*made: BaseEvent, seconds: float = 2) -> bool:
        world.add(*made)
        world.clock.advance(seconds)
        return await signing.signer.step()

    hold = make.signing_held()
    assert await publishes(hold), "at once"
    assert not await publishes(make.file_uploaded("b"))
    assert not await publishes(make.file_uploaded("c"), seconds=50)
    assert await publishes(seconds=10)
    assert signing.follower.head.size == 6
    assert await publishes(make.file_uploaded("d"), make.signing_held(6)), "another hold: at once"
    assert not await publishes(make.file_uploaded("e"))
    await signing.follower.tail.read_on()
    world.hold_ceremony(SMALL.but(online=NEW), signing.authority)
    assert await publishes(), "a root: at once"
    assert not await publishes(make.file_uploaded("f"))
    assert await publishes(make.signing_released(hold.id)), "a release: at once"
    assert projects(world) == ["a", "b", "c"]


# --- costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("skipping", [False, True])
async def test_catching_up_over_the_publications_of_a_hold_is_linear(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch, count: int, skipping: bool
) -> None:
    """Each event is read when it is covered, and once more when it is shown; none is looked at for each publication."""
    make = world.make
    hold = make.signing_held()
    world.add(hold)
    for number in range(count):
        world.add(make.file_uploaded("b", f"{number}.0"))
        assert await signing.publish()
    world.add(make.signing_released(hold.id))
    assert await signing.publish()
    read, looked = 0, 0
    reading, between = MemoryLog.read, Reading.between

    async def counting(log: MemoryLog, start: int) -> list[bytes | None]:
        nonlocal read
        values = await reading(log, start)
        read += len(values) if log is world.events else 0
        return values

    def counted(self: Reading, first: int, last: int) -> Reading:
        nonlocal looked
        looked += last - first
        return between(self, first, last)

    monkeypatch.setattr(MemoryLog, "read", counting)
    monkeypatch.setattr(Reading, "between", counted)
    size = len(world.events.values)
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            if skipping:
                await followed.follower.skip()
            await followed.follower.catch_up()
            assert followed.follower.head.content_size == size
    assert read <= 2 * size + 1_010, "twice, and at most one read of a thousand records too far"
    assert looked <= 4 * size + 2_000, "a slice is cut for each publication, not passed over"


@pytest.mark.parametrize("kept", [1, LIMITS.tail_signing])
async def test_what_waits_is_shown_after_a_restart_at_any_publication(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """Whether the state has rows of holds ahead of its position, or memory has them."""
    monkeypatch.setattr(Context, "limits", LIMITS._replace(tail_signing=kept))
    make = world.make
    holds = [make.signing_held(), make.signing_held(5)]
    for made in (
        [holds[0], make.file_uploaded("b")],
        [holds[1], make.project_removed("a")],
        [make.file_uploaded("c")],
        [make.signing_released(holds[0].id)],
        [make.file_uploaded("d")],
        [make.signing_released(holds[1].id)],
        [make.file_uploaded("e")],
    ):
        assert await signing.publish(*made)
    last = signing.follower.head.number
    stepped = await oracle.follow(world, skipping=False)
    for first in range(last + 1):
        oracle.same_view(stepped, await oracle.follow(world, skipping=first % 2 == 0, first=first))
    await check(world)


async def test_a_hold_that_was_read_and_lost_with_the_end_of_the_log_counts_no_more(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was stored ahead of the position, and the follower starts anew."""
    monkeypatch.setattr(Context, "limits", LIMITS._replace(tail_signing=1))
    world.events.read_records = 1
    make = world.make
    hold = make.signing_held()
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            world.add(hold)
            await followed.follower.tail.read_on()
            assert followed.follower.tail.stored_size == 4
        del world.events.values[3:]
        assert await signing.publish(make.file_uploaded("b"), make.signing_released(hold.id))
        async with following(world.logs, Path(folder)) as followed:
            await followed.follower.catch_up()
            assert followed.follower.head == signing.follower.head
            listed = await followed.judged()
            assert listed == await signing.followed.judged()
            assert [row.code for row in listed] == ["no-hold"]


async def test_a_held_event_is_judged_once(world: World, signing: Signing) -> None:
    """A record that is rejected is listed when it is shown, and once."""
    make = world.make
    hold = make.signing_held()
    world.add(hold, make.project_removed("unknown"))
    world.append(b"garbage")
    await signing.publish()
    listed = await signing.followed.judged()
    assert [(row.record, row.code) for row in listed] == [(5, "not-json")]
    await signing.publish(make.signing_released(hold.id))
    listed = await signing.followed.judged()
    assert [(row.record, row.code) for row in listed] == [(4, "no-project"), (5, "not-json")]
    assert encode_event(hold) in world.events.values
