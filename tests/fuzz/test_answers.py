"""What a catalog answers over random histories, with holds and publications anywhere, is what the records say."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from consumers.catalog.asking import Asked
from consumers.catalog.blaming import blame_file, blame_project
from ledger.catalog import tables
from ledger.catalog.database import sqlite_catalog
from tests.fuzz.catalogs import fill
from tests.fuzz.plain_answers import PlainIndex, accepted_events, runs
from tests.fuzz.test_all_rules import TEAM
from tests.fuzz.world import World
from tests.property.histories import PROJECTS, cuts, freeing_histories, histories, narrow_histories


async def publish(world: World, values: list[bytes], data: st.DataObject) -> None:
    """A ledger whose publications cover pieces of a history; there is a hold now and then."""
    world.begin()
    held: list[str] = []
    async with world.signing() as signing:
        for piece in data.draw(cuts(values)):
            world.append(*piece)
            action = data.draw(st.sampled_from(["", "", "hold", "release"]))
            if action == "hold":
                event = world.make.signing_held(data.draw(st.integers(0, len(world.events.values))))
                held.append(event.id)
                world.add(event)
            elif held:
                world.add(world.make.signing_released(held.pop()))
            await signing.publish(seconds=data.draw(st.sampled_from([1, 60, 86_400])))
    world.append(*values[: data.draw(st.integers(0, 3))])


@asynccontextmanager
async def asking(world: World) -> AsyncIterator[Asked]:
    """A catalog of a world, open for questions."""
    database = sqlite_catalog(world.folder / "catalog.sqlite", writes=True)
    await database.open()
    try:
        await fill(world, database)
        number = await database.run(last_number)
        yield Asked(database, len(world.events.values), number, 0)
    finally:
        await database.close()


def last_number(connection: Connection) -> int:
    table = tables.publications
    return connection.execute(select(table.c.number).order_by(table.c.number.desc())).scalar() or 0


def accepted_indices(connection: Connection) -> list[int]:
    table = tables.events
    return list(connection.execute(select(table.c.idx).where(table.c.outcome == 0).order_by(table.c.idx)).scalars())


def publications_of(connection: Connection) -> list[tuple[int, int]]:
    table = tables.publications
    query = select(table.c.number, table.c.content_size).order_by(table.c.number)
    return [(row[0], row[1]) for row in connection.execute(query)]


async def check_blame(world: World, asked: Asked) -> None:
    """Every file's state, causes and publications are those of a plain fold."""
    accepted = accepted_events(world.events.values, await asked.database.run(accepted_indices))
    plain = PlainIndex(accepted)
    publications = await asked.database.run(publications_of)
    at = {
        number: PlainIndex(each for each in accepted if each.at < content_size).listed()
        for number, content_size in publications
    }
    found = [each for project in [*PROJECTS, "none"] async for each in blame_project(asked, project)]
    assert len(found) == len(plain.files)
    by_upload = {each.standing.upload.upload_idx: each for each in found}
    for file in plain.files:
        answer = by_upload[file.upload]
        standing = answer.standing
        assert (answer.project, standing.upload.filename) == (file.project, file.filename)
        assert [each.row.idx for each in answer.events] == plain.causes(file), (file.filename, file.upload)
        assert (standing.state, standing.yanked) == (plain.state(file), plain.shown_yank(file))
        expected = runs([(number, file.upload in at[number]) for number, _ in publications])
        assert [tuple(each) for each in answer.offered] == expected
        assert answer in await blame_file(asked, file.filename)


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, values, data)
        async with asking(world) as asked:
            await check_blame(world, asked)


@given(st.one_of(histories(30), narrow_histories(), freeing_histories()), st.data())
@settings(max_examples=30)
def test_blame_says_what_a_plain_fold_says(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
