"""Times: publications from the future, and the root that starts a new time; clocks that are behind."""

import json

import msgspec
import pytest

from consumers.rebuild import rebuilding
from consumers.sign.schedule import ClockError, Schedule
from ledger.clock import to_instant
from projections.roles.authority import Void
from schemas.errors import NegativeAnswerError
from tests import factory
from tests.factory import Team, ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.commands import rebuilt
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.world import SMALL, Signing, World, following

KEYS = [(ed25519_signer(f"online {number}"),) for number in range(2, 7)]
TEAM = SMALL.but(settings=msgspec.structs.replace(SMALL.settings, importing=False))
FUTURE = "2999-01-01T00:00:00Z"
NEXT_CENTURY = "2100"


@pytest.fixture
def team() -> Team:
    return TEAM


async def publish_as_thief(world: World, time: str = FUTURE) -> None:
    """What an honest signer would publish, but for its time."""
    forged = await draft(world, time=time)
    world.publications.values.extend(forged.sealed())


async def change(world: World, signing: Signing, team: Team, *, time_from: str | None = None) -> None:
    """A ceremony of this team's, which starts a new time if one is given."""
    if time_from is not None:
        team = team.but(settings=msgspec.structs.replace(team.settings, time_from=time_from))
    await signing.follower.tail.read_on()
    world.hold_ceremony(team, signing.authority)


def upload_time(signing: Signing, project: str, version: str) -> str:
    """The upload time of a file, as it is served."""
    page = json.loads(signing.followed.storage.tree.files[f"targets/simple/{project}/index.json"])
    (time,) = [file["upload-time"] for file in page["files"] if file["filename"] == f"{project}-{version}.tar.gz"]
    return str(time)


def now(world: World) -> str:
    return to_instant(world.clock.now())


async def check_times(world: World, names: set[str]) -> oracle.View:
    """All followers and clients agree; nothing that is served now is from the future."""
    view = await oracle.check(world)
    timestamp = json.loads(view.files["metadata/timestamp.json"])["signed"]
    assert timestamp["expires"] < NEXT_CENTURY
    offline = ("root.json", "targets.json", "bins.json")
    for path in view.reachable:
        if path.startswith("metadata/") and not path.endswith(offline):
            assert json.loads(view.files[path])["signed"]["expires"] < NEXT_CENTURY, path
    listed = json.loads(view.files["targets/simple/index.json"])["projects"]
    assert {each["name"] for each in listed} == names
    return view


async def test_a_publication_from_the_future(world: World) -> None:
    """It is what the events make, in every byte. The next root starts a new time, and everything goes on."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await signing.publish(world.make.file_uploaded("b"))
        await publish_as_thief(world)
        world.add(world.make.having(time="2995-01-01T00:00:00.5Z").file_uploaded("b", "2.0"))
        await publish_as_thief(world)
        with pytest.raises(ClockError, match="starts a new time"):
            await signing.publish(world.make.file_uploaded("c"))
        assert signing.follower.head.time == FUTURE
        assert upload_time(signing, "b", "2.0") == FUTURE
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=now(world))
        assert await signing.publish(world.make.file_uploaded("d"))
        assert signing.follower.head.time == now(world)
        assert upload_time(signing, "b", "2.0") == now(world), "the real time caps it"
        assert upload_time(signing, "a", "1.0") < now(world)
        assert await signing.publish(world.make.file_uploaded("e"))
    await check_times(world, {"a", "b", "c", "d", "e"})


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_rebuild_as_of_a_time_sees_behind_the_future(
    world: World, monkeypatch: pytest.MonkeyPatch, *, at_once: bool, void: bool
) -> None:
    """A publication dated 2999 counts as of the time at which the index went on, however the logs are replayed."""
    if at_once:
        monkeypatch.setattr(rebuilding, "WORTH_READING", 0)
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await signing.publish(world.make.file_uploaded("b"), seconds=10)
        before = now(world)
        await publish_as_thief(world)
        await publish_as_thief(world)
        world.clock.advance(10)
        between = now(world)
        team = TEAM.but(online=KEYS[0])
        if void:
            world.add(world.make.file_uploaded("b", "2.0"))
            forged = await draft(world, time=FUTURE)
            lie = forged.but_bin(forged.names[0], lambda signed: signed["targets"].clear())
            world.publications.values.extend(lie.sealed())
            number = lie.claim.number
            team = team.but(void=Void(number=number, digest=digest_of(world.publications.values[-1] or b"")))
            team = team.but(settings=msgspec.structs.replace(team.settings, floor=number + 1))
        world.clock.advance(10)
        await change(world, signing, team, time_from=now(world))
        await signing.publish(world.make.file_uploaded("c"), seconds=10)
        after = now(world)
        await signing.publish(world.make.file_uploaded("d"), seconds=10)

    async def chosen(at: str, *, all_versions: bool = False) -> int:
        return (await rebuilt(world, at, all_versions=all_versions))[0].publication

    last = signing.follower.head.number
    assert [await chosen(at) for at in (before, between, after, FUTURE)] == [2, 2, last - 1, last]
    assert await chosen(after, all_versions=True) == last - 1
    assert (await rebuilt(world, after))[1] == (await rebuilt(world, str(last - 1)))[1]
    with pytest.raises(NegativeAnswerError, match="nothing was published up to 2001"):
        await chosen("2001-01-01T00:00:00Z")


async def test_the_old_time_ends_with_the_new_root(world: World) -> None:
    """Claims of the time before are still judged by it: a thief under the old root goes on in the far future."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await publish_as_thief(world)
        await signing.follower.catch_up()
        size = len(world.events.values)
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=now(world))
        before = len(world.publications.values)
        for time in (now(world), FUTURE):
            world.publications.values.extend((await draft(world, team=TEAM, size=size, time=time)).sealed())
        await signing.publish(world.make.file_uploaded("b"))
        judged = [(row.record, row.code) for row in await signing.followed.judged() if row.log == "publications"]
        assert judged == [(before, "backwards"), (before + 1, "no-open-claim")]
        assert signing.follower.head.number == 4
        for time in ("2000-01-01T00:00:00Z", factory.instant(0)):
            (claim, _) = (await draft(world, team=world.team, time=time)).sealed()
            world.publications.values.append(claim)
        await signing.publish(world.make.file_uploaded("c"))
        assert [row.code for row in await signing.followed.judged()][2:] == ["backwards", "backwards"]
    await check_times(world, {"a", "b", "c"})


