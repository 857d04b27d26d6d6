"""Claims by stolen online keys, over SQLite. `tests/live/test_stolen_keys.py` plays the same over Kafka."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumers.reading.end import prefix_at_end
from tests.client import stolen
from tests.client.attacker import Attacker, load_head, sign_root
from tests.client.index import Index


@pytest.mark.parametrize("scenario", stolen.SCENARIOS)
def test_stolen_keys(tmp_path: Path, scenario: Callable[[Index, Path], None]) -> None:
    scenario(stolen.create(tmp_path / "index"), tmp_path / "rebuilt")


def test_numbers_run_out(tmp_path: Path) -> None:
    """Only root's owners can bring a ledger there."""
    index = stolen.create(tmp_path / "index")
    index.run("ceremony", "--floor", stolen.LAST)
    assert index.check().number == stolen.LAST
    index.upload("two")
    assert "no number is left" in index.run("publish", answer=1)
    assert index.check().number == stolen.LAST


def test_a_ceremony_does_not_void_what_reproduces(tmp_path: Path) -> None:
    index = stolen.create(tmp_path / "index")
    head = load_head(index, asyncio.run(prefix_at_end(index.context)))
    published = f"{head.number}:{head.digest}"
    before = index.info()["sizes"]
    assert "is what its events make" in index.run("ceremony", "--void", published, answer=1)
    assert "no publication" in index.run("ceremony", "--void", f"{head.number + 1}:{head.digest}", answer=1)
    shutil.rmtree(index.folder / "state")
    assert "is what its events make" in index.run("ceremony", "--void", published, answer=1)
    assert index.info()["sizes"] == before
    index.publish()
    number, lie = Attacker(index).divergent(number=head.number + 1)
    index.run("publish", answer=2)
    index.run("ceremony", "--replace-online", "--void", f"{number}:{lie}")
    index.upload("two")
    index.publish_and_check()


def test_a_lost_tail_of_events(tmp_path: Path) -> None:
    """As docs/operators.md, "A log was rolled back", has it: `--replace-online` comes before `resume`."""
    index = stolen.create(tmp_path / "index")
    shutil.copytree(index.folder / "log", tmp_path / "backup")
    lost = [index.upload(name) for name in ("two", "three")]
    for _ in lost:
        index.publish_and_check("--renew")
    served = index.check().number
    for file in (tmp_path / "backup").glob("events*"):
        shutil.copy(file, index.folder / "log")
    assert "A log was rolled back" in index.run("publish", answer=2)
    shutil.rmtree(index.folder / "state")
    assert stolen.HALTED in index.run("publish", answer=2)
    assert f"the served timestamp has version {served}" in index.run("ceremony", "--replace-online", answer=2)
    index.run("resume", "--above", served, "--forged")
    assert "is in force from publication" in index.run("ceremony", "--replace-online")
    for path in lost:
        index.run("add", path)
    seen = index.publish_and_check()
    assert (seen.number, seen.root) == (served + 2, 2)
    assert list(seen.projects) == ["one", "three", "two"]
    assert {each["code"] for each in index.ask_list("rejected")} <= {"seal", "no-open-claim", "other-predecessor"}
    index.run("verify")


def test_the_event_of_a_ceremony_gets_a_random_id(tmp_path: Path) -> None:
    """Nobody must know beforehand the bytes that a claim behind a new root commits to."""
    index = stolen.create(tmp_path / "index")
    line = sign_root(index, html_pages=True)
    given = json.loads(line)
    for _ in range(2):
        index.run("append", stdin=line)
    *_, first, second = asyncio.run(_events(index))
    assert len({each["id"] for each in (given, first, second)}) == 3
    assert {**first, "id": ""} == {**second, "id": ""} == {**given, "id": ""}
    assert index.ask_list("rejected") == []


async def _events(index: Index) -> list[Any]:
    logs = index.context.logs()
    await logs.open()
    try:
        return [json.loads(value or b"") for value in await logs.events.read(0)]
    finally:
        await logs.close()
