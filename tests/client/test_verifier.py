"""A verifier that lags: it raises no alarm for what was replaced and swept, misses nothing, and says how far it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from consumers.render.outlets import FileListOutlet
from consumers.service.opening import open_follower
from consumers.verify import verifier as verifiers
from consumers.verify.verifier import Patience, Verifier
from ledger.state.comparisons import count_differences, count_files
from ledger.state.position import load_position
from ledger.state.store import Store
from tests.client.index import Index
from tests.client.processes import start, until
from tests.client.test_processes import ALARM, some_bin
from tests.client.test_sweep import age

R = TypeVar("R")

RIGHT = "what is served is right again"


def publish_and_sweep(index: Index, versions: range, project: str = "one") -> None:
    """Publications, each of which replaces what the one before served, and nothing that is not needed stays."""
    for number in versions:
        index.upload(project, f"1.{number}")
        index.publish()
        age(index)
        index.ask("sweep", "--grace", "0s")  # marks
        index.ask("sweep", "--grace", "0s")  # deletes what the one before has marked


def watched(index: Index) -> dict[str, Any]:
    """What `info` says of the verifier."""
    facts = index.info()["consumers"]["verifier"]
    assert isinstance(facts, dict)
    return facts


def counts(index: Index) -> tuple[int, int]:
    """How many files differ now, and how many ever did."""
    facts = watched(index)
    return facts["differences_now"], facts["differences_ever"]


def needed(index: Index) -> list[Path]:
    """One file of each kind that clients need now."""
    public = index.public
    number = json.loads((public / "metadata/timestamp.json").read_bytes())["signed"]["version"]
    page = (public / "targets/simple/one/index.json").stat().st_ino
    return [
        some_bin(index),
        public / f"metadata/{number}.snapshot.json",
        public / "metadata/1.targets.json",
        public / "metadata/1.root.json",
        public / "targets/simple/one/index.json",
        next(path for path in public.glob("targets/simple/one/*.index.json") if path.stat().st_ino == page),
    ]


# --- as a process ------------------------------------------------------------------------------------------------


def test_a_verifier_far_behind_sweeps_raises_no_alarm(index: Index, tmp_path: Path) -> None:
    publish_and_sweep(index, range(24))
    run = ("run", "--ledger", index.folder, "verifier")
    with start(tmp_path / "log", *run) as running:
        until(lambda: "compared" in index.info()["consumers"].get("verifier", {}), running.output)
        until(lambda: watched(index)["never_compared"] == 0, running.output)
        assert counts(index) == (0, 0)
        damaged = some_bin(index)
        whole = damaged.read_bytes()
        damaged.unlink()
        damaged.write_bytes(whole + b" ")
        path = f"metadata/{damaged.name}"
        running.wait_for(ALARM, path=path, problem="differs")
        until(lambda: counts(index) == (1, 1), running.output)
        damaged.unlink()
        damaged.write_bytes(whole)
        running.wait_for(RIGHT, path=path)
        until(lambda: counts(index) == (0, 1), running.output)
        running.stop()
        assert [each["path"] for each in running.events() if each["message"] == ALARM] == [path]
    facts = watched(index)
    assert 0 <= facts["compared"] <= facts["to_compare"]
    assert facts["to_compare"] > 0
    said = " ".join(index.run("info").split())
    shown = f"compared {facts['compared']} of {facts['to_compare']} files"
    assert f"0 differences now, 1 ever, {shown}" in said
    assert "never yet" not in said
    with start(tmp_path / "log-2", *run) as running:  # what it has told it remembers
        running.wait_for("comparing what is served", differences_now=0, differences_ever=1)
        running.stop()


def test_it_says_how_far_it_is(index: Index, tmp_path: Path) -> None:
    publish_and_sweep(index, range(2))
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier") as running:
        said = running.wait_for("comparing what is served")
        running.stop()
    assert {"compared", "to_compare", "never_compared", "rounds", "differences_now", "differences_ever"} <= said.keys()


# --- step by step ------------------------------------------------------------------------------------------------


class Logged:
    """What was logged."""

    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.errors.append({"event": event, **fields})

    def info(self, event: str, **fields: Any) -> None:
        """Nobody asks."""


class Steps:
    """A verifier whose steps a test takes, and what it logs."""

    def __init__(self, verifier: Verifier, store: Store, logged: Logged) -> None:
        self._verifier = verifier
        self._store = store
        self._logged = logged
        self._now = 0.0

    async def step(self, *, seconds: float = 1.0) -> bool:
        self._now += seconds
        return await self._verifier.step(self._now)

    async def to_the_end(self) -> None:
        """And round once."""
        while await self.step():
            pass
        for _ in range(8):
            await self.step()

    async def counts(self) -> tuple[int, int]:
        return await self._store.run(count_differences)

    def alarms(self) -> list[tuple[str, str]]:
        """What it has raised so far."""
        return [(each["path"], each["problem"]) for each in self._logged.errors if each["event"] == ALARM]


@asynccontextmanager
async def stepping(index: Index) -> AsyncIterator[Steps]:
    """A verifier, started."""
    logged = Logged()
    with pytest.MonkeyPatch.context() as patched:  # commands that run meanwhile configure logging for themselves
        patched.setattr("consumers.verify.watching.log", logged)
        async with open_follower(index.context, "verifier", FileListOutlet()) as (follower, _, store, workers):
            verifier = Verifier(
                index.context.served(""),
                patience=Patience(30, 1000),
                follower=follower,
                store=store,
                workers=workers,
                files=True,
            )
            yield Steps(verifier, store, logged)


async def aside(function: Callable[..., R], *arguments: Any) -> R:
    """What commands do, in a thread: they have an event loop of their own."""
    return await asyncio.to_thread(function, *arguments)


async def test_publishers_and_sweeps_that_stay_ahead(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows at half the speed, and compares at each step: whatever it looks at may have been swept."""
    monkeypatch.setattr(verifiers, "RECORDS_A_STEP", 1)
    await aside(publish_and_sweep, index, range(3))
    async with stepping(index) as steps:
        for number in range(3, 15):
            await aside(publish_and_sweep, index, range(number, number + 1))
            assert await steps.step(), "there is more to follow"
        await steps.to_the_end()
        assert steps.alarms() == []
        assert await steps.counts() == (0, 0)


