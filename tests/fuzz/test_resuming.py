"""`verify --resume`: an interrupted verification goes on, and comes to what an uninterrupted one comes to."""

import asyncio
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from consumers.limits import LIMITS
from consumers.verify.interrupted import Resume
from consumers.verify.verifying import Verified
from ledger.storage.memory import MemoryStorage
from schemas.errors import DisagreementError
from tests.client.index import invoke
from tests.client.processes import execute
from tests.fuzz.commands import verified
from tests.fuzz.test_columns import HTML, lie_and_go_on, publish_many
from tests.fuzz.world import Signing, World
from tests.golden.records import write_logs

WINDOWS = LIMITS._replace(skip_from=4)


@pytest.fixture
async def published(world: World, signing: Signing) -> Signing:
    """A ledger with three eras."""
    await publish_many(signing, 6)
    world.hold_ceremony(HTML.but(layout=world.team.layout), signing.authority)
    await publish_many(signing, 5)
    world.hold_ceremony(world.team.but(settings=signing.authority.settings, layout=HTML.layout), signing.authority)
    await publish_many(signing, 6)
    return signing


@pytest.fixture
def resume(tmp_path: Path) -> Resume:
    return Resume(tmp_path / "kept" / "verification", {})


async def begun(world: World, resume: Resume, reports: int, **options: Any) -> Verified | None:
    """Verify, or go on to verify; None: it was interrupted at this report of its progress."""
    resume.path.parent.mkdir(exist_ok=True)
    await resume.prepare()
    calls = count(1)

    def report(_done: int, _total: int) -> None:
        if next(calls) == reports:
            raise asyncio.CancelledError

    try:
        return await verified(world, limits=WINDOWS, report=report, resume=resume, **options)
    except asyncio.CancelledError:
        return None


async def to_the_end(world: World, resume: Resume, **options: Any) -> Verified:
    answer = await begun(world, resume, 0, **options)
    assert answer is not None
    assert list(resume.path.parent.iterdir()) == [], "nothing is left"
    return answer


async def test_interrupted_again_and_again(world: World, published: Signing, resume: Resume) -> None:
    for options in ({}, {"first": 5}, {"last": 12, "served": None}):
        reports, answer = 0, None
        while answer is None:
            reports += 1
            answer = await begun(world, resume, reports, **options)
            assert resume.path.exists() is (answer is None)
        assert reports > 6
        assert answer == await verified(world, **options)
        assert list(resume.path.parent.iterdir()) == []


async def test_publishing_goes_on_meanwhile(world: World, published: Signing, resume: Resume) -> None:
    reports, answer = 0, None
    while answer is None:
        reports += 1
        await publish_many(published, 1)
        answer = await begun(world, resume, reports)
    assert answer == await verified(world)
    assert answer.differences == []
    assert answer.last == published.follower.head.number


@pytest.mark.parametrize("reports", [1, 4, 9, 14, 19, 24])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_served_file_is_changed(
    world: World, published: Signing, resume: Resume, when: str, reports: int
) -> None:
    files = world.storage.tree.files
    bin_ = max(path for path in files if path.endswith(".bin-1.json"))
    page = "targets/simple/a/index.json"

    def change() -> None:
        files[page] += b" "
        files[bin_] += b" "
        files["targets/unknown"] = b"unknown"

    if when == "before":
        change()
    assert await begun(world, resume, reports) is None
    if when == "after":
        change()
    answer = await to_the_end(world, resume)
    assert [each.path for each in answer.differences] == sorted([bin_, page, "targets/unknown"])
    assert answer == await verified(world)


@pytest.mark.parametrize("reports", [1, 9, 19])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_log_lies(world: World, published: Signing, resume: Resume, when: str, reports: int) -> None:
    number = published.follower.head.number + 1
    if when == "before":
        await lie_and_go_on(world, "one more target", ["z", "d", "z"])
    assert await begun(world, resume, reports) is None
    if when == "after":
        await lie_and_go_on(world, "one more target", ["z", "d", "z"])
    for _ in range(2):
        with pytest.raises(DisagreementError, match=f"publication {number} "):
            await begun(world, resume, 0)
        assert resume.path.exists(), "a root may void it"


# --- a publisher that stays behind ---------------------------------------------------------------------------------


def copy_of(world: World) -> MemoryStorage:
    """What is served now."""
    copied = MemoryStorage()
    copied.tree.files.update(world.storage.tree.files)
    return copied


@pytest.fixture
async def behind(world: World, published: Signing) -> MemoryStorage:
    """What is served, while publishing goes on."""
    old = copy_of(world)
    await publish_many(published, 7)
    return old


async def test_what_is_served_is_older_than_the_state(
    world: World, behind: MemoryStorage, published: Signing, resume: Resume
) -> None:
    """What was found when it was compared is remembered."""
    path = max(path for path in behind.tree.files if path.endswith(".bin-1.json"))
    behind.tree.files[path] += b" "
    expected = await verified(world, served=behind)
    assert [each.path for each in expected.differences] == [path]
    for reports in range(1, 40):
        if await begun(world, resume, reports, served=behind) is not None:
            break
        assert await to_the_end(world, resume, served=behind) == expected


@pytest.mark.parametrize("is_older", [True, False])
async def test_what_is_served_is_replaced(world: World, signing: Signing, resume: Resume, *, is_older: bool) -> None:
    trees = []
    for _ in range(3):
        await publish_many(signing, 4)
        trees.append(copy_of(world))
    await publish_many(signing, 8)
    now = trees[0] if is_older else trees[2]
    expected = await verified(world, served=now)
    for reports in range(1, 40):
        if await begun(world, resume, reports, served=trees[1]) is not None:
            break
        answer = await to_the_end(world, resume, served=now)
        assert answer._replace(served=None) == expected._replace(served=None)
    assert reports > 10


# --- processes that die ----------------------------------------------------------------------------------------------


@pytest.fixture
def command(world: World, published: Signing, tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """The words of the command on a copy of this ledger in files."""
    write_logs(tmp_path / "log", world.events.values, world.publications.values)
    for path, data in world.storage.tree.files.items():
        (tmp_path / "public" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "public" / path).write_bytes(data)
    words = ("verify", "--log", f"sqlite:{tmp_path / 'log'}", "--served", tmp_path / "public", "--no-files", "--json")
    return lambda *more: (*map(str, words), *map(str, more))


def test_killed_anywhere(command: Callable[..., tuple[str, ...]], tmp_path: Path) -> None:
    expected = json.loads(invoke(*command()).stdout)
    folder = tmp_path / "kept"
    died = 0
    for how, effects in (("kill", (1, 4, 20, 60, 110, 190, 270, 340, 400, 450)), ("term", (50, 200))):
        for effect in effects:
            folder.mkdir(exist_ok=True)
            words = command("--resume", folder / "verification")
            code = execute("effect", effect, how, *words, module="tests.fuzz.dying", answer=None).returncode
            assert code in {0, 9, 143}
            died += code != 0
            if code != 0:
                assert json.loads(invoke(*words).stdout) == expected
            assert list(folder.iterdir()) == []
    assert died > 8


def test_what_was_verified_is_not_verified_again(command: Callable[..., tuple[str, ...]], tmp_path: Path) -> None:
    words = command("--resume", tmp_path / "verification")
    execute("commit", 3, "kill", *words, module="tests.fuzz.dying", answer=9)
    done = invoke(*words)
    assert "going on: everything up to publication" in done.stderr
    assert "going on" not in invoke(*words).stderr
