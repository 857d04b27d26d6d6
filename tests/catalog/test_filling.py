"""A catalog of the golden ledger, which has a record for nearly every rule, in each database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import find_events
from consumers.catalog.filling import CatalogFormatError, Filling, FillingLimits
from consumers.catalog.folding import FoldingLimits
from consumers.catalog.remaking import Remaking
from consumers.work.processes import ProcessKilledError
from consumers.work.workers import ThreadWorkers
from ledger.catalog import CatalogError, tables, writing
from ledger.catalog.database import Connection, Database, Transaction, sqlite_catalog
from ledger.catalog.event_rows import Wanted
from ledger.catalog.publication_rows import signed_by
from ledger.catalog.selecting import rows_of
from ledger.logs import LogConflictError, Logs, LogSettingsError
from ledger.logs.memory import MemoryLog, MemoryRecords
from projections.publications import LogTooShortError
from schemas.codec import encode_event
from tests.databases import MakeDatabase
from tests.factory import Make
from tests.golden.records import load
from tests.simulation.ports import InlineWorkers


def golden_logs(events: int | None = None, publications: int | None = None, *, read_records: int = 8192) -> Logs:
    """The logs of the golden ledger, or their beginnings, read by so many records."""
    golden = load()
    made = []
    for name, values in (("events", golden.events[:events]), ("publications", golden.publications[:publications])):
        records = MemoryRecords(name)
        records.append(*values)
        made.append(MemoryLog(records, read_records=read_records))
    return Logs(*made)


async def fill(database: Database, logs: Logs) -> Filling:
    """Fill a catalog to the end of the logs."""
    for log in logs:
        await log.open()
    filling = Filling(logs, database, InlineWorkers())
    await filling.start()
    await finish(filling)
    return filling


async def finish(filling: Filling) -> None:
    """Fill to the end of the logs."""
    while await filling.step():
        pass


def dump(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """All rows that say something about the logs, in order."""
    return {
        table.name: rows_of(connection, lambda *row: row, select(table).order_by(*table.primary_key))
        for table in tables.metadata.sorted_tables
        if table not in {tables.position, tables.fold_aggregates, tables.fold_chunks}
    }


def remake(connection: Connection) -> tuple[int, list[tuple[str, int]]]:
    """How many versions were re-made, and which are not those of the log."""
    remaking, count, wrong = Remaking(connection), 0, []
    for number in connection.execute(select(tables.publications.c.number)).scalars().all():
        for role in signed_by(connection, number):
            file = remaking.role_file(role, number)
            count += 1
            if file is None or not file.is_same:
                wrong.append((role, number))
    return count, wrong


async def test_every_version_is_remade(database: Database) -> None:
    filling = await fill(database, golden_logs())
    assert filling.size == len(load().events)
    count, wrong = await database.run(remake)
    assert count > 700
    assert wrong == []


async def whole_rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """The rows of a catalog that was filled at once, in SQLite."""
    whole = sqlite_catalog(folder / "whole.sqlite", writes=True)
    await whole.open()
    await fill(whole, golden_logs())
    rows = await whole.run(dump)
    await whole.close()
    return rows


async def test_the_rows_do_not_depend_on_database_and_batches(database: Database, tmp_path: Path) -> None:
    """However often a consumer starts anew, and wherever the logs ended then, the rows are the same."""
    for events, publications in ((2, 0), (3, 4), (100, 10), (101, 40), (250, 90), (None, None)):
        await fill(database, golden_logs(events, publications))
    one, other = await database.run(dump), await whole_rows(tmp_path)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] == other[name], name


SMALL = FillingLimits(worth_beside=1, slice_bytes=1, folding=FoldingLimits(cached_bytes=4_000, cached_names=20))
"""Few records at a time, folded beside, with next to no memory between batches."""


@asynccontextmanager
async def filling_beside(database: Database, logs: Logs, limits: FillingLimits) -> AsyncIterator[Filling]:
    """What fills a catalog with a process beside, started."""
    workers = ThreadWorkers()
    filling = Filling(logs, database, workers, limits)
    try:
        for each in logs:
            await each.open()
        await filling.start()
        yield filling
    finally:
        await filling.close()
        workers.close()


@pytest.mark.parametrize("limits", [SMALL, SMALL._replace(folding=FoldingLimits()), FillingLimits(worth_beside=1)])
async def test_the_rows_do_not_depend_on_where_events_are_folded(
    limits: FillingLimits, database: Database, tmp_path: Path
) -> None:
    """Beside, a batch is folded while the one before it is written, whatever is remembered between them."""
    for end in (100, None):
        async with filling_beside(database, golden_logs(end, read_records=7), limits) as filling:
            await finish(filling)
    assert await database.run(dump) == await whole_rows(tmp_path)


async def test_what_was_folded_beside_and_not_written_is_folded_again(database: Database, tmp_path: Path) -> None:
    """Wherever it ends, and also if the process beside is killed."""
    for steps in (1, 5, 2):
        async with filling_beside(database, golden_logs(read_records=7), SMALL) as filling:
            for _ in range(steps):
                assert await filling.step()
    async with filling_beside(database, golden_logs(read_records=7), SMALL) as filling:
        assert await filling.step()
        for process in active_children():
            process.kill()
        with pytest.raises(ProcessKilledError, match="memory"):
            await finish(filling)
    await fill(database, golden_logs())
    assert await database.run(dump) == await whole_rows(tmp_path)


async def test_one_process_goes_on_while_the_logs_grow(database: Database, tmp_path: Path) -> None:
    """New names get new numbers in every batch."""
    golden = load()
    events, publications = MemoryRecords("events"), MemoryRecords("publications")
    events.append(*golden.events[:100])
    filling = await fill(database, Logs(MemoryLog(events), MemoryLog(publications)))
    for end in (101, 250, len(golden.events)):
        events.append(*golden.events[len(events.values) : end])
        while await filling.step():
            pass
    publications.append(*golden.publications)
    while await filling.step():
        pass
    assert await database.run(dump) == await whole_rows(tmp_path)


async def test_another_ledger_is_refused(database: Database) -> None:
    await fill(database, golden_logs())
    golden = load()
    records = MemoryRecords("events")
    records.append((golden.events[0] or b"").replace(b'"epoch":"', b'"epoch":"x'), *golden.events[1:])
    other = Logs(MemoryLog(records), golden_logs().publications)
    with pytest.raises(LogConflictError, match="another ledger"):
        await fill(database, other)


async def test_a_log_that_lost_records_is_refused(database: Database) -> None:
    await fill(database, golden_logs())
    with pytest.raises(LogConflictError, match="shorter than it was"):
        await fill(database, golden_logs(100))


async def test_an_empty_log_is_no_ledger(database: Database) -> None:
    with pytest.raises(LogSettingsError, match="tuf-ledger init"):
        await fill(database, golden_logs(0, 0))


async def test_another_format_is_refused(database: Database) -> None:
    await fill(database, golden_logs())
    async with database.transaction() as transaction:
        await transaction.run(writing.save_position, {"format": b"0"})
    with pytest.raises(CatalogFormatError, match="catalog rebuild"):
        await fill(database, golden_logs())


async def test_two_who_fill_do_not_write_twice(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Whoever finds that another was faster goes on from there, and nothing is there twice."""
    databases = [make_database(), make_database()]
    fillings = []
    for database in databases:
        await database.open()
        logs = golden_logs()
        for log in logs:
            await log.open()
        filling = Filling(logs, database, InlineWorkers())
        await filling.start()
        fillings.append(filling)
    for _ in range(3):
        for filling in fillings:
            await filling.step()
    assert fillings[0].size == fillings[1].size == len(load().events)
    await fill(databases[1], golden_logs())
    assert await databases[0].run(dump) == await whole_rows(tmp_path)
    for database in databases:
        await database.close()