async def test_in_the_new_time_the_predecessor_counts_again(world: World) -> None:
    """For those who were there, for those who start again, and for those who come later."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        time_from = now(world)
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=time_from)
        await signing.publish(world.make.file_uploaded("b"), seconds=10)
        world.publications.values.append((await draft(world, team=world.team, time=time_from)).sealed()[0])
        await signing.publish(world.make.file_uploaded("c"), seconds=10)
        assert [row.code for row in await signing.followed.judged()] == ["backwards"]
    world.publications.values.append((await draft(world, team=world.team, time=time_from)).sealed()[0])
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("d"), seconds=10)
        assert [row.code for row in await signing.followed.judged()] == ["backwards", "backwards"]
    assert [row.code for row in (await check_times(world, {"a", "b", "c", "d"})).judged] == ["backwards", "backwards"]


@pytest.mark.parametrize("published", [False, True])
async def test_a_wrong_time_from_is_mended_by_the_next_root(world: World, published: bool) -> None:
    """It was signed by a machine with a wrong clock; perhaps somebody published under it, too."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=FUTURE)
        with pytest.raises(ClockError, match="root's time_from"):
            await signing.publish(world.make.file_uploaded("b"))
        if published:
            await publish_as_thief(world)
        await change(world, signing, TEAM.but(online=KEYS[1]), time_from=now(world))
        assert await signing.publish(world.make.file_uploaded("c"))
        assert signing.follower.head.number == 2 + published
    await check_times(world, {"a", "b", "c"})


@pytest.mark.parametrize("between", [False, True])
async def test_a_planned_rotation_in_the_new_time(world: World, between: bool) -> None:
    """Its two roots leave the time as it is, with or without publications between."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await publish_as_thief(world)
        await signing.follower.catch_up()
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=now(world))
        if between:
            assert await signing.publish(world.make.file_uploaded("b"))
        await change(world, signing, world.team.but(online=KEYS[0] + KEYS[1]))
        if between:
            assert await signing.publish(world.make.file_uploaded("c"))
        await change(world, signing, world.team.but(online=KEYS[1]))
        assert await signing.publish(world.make.file_uploaded("d"))
        head = signing.follower.head
        assert head.time == now(world)
        earlier = (await draft(world, team=world.team, time=to_instant(world.clock.now().replace(year=2029)))).sealed()
        world.publications.values.extend(earlier)
        assert await signing.publish(world.make.file_uploaded("e"))
        assert "backwards" in [row.code for row in await signing.followed.judged()]
    await check_times(world, {"a", "d", "e"} | ({"b", "c"} if between else set()))


async def test_a_rotation_before_anybody_noticed(world: World) -> None:
    """A planned rotation keeps the time that a thief made, and is no way out; the new time is, after it."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await publish_as_thief(world)
        await signing.follower.catch_up()
        await change(world, signing, TEAM.but(online=TEAM.online + KEYS[0]))
        await change(world, signing, TEAM.but(online=KEYS[0]))
        with pytest.raises(ClockError, match="the last publication"):
            await signing.publish(world.make.file_uploaded("b"))
        await change(world, signing, TEAM.but(online=KEYS[1]), time_from=now(world))
        assert await signing.publish()
    await check_times(world, {"a", "b"})


