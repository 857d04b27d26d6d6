"""Opening a catalog: to fill it, or to ask it, brought up to date."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from consumers.catalog.filling import Filling, read_sizes
from consumers.context import Context
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report, nobody
from consumers.work.workers import ThreadWorkers
from ledger.catalog import CatalogError
from ledger.catalog.database import Database, discard
from ledger.catalog.writing import is_of_other_format, load_position
from ledger.logs import LogConflictError, Logs, LogSettingsError
from ledger.state import StoreError
from projections.log.merkle import record_digest


class CatalogAheadError(CatalogError):
    """A catalog was made of a longer copy of a log than the one that is asked."""


class Chosen(NamedTuple):
    """A catalog, not opened, and whether it is the one that this user keeps, of whatever copy of the logs he names."""

    database: Database
    is_private: bool


@asynccontextmanager
async def open_filling(context: Context, database: Database, *, is_private: bool = False) -> AsyncIterator[Filling]:
    """Open the logs and a catalog, and start to fill it; close everything at the end.

    Raises:
        CatalogAheadError: a private catalog has read more than these logs have.
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
        closing.push_async_callback(filling.close)
        try:
            await filling.start()
        except LogConflictError as error:
            if is_private:
                await _check_copies(logs, database, error)
            raise
        yield filling


async def _check_copies(logs: Logs, database: Database, error: LogConflictError) -> None:
    """Explain an error that comes of copies of the logs that lag behind the catalog.

    Raises:
        CatalogAheadError: they do.
    """
    sizes = read_sizes(await database.run(load_position))
    for log, known in zip(logs, sizes, strict=True):
        size = await log.size()
        if size < known:
            raise CatalogAheadError(
                f"this copy of the log ends at record {size - 1:,} ({log.name}), and the catalog has read up to record "
                f"{known - 1:,} of another copy ({database.name}). If this copy lags behind, ask the other one, or "
                "delete the catalog to ask this one alone. If there is no other copy, the log was rolled back: see "
                "docs/operators.md, 'A log was rolled back'"
            ) from error


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
        LogError, CatalogError: see `open_filling`.
    """
    database, is_private = await choose_catalog(context)
    async with open_filling(context, database, is_private=is_private) as filling:
        total = await filling.count_events()
        while await filling.step():
            report(filling.size, max(total, filling.size))
        yield await asked_of(context, database, filling)


async def asked_of(context: Context, database: Database, filling: Filling) -> Asked:
    """What there is to ask, as a catalog is filled now."""
    halted = "" if filling.halted is None else f"{filling.halted}"
    return Asked(database, filling.size, filling.number, await _reproduced(context), filling.held_from, halted)


async def choose_catalog(context: Context) -> Chosen:
    """The catalog of a ledger's folder. For logs elsewhere, or where it may not be written, it is the one
    that this user keeps.
    """
    if not context.is_elsewhere and (context.config.catalog.url or await asyncio.to_thread(context.may_write_states)):
        return Chosen(context.catalog(writes=True), is_private=False)
    private = await asyncio.to_thread(context.private_catalog, await _identity(context.logs()))
    await _forget_other_format(private)
    return Chosen(private, is_private=True)


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
