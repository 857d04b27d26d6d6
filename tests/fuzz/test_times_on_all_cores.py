"""Upload times in processes: tasks read them from a file, and show what one process shows, step by step."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.reading import slices
from consumers.render import tasks
from consumers.render.outlets import FileListOutlet
from consumers.render.rounds.parallel import BulkRounds
from consumers.service.opening import open_follower
from consumers.work import processes
from ledger.clock import to_instant
from projections.roles.authority import Void
from tests import factory
from tests.client.index import silence
from tests.factory import ed25519_signer
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.world import SMALL, Signing, World
from tests.golden.positions import read_state, skip_from, step_all
from tests.golden.replay import context_of, rebuild_tree
from tests.golden.test_replay import replayed

FUTURE = "2999-01-01T00:00:00Z"
FIRST_TIMES = ["2000-01-01T00:00:00Z", "2030-01-01T00:00:05.5Z", "2030-01-01T00:00:19.999999Z", FUTURE]


class Log(NamedTuple):
    """A log with publications at all kinds of times, and the states after each, made one by one in one process."""

    context: Context
    states: list[Path]
    numbers: list[int]


class _Writer:
    def __init__(self, world: World, signing: Signing) -> None:
        self.world, self.signing = world, signing
        self._keys = (ed25519_signer(f"later {number}") for number in range(9))

    async def uploads(self, version: str) -> None:
        """Three uploads of each of five projects, dated around now; each then stands in a publication."""
        now = self.world.clock.now()
        times = [*FIRST_TIMES, *(f"{to_instant(now)[:-1]}{fraction}Z" for fraction in ("", ".0", ".000001"))]
        for number, time in enumerate(times):
            make = self.world.make.having(time=time)
            for project in "abcde":
                self.world.add(make.file_uploaded(project, f"{version}.{number}"))
        assert await self.signing.publish(seconds=10)

    async def change(self, **settings: Any) -> None:
        """A ceremony; one that starts a new time, or voids something, brings a new key."""
        team, void = self.world.team, settings.pop("void", None)
        team = team.but(settings=msgspec.structs.replace(team.settings, **settings), void=void)
        if void is not None or "time_from" in settings:
            team = team.but(online=(next(self._keys),))
        await self.signing.follower.tail.read_on()
        self.world.hold_ceremony(team, self.signing.authority)


async def _write(world: World, *, void: bool) -> None:
    world.team = SMALL.but(settings=msgspec.structs.replace(SMALL.settings, importing=False))
    world.begin()
    async with world.signing() as signing:
        writer = _Writer(world, signing)
        for number in range(3):
            await writer.uploads(f"1.{number}")
        await writer.change(importing=True)
        await writer.uploads("2.0")
        await writer.change(importing=False)
        await writer.uploads("3.0")
        if void:
            world.add(world.make.file_uploaded("a", "4.0"))
            forged = await draft(world, time=to_instant(world.clock.now()))
            lie = forged.but_bin(forged.names[0], lambda signed: signed["targets"].clear())
            world.publications.values.extend(lie.sealed())
            world.clock.advance(50)
            number, digest = lie.claim.number, digest_of(world.publications.values[-1] or b"")
            await writer.change(void=Void(number=number, digest=digest), floor=number + 1)
            await writer.uploads("5.0")
        world.add(world.make.having(time="2990-01-01T00:00:00Z").file_uploaded("b", "6.0"))
        for _ in range(2):
            world.publications.values.extend((await draft(world, time=FUTURE)).sealed())
            world.add(
                world.make.having(time="2995-01-01T00:00:00.5Z").file_uploaded("c", f"6.{len(world.events.values)}")
            )
        await signing.follower.catch_up()
        await writer.change(time_from=to_instant(world.clock.now()))
        await writer.uploads("7.0")
        await writer.uploads("8.0")


@pytest.fixture(scope="module", params=[False, True], ids=["nothing is voided", "a publication is voided"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Log:
    silence()
    folder = tmp_path_factory.mktemp("log")
    world = World(folder / "world")
    asyncio.run(_write(world, void=request.param))
    context = context_of(folder / "ledger", world.events.values, world.publications.values)
    numbers = step_all(context, folder / "states")
    return Log(context, [folder / "states" / f"{number}.sqlite" for number in numbers], numbers)


@pytest.fixture(params=["files", "sent"])
def bulk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every batch is done in processes, by way of files or not. Gives the numbers of publications in these batches."""
    counts: list[int] = []
    fold = BulkRounds.fold

    async def counting(self: BulkRounds) -> Any:
        counts.append(len(self._edition.publications))
        return await fold(self)

    monkeypatch.setattr(BulkRounds, "fold", counting)
    monkeypatch.setattr(processes, "WORTH_ROUNDS", 0)
    limits = LIMITS._replace(items_per_partition=30)
    if request.param == "files":
        monkeypatch.setattr(tasks, "SENT_BYTES", 1_000)
        limits = limits._replace(tail_bytes=0)
        monkeypatch.setattr(slices, "SLICE_BYTES", 10_000)
    monkeypatch.setattr(Context, "limits", limits)
    return counts


