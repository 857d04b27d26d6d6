"""A gateway in a thread of this process, over real sockets."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from consumers.context import Context
from consumers.gateway.addresses import Address, listening
from consumers.gateway.app import open_app
from consumers.gateway.connections import DEFAULT_LIMITS, ConnectionLimits, serve
from consumers.gateway.event_routes import open_event_routes
from consumers.gateway.past_pages import PAST_LIMITS, PastLimits
from ledger.clock import Clock


@contextmanager
def gateway(
    public: Path,
    context: Context | None = None,
    *,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    limits: ConnectionLimits = DEFAULT_LIMITS,
    past: PastLimits = PAST_LIMITS,
) -> Iterator[str]:
    """The URL of a gateway over a public folder, without a slash at its end."""
    with listening(Address(host, 0)) as sockets:
        loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        failures: list[BaseException] = []
        ready = threading.Event()

        async def run() -> None:
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            async with AsyncExitStack() as closing:
                more = [] if context is None else await closing.enter_async_context(open_event_routes(context, stop))
                app = await closing.enter_async_context(
                    open_app(public, context, clock=clock, more=more, past_limits=past)
                )
                ready.set()
                await serve(app, sockets, stop, limits)

        def run_thread() -> None:
            try:
                asyncio.run(run())
            except BaseException as error:  # noqa: BLE001  # raised where the thread is joined
                failures.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run_thread)
        thread.start()
        try:
            ready.wait()
            yield f"http://{Address(*sockets[0].getsockname()[:2])}"
        finally:
            for loop, stop in loops:
                loop.call_soon_threadsafe(stop.set)
            thread.join()
            assert not failures, failures


def headers_of(answer: Any, *names: str) -> dict[str, str]:
    """Some headers of an answer; those that it does not have are left out."""
    return {name: answer.headers[name] for name in names if name in answer.headers}
