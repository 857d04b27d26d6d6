"""Processes that compute: a task is a pure function of what it is given and of files, and writes files of its own.

They are forked by a server that has imported what they need: to start it takes half a second, and from then on each of
them a tenth of that. They end with the process that they work for.
"""

import asyncio
import fcntl
import gc
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import TypeVar

import structlog

from schemas.errors import TemporaryError

R = TypeVar("R")

Tasks = AsyncIterable[Callable[[], R]] | Iterable[Callable[[], R]]
"""Tasks, made as they are taken; asynchronously, where what they are to do is read first."""

log = structlog.get_logger()

WORTH_READING = 10_000
"""So many events of a log are worth to be read in processes."""

WORTH_ROUNDS = 1_000
"""So many events are worth to be folded in processes, and so many bins to be sealed, even if they must be started."""

WORTH_RUNNING = 32
"""So many are, if they run already."""

IDLE_SECONDS = 60.0
"""How long processes that nobody needs are kept: who has a long batch to do often has another."""


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


_NO_MAIN_GUARD = (
    "the worker processes ended at once. They import the module that was started as a program: put everything that "
    'the module does below `if __name__ == "__main__":`'
)


class ProcessKilledError(TemporaryError):
    """A process was killed from outside. Its task was not done."""


class Processes:
    """A process for each core, started when they are first needed.

    Args:
        held: a file that every process has locked, shared, for as long as it lives: who finds it free knows that none
            is left of those that a killed process started.
    """

    def __init__(self, held: Path | None = None) -> None:
        self._held = held
        self.count = count_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._used_at = 0.0
        self._are_missed = False
        self._starting: threading.Thread | None = None
        self._children: list[BaseProcess] = []
        self._has_worked = False

    def are_worth(self, count: int) -> bool:
        """Whether so many events are to be folded here, or so many bins sealed. If they only would be if processes ran,
        `rest` starts them: who has some at once may have so many again.
        """
        if count >= WORTH_ROUNDS:
            return True
        are_ready = self._pool is not None and not self._is_starting
        self._are_missed = self._are_missed or (count >= WORTH_RUNNING and not are_ready)
        return count >= WORTH_RUNNING and are_ready

    def rest(self) -> None:
        """There is nothing to do: begin to start the processes, if they were missed."""
        if self._are_missed and self._pool is None and not self._is_starting:
            self._used_at = monotonic()
            starting = threading.Thread(target=self._warm_up, name="start-processes", daemon=True)
            starting.start()
            self._starting = starting
        self._are_missed = False

    @property
    def are_idle(self) -> bool:
        """Whether they run, and were not needed for a while."""
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
        except (OSError, BrokenProcessPool) as error:  # then it goes on without
            log.warning("worker processes cannot be started; going on without them", why=str(error))
            self._end()

    async def in_order(self, tasks: Tasks[R]) -> AsyncGenerator[R, None]:
        """Run tasks, a few more at a time than there are processes, and give their results in the order of tasks.

        When it ends in any way, none runs any more.

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
            raise ProcessKilledError(
                "a worker process was killed from outside. Check that the machine has enough memory, and try again"
            ) from error
        finally:
            self._used_at = monotonic()
            for future in pending:
                future.cancel()
            # What has begun cannot be cancelled, and what it still writes would lie in the way of what comes next.
            if pending:
                await asyncio.to_thread(wait, list(pending))

    def close(self) -> None:
        """Wait for what runs, and end the processes; they are started anew when they are needed again."""
        self._wait_until_started()
        self._end()

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _begin(self, task: Callable[[], R]) -> "Future[R]":
        """Begin a task, in a new process maybe: Ctrl-C is for this one alone, and what is blocked is inherited."""
        with _without_ctrl_c():
            if self._pool is None:
                self._pool = ProcessPoolExecutor(self.count, _context(), start, (self._held,))
                self._has_worked = False
            future = self._pool.submit(task)
            self._children = active_children()
            future.add_done_callback(self._note_work)
            return future

    def _note_work(self, future: "Future[R]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._has_worked = True

    def _ended_by_themselves(self) -> bool:
        """Whether processes ended before they did anything, and nobody killed them: a signal would be negative."""
        return not self._has_worked and any((child.exitcode or 0) > 0 for child in self._children)


def start_server() -> None:
    """Begin to start the server, by somebody who knows that processes will be needed, and has something else to do."""
    with _without_ctrl_c():
        _context()
        forkserver.ensure_running()


def _context() -> ForkServerContext:
    _start_tracker()
    context = get_context("forkserver")
    context.set_forkserver_preload(["consumers.render.tasks"])
    return context


def _start_tracker() -> None:
    """Start Python's tracker of resources, which outlives us: what it warns of would stand as text among our logs."""
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
    """Whoever is started meanwhile inherits that Ctrl-C is blocked."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _nothing() -> None:
    """What a process does that is only to be there."""


async def _each(tasks: Iterable[R]) -> AsyncIterator[R]:
    for task in tasks:
        yield task


async def _first(pending: "deque[Future[R]]") -> R:
    """The result of the first; until it is there, the future stays where it is, to be waited for."""
    result = await asyncio.shield(asyncio.wrap_future(pending[0]))
    pending.popleft()
    return result


def start(held: Path | None = None) -> None:
    """Prepare a process: it ends with the one that deals out the work, and that alone listens to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if held is not None:
        fcntl.flock(os.open(held, os.O_RDONLY), fcntl.LOCK_SH)
    # A task makes a million objects that it needs to its end, and no cycles: looking for some is a fifth of the time.
    gc.disable()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
