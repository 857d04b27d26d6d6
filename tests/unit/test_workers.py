"""Threads that compute: what they promise to whoever asks them."""

import asyncio
from threading import Event
from time import sleep

import pytest

from consumers.workers import ThreadWorkers


async def test_results_are_in_the_order_of_items() -> None:
    workers = ThreadWorkers()
    assert await workers.map(lambda item: item * 2, range(101)) == [item * 2 for item in range(101)]
    assert await workers.map(lambda item: item, []) == []
    workers.close()


async def test_nothing_runs_any_more_when_one_has_failed() -> None:
    """Else a file of an edition that was given up would be staged for the next one."""
    workers, began, done = ThreadWorkers(), Event(), []

    def work(item: int) -> None:
        if item == 0:
            began.wait(1)
            raise ValueError(item)
        began.set()
        sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="0"):
        await workers.map(work, range(200))
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

    task = asyncio.create_task(workers.map(work, range(200)))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = list(done)
    await asyncio.sleep(0.2)
    assert done == seen
    workers.close()
