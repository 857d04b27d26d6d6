"""Worker processes. A task is a pure function of its arguments and of files, and writes its own files.

A fork server that has already imported the code forks the processes. Starting the server takes half a second, and each
process a tenth of that. Worker processes end with the process that they work for.
"""

import asyncio
import fcntl
import gc
import os
import signal
import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, parent_process, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import structlog

from schemas.errors import TemporaryError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Tasks = AsyncIterable[Callable[[], R]] | Iterable[Callable[[], R]]
"""Tasks, made on demand; asynchronously, if making one reads its input first."""

log = structlog.get_logger()

WORTH_READING = 10_000
"""Number of unread events from which processes read the log."""

WORTH_ROUNDS = 1_000
"""Number of events to fold, or bins to seal, from which processes are used even if they must be started."""

WORTH_RUNNING = 32
"""The same number if the processes already run."""

IDLE_SECONDS = 60.0
"""How long idle processes are kept: a long batch is often followed by another."""


def count_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


_NO_MAIN_GUARD = (
    "the worker processes ended at once. They import the module that was started as a program: put everything that "
    'the module does below `if __name__ == "__main__":`'
)


_KILLED = "a worker process was killed from outside. Check that the machine has enough memory, and try again"


class ProcessKilledError(TemporaryError):
    """A worker process was killed from outside. Its task was not done."""


