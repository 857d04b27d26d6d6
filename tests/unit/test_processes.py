"""Processes that compute: what they promise to whoever shares out the work."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from time import sleep

import pytest

from consumers.work import processes as module
from consumers.work.processes import WORTH_ROUNDS, WORTH_RUNNING, Processes
from tests.client.processes import PATIENCE_SECONDS


def square(number: int) -> int:
    sleep(0.05 * (3 - number % 3))
    return number * number


def write(folder: Path, number: int) -> None:
    (folder / f"{number}.begun").touch()
    sleep(0.5)
    (folder / f"{number}.done").touch()


def fail(number: int) -> int:
    if number == 3:
        raise ValueError(number)
    return number


async def each(task: Callable[[int], object], count: int) -> AsyncIterator[Callable[[], object]]:
    for number in range(count):
        yield partial(task, number)


async def test_results_are_in_the_order_of_tasks() -> None:
    processes = Processes()
    async with aclosing(processes.in_order(each(square, 12))) as results:
        assert [result async for result in results] == [number * number for number in range(12)]
    processes.close()


async def test_an_error_of_a_task_is_that_of_its_caller() -> None:
    processes, seen = Processes(), []

    async def run() -> None:
        async with aclosing(processes.in_order(each(fail, 100))) as results:
            async for result in results:
                seen.append(result)

    with pytest.raises(ValueError, match="3"):
        await run()
    assert seen == [0, 1, 2]
    processes.close()


async def test_nothing_runs_any_more_when_it_was_cancelled(tmp_path: Path) -> None:
    """What was staged later would lie in the way of the next publication."""
    processes = Processes()

    async def run() -> None:
        async with aclosing(processes.in_order(each(partial(write, tmp_path), 100))) as results:
            async for _ in results:
                pass

    task = asyncio.create_task(run())
    while not list(tmp_path.iterdir()):  # noqa: ASYNC110  # other processes make them
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = sorted(tmp_path.iterdir())
    assert {path.stem for path in left if path.suffix == ".begun"} == {
        path.stem for path in left if path.suffix == ".done"
    }
    await asyncio.sleep(1)
    assert sorted(tmp_path.iterdir()) == left
    processes.close()


async def started(processes: Processes) -> None:
    """Wait until processes that were begun are there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not processes.are_worth(WORTH_RUNNING):  # noqa: ASYNC110  # a thread starts them
            await asyncio.sleep(0.02)


async def test_processes_that_were_missed_start_when_there_is_time() -> None:
    processes = Processes()
    assert processes.are_worth(WORTH_ROUNDS), "so much that they are started for it"
    assert not processes.are_worth(WORTH_RUNNING - 1)
    processes.rest()
    assert not processes.are_worth(WORTH_RUNNING), "nobody had missed them"
    processes.rest()
    await started(processes)
    assert not processes.are_worth(WORTH_RUNNING - 1)
    async with aclosing(processes.in_order(each(square, 3))) as results:
        assert [result async for result in results] == [0, 1, 4]
    assert not processes.are_idle
    processes.close()
    assert not processes.are_worth(WORTH_RUNNING)


async def test_who_needs_processes_waits_for_those_that_are_starting() -> None:
    processes = Processes()
    processes.are_worth(WORTH_RUNNING)
    processes.rest()
    async with aclosing(processes.in_order(each(square, 3))) as results:
        assert [result async for result in results] == [0, 1, 4]
    processes.close()


def test_processes_can_be_closed_while_they_are_starting() -> None:
    processes = Processes()
    processes.are_worth(WORTH_RUNNING)
    processes.rest()
    processes.close()
    assert not processes.are_worth(WORTH_RUNNING)


def check_not_counted_on(processes: Processes) -> None:
    """They are missed, begin to start, and do not."""
    processes.are_worth(WORTH_RUNNING)
    processes.rest()
    assert processes._starting is not None
    processes._starting.join()
    assert not processes.are_worth(WORTH_RUNNING)
    processes.close()


async def test_processes_that_cannot_be_started_are_not_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()

    def refuse(_: Callable[[], object]) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "_begin", refuse)
    check_not_counted_on(processes)


def test_processes_that_die_while_they_start_are_not_counted_on(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "gone")  # each wants to lock it first
    check_not_counted_on(processes)


async def test_processes_that_nobody_needs_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    async with aclosing(processes.in_order(each(square, 1))) as results:
        assert [result async for result in results] == [0]
    assert not processes.are_idle
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    assert processes.are_idle
    processes.close()
    assert not processes.are_idle


PROGRAM = """
import asyncio
import os
import subprocess
import sys
from functools import partial
from consumers.work.processes import Processes

async def main():
    async for each in Processes().in_order([partial(int, "3")] * 3):
        print(each)

{}
"""


SLOW_MACHINE = """
from concurrent.futures import ProcessPoolExecutor, wait
submit = ProcessPoolExecutor.submit

def submit_and_wait(pool, task):
    future = submit(pool, task)
    wait([future])
    return future

ProcessPoolExecutor.submit = submit_and_wait
asyncio.run(main())
"""
"""The process has ended before anything goes on in the one that started it."""


@pytest.mark.parametrize(
    ("run", "guarded"),
    [
        ('if __name__ == "__main__":\n    asyncio.run(main())', True),
        ("asyncio.run(main())", False),
        (SLOW_MACHINE, False),
    ],
    ids=["guarded", "not guarded", "not guarded, slow"],
)
def test_a_program_without_a_main_guard_is_told_so(run: str, guarded: bool, tmp_path: Path) -> None:
    """It is not said to lack memory."""
    (tmp_path / "program.py").write_text(PROGRAM.format(run))
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=False, env=with_product()
    )
    if guarded:
        assert done.stdout.split() == ["3", "3", "3"], done.stderr
    else:
        assert 'below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
        assert "memory" not in done.stderr


def with_product() -> dict[str, str]:
    """An environment in which a program elsewhere finds the product."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
