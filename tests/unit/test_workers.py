"""Threads that compute: what they promise to whoever asks them."""

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event
from time import sleep

import pytest

from consumers.work.workers import Behind, ThreadWorkers, run_each


async def test_results_are_in_the_order_of_items() -> None:
    workers = ThreadWorkers()
    assert await run_each(workers, lambda item: item * 2, range(101)) == [item * 2 for item in range(101)]
    assert await run_each(workers, lambda item: item, []) == []
    workers.close()


async def test_nothing_runs_any_more_when_one_has_failed() -> None:
    """Else a file of an edition that was given up would be staged for the next one."""
    workers, began, done = ThreadWorkers(), Event(), []

    def work(item: int) -> None:
        if item == 0:
            began.wait()
            raise ValueError(item)
        began.set()
        sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="0"):
        await run_each(workers, work, range(200))
    seen = list(done)
    await asyncio.sleep(0.2)
    assert done == seen
    workers.close()


async def test_nothing_runs_any_more_when_it_was_cancelled() -> None:
    workers, began, done = ThreadWorkers(), Event(), []

    def work(item: int) -> None:
        began.set()
        sleep(0.05)
        done.append(item)

    task = asyncio.create_task(run_each(workers, work, range(200)))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = list(done)
    await asyncio.sleep(0.2)
    assert done == seen
    workers.close()


async def _run(workers: ThreadWorkers, function: Callable[[int], None]) -> None:
    await workers.run(function, 1)


async def _run_each(workers: ThreadWorkers, function: Callable[[int], None]) -> None:
    await run_each(workers, function, [1, 2, 3])


@pytest.mark.parametrize("call", [_run, _run_each])
async def test_what_threads_wait_for_is_given_up_when_nobody_waits_for_them(
    call: Callable[[ThreadWorkers, Callable[[int], None]], Awaitable[None]],
) -> None:
    """Else a server that does not answer would keep a command from ending."""
    began, given_up, ended = Event(), Event(), Event()
    workers = ThreadWorkers(given_up.set)

    def wait_for_a_server(_: int) -> None:
        began.set()
        if given_up.wait(10):
            ended.set()

    task = asyncio.ensure_future(call(workers, wait_for_a_server))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    workers.close()
    assert ended.is_set()


async def test_groups_run_while_the_next_is_prepared() -> None:
    workers, began, prepared = ThreadWorkers(), Event(), Event()

    def work(item: int) -> int:
        began.set()
        prepared.wait()
        return item * 2

    async with Behind(workers, work) as behind:
        await behind.add([1, 2, 3])
        await asyncio.to_thread(began.wait)
        prepared.set()
        await behind.add([4])
        await behind.add([5])
        assert behind.results == [2, 4, 6]
    assert behind.results == [2, 4, 6, 8, 10]
    workers.close()


async def test_what_runs_behind_has_ended_when_its_caller_fails() -> None:
    workers, done = ThreadWorkers(), []

    def work(item: int) -> None:
        sleep(0.05)
        done.append(item)

    async def fail() -> None:
        async with Behind(workers, work) as behind:
            await behind.add(range(200))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    seen = list(done)
    await asyncio.sleep(0.2)
    assert done == seen
    assert len(done) < 200
    workers.close()
