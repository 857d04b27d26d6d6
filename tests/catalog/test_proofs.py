"""Proofs about the golden ledger, made from a catalog in each database."""

from sqlalchemy import select

from consumers.catalog.asking import Asked
from consumers.catalog.remaking import Remaking
from consumers.prove.proving import prove, prove_consistency
from ledger.catalog import tables
from ledger.catalog.database import Connection, Database
from ledger.catalog.publication_rows import last_publication
from ledger.logs.memory import MemoryLog
from projections.log.merkle import record_digest
from tests.catalog.test_filling import fill, golden_logs
from tests.golden.records import load


async def filled(database: Database) -> tuple[Asked, MemoryLog]:
    """A catalog of the golden ledger, and its log of events."""
    filling = await fill(database, golden_logs())
    log = golden_logs().events
    assert isinstance(log, MemoryLog)
    await log.open()
    return Asked(database, filling.size, filling.number, 0), log


def listed(connection: Connection) -> dict[str, str]:
    """The targets of the last publication, each with its SHA-256."""
    row, remaking = last_publication(connection), Remaking(connection)
    assert row is not None
    bins = range(remaking.authority(row).layout.count)
    return {each.path: each.sha256 for index in bins for each in remaking.bin_targets(index, row)}


def numbers(connection: Connection) -> list[int]:
    return list(
        connection.execute(select(tables.publications.c.number).order_by(tables.publications.c.number)).scalars()
    )


async def test_events_and_histories(database: Database) -> None:
    asked, log = await filled(database)
    first, *_, before, last = await database.run(numbers)
    size = 0
    for number in (first, before, last):
        checked = (await prove_consistency(asked, log, number, last)).checked
        assert checked.earlier is not None
        assert (checked.earlier.number, checked.published.number) == (number, last)
        size = checked.published.size
    assert size > 256
    for index in {0, 1, 255, 256, *range(2, size, 29), size - 1}:
        found = (await prove(asked, log, str(index), number=None, with_record=True)).checked.event
        assert found is not None
        assert found.record is not None
        assert record_digest(found.record) == record_digest(load().events[index])


async def test_targets(database: Database) -> None:
    asked, log = await filled(database)
    found = sorted((await database.run(listed)).items())
    for path, sha256 in found[:: len(found) // 25]:
        checked = (await prove(asked, log, path, number=None, with_record=True)).checked
        assert checked.target is not None
        assert (checked.target.path, checked.target.sha256) == (path, sha256)
        assert (checked.event is None) == path.startswith("simple/index.")
