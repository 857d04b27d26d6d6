"""A catalog is made anew beside the old one, and a check finds whatever somebody has changed in it."""

from pathlib import Path

import pytest
from sqlalchemy import delete, update

from consumers.catalog.asking import open_catalog
from consumers.catalog.filling import CatalogMovedError, Filling
from consumers.catalog.renewing import CatalogCheck, check_catalog, rebuild_catalog
from consumers.context import Context
from consumers.work.progress import nobody
from ledger.catalog import CatalogError, tables
from ledger.catalog.database import CatalogUnavailableError, Connection, Database, discard
from schemas.errors import InUseError
from tests.catalog.conftest import OtherDatabase
from tests.catalog.test_filling import dump, fill, golden_logs
from tests.databases import MakeDatabase
from tests.golden.records import load, write_logs
from tests.simulation.ports import InlineWorkers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The golden ledger."""
    golden = load()
    (tmp_path / "log").mkdir()
    write_logs(tmp_path / "log", golden.events, golden.publications)
    return tmp_path


@pytest.fixture
def context(folder: Path, make_database: MakeDatabase) -> Context:
    """The same, with its catalog in the database of a test."""
    return OtherDatabase(folder, make_database)


async def test_it_is_replaced_while_others_have_it_open(context: Context, database: Database) -> None:
    """Who asks sees it before and after; who fills it goes on with the new one, or is told to begin again."""
    await fill(database, golden_logs(100, 10))
    logs = golden_logs()
    for log in logs:
        await log.open()
    filling = Filling(logs, database, InlineWorkers())
    await filling.start()
    made = await rebuild_catalog(context, nobody)
    assert made.size == len(load().events)
    try:
        while await filling.step():
            pass
    except CatalogUnavailableError:
        assert not database.is_sqlite  # a statement that PostgreSQL has prepared is about tables that are gone
    rows = await database.run(dump)
    assert len(rows["events"]) == made.size
    await fill(database, golden_logs())
    assert (await check(context, database, full=True)).problems == []


async def test_the_same_rows_in_another_catalog_are_another_catalog(context: Context, database: Database) -> None:
    filling = await fill(database, golden_logs())
    await rebuild_catalog(context, nobody)
    with pytest.raises((CatalogMovedError, CatalogError)):
        await database.run(filling._check_place)


async def test_what_was_left_of_a_killed_run_is_no_harm(context: Context, database: Database) -> None:
    beside = context.catalog(writes=True).beside()
    await beside.open()
    await fill(beside, golden_logs(100, 10))
    await beside.close()
    await rebuild_catalog(context, nobody)
    assert (await check(context, database, full=True)).problems == []


async def test_only_one_process_makes_it_anew(context: Context, database: Database) -> None:
    """The second ends with an error and touches nothing of the first, and so it is with full checks."""
    await fill(database, golden_logs())
    for work, place in (
        (lambda: rebuild_catalog(context, nobody), "new"),
        (lambda: check(context, database, full=True), "check"),
    ):
        beside = context.catalog(writes=True).beside(place)
        async with beside.reserved():
            await beside.open()
            await fill(beside, golden_logs(100, 10))
            with pytest.raises(InUseError, match="another process makes a catalog in "):
                await work()
            assert len((await beside.run(dump))["events"]) == 100
            await beside.close()
        await work()


async def test_a_damaged_file_is_replaced(folder: Path) -> None:
    """Whatever stands where the catalog should be."""
    context, path = Context(folder), folder / "state" / "catalog.sqlite"
    await rebuild_catalog(context, nobody)
    for damaged in (path.read_bytes()[:40_000], b"this is no database" * 100, b""):
        path.write_bytes(damaged)
        if damaged:
            with pytest.raises(CatalogError, match="delete this file"):
                async with open_catalog(context):
                    pass
        await rebuild_catalog(context, nobody)
        async with open_catalog(context) as asked:
            assert (await check_catalog(asked.database, context, full=True, report=nobody)).problems == []


async def test_a_full_check_leaves_a_new_catalog_alone(context: Context, database: Database) -> None:
    beside = database.beside()
    await beside.open()
    await fill(beside, golden_logs(100, 10))
    await fill(database, golden_logs())
    assert (await check(context, database, full=True)).problems == []
    assert len((await beside.run(dump))["events"]) == 100
    await beside.close()
    await discard(beside)


def _length(connection: Connection) -> None:
    connection.execute(update(tables.files).values(length=tables.files.c.length + 1))


def _yank(connection: Connection) -> None:
    connection.execute(update(tables.file_states).where(tables.file_states.c.state == 0).values(yanked="a lie"))


def _forget(connection: Connection) -> None:
    connection.execute(delete(tables.project_states))


def _digest(connection: Connection) -> None:
    connection.execute(update(tables.events).values(digest=b"\0" * 32))


def _versions(connection: Connection) -> None:
    connection.execute(delete(tables.role_versions))


@pytest.mark.parametrize("lie", [_length, _yank, _forget, _digest, _versions])
async def test_lies_in_the_rows_are_found_by_a_sample(context: Context, database: Database, lie: object) -> None:
    await fill(database, golden_logs())
    assert (await check(context, database)).problems == []
    await database.run(lie)  # type: ignore[arg-type]
    assert (await check(context, database)).problems != []


async def test_one_row_that_is_wrong_is_found_by_a_full_check(context: Context, database: Database) -> None:
    await fill(database, golden_logs())
    row = update(tables.events).where(tables.events.c.idx == 7)
    await database.run(lambda connection: connection.execute(row.values(actor=1, credential=1)).rowcount)
    (problem,) = (await check(context, database, full=True)).problems
    assert problem.startswith("table events: (7, ")


async def check(context: Context, database: Database, *, full: bool = False) -> CatalogCheck:
    return await check_catalog(database, context, full=full, report=nobody)
