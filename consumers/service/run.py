"""Consumers as processes: opened, supervised, and stopped cleanly.

Temporary failures (broker unreachable, disk full, key service down) are retried with back-off. Each retry is a fresh
start: the state is opened and compared with the logs again. A failure that a person must resolve ends the process with
a message.
"""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from consumers.context import Context
from consumers.follow.observing import Observer
from consumers.follow.served import TimestampWatch
from consumers.gateway.addresses import Address
from consumers.gateway.running import run_gateway
from consumers.render.outlets import FileListOutlet, NoOutlet, PublicOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import make_signer, warn_of_own_folder
from consumers.service.rechecking import Recheck
from consumers.sign.expiring import ExpiryWatch
from consumers.sign.schedule import Schedule
from consumers.verify.verifier import Patience, Verifier
from ledger.clock import SystemClock
from ledger.config import ConfigError
from ledger.disk.files import may_pass
from projections.metadata.paths import TIMESTAMP
from schemas.errors import LedgerError

log = structlog.get_logger()

CONSUMERS = ("signer", "publisher", "verifier", "catalog")
GATEWAY = "gateway"
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
IDLE_SECONDS = 0.25
STOP_SECONDS = 30.0

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")

Loop = Callable[[asyncio.Event], Awaitable[None]]


# --- loops -----------------------------------------------------------------------------------------------------------


async def run_signer(context: Context, schedule: Schedule, stop: asyncio.Event, *, publishes: bool) -> None:
    """Sign until stopped; with `publishes`, also place the files, so that signer and publisher share one fold."""
    storage = context.storage("signer") if publishes else None
    outlet = PublicOutlet(storage) if storage else NoOutlet()
    async with open_follower(context, "signer", outlet, storage) as opened:
        recheck = Recheck(opened, storage, outlet) if storage and isinstance(outlet, PublicOutlet) else None
        follower = opened.follower
        await follower.skip(at_least=context.limits.skip_from)
        signer = await make_signer(context, opened, schedule)
        log.info("signer started", publication=follower.head.number, size=follower.head.size, publishes=publishes)
        watch, expiry = TimestampWatch(follower), ExpiryWatch(SystemClock())
        while not stop.is_set():
            expiry.look(follower.base.authority)
            if not await signer.step():
                if storage is not None:
                    await watch.look(await opened.workers.run(storage.read, TIMESTAMP))
                if recheck is not None:
                    await recheck.when_idle()
                await opened.rest()
                await opened.logs.events.wait(follower.tail.end.size, IDLE_SECONDS)


async def run_publisher(context: Context, stop: asyncio.Event) -> None:
    """Place files until stopped."""
    storage = context.storage("publisher")
    outlet = PublicOutlet(storage)
    async with open_follower(context, "publisher", outlet, storage) as opened:
        follower, logs, _, workers = opened
        recheck = Recheck(opened, storage, outlet)
        await follower.skip(at_least=context.limits.skip_from)
        log.info("publisher started", publication=follower.head.number, size=follower.head.size)
        watch = TimestampWatch(follower)
        while not stop.is_set():
            if await follower.step():
                continue
            # The served version is never lowered, and the signer refuses to sign below it: a person must decide.
            await watch.look(await workers.run(storage.read, TIMESTAMP))
            await recheck.when_idle()
            await opened.rest()
            await logs.publications.wait(follower.next_record, IDLE_SECONDS)


async def run_verifier(context: Context, stop: asyncio.Event) -> None:
    """Recompute every publication and compare it with the served files, until stopped."""
    config = context.config.verifier
    async with open_follower(context, "verifier", FileListOutlet()) as opened:
        follower, logs, store, workers = opened
        served = context.served(config.served)
        verifier = Verifier(
            served,
            patience=Patience(config.delay_seconds, config.lag_seconds),
            follower=follower,
            store=store,
            workers=workers,
            files=served.paths() is not None,  # over HTTP, the server would have to send all of them
            limits=context.limits,
        )
        log.info("verifier started", publication=follower.head.number, size=follower.head.size)
        while not stop.is_set():
            if not await verifier.step(asyncio.get_running_loop().time()):
                await opened.rest()
                await logs.publications.wait(follower.next_record, 1.0)
        await verifier.finish()


async def run_catalog(context: Context, stop: asyncio.Event) -> None:
    """Fill the catalog until stopped."""
    from consumers.catalog.asking import open_filling  # noqa: PLC0415  # SQLAlchemy: only this consumer needs it

    async with open_filling(context, context.catalog(writes=True)) as filling:
        log.info("catalog started", size=filling.size, publication=filling.number)
        said = ""
        while not stop.is_set():
            if await filling.step():
                continue
            if filling.halted is not None and f"{filling.halted}" != said:
                said = f"{filling.halted}"
                log.error("publications are not judged further; events are still filled in", why=said)
            await filling.rest(IDLE_SECONDS)