@pytest.mark.parametrize("again", [False, True])
async def test_the_list_of_projects_in_a_new_time(world: World, again: bool) -> None:
    """A list that is dated after the claim is due, and from then on the interval counts again."""
    world.team = TEAM.but(settings=msgspec.structs.replace(TEAM.settings, project_list_seconds=3_600))
    world.events.values.clear()
    world.begin()
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await signing.publish(world.make.file_uploaded("b"), seconds=3_600)
        await publish_as_thief(world)  # it renders no list: nothing is new
        await signing.follower.catch_up()
        world.add(world.make.file_uploaded("c"))
        await publish_as_thief(world)  # it does
        await signing.follower.catch_up()
        await change(world, signing, world.team.but(online=KEYS[0]), time_from=now(world))
        if again:
            assert await signing.publish()
            await check_times(world, {"a", "b", "c"})
        assert await signing.publish(world.make.file_uploaded("d"))
        await check_times(world, {"a", "b", "c", "d"})
        assert await signing.publish(world.make.file_uploaded("e"))
        await check_times(world, {"a", "b", "c", "d"})
        assert await signing.publish(world.make.file_uploaded("f"), seconds=3_600)
    await check_times(world, {"a", "b", "c", "d", "e", "f"})


# --- holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_time", [False, True])
async def test_a_hold_ages_nothing(world: World, new_time: bool) -> None:
    """A week, with publications all the while: what was uploaded in it was first shown at its end."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        hold = world.make.signing_held()
        await signing.publish(hold)
        begin = now(world)
        world.add(world.make.having(time=begin).file_uploaded("b"))
        for day in range(14):
            await signing.publish(world.make.file_uploaded("c", f"{day}"), seconds=43_200)
        assert "targets/simple/b/index.json" not in signing.followed.storage.tree.files
        if new_time:
            await publish_as_thief(world)
            await change(world, signing, TEAM.but(online=KEYS[0]), time_from=now(world))
            assert await signing.publish(seconds=100)
        before = signing.follower.head.time
        world.add(world.make.signing_released(hold.id))
        assert await signing.publish(seconds=100)
        assert upload_time(signing, "b", "1.0") == before == upload_time(signing, "c", "13") > begin
        assert upload_time(signing, "a", "1.0") < begin
        last = signing.follower.head
    await check_times(world, {"a", "b", "c"})
    async with following(world.logs) as followed:
        assert await followed.follower.skip(), "one run gives the same bytes, and nobody has to step"
        assert followed.follower.head == last


# --- a clock that is behind --------------------------------------------------------------------------------------


async def test_two_signers_whose_clocks_are_behind(world: World) -> None:
    """An hour. One dies between claim and publication: the other completes the claim, and does not void it."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        await signing.publish(world.make.file_uploaded("b"))
        last = signing.follower.head.time
        world.clock.advance(-3_600)
        with pytest.raises(ClockError, match="--clock-checked"):
            await signing.publish(world.make.file_uploaded("c"))
    world.schedule = Schedule(interval_seconds=0, grace_seconds=0, clock_checked=True)
    forged = await draft(world, time=last)
    world.publications.values.append(forged.sealed()[0])
    async with world.signing() as other:
        assert await other.publish()
        assert (other.follower.head.number, other.follower.head.time) == (3, last)
        before = len(world.publications.values)
        for name in ("d", "e", "f"):
            assert await other.publish(world.make.file_uploaded(name))
        assert other.follower.head.time == last
        assert len(world.publications.values) == before + 6
        world.clock.advance(3_700)
        assert await other.publish(world.make.file_uploaded("g"))
        assert other.follower.head.time == now(world) > last
        world.clock.advance(-3_600)
        with pytest.raises(ClockError):
            await other.publish(world.make.file_uploaded("h"))
    assert [row.log for row in (await oracle.check(world)).judged] == []


async def test_an_equal_time_ages_all_the_same(world: World) -> None:
    """A claim at its predecessor's time is no claim from the future; but when the clock has passed it, it grows old."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        forged = await draft(world, time=signing.follower.head.time)
        world.publications.values.append(forged.sealed()[0])
        quarter = TEAM.settings.timestamp_expiry_seconds / 4
        assert await signing.publish(world.make.file_uploaded("b"), seconds=quarter + 1)
        assert signing.follower.head.number == 3
        assert signing.follower.head.time == now(world)


async def test_a_claim_from_the_future_is_voided_by_a_clock_that_is_behind(world: World) -> None:
    """The exception is for the time that the last publication has, and for no second more."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        last = signing.follower.head.time
    world.schedule = Schedule(interval_seconds=0, grace_seconds=0, clock_checked=True)
    async with world.signing() as signing:
        world.clock.advance(-3_600)
        one_more = factory.instant(2)
        assert one_more > last
        world.publications.values.append((await draft(world, time=one_more)).sealed()[0])
        assert await signing.publish(world.make.file_uploaded("b"))
        assert (signing.follower.head.number, signing.follower.head.time) == (3, last)


async def test_the_first_claim_of_a_new_time_is_not_from_the_future(world: World) -> None:
    """Root's time_from is the earliest time then: a claim of it is completed by clocks that are behind."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
        later = to_instant(world.clock.now().replace(hour=1))
        await change(world, signing, TEAM.but(online=KEYS[0]), time_from=later)
        world.publications.values.append((await draft(world, team=world.team, time=later)).sealed()[0])
        assert await signing.publish(world.make.file_uploaded("b"))
        assert (signing.follower.head.number, signing.follower.head.time) == (2, later)
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        assert followed.follower.head.number == 2
