"""Consumers as processes: opened, supervised, and stopped cleanly.

What may pass (a broker that is away, a full disk, a key service) is tried again, with a fresh start: the state is
opened and compared with the logs anew. What a person must decide ends the process with a message.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import structlog

from consumers.context import Context
from consumers.follow.follower import SKIP_FROM, Follower
from consumers.follow.served import is_on_log
from consumers.render.outlets import TIMESTAMP, FileListOutlet, NoOutlet, Outlet, PublicOutlet, served_version
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.verify.verifier import Limits, Verifier
from consumers.work.processes import ProcessKilledError
from consumers.work.progress import Report
from consumers.work.workers import ThreadWorkers, run_each
from ledger.clock import SystemClock
from ledger.disk.files import StorageError
from ledger.keys.keyring import SignerError
from ledger.logs import Logs, LogUnavailableError
from ledger.state.errors import StoreError
from ledger.state.store import Store
from ledger.storage.directory import DirectoryStorage, Storage
from projections.metadata.repository import metadata_path

log = structlog.get_logger()

CONSUMERS = ("signer", "publisher", "verifier")
PASSING = (LogUnavailableError, ProcessKilledError, StorageError, SignerError)
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
IDLE_SECONDS = 0.25
STOP_SECONDS = 30.0
PROGRESS_SECONDS = 10.0
RUNNING_NOTE = "running"
_RESUMED = "resumed-above"

Loop = Callable[[asyncio.Event], Awaitable[None]]


class Opened(NamedTuple):
    """A follower that was started, and what it works with."""

    follower: Follower
    logs: Logs
    store: Store
    workers: ThreadWorkers

    async def rest(self) -> None:
        """There is nothing to do: a time for what else would make somebody wait."""
        await self.store.settle()
        await self.workers.rest()


@asynccontextmanager
async def open_follower(
    context: Context, name: str, outlet: Outlet, storage: Storage | None = None, *, report: Report | None = None
) -> AsyncIterator[Opened]:
    """A follower with everything it needs, started; closed again at the end.

    Args:
        context: the ledger.
        name: the name of its state file.
        outlet: where rendered files go.
        storage: where the outlet writes, if it does: after an unclean stop the last publication's files are checked.
        report: is told how far a long batch has come; without, it is logged now and then.
    """
    logs, store, workers = context.logs(), context.store(name), ThreadWorkers()
    try:
        await logs.open()
        await store.open()
        spill = context.state / f"{name}.spill"
        follower = Follower(logs, store, workers, outlet, spill, report=report or _LoggedProgress(name))
        await follower.start()
        if storage is not None and not await _may_go_on(follower, store, storage, workers, outlet):
            await store.reset()
            await follower.start()
        await store.set_note(RUNNING_NOTE, "yes")
        try:
            yield Opened(follower, logs, store, workers)
        finally:
            await follower.abandon()
        await store.set_note(RUNNING_NOTE, None)
    finally:
        workers.close()  # processes read the state: only the last to close it, if it may write, moves all to its place
        await store.close()
        await logs.close()


async def _may_go_on(
    follower: Follower, store: Store, storage: Storage, workers: ThreadWorkers, outlet: Outlet
) -> bool:
    """Whether what is served is what the state was left with; if not, all files are rendered anew."""
    timestamp = await workers.run(storage.read, TIMESTAMP)
    is_known = await is_on_log(timestamp, follower)
    if not is_known and isinstance(outlet, PublicOutlet):
        version = served_version(timestamp)
        outlet.keep(version)
        if version:
            log.error("what is served is not on the log: none of it is replaced", served=version)
    return (is_known or follower.head.number == 0) and await _is_intact(follower, store, storage, workers)


async def _is_intact(follower: Follower, store: Store, storage: Storage, workers: ThreadWorkers) -> bool:
    """Whether what is served has the last publication's files: its timestamp always, all after an unclean stop."""
    published = await store.publication(follower.head.number)
    if published is None:
        return True
    if served_version(await workers.run(storage.read, TIMESTAMP)) < published.number:
        log.warning("the last publication's timestamp is not served: writing all files anew", number=published.number)
        return False
    expected = [(metadata_path("timestamp", published.number), published.timestamp_sha256)]
    if await store.note(RUNNING_NOTE) is not None:
        expected.append((metadata_path("snapshot", published.number), published.snapshot_sha256))
        expected.extend(
            (metadata_path(name, entry.version), entry.sha256)
            for name, entry in follower.table.entries.items()
            if entry.version == published.number
        )
    digests = await run_each(workers, storage.digest, [path for path, _ in expected])
    for (path, wanted), found in zip(expected, digests, strict=True):
        if wanted != found:
            log.warning("a file of the last publication is missing or damaged: writing all anew", path=path)
            return False
    return True