async def test_several_who_fill_at_the_same_time_wait_for_each_other(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """From the first table on: none of them fails, and nothing is there twice."""
    databases = [make_database() for _ in range(4)]
    for database in databases:
        await database.open()
    await asyncio.gather(*(fill(database, golden_logs()) for database in databases))
    assert await databases[0].run(dump) == await whole_rows(tmp_path)
    for database in databases:
        await database.close()


async def test_a_step_that_fails_leaves_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Everything of a step is in one transaction: after a failure anywhere, the next start goes on."""
    for place in range(1, 40, 3):
        database = make_database()
        await database.open()
        failing = FailingDatabase(database, place)
        with suppress(CatalogError):
            await fill(failing, golden_logs())  # type: ignore[arg-type]
        await database.close()
    last = make_database()
    await last.open()
    await fill(last, golden_logs())
    assert await last.run(dump) == await whole_rows(tmp_path)
    await last.close()


class FailingDatabase:
    """A database whose connection fails at one of its operations."""

    def __init__(self, database: Database, place: int) -> None:
        self._database = database
        self._left = place
        self.name, self.schema, self.path = database.name, database.schema, database.path

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._database.run(function, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._database.transaction() as transaction:
            yield _FailingTransaction(transaction, self)

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise CatalogError("the connection is gone")


class _FailingTransaction:
    def __init__(self, transaction: Transaction, database: FailingDatabase) -> None:
        self._transaction = transaction
        self._database = database

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self._database.count()
        return await self._transaction.run(function, *args, **kwargs)

    async def insert(self, table: Any, rows: Any) -> None:
        self._database.count()
        await self._transaction.insert(table, rows)

    async def upsert(self, table: Any, rows: Any) -> None:
        self._database.count()
        await self._transaction.upsert(table, rows)


HOSTILE = ["a\0b", "\x1b]0;title\x07", "𝄞" * 4_000, "".join(map(chr, range(0x4E00, 0x4E00 + 16_000))), "\ufffd", ""]


async def test_a_subject_without_a_form_may_be_any_text(database: Database) -> None:
    """Nothing says what the subject of a ceremony is: one with a NUL, or too long for an index, stops no database."""
    golden = load()
    events = MemoryRecords("events")
    events.append(*golden.events)
    for subject in HOSTILE:
        event = Make().having(subject=subject).roles_signed({"root": {}})
        events.append(encode_event(event).replace("\ufffd".encode(), rb"\ud83d"))
    logs = Logs(MemoryLog(events), golden_logs().publications)
    await fill(database, logs)
    assert set(await database.run(_last_outcomes, len(golden.events))) == {tables.OUTCOMES.index("rejected")}


async def test_what_occurs_very_often_is_found(database: Database) -> None:
    """Anybody may append more records about one file than a query takes numbers."""
    golden, make, many = load(), Make(), 33_000
    made = [make.project_created("flood"), *(make.file_removed("flood", "flood-9.zip") for _ in range(many))]
    events = MemoryRecords("events")
    events.append(*golden.events, *map(encode_event, made))
    filling = await fill(database, Logs(MemoryLog(events), golden_logs().publications))
    asked = Asked(database, filling.size, filling.number, 0)
    found = find_events(asked, Wanted(filename="flood-9.zip"))
    assert [(await anext(found)).row.idx for _ in range(100)] == [filling.size - n for n in range(1, 101)]


def _last_outcomes(connection: Connection, first: int) -> list[int]:
    return list(connection.execute(select(tables.events.c.outcome).where(tables.events.c.idx >= first)).scalars())


async def test_a_claim_beyond_the_end_stops_publications_alone(database: Database) -> None:
    """What halts followers is said, and events are filled in; when the log goes on, so do publications."""
    filling = await fill(database, golden_logs(100))
    assert isinstance(filling.halted, LogTooShortError)
    assert filling.size == 100
    filling = await fill(database, golden_logs())
    assert filling.halted is None
    assert filling.number == 2022
