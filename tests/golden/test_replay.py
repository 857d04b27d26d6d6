"""The golden log replayed on all cores: the same tree as that of a follower, whatever interrupts it."""

import asyncio
import os
from array import array
from multiprocessing import active_children, get_context
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.reading import slices
from consumers.reading.slices import EVENT_PARTITIONS
from consumers.rebuild import rebuilding, replay
from consumers.rebuild.choosing import At
from consumers.rebuild.rebuilding import rebuild
from consumers.rebuild.replay import ReplayResult
from consumers.work.processes import ProcessKilledError, start
from consumers.work.spill import SpillError
from consumers.work.workers import ThreadWorkers
from tests.client.index import silence, tree
from tests.client.processes import PATIENCE_SECONDS
from tests.golden.records import Golden, load
from tests.golden.replay import context_of, rebuild_tree


class _StopError(Exception):
    """The replay is interrupted here."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slices and many partitions."""
    silence()
    monkeypatch.setattr(slices, "SLICE_BYTES", 10_000)
    monkeypatch.setattr(Context, "limits", LIMITS._replace(items_per_partition=30))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load()


@pytest.fixture
def context(golden: Golden, tmp_path: Path) -> Context:
    return context_of(tmp_path / "ledger", golden.events, golden.publications)


def replayed(context: Context, folder: Path, at: int, *, stop_after: int | None = None) -> ReplayResult | None:
    """Replay into a folder, up to so many reports of progress."""
    reports = 0

    def report(_done: int, _total: int) -> None:
        nonlocal reports
        reports += 1
        if reports == stop_after:
            raise _StopError

    async def run() -> ReplayResult | None:
        logs, workers = context.logs(), ThreadWorkers()
        await logs.open()
        try:
            return await replay.replay(
                logs, folder, workers, at=At(number=at), source=None, limits=context.limits, report=report
            )
        finally:
            await logs.close()
            workers.close()

    return asyncio.run(run())


def numbers(golden: Golden) -> list[int]:
    return [row[0] for row in golden.digests["publications"]]


def test_it_gives_what_a_follower_gives(golden: Golden, context: Context, tmp_path: Path) -> None:
    compared = 0
    for number in numbers(golden)[::6]:
        done = replayed(context, tmp_path / f"replay-{number}", number)
        if done is None:
            continue  # behind a publication that a root voids
        compared += 1
        expected = rebuild_tree(context, tmp_path / f"tree-{number}", at=number)
        assert tree(tmp_path / f"replay-{number}/tree") == expected
        assert (done.claim.number, done.files) == (number, len(expected))
    assert compared > 3


def test_an_interrupted_one_goes_on(golden: Golden, context: Context, tmp_path: Path) -> None:
    number = numbers(golden)[18]
    expected = rebuild_tree(context, tmp_path / "expected", at=number)
    for stop_after in (1, 6, 15):
        folder = tmp_path / f"stopped-{stop_after}"
        with pytest.raises(_StopError):
            replayed(context, folder, number, stop_after=stop_after)
        # In between somebody asked for another publication.
        assert replayed(context, folder, numbers(golden)[6]) is not None
        assert replayed(context, folder, number) is not None
        assert tree(folder / "tree") == expected


def test_what_is_damaged_is_thrown_away(golden: Golden, context: Context, tmp_path: Path) -> None:
    number = numbers(golden)[12]
    with pytest.raises(_StopError):
        replayed(context, tmp_path / "replay", number, stop_after=10)
    block = max((tmp_path / "replay/events").iterdir())
    data = bytearray(block.read_bytes())
    offsets = array("Q", bytes(data[: 8 * (EVENT_PARTITIONS + 3)]))
    data[offsets[EVENT_PARTITIONS] + 20] ^= 1  # in the leaves, which are behind the parts of events
    block.write_bytes(data)
    with pytest.raises(SpillError):
        replayed(context, tmp_path / "replay", number)
    assert replayed(context, tmp_path / "replay", number) is not None
    assert tree(tmp_path / "replay/tree") == rebuild_tree(context, tmp_path / "tree", at=number)


def test_notes_about_another_log_are_thrown_away(golden: Golden, context: Context, tmp_path: Path) -> None:
    number = numbers(golden)[12]
    assert replayed(context, tmp_path / "replay", number) is not None
    shorter = context_of(tmp_path / "shorter", golden.events[:-1], golden.publications)
    with pytest.raises(SpillError):
        replayed(shorter, tmp_path / "replay", number)


def test_a_tree_that_was_thrown_away_is_made_anew(
    golden: Golden, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody asks for another publication, and is killed after the tree is gone and before the notes are."""
    number, folder = numbers(golden)[18], tmp_path / "replay"
    expected = rebuild_tree(context, tmp_path / "expected", at=number)
    with monkeypatch.context() as patched:
        patched.setattr(replay._Rendering, "_finish", _stop)
        with pytest.raises(_StopError):
            replayed(context, folder, number)
        patched.setattr(replay._Phases, "forget", _stop)
        with pytest.raises(_StopError):
            replayed(context, folder, numbers(golden)[6])
    assert replayed(context, folder, number) is not None
    assert tree(folder / "tree") == expected


def _stop(*_: object) -> None:
    raise _StopError


def test_a_finished_tree_may_be_moved_away(golden: Golden, context: Context, tmp_path: Path) -> None:
    number, folder = numbers(golden)[12], tmp_path / "replay"
    assert replayed(context, folder, number) is not None
    (folder / "tree").rename(tmp_path / "taken")
    assert replayed(context, folder, number) is not None
    assert tree(folder / "tree") == tree(tmp_path / "taken")


def test_a_killed_process_is_said(
    golden: Golden, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "WORTH_READING", 0)
    number = numbers(golden)[12]

    def kill(*_: int) -> None:
        for process in active_children():
            process.kill()

    with pytest.raises(ProcessKilledError, match="was killed"):
        asyncio.run(rebuild(context, tmp_path / "to", At(number), all_versions=False, files=None, report=kill))
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]
    again = rebuild_tree(context, tmp_path / "to", at=number)
    monkeypatch.undo()
    assert again == rebuild_tree(context, tmp_path / "expected", at=number)


def test_a_process_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=start, args=(os.getpid() + 1,))
    process.start()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 1
