"""`watch` prints what concerns somebody, as it comes, and what is odd about it."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from consumers.catalog.concerns import Concern, watch_events
from consumers.context import Context
from tests.catalog.conftest import OtherDatabase
from tests.catalog.story import tell_story
from tests.client.index import Index
from tests.databases import MakeDatabase
from tests.distributions import build_wheel
from tests.golden.records import write_logs


async def watched(context: Context, concern: Concern, last: int) -> dict[int, list[str]]:
    """The events up to one that concern somebody, with their notes."""
    found: dict[int, list[str]] = {}
    async with aclosing(watch_events(context, concern, 0)) as events:
        async for each in events:
            found[each.answer.row.idx] = each.notes
            if each.answer.row.idx >= last:
                return found
    raise AssertionError("it never ends")


@pytest.fixture
async def context(tmp_path: Path, make_database: MakeDatabase) -> Context:
    world = await tell_story(tmp_path)
    (tmp_path / "log").mkdir()
    await asyncio.to_thread(write_logs, tmp_path / "log", world.events.values, world.publications.values)
    return OtherDatabase(tmp_path, make_database)


async def test_everything_concerns_whoever_names_nothing(context: Context) -> None:
    assert list(await watched(context, Concern(), 16)) == list(range(17))


async def test_a_project(context: Context) -> None:
    """Its events, accepted or not; grants for it; ceremonies and holds. What is odd is noted."""
    found = await watched(context, Concern(projects=["alpha"]), 16)
    assert list(found) == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 14, 15, 16]
    assert {index: notes for index, notes in found.items() if notes} == {
        9: ["unattested"],
        10: ["never-granted"],
        16: ["unattested"],
    }


async def test_an_actor_and_a_key(context: Context) -> None:
    trusted = await watched(context, Concern(actors=["trusted-publisher:github/beta"]), 15)
    assert list(trusted) == [0, 1, 7, 15]
    assert 1 in await watched(context, Concern(keyids=[""]), 15)
    assert 1 not in await watched(context, Concern(keyids=["f" * 64]), 15)


def test_the_command_prints_events_as_they_come(tmp_path: Path) -> None:
    """It ends by SIGTERM, without a word."""
    index = Index.create(tmp_path / "index")
    (tmp_path / "dist").mkdir()
    build_wheel(tmp_path / "dist", "one", "1.0")
    index.run("add", tmp_path / "dist")
    command = [sys.executable, "-m", "consumers.cli.main", "watch", "one", "--from", "0"]
    command += ["--json", "--ledger", str(index.folder)]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    try:
        for reason in ("first", "second"):
            index.run("yank", "one==1.0", "--reason", reason)
            event: dict[str, Any] = {"what": ""}
            while reason not in event["what"]:
                event = json.loads(watching.stdout.readline())
            assert (event["type"], event["standing"]) == ("release.yanked.v1", "pending")
    finally:
        watching.send_signal(signal.SIGTERM)
        _, errors = watching.communicate(timeout=60)
    assert (watching.returncode, errors) == (128 + signal.SIGTERM, "")
