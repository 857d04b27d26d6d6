"""Threads for computation: the event loop only does I/O.

One thread folds and renders, since Python code runs on one core anyway. Signing, hashing and writing large buffers
release the interpreter's lock, so they use one thread per core.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

from consumers.work.processes import Processes, count_cores

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

FEW_BYTES = 2**14
"""Length of records up to which they are decoded and checked by the event loop: about a millisecond."""

_LEAST_BYTES = 64


class Running(Protocol[R_co]):
    """A function that runs over items while its caller goes on. The caller must wait for it or stop it."""

    async def results(self) -> "Sequence[R_co]":
        """Wait for the results, in the order of items. When this returns or raises, the function no longer runs."""

    def stop(self) -> None:
        """Stop the function: when this returns, it no longer runs."""


class Begun(Protocol[R_co]):
    """An operation that runs while its caller goes on. The caller must wait for it or stop it."""

    async def result(self) -> R_co:
        """Wait for its result."""

    async def stop(self) -> None:
        """Stop the operation: when this returns, it no longer runs."""


class Workers(Protocol):
    """Runs blocking functions. `processes` serve batches of many events or bins; None means no processes."""

    processes: Processes | None

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that computes, or one that blocks."""

    def begin(self, function: Callable[[T], R], items: Sequence[T]) -> Running[R]:
        """Begin to run a function that signs, hashes or writes for each item, on all cores."""

    def ahead(self, operation: Coroutine[Any, Any, R]) -> Begun[R]:
        """Begin an operation that mostly waits for I/O."""

    async def rest(self) -> None:
        """In idle time, start processes that a batch could have used, and end unused ones."""

    def close(self) -> None:
        """Stop the threads."""


def length_of(values: Iterable[bytes | None]) -> int:
    """How long records are for `run_if_long`. One without a value is looked at, too."""
    return sum(_LEAST_BYTES + len(value or b"") for value in values)


async def run_if_long(workers: Workers, length: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that computes: at once if it works on few bytes, else with `Workers.run`.

    To hand a call to another thread and back takes as long as decoding and checking some kilobytes.
    """
    return function(*args, **kwargs) if length <= FEW_BYTES else await workers.run(function, *args, **kwargs)


async def run_each(workers: Workers, function: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
    """Run a function for each item with `Workers.begin`, and wait for the results."""
    return await workers.begin(function, items).results()


class Behind(Generic[T, R]):
    """Runs a function over groups of items, in order, while its caller prepares the next group.

    Two groups run at a time, so that no thread is idle at the end of a group. A context manager: at its end all groups
    are done, or after an exception none runs any more.
    """

    def __init__(self, workers: Workers, function: Callable[[T], R]) -> None:
        self._workers = workers
        self._function = function
        self._running: deque[Running[R]] = deque()
        self.results: list[R] = []

    async def add(self, items: Sequence[T]) -> None:
        """Begin the next group, when at most one earlier group still runs."""
        await self._finish(1)
        if items:
            self._running.append(self._workers.begin(self._function, items))

    async def _finish(self, left: int) -> None:
        while len(self._running) > left:
            self.results.extend(await self._running[0].results())
            self._running.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self._finish(0)
        finally:
            for running in self._running:
                running.stop()


class ThreadWorkers:
    """Workers in threads.

    Args:
        give_up: ends what functions wait for outside of this process. It is called when a caller no longer waits.
    """

    def __init__(self, give_up: Callable[[], None] | None = None) -> None:
        self._give_up = give_up or _nothing
        self.processes: Processes | None = Processes()
        self._single = ThreadPoolExecutor(1, thread_name_prefix="fold")
        self._cores = count_cores()
        self._many = ThreadPoolExecutor(self._cores, thread_name_prefix="sign")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the folding thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._single, lambda: function(*args, **kwargs))
        except asyncio.CancelledError:
            self._give_up()
            raise

    def begin(self, function: Callable[[T], R], items: Sequence[T]) -> Running[R]:
        """Run a function over some of the items in each thread."""
        stop = Event()
        divided = [items[start :: self._cores] for start in range(min(self._cores, len(items)))]
        return _Divided(
            [self._many.submit(_over, function, some, stop) for some in divided], len(items), stop, self._give_up
        )

    def ahead(self, operation: Coroutine[Any, Any, R]) -> Begun[R]:
        """Begin an operation in a task."""
        return _Task(operation)

    async def rest(self) -> None:
        """Begin to start processes that a batch could have used, or end idle ones."""
        if self.processes is not None:
            self.processes.rest()
            if self.processes.are_idle:
                await asyncio.to_thread(self.processes.close)

    def close(self) -> None:
        """Stop the threads and the processes."""
        if self.processes is not None:
            self.processes.close()
        self._single.shutdown()
        self._many.shutdown()


def _nothing() -> None:
    pass


def _over(function: Callable[[T], R], items: Sequence[T], stop: Event) -> list[R]:
    results: list[R] = []
    for item in items:
        if stop.is_set():
            break
        results.append(function(item))
    return results


class _Task(Generic[R]):
    """An operation in a task."""

    def __init__(self, operation: Coroutine[Any, Any, R]) -> None:
        self._task = asyncio.create_task(operation)

    async def result(self) -> R:
        return await self._task

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class _Divided(Generic[R]):
    """A function over items, divided among threads. `stop` ends each thread after its current item."""

    def __init__(
        self, tasks: "Sequence[Future[list[R]]]", count: int, stop: Event, give_up: Callable[[], None]
    ) -> None:
        self._give_up = give_up
        self._tasks = tasks
        self._count = count
        self._stop = stop

    async def results(self) -> list[R]:
        try:
            done = await asyncio.gather(*map(asyncio.wrap_future, self._tasks))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._give_up()
            # Files that another thread still writes would disturb the next batch.
            self.stop()
            raise
        return [done[index % len(done)][index // len(done)] for index in range(self._count)]

    def stop(self) -> None:
        self._stop.set()
        wait(self._tasks)
