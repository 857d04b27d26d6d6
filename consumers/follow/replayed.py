"""The logs replayed into a state of one command: for commands that have no state or trust none."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from consumers.context import Context
from consumers.follow.follower import Follower
from consumers.follow.starting import start_follower
from consumers.render.outlets import NoOutlet, Outlet
from consumers.work.progress import Report, nobody
from consumers.work.workers import ThreadWorkers
from ledger.state.store import Store


class Replayed(NamedTuple):
    """A follower over a state of its own, started at the beginning of the logs, or where the state is."""

    follower: Follower
    store: Store
    workers: ThreadWorkers


@asynccontextmanager
async def replayed(
    context: Context, outlet: Outlet | None = None, *, path: Path | None = None, report: Report = nobody
) -> AsyncIterator[Replayed]:
    """Open the logs and a follower with an empty state, which is deleted at the end.

    Args:
        context: the ledger; only its logs are used.
        outlet: where rendered files go; None: nowhere.
        path: a file to have the state in. It stays, and the next replay goes on from it.
        report: called with the progress of a long batch.
    """
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tuf-ledger-replay-"))
    store = Store(work / "state.sqlite", durable=False) if path is None else Store(path)
    logs, workers = context.logs(), ThreadWorkers(context.give_up)
    async with AsyncExitStack() as closing:  # each is closed, even if another cannot be
        closing.push_async_callback(asyncio.to_thread, shutil.rmtree, work, ignore_errors=True)
        closing.callback(workers.close)
        closing.push_async_callback(logs.close)
        closing.push_async_callback(store.close)
        await logs.open()
        await store.open()
        follower = await start_follower(
            logs, store, workers, outlet or NoOutlet(), work / "spill", limits=context.limits, report=report
        )
        try:
            yield Replayed(follower, store, workers)
        finally:
            await follower.abandon()