class Processes:
    """One process per core, started when first needed.

    Args:
        held: a file that every process holds a shared lock on while it lives. If the file is not locked, no process
            that a killed run started is left.
    """

    def __init__(self, held: Path | None = None) -> None:
        self._held = held
        self.count = count_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._used_at = 0.0
        self._are_missed = False
        self._starting: threading.Thread | None = None
        self._started: list[BaseProcess] = []
        self._has_worked = False

    def are_worth(self, count: int) -> bool:
        """Whether to use processes for this number of events or bins. If only the start-up forbids it, `rest` starts
        the processes: a batch of this size may come again.
        """
        if count >= WORTH_ROUNDS:
            return True
        are_ready = self._pool is not None and not self._is_starting
        self._are_missed = self._are_missed or (count >= WORTH_RUNNING and not are_ready)
        return count >= WORTH_RUNNING and are_ready

    def rest(self) -> None:
        """In idle time, begin to start the processes if a batch could have used them."""
        if self._are_missed and self._pool is None and not self._is_starting:
            self._used_at = monotonic()
            starting = threading.Thread(target=self._warm_up, name="start-processes", daemon=True)
            starting.start()
            self._starting = starting
        self._are_missed = False

    @property
    def are_idle(self) -> bool:
        """Whether the processes run and were not needed for a minute."""
        return self._pool is not None and monotonic() - self._used_at > IDLE_SECONDS

    @property
    def _is_starting(self) -> bool:
        return self._starting is not None and self._starting.is_alive()

    def _wait_until_started(self) -> None:
        if self._starting is not None:
            self._starting.join()

    def _warm_up(self) -> None:
        try:
            for begun in [self._begin(_nothing) for _ in range(self.count)]:
                begun.result()
        except (OSError, BrokenProcessPool) as error:  # rounds then run in this process
            log.warning("worker processes cannot be started; going on without them", why=str(error))
            self._end()

    async def in_order(self, tasks: Tasks[R]) -> AsyncGenerator[R, None]:
        """Run tasks, and yield their results in the order of tasks. Slightly more tasks than processes run at a time.

        However the iteration ends, no task runs afterwards.

        Raises:
            ProcessKilledError: a process was killed from outside.
        """
        pending: deque[Future[R]] = deque()
        if self._is_starting:
            await asyncio.to_thread(self._wait_until_started)
        try:
            async for task in tasks if isinstance(tasks, AsyncIterable) else _each(tasks):
                pending.append(self._begin(task))
                if len(pending) > 2 * self.count:
                    yield await _first(pending)
            while pending:
                yield await _first(pending)
        except BrokenProcessPool as error:
            ended = self._ended_by_themselves()
            self.close()
            if ended:
                raise RuntimeError(_NO_MAIN_GUARD) from error
            raise ProcessKilledError(_KILLED) from error
        finally:
            self._used_at = monotonic()
            for future in pending:
                future.cancel()
            # A running task cannot be cancelled, and its files would disturb the next batch: wait for it.
            if pending:
                await asyncio.to_thread(wait, list(pending))

    def close(self) -> None:
        """Wait for running tasks, and end the processes. They are started again when needed."""
        self._wait_until_started()
        self._end()

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _begin(self, task: Callable[[], R]) -> "Future[R]":
        """Begin a task, perhaps in a new process. Ctrl-C is blocked meanwhile, and a new process inherits that."""
        with _without_ctrl_c():
            if self._pool is None:
                context = _context()
                self._pool = ProcessPoolExecutor(self.count, context, start, (self._held,))
                self._started, self._has_worked = context.started, False
            future = self._pool.submit(task)
            future.add_done_callback(self._note_work)
            return future

    def _note_work(self, future: "Future[R]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._has_worked = True

    def _ended_by_themselves(self) -> bool:
        """Whether processes exited before their first task without being killed (a signal makes the code negative)."""
        return not self._has_worked and any((process.exitcode or 0) > 0 for process in self._started)


class ObjectProcess(Generic[T]):
    """A process that keeps one object, and calls functions with it: one after the other, in the order of `begin`.

    Args:
        make: makes the object, in the process.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        with _without_ctrl_c():
            self._pool = ProcessPoolExecutor(1, _context(), _keep, (make,))

    def begin(self, function: "Callable[Concatenate[T, P], R]", *args: P.args, **kwargs: P.kwargs) -> "_BegunThere[R]":
        """Begin to call a function with the object.

        Raises:
            ProcessKilledError: the process was killed from outside; the result raises it, too.
        """
        with _without_ctrl_c(), _translated():
            return _BegunThere(self._pool.submit(_call_kept, function, args, kwargs))

    async def close(self) -> None:
        """Wait for the function that runs, and end the process."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class _BegunThere(Generic[R]):
    """A call in another process. Contract: `consumers.work.workers.Begun`."""

    def __init__(self, future: "Future[R]") -> None:
        self._future = future

    async def result(self) -> R:
        with _translated():
            return await asyncio.wrap_future(self._future)

    async def stop(self) -> None:
        self._future.cancel()
        await asyncio.to_thread(wait, [self._future])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise ProcessKilledError(_KILLED) from error


_kept: list[Any] = []
"""In the process of a `ObjectProcess`: its object."""


def _keep(make: Callable[[], Any]) -> None:
    start()
    _kept.append(make())


def _call_kept(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    return function(_kept[0], *args, **kwargs)


def start_server() -> None:
    """Start the fork server ahead of time, when processes will be needed and there is other work to do first."""
    with _without_ctrl_c():
        _context()
        forkserver.ensure_running()


class _Context(ForkServerContext):
    """Has all processes that were started with it: `active_children` leaves out those that have ended by now."""

    def __init__(self) -> None:
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> ForkServerProcess:  # type: ignore[override]  # noqa: N802  # a class
        process = ForkServerProcess(*args, **kwargs)
        self.started.append(process)
        return process


def _context() -> _Context:
    _start_tracker()
    context = _Context()
    context.set_forkserver_preload(["consumers.render.tasks"])
    return context


def _start_tracker() -> None:
    """Start Python's resource tracker without warnings: it outlives this process, and its text would be in the logs."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C; processes started meanwhile inherit the blocked signal."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _nothing() -> None:
    """An empty task, to start a process."""


async def _each(tasks: Iterable[R]) -> AsyncIterator[R]:
    for task in tasks:
        yield task


async def _first(pending: "deque[Future[R]]") -> R:
    """The result of the first task. Its future stays pending until then, so that a cancelled caller can wait for it."""
    result = await asyncio.shield(asyncio.wrap_future(pending[0]))
    pending.popleft()
    return result


def start(held: Path | None = None) -> None:
    """Prepare a worker process: it ends with its parent process, and ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if held is not None:
        fcntl.flock(os.open(held, os.O_RDONLY), fcntl.LOCK_SH)
    # A task makes a million objects that live to its end, and no cycles: searching for cycles took a fifth of the time.
    gc.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
