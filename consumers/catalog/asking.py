"""Opening a catalog: to fill it, or to ask it, brought up to date."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from consumers.catalog.filling import Filling, is_of_other_format
from consumers.context import Context
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report, nobody
from consumers.work.workers import ThreadWorkers
from ledger.catalog.database import Database, discard
from ledger.logs import Logs, LogSettingsError
from ledger.state import StoreError
from projections.log.merkle import record_digest


@asynccontextmanager
async def open_filling(context: Context, database: Database) -> AsyncIterator[Filling]:
    """Open the logs and a catalog, and start to fill it; close everything at the end.

    Raises:
        LogError, CatalogError: see `Filling.start`.
    """
    logs, workers = context.logs(), ThreadWorkers(context.give_up)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(logs.close)
        closing.push_async_callback(database.close)
        closing.callback(workers.close)
        await logs.open()
        await asyncio.to_thread(_make_folder, database)
        await database.open()
        filling = Filling(logs, database, workers)
        await filling.start()
        yield filling


def _make_folder(database: Database) -> None:
    if database.path is not None:
        database.path.parent.mkdir(parents=True, exist_ok=True)


class Asked(NamedTuple):
    """A catalog that is open for questions.

    Attributes:
        database: the catalog.
        size: the number of events on the log, all of which it has.
        number: the last publication; 0: there is none.
        reproduced: up to which publication a follower on this machine has reproduced everything; 0: none.
        held_from: from which event on nothing is shown until a hold ends; None: nothing is held.
        halted: why later records of `publications` are not judged (empty: all are).
    """

    database: Database
    size: int
    number: int
    reproduced: int
    held_from: int | None = None
    halted: str = ""


@asynccontextmanager
async def open_catalog(context: Context, report: Report = nobody) -> AsyncIterator[Asked]:
    """Open the catalog that `choose_catalog` names, and bring it up to date.

    Args:
        context: the ledger.
        report: called with the numbers of events in the catalog and on the log.

    Raises:
        LogError, CatalogError: see `Filling.start`.
    """
    database = await choose_catalog(context)
    async with open_filling(context, database) as filling:
        total = await filling.count_events()
        while await filling.step():
            report(filling.size, max(total, filling.size))
        yield await asked_of(context, database, filling)


async def asked_of(context: Context, database: Database, filling: Filling) -> Asked:
    """What there is to ask, as a catalog is filled now."""
    halted = "" if filling.halted is None else f"{filling.halted}"
    return Asked(database, filling.size, filling.number, await _reproduced(context), filling.held_from, halted)


async def choose_catalog(context: Context) -> Database:
    """The catalog of a ledger's folder, not opened. For logs elsewhere, or where it may not be written, it is the one
    that this user keeps.
    """
    if not context.is_elsewhere and (context.config.catalog.url or await asyncio.to_thread(context.may_write_states)):
        return context.catalog(writes=True)
    private = await asyncio.to_thread(context.private_catalog, await _identity(context.logs()))
    await _forget_other_format(private)
    return private


async def _forget_other_format(database: Database) -> None:
    """Delete a catalog of another format: it is made anew, and nobody else uses it."""
    await database.open()
    try:
        is_other = await database.run(is_of_other_format)
    finally:
        await database.close()
    if is_other:
        await discard(database)


async def _identity(logs: Logs) -> str:
    """The identity of the ledger: the digest of record 0."""
    await logs.events.open()
    try:
        first = await logs.events.read(0)
    finally:
        await logs.events.close()
    if not first:
        raise LogSettingsError(f"{logs.events.name} is empty, so there is no ledger yet")
    return record_digest(first[0])


async def _reproduced(context: Context) -> int:
    try:
        async with open_furthest(context) as found:
            return 0 if found is None else found.position.number
    except StoreError:
        return 0
