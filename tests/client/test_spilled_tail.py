"""A tail that is on disk: it says what the records say, and damage is said."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.cli.shared import translated
from consumers.context import Context
from consumers.limits import LIMITS
from consumers.reading.tail import Tail
from consumers.work.spill import SpillError
from consumers.work.workers import ThreadWorkers
from projections.log.prefix import Prefix
from tests.client.index import Index
from tests.factory import Make


def first_half(index: Index, folder: Path, between: Callable[[Path], object]) -> tuple[Prefix, Prefix]:
    """The prefix of half the log, from a spilled tail, and from the records; `between` may change what was spilled."""

    async def run() -> tuple[Prefix, Prefix]:
        logs, workers = index.context.logs(), ThreadWorkers()
        await logs.open()
        try:
            tail = Tail(logs.events, workers, Prefix(), folder, limits=index.context.limits)
            half = (await tail.read_on()).size // 2
            between(next(folder.iterdir()))
            values = await logs.events.read(0)
            return await tail.prefix_at(half), Prefix().extend(values[:half])[0]
        finally:
            await logs.close()
            workers.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _spilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "limits", LIMITS._replace(tail_bytes=0))


@pytest.fixture
def held(index: Index) -> Index:
    """A ledger with a hold in the first half of its log."""
    index.upload("one")
    index.append(Make().signing_held())
    for version in ("1.1", "1.2", "1.3", "1.4", "1.5"):
        index.upload("one", version)
    return index


def test_what_is_on_disk_says_what_the_records_say(held: Index, tmp_path: Path) -> None:
    found, expected = first_half(held, tmp_path / "spill", lambda _: None)
    assert found == expected
    assert found.held_at is not None


@pytest.mark.parametrize("kept", [0, 5, 40])
def test_damage_is_said(held: Index, tmp_path: Path, kept: int) -> None:
    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(SpillError, match="is incomplete; try again"):
        first_half(held, tmp_path / "spill", cut)


def test_a_damaged_spill_is_a_problem_and_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, translated():
        raise SpillError("spill/0 is damaged")
    assert ended.value.code == 75
    assert capsys.readouterr().err == "error: spill/0 is damaged\n"
