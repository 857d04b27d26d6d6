"""Catalogs of worlds: filled with breaks anywhere, they say what followers say, and re-make all that was signed."""

import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from consumers.catalog.filling import Filling
from consumers.catalog.remaking import Remaking
from consumers.incidents.histories import project_history, target_history
from ledger.catalog import tables
from ledger.catalog.database import Database, sqlite_catalog
from ledger.catalog.event_rows import Wanted, events_from
from ledger.catalog.publication_rows import last_publication, signed_by
from projections.log.reading import Routed, read_records
from tests.fuzz.proving import check_proofs
from tests.fuzz.world import World
from tests.simulation.ports import InlineWorkers

if TYPE_CHECKING:
    from tests.fuzz.oracle import View


async def fill(world: World, database: Database, steps: int | None = None) -> None:
    """Fill a catalog to the end, or for some steps, by a consumer that starts anew."""
    logs = world.logs
    async with AsyncExitStack() as closing:
        for log in logs:
            closing.push_async_callback(log.close)
            await log.open()
        filling = Filling(logs, database, InlineWorkers())
        await filling.start()
        while steps is None or steps > 0:
            if not await filling.step():
                break
            steps = None if steps is None else steps - 1


async def check_catalog(world: World, view: "View", *, stops: int = 0) -> None:
    """A catalog of what was followed, filled in one go or with a stop after some steps."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite_catalog(Path(folder) / "catalog.sqlite", writes=True)
        await database.open()
        try:
            if stops:
                await fill(world, database, stops)
            await fill(world, database)
            await database.run(check_rows, view)
            await database.run(check_files, view)
            await check_proofs(world, database, view)
            await database.run(check_histories, world)
        finally:
            await database.close()


def check_rows(connection: Connection, view: "View") -> None:
    """The publications and verdicts are those of a follower; events beyond what it shows are judged, too."""
    assert [
        tuple(row)
        for row in connection.execute(
            select(tables.publications.c.size, tables.publications.c.content_size, tables.publications.c.time).order_by(
                tables.publications.c.number
            )
        )
    ] == view.publications
    found = set(verdicts(connection))
    known = {(row.log, row.record, row.digest, row.verdict, row.code) for row in view.judged}
    assert known <= found
    shown = view.publications[-1][1] if view.publications else 0
    assert {row for row in found - known if row[0] == "publications" or row[1] < shown} == set()


def check_histories(connection: Connection, world: World) -> None:
    """The events about each project and other target are those of the log, but for those before the first root."""
    found: dict[str, list[Routed]] = {}
    early = {row.idx for row in events_from(connection, Wanted(rejected=True), 0, 1 << 60) if row.code == "no-root"}
    for item in read_records(0, world.events.values).routed:
        if item.index not in early:
            found.setdefault(item.key, []).append(item)
    for key, items in found.items():
        kind, _, name = key.partition(":")
        if kind == "project":
            assert project_history(connection, name).items == items
        elif kind == "target":
            assert target_history(connection, name) == items


def verdicts(connection: Connection) -> Iterator[tuple[str, int, str, str, str]]:
    """All verdicts but acceptance: log, record, digest, verdict, code."""
    for log, table, index in (
        ("events", tables.events, tables.events.c.idx),
        ("publications", tables.chain_records, tables.chain_records.c.record),
    ):
        query = select(index, table.c.digest, table.c.outcome, table.c.code).where(table.c.outcome > 0)
        for record, digest, outcome, code in connection.execute(query):
            yield log, record, digest.hex(), tables.OUTCOMES[outcome], code


def check_files(connection: Connection, view: "View") -> None:
    """Every version of every role that was ever signed is re-made byte for byte, and so is every served page."""
    remaking, last = Remaking(connection), last_publication(connection)
    assert (0 if last is None else last.number) == view.number
    for number in connection.execute(select(tables.publications.c.number)).scalars().all():
        for role in signed_by(connection, number):
            file = remaking.role_file(role, number)
            assert file is not None
            assert view.files.get(f"metadata/{number}.{role}.json", file.data) == file.data
            assert file.is_same, (role, number)
    if last is not None:
        for path in view.files:
            name = path.removeprefix("targets/simple/").removesuffix("/index.json")
            if path == f"targets/simple/{name}/index.json":
                assert remaking.page(name, last) == view.files[path]