async def test_what_is_missing_is_found_however_far_it_lags(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "RECORDS_A_STEP", 1)
    await aside(publish_and_sweep, index, range(6))
    lost = await aside(needed, index)
    for path in lost:
        path.unlink()
    async with stepping(index) as steps:
        for _ in range(3):
            await steps.step()
            assert not any(path.startswith("metadata/7.") for path, _ in steps.alarms())
        await steps.to_the_end()
        expected = [(path.relative_to(index.public).as_posix(), "missing") for path in lost]
        assert sorted(steps.alarms()) == sorted(expected)
        assert await steps.counts() == (len(lost), len(lost))


async def test_what_is_repaired_counts_as_ever(index: Index) -> None:
    await aside(publish_and_sweep, index, range(2))
    paths = await aside(needed, index)
    whole = {path: path.read_bytes() for path in paths}
    async with stepping(index) as steps:
        await steps.to_the_end()
        for change in (None, b"changed"):
            for path in paths:
                path.unlink(missing_ok=True)
                if change is not None:
                    path.write_bytes(change)
            await steps.to_the_end()
            assert await steps.counts() == (len(paths), len(paths))
        assert len(steps.alarms()) == 2 * len(paths), "each once, and once more when it differs in another way"
        for path in paths:
            path.write_bytes(whole[path])
        await steps.to_the_end()
        assert await steps.counts() == (0, len(paths))


async def test_what_differs_and_is_replaced_then_differs_no_more(index: Index) -> None:
    """It is not needed any more, and a sweep deletes it."""
    await aside(publish_and_sweep, index, range(2))
    damaged = await aside(some_bin, index)
    snapshot = (await aside(needed, index))[1]
    async with stepping(index) as steps:
        await steps.to_the_end()
        for path in (damaged, snapshot):
            path.unlink()
        await steps.to_the_end()
        assert await steps.counts() == (2, 2)
        await aside(index.run, "ceremony", "--rotate-online")
        await aside(index.publish)
        await steps.to_the_end()
        assert await steps.counts() == (0, 2)


async def test_comparing_does_not_hold_up_following(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files wait to be compared, a step looks at a bounded number, and then follows."""
    monkeypatch.setattr(verifiers, "RECORDS_A_STEP", 2)
    monkeypatch.setattr(verifiers, "FEW", 1)
    await aside(publish_and_sweep, index, range(5))
    async with stepping(index) as steps:
        store = steps._store
        seen = []
        while await steps.step():
            seen.append(((await store.run(load_position)), await store.run(count_files)))
            if len(seen) > 100:
                break
        heads = [position.number for position, _ in seen if position is not None]
        assert heads[:5] == [1, 2, 3, 4, 5], "a publication is two records, and each step follows one"
        assert seen[4][1][1] > 0, "of what it knows there is much that it has not looked at"
        await steps.to_the_end()
        assert (await store.run(count_files))[1] == 0


async def test_a_distribution_file_is_counted_too(index: Index) -> None:
    await aside(publish_and_sweep, index, range(1))
    wheel = next(index.public.glob("targets/packages/*/*/*/one-1.0-*.whl"))
    whole = wheel.read_bytes()
    async with stepping(index) as steps:
        await steps.to_the_end()
        wheel.unlink()
        wheel.write_bytes(whole + b" ")
        await steps.to_the_end()
        assert steps.alarms() == [(wheel.relative_to(index.public).as_posix(), "differs")]
        assert await steps.counts() == (1, 1)
        wheel.unlink()  # not everybody who serves metadata serves files
        await steps.to_the_end()
        assert await steps.counts() == (0, 1)
