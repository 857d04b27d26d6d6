"""Where a state is worked on: a thread of its own, or the caller's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Answer = TypeVar("Answer")


class AtOnce(Executor):
    """Runs everything at once, in the caller's thread: handing a call to another one takes as long as reading."""

    def submit(self, function: Callable[P, Answer], /, *args: P.args, **kwargs: P.kwargs) -> "Future[Answer]":
        """Run a function. The result is there when this returns."""
        future: Future[Answer] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it belongs to whoever asks for the result
            future.set_exception(error)
        return future


class OneThread(Executor):
    """One thread. It begins when it is first needed, ends with `shutdown`, and may begin again."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[P, Answer], /, *args: P.args, **kwargs: P.kwargs) -> "Future[Answer]":
        """Run a function after those before."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        return self._pool.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait, cancel_futures=cancel_futures)


async def finished(future: "Future[Answer]") -> Answer:
    """Wait for a result; for its end, even if the caller is cancelled: it takes milliseconds."""
    if not future.done():
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await asyncio.wait({waiting})
            raise
    return future.result()
