"""`verify` over windows says what it says step by step, whatever part of a ledger it is asked about."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers.limits import LIMITS, Limits
from consumers.verify.since import Earlier, read_earlier
from ledger.storage.memory import MemoryStorage
from schemas.errors import LedgerError
from tests.fuzz.commands import verified
from tests.fuzz.test_columns import HTML, lie_and_go_on, publish_many
from tests.fuzz.world import Signing, World

WINDOWS = LIMITS._replace(skip_from=2)
STEPS = LIMITS._replace(skip_from=10**6)


async def answer(world: World, limits: Limits, **options: Any) -> object:
    """What is said, be it an error."""
    try:
        return await verified(world, limits=limits, **options)
    except LedgerError as error:
        return type(error), str(error)


async def check_same(world: World, **options: Any) -> object:
    """Both ways say the same."""
    stepped = await answer(world, STEPS, **options)
    assert await answer(world, WINDOWS, **options) == stepped
    return stepped


@pytest.fixture
async def published(world: World, signing: Signing) -> Signing:
    """A ledger with two eras."""
    await publish_many(signing, 6)
    world.hold_ceremony(HTML.but(layout=world.team.layout), signing.authority)
    await publish_many(signing, 8)
    return signing


@pytest.mark.parametrize("first", [2, 5, 9, 14])
async def test_from_a_publication_on(world: World, published: Signing, first: int) -> None:
    number = published.follower.head.number
    for options in ({"first": first}, {"first": first, "last": number - 2, "served": None}):
        said = await check_same(world, **options)
        assert getattr(said, "first", said) == first
        assert getattr(said, "differences", said) == []
    world.storage.tree.files["targets/simple/a/index.json"] += b" "
    said = await check_same(world, first=first)
    assert [each.path for each in getattr(said, "differences", [])] == ["targets/simple/a/index.json"]


@pytest.mark.parametrize("behind", [1, 4])
async def test_what_is_served_lies_between(world: World, published: Signing, behind: int) -> None:
    """A publisher that is somewhere between: plain pages may be those of any publication since."""
    old = MemoryStorage()
    old.tree.files.update(world.storage.tree.files)
    for _ in range(behind):
        await publish_many(published, 1)
    pages = [path for path in old.tree.files if path.endswith("/index.json")]
    old.tree.files.update({path: world.storage.tree.files[path] for path in pages[::2]})
    for first in (None, 3):
        said = await check_same(world, first=first, served=old)
        assert getattr(said, "differences", said) == []


@pytest.mark.parametrize("name", ["one more target", "an unchanged bin signed", "a snapshot without a name"])
async def test_a_lie_before_in_and_after_what_is_asked_for(world: World, published: Signing, name: str) -> None:
    number = published.follower.head.number + 1
    await lie_and_go_on(world, name, ["z", "d", "z", "d", "d"])
    named = f"publication {number} "
    for first in (None, 2, number - 1, number, number + 1, number + 3):
        said = await check_same(world, first=first)
        if first is None or first <= number:
            assert named in str(said)
    said = await check_same(world, last=number - 1, served=None)
    assert getattr(said, "last", said) == number - 1


# --- an earlier time -----------------------------------------------------------------------------------------------


async def kept_at(world: World, number: int) -> list[Earlier]:
    """What somebody kept of a publication: an answer, a snapshot, a timestamp."""
    said = await verified(world, last=number, served=None)
    files = [world.storage.tree.files[f"metadata/{number}.{name}.json"] for name in ("snapshot", "timestamp")]
    return [read_earlier(each) for each in (orjson.dumps({**said._asdict(), "differences": []}), *files)]


async def test_since_an_earlier_time(world: World, published: Signing) -> None:
    for number in (1, 6, 12):
        for since in await kept_at(world, number):
            for first in (None, number, number + 1, number + 3):
                said = await check_same(world, since=since, first=first)
                assert (getattr(said, "since", None) or {}).get("publication") == number, said


async def test_since_a_time_that_was_another(world: World, published: Signing) -> None:
    other = "0" * 64
    answer_, snapshot, timestamp = await kept_at(world, 6)
    for since in (
        answer_._replace(root_hash=other),
        answer_._replace(record_digest=other),
        snapshot._replace(root_hash=other),
        snapshot._replace(digests=frozenset({other})),
        timestamp._replace(digests=frozenset({other})),
    ):
        for first in (None, 4, 9):
            said = await check_same(world, since=since, first=first)
            assert "not the one that it was" in str(said) or "not those that they were" in str(said)


async def test_a_lie_behind_an_earlier_time(world: World, published: Signing, tmp_path: Path) -> None:
    number = published.follower.head.number + 1
    kept = await kept_at(world, 6)
    await lie_and_go_on(world, "one more target", ["z", "d", "z"])
    for since in kept:
        assert f"publication {number} " in str(await check_same(world, since=since))


# --- progress ------------------------------------------------------------------------------------------------------


async def test_progress_moves_in_a_window_and_never_back(world: World, published: Signing) -> None:
    said: list[tuple[int, int]] = []
    await verified(world, limits=WINDOWS, report=lambda done, total: said.append((done, total)))
    assert said == sorted(said)
    assert len({total for _, total in said}) == 1
    assert said[-1][0] == said[-1][1]
    assert len({done for done, _ in said}) > 10, "two windows, and what lies between them"
