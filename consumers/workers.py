"""Where CPU runs: the event loop does I/O only.

One thread folds and renders, since Python code runs on one core anyway; signing, hashing and writing large buffers
release the interpreter's lock, so for those there is a thread for each core.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """What runs blocking functions."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that computes, or one that blocks."""

    async def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Run a function that signs, hashes or writes for each item, on all cores; results in their order.

        When it returns or raises, nothing runs any more.
        """

    def close(self) -> None:
        """Stop the threads."""


class ThreadWorkers:
    """Workers in threads."""

    def __init__(self) -> None:
        self._single = ThreadPoolExecutor(1, thread_name_prefix="fold")
        self._cores = os.cpu_count() or 1
        self._many = ThreadPoolExecutor(self._cores, thread_name_prefix="sign")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the folding thread."""
        return await asyncio.get_running_loop().run_in_executor(self._single, lambda: function(*args, **kwargs))

    async def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Run a function over a share of the items in each thread."""
        shares = [items[start :: self._cores] for start in range(min(self._cores, len(items)))]
        stop = Event()
        tasks = [self._many.submit(_over, function, share, stop) for share in shares]
        try:
            done = await asyncio.gather(*map(asyncio.wrap_future, tasks))
        except BaseException:
            # What another thread still writes would lie in the way of what comes next: it ends with its item.
            stop.set()
            wait(tasks)
            raise
        results: list[R] = [done[index % len(shares)][index // len(shares)] for index in range(len(items))]
        return results

    def close(self) -> None:
        """Stop the threads."""
        self._single.shutdown()
        self._many.shutdown()


def _over(function: Callable[[T], R], items: Sequence[T], stop: Event) -> list[R]:
    results: list[R] = []
    for item in items:
        if stop.is_set():
            break
        results.append(function(item))
    return results