async def run(context: Context, names: Sequence[str], schedule: Schedule, *, listen_at: Address | None = None) -> None:
    """Run consumers in this process until SIGTERM or SIGINT, or until one of them fails for good.

    Args:
        context: the ledger.
        names: the consumers.
        schedule: the policy of the signer.
        listen_at: where the gateway listens; None: there is none.

    Raises:
        Exception: the permanent failure of a consumer.
    """
    loops: dict[str, Loop] = {}
    if "signer" in names:
        warn_of_own_folder(context)
        loops["signer"] = partial(run_signer, context, schedule, publishes="publisher" in names)
    elif "publisher" in names:
        loops["publisher"] = partial(run_publisher, context)
    if "verifier" in names:
        loops["verifier"] = partial(run_verifier, context)
    if "catalog" in names:
        loops["catalog"] = partial(run_catalog, context)
    if listen_at is not None:
        loops[GATEWAY] = partial(run_gateway, context.public, context, listen_at)
    await run_loops(context, loops)


async def observe(context: Context, name: str, observer: Observer, *, skips: bool = False) -> None:
    """Tell an observer of every publication, until SIGTERM or SIGINT (docs/extending.md).

    Args:
        context: the ledger.
        name: the name of the state file, which no other consumer has.
        observer: who is told.
        skips: whether many publications may be told as one where the observer is far behind at a start.

    Raises:
        ConfigError: the name is that of another consumer, or cannot be that of a file.
        ObserverBehindError: the state was told to another observer: delete it.
        LedgerError: a failure that a person must resolve.
        Exception: what the observer raised.
    """
    if name in {*CONSUMERS, GATEWAY} or not _NAME.fullmatch(name):
        raise ConfigError(
            f"an observer cannot have the name {name!r}: its state would be that of another consumer, or no file. Take "
            "a name of letters, digits, '.', '_' and '-'"
        )
    await run_loops(context, {name: partial(run_observer, context, name, observer, skips=skips)})


async def run_observer(context: Context, name: str, observer: Observer, stop: asyncio.Event, *, skips: bool) -> None:
    """Fold, and tell an observer, until stopped."""
    async with open_follower(context, name, NoOutlet(), observers=[observer], renders=False) as opened:
        follower = opened.follower
        while skips and await follower.skip(at_least=context.limits.skip_from):
            pass  # a run ends at what the observer keeps, if its state was deleted
        log.info("observer started", publication=follower.head.number, size=follower.head.size)
        while not stop.is_set():
            if not await follower.step():
                await opened.rest()
                await opened.logs.publications.wait(follower.next_record, IDLE_SECONDS)


async def serve(public: Path, context: Context | None, listen_at: Address) -> None:
    """Run the gateway alone until SIGTERM or SIGINT.

    Raises:
        LedgerError: see `run_gateway`.
    """
    await run_loops(context, {GATEWAY: partial(run_gateway, public, context, listen_at)})


async def run_loops(context: Context | None, loops: Mapping[str, Loop]) -> None:
    """Run consumers by name until SIGTERM or SIGINT, or until one of them fails for good.

    Raises:
        Exception: the permanent failure of a consumer.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(_supervise(name, each, stop), name=name) for name, each in loops.items()]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        if context is not None:
            context.give_up()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in late:
            log.warning("a consumer did not stop in time and was cancelled", consumer=task.get_name())
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
    finally:
        stopping.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("stopped")


async def _supervise(name: str, loop: Loop, stop: asyncio.Event) -> None:
    """Run a consumer, and restart it after a temporary failure. Pauses grow; a run of over a minute resets them."""
    structlog.contextvars.bind_contextvars(consumer=name)  # for this task and the tasks that it starts
    pause = FIRST_PAUSE_SECONDS
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        try:
            await loop(stop)
        except (LedgerError, OSError) as error:  # OSError: an error without the name of a file
            if not (error.is_retried if isinstance(error, LedgerError) else may_pass(error)):
                raise
            if stop.is_set():
                log.info("stopped during a temporary failure", why=str(error))
                return
            if asyncio.get_running_loop().time() - started > 60:
                pause = FIRST_PAUSE_SECONDS
            name_of_error = error.name if isinstance(error, LedgerError) else "environment"
            log.warning("temporary failure, retrying", error=name_of_error, why=str(error), seconds=pause)
        else:
            return
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
