"""Opening followers, with logs, state and workers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import monotonic
from typing import NamedTuple

import structlog

from consumers.context import Context
from consumers.follow.examining import Examiner
from consumers.follow.follower import Follower
from consumers.follow.observing import Observer
from consumers.follow.starting import start_follower
from consumers.render.outlets import Outlet, PublicOutlet, served_version
from consumers.state import notes
from consumers.work.progress import Report
from consumers.work.workers import ThreadWorkers, run_each
from ledger.logs import Logs
from ledger.state.file import StateFile
from ledger.state.position import load_note, save_note
from ledger.state.publications import load_publication
from ledger.state.store import Store
from ledger.storage import Storage
from projections.metadata.paths import TIMESTAMP, metadata_path

log = structlog.get_logger()

PROGRESS_SECONDS = 10.0


class Opened(NamedTuple):
    """A started follower, with its logs, state and workers."""

    follower: Follower
    logs: Logs
    store: Store
    workers: ThreadWorkers

    async def rest(self) -> None:
        """Use idle time for work that would otherwise delay a publication."""
        await self.store.run(StateFile.settle)
        await self.workers.rest()


@asynccontextmanager
async def open_follower(
    context: Context,
    name: str,
    outlet: Outlet,
    storage: Storage | None = None,
    *,
    observers: Sequence[Observer] = (),
    renders: bool = True,
    report: Report | None = None,
) -> AsyncIterator[Opened]:
    """Open and start a follower with everything it needs; close all of it at the end.

    Args:
        context: the ledger.
        name: the name of its state file.
        outlet: where rendered files go.
        storage: where the outlet writes, if it writes: after an unclean stop the last publication's files are checked.
        observers: who is told what publications did.
        renders: whether files are rendered and compared with the log, or events are only folded.
        report: called with the progress of a long batch; by default progress is logged every ten seconds.
    """
    logs, store, workers = context.logs(), context.store(name), ThreadWorkers(context.give_up)
    async with AsyncExitStack() as closing:  # each is closed, even if another cannot be: the consumer may start again
        closing.push_async_callback(logs.close)
        closing.push_async_callback(store.close)
        closing.callback(
            workers.close
        )  # worker processes read the state: only the last to close it settles the write-ahead log
        await logs.open()
        await store.open()
        start = partial(
            start_follower,
            logs,
            store,
            workers,
            outlet,
            context.state / f"{name}.spill",
            observers=observers,
            renders=renders,
            limits=context.limits,
            report=report or _LoggedProgress(),
        )
        follower = await start()
        if storage is not None and not await _may_go_on(follower, store, storage, workers, outlet):
            await store.run(StateFile.reset)
            follower = await start()
        await store.run(save_note, notes.RUNNING, "yes")
        try:
            yield Opened(follower, logs, store, workers)
        finally:
            await follower.abandon()
        await store.run(save_note, notes.RUNNING, None)


async def _may_go_on(
    follower: Follower, store: Store, storage: Storage, workers: ThreadWorkers, outlet: Outlet
) -> bool:
    """Whether the served files are those that the state was left with; if not, all files are rendered anew."""
    timestamp = await workers.run(storage.read, TIMESTAMP)
    version = served_version(timestamp)
    finding = await Examiner(follower).examine_timestamp(timestamp)
    is_known = version > 0 and finding is None
    if not is_known and isinstance(outlet, PublicOutlet):
        outlet.keep(version)
        if finding is not None:
            log.error(
                "the served timestamp is not the log's, so no served metadata is replaced",
                served=version,
                why=finding.detail,
            )
    return (is_known or follower.head.number == 0) and await _is_intact(follower, store, storage, workers)


async def _is_intact(follower: Follower, store: Store, storage: Storage, workers: ThreadWorkers) -> bool:
    """Whether the last publication is served: checks its timestamp, and after an unclean stop all its files."""
    published = await store.run(load_publication, follower.head.number)
    if published is None:
        return True
    if served_version(await workers.run(storage.read, TIMESTAMP)) < published.number:
        log.warning("the last publication is not served: writing all files anew", publication=published.number)
        return False
    expected = [(metadata_path("timestamp", published.number), published.timestamp_sha256)]
    if await store.run(load_note, notes.RUNNING) is not None:
        expected.append((metadata_path("snapshot", published.number), published.snapshot_sha256))
        expected.extend(
            (metadata_path(name, entry.version), entry.sha256)
            for name, entry in follower.table.entries.items()
            if entry.version == published.number
        )
    digests = await run_each(workers, storage.digest, [path for path, _ in expected])
    for (path, wanted), found in zip(expected, digests, strict=True):
        if wanted != found:
            log.warning("a file of the last publication is missing or damaged: writing all files anew", path=path)
            return False
    return True


class _LoggedProgress:
    """Logs the progress of a long batch every ten seconds. A shorter batch is not logged."""

    def __init__(self) -> None:
        self._done = 0
        self._at = monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done < self._done or self._done == 0:  # another batch
            self._at = monotonic()
        self._done = done if done < total else 0
        if monotonic() - self._at >= PROGRESS_SECONDS:
            self._at = monotonic()
            log.info("long batch in progress", percent=100 * done // max(1, total))