class _LoggedProgress:
    """Logs how far a long batch has come, every ten seconds."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._at = monotonic()

    def __call__(self, done: int, total: int) -> None:
        if monotonic() - self._at >= PROGRESS_SECONDS:
            self._at = monotonic()
            log.info("a long batch", consumer=self._consumer, percent=100 * done // max(1, total))


async def publish_once(context: Context, schedule: Schedule, *, report: Report | None = None) -> tuple[bool, Follower]:
    """Make one publication, if there is anything to publish, and place its files.

    Args:
        context: the ledger.
        schedule: the policy of the signer.
        report: is told how far a long batch has come.

    Returns:
        Whether one was made, and the follower afterwards (closed; its `head` is the last publication).
    """
    storage = context.storage("signer")
    async with open_follower(context, "signer", PublicOutlet(storage), storage, report=report) as opened:
        follower = opened.follower
        await follower.skip(at_least=SKIP_FROM)
        signer = await make_signer(context, opened, schedule)
        return await signer.step(now=True), follower


async def make_signer(context: Context, opened: Opened, schedule: Schedule) -> Signer:
    """A signer over a follower that was opened, as the configuration says."""
    follower, logs, _, workers = opened
    served = context.served(context.config.signer.served)
    above = resumed_above(context.state)
    if follower.head.number > above > 0:
        # Until clients see what came after it, what is served is still not on the log.
        version = served_version(await workers.run(served.read, TIMESTAMP))
        if not 0 < version <= above:
            note_resumed(context.state, None)
    schedule.above = above
    return Signer(
        follower=follower,
        publications=logs.publications,
        keyring=context.keyring(),
        clock=SystemClock(),
        schedule=schedule,
        workers=workers,
        read_served=served.read,
    )


def resumed_above(folder: Path) -> int:
    """The number that `tuf-ledger resume` set and that is still of interest; 0 if there is none.

    Args:
        folder: that of the state files. The number is in a file of its own: a state file may be thrown away.

    Raises:
        StoreError: the file holds something else.
    """
    path = folder / _RESUMED
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as a number: `tuf-ledger resume` writes it") from error


def note_resumed(folder: Path, above: int | None) -> None:
    """Set the number that the next publication must be above, or take it away."""
    if above is None:
        (folder / _RESUMED).unlink(missing_ok=True)
    else:
        (folder / _RESUMED).write_text(f"{above}\n", encoding="ascii")


# --- loops -----------------------------------------------------------------------------------------------------------


async def run_signer(context: Context, schedule: Schedule, stop: asyncio.Event, *, publishes: bool) -> None:
    """Sign until stopped; with `publishes`, place files too: two duties on one fold."""
    storage = context.storage("signer") if publishes else None
    outlet = PublicOutlet(storage) if storage else NoOutlet()
    async with open_follower(context, "signer", outlet, storage) as opened:
        follower = opened.follower
        await follower.skip(at_least=SKIP_FROM)
        signer = await make_signer(context, opened, schedule)
        log.info("signer started", number=follower.head.number, size=follower.head.size, publishes=publishes)
        while not stop.is_set():
            if not await signer.step():
                await opened.rest()
                await opened.logs.events.wait(follower.tail.end.size, IDLE_SECONDS)


async def run_publisher(context: Context, stop: asyncio.Event) -> None:
    """Place files until stopped."""
    storage = context.storage("publisher")
    async with open_follower(context, "publisher", PublicOutlet(storage), storage) as opened:
        follower, logs, _, workers = opened
        await follower.skip(at_least=SKIP_FROM)
        log.info("publisher started", number=follower.head.number, size=follower.head.size)
        warned = False
        while not stop.is_set():
            if await follower.step():
                continue
            ahead = served_version(await workers.run(storage.read, TIMESTAMP))
            if ahead > follower.head.number and not warned:
                # Nothing is lowered meanwhile, and the signer refuses to go on below: a person will decide.
                log.error("what is served is ahead of the log; waiting", served=ahead, number=follower.head.number)
                warned = True
            await opened.rest()
            await logs.publications.wait(follower.next_record, IDLE_SECONDS)


async def run_verifier(context: Context, stop: asyncio.Event) -> None:
    """Recompute every publication and compare it with what is served, until stopped."""
    config = context.config.verifier
    outlet = FileListOutlet()
    async with open_follower(context, "verifier", outlet) as opened:
        follower, logs, store, workers = opened
        served = context.served(config.served)
        verifier = Verifier(
            served,
            limits=Limits(config.delay_seconds, config.lag_seconds),
            follower=follower,
            store=store,
            workers=workers,
            outlet=outlet,
            files=isinstance(served, DirectoryStorage),  # a server would have to send them all
        )
        log.info("verifier started", number=follower.head.number, size=follower.head.size)
        while not stop.is_set():
            if not await verifier.step(asyncio.get_running_loop().time()):
                await opened.rest()
                await logs.publications.wait(follower.next_record, 1.0)


async def run(context: Context, names: Sequence[str], schedule: Schedule) -> None:
    """Run consumers in this process until SIGTERM or SIGINT, or until one must stop.

    Raises:
        Exception: what stopped a consumer and does not pass.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loops: dict[str, Loop] = {}
    if "signer" in names:
        loops["signer"] = partial(run_signer, context, schedule, publishes="publisher" in names)
    elif "publisher" in names:
        loops["publisher"] = partial(run_publisher, context)
    if "verifier" in names:
        loops["verifier"] = partial(run_verifier, context)
    tasks = [asyncio.create_task(_supervise(name, each, stop), name=name) for name, each in loops.items()]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in late:
            log.warning("did not stop in time", consumer=task.get_name())
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
    """Run a consumer, and start it again after what passes; the pauses grow and are reset by an hour's peace."""
    pause = FIRST_PAUSE_SECONDS
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        try:
            await loop(stop)
        except PASSING as error:
            if asyncio.get_running_loop().time() - started > 60:
                pause = FIRST_PAUSE_SECONDS
            log.warning("interrupted; trying again", consumer=name, why=str(error), seconds=pause)
        else:
            return
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