def skipped_over(state: Path) -> list[int]:
    """The numbers of the publications that a follower applied in one run with others."""
    connection = sqlite3.connect(state)
    try:
        return [number for (number,) in connection.execute("SELECT number FROM publications WHERE NOT stepped")]
    finally:
        connection.close()


def test_a_state_is_what_one_process_makes_of_it(log: Log, bulk: list[int]) -> None:
    """From a state that is older than a new time, one process does all: what is stored is lowered, too."""
    expected = read_state(log.states[-1])
    for place in (0, -3):
        assert skip_from(log.context, log.states[place]) == expected
        # What does not reproduce in one run would be stepped instead, and come to the same.
        assert log.numbers[place + 1] in skipped_over(log.context.state / "skipping.sqlite")
    bulk.clear()
    assert skip_from(log.context, log.states[-2]) == expected
    assert bulk


def test_a_new_follower_makes_the_same(log: Log, bulk: list[int], request: pytest.FixtureRequest) -> None:
    """Nothing is stored yet that a new time could lower, so processes do it."""
    name = f"new-{request.node.callspec.params['bulk']}"

    async def run() -> None:
        async with open_follower(log.context, name, FileListOutlet()) as opened:
            while await opened.follower.skip() or await opened.follower.step():
                pass

    asyncio.run(run())
    assert read_state(log.context.state / f"{name}.sqlite") == read_state(log.states[-1])
    assert max(bulk) > 1


def test_a_rebuild_makes_the_same(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_BYTES", 10_000)
    compared = 0
    for number in log.numbers[1::2]:
        done = replayed(log.context, tmp_path / f"replay-{number}", number)
        if done is None:
            continue  # behind a publication that a root voids
        compared += 1
        tree = tmp_path / f"replay-{number}/tree"
        rebuild_tree(log.context, tmp_path / f"tree-{number}", at=number)
        for path in sorted((tmp_path / f"tree-{number}").rglob("*.json")):
            assert (tree / path.relative_to(tmp_path / f"tree-{number}")).read_bytes() == path.read_bytes()
    assert compared > 1


def test_times_differ_as_they_should(log: Log, tmp_path: Path) -> None:
    """The log is worth the tests above: it has times of all kinds."""
    rebuild_tree(log.context, tmp_path / "tree")
    page = json.loads((tmp_path / "tree/targets/simple/b/index.json").read_bytes())
    times = {file["filename"].removeprefix("b-").removesuffix(".tar.gz"): file["upload-time"] for file in page["files"]}
    assert times["1.0.0"] == "2000-01-01T00:00:00Z", "the first publication has nothing before it"
    assert times["1.1.0"] == factory.instant(10)
    assert times["1.1.2"] == FIRST_TIMES[2]
    assert times["2.0.0"] == "2000-01-01T00:00:00Z", "while importing"
    assert times["3.0.0"] == times["2.0.3"]
    assert max(times.values()) < "2031"
    assert times["6.0"] == times["7.0.0"] == times["7.0.3"] > times["3.0.3"]
