"""Both databases give the same answers in the same order, to everything that commands ask."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from consumers.catalog.accessing import find_access
from consumers.catalog.asking import Asked
from consumers.catalog.blaming import blame_file, blame_project
from consumers.catalog.event_answers import find_events
from consumers.catalog.filling import Filling
from consumers.catalog.finding import find_beside, find_mentions, find_things
from consumers.catalog.naming import find_thing
from consumers.catalog.recognizing import recognize
from consumers.catalog.showing import find_publications
from consumers.catalog.story import how_it_stands, tell
from consumers.catalog.times import between, since, until
from consumers.incidents.exposure import find_exposures
from consumers.incidents.incident_selectors import read_selectors
from consumers.incidents.known_incidents import load_incident, tally
from consumers.incidents.proposing import propose
from consumers.incidents.suspects import Own, find_matching, freeze
from ledger.catalog import tables
from ledger.catalog.database import Database, sqlite_catalog
from ledger.catalog.event_rows import Wanted
from ledger.catalog.states import incident_names
from projections.index.names import release_key
from tests.catalog.story import story_catalog
from tests.catalog.test_filling import fill, golden_logs
from tests.fuzz.catalogs import fill as fill_world


def names_of(connection: Connection, *columns: Any) -> list[str]:
    """The values of columns, sorted."""
    return sorted({value for column in columns for value in connection.execute(select(column)).scalars() if value})


async def selected(asked: Asked) -> AsyncIterator[Any]:
    """What `log` says."""
    times = await asked.database.run(names_of, tables.publications.c.time)
    ranges = [await asked.database.run(between, asked, Wanted(), (first, asked.number)) for first in (0, 1, 3)]
    wanted = [
        *ranges,
        Wanted(types=("file", "access.granted.v1")),
        Wanted(rejected=True),
        Wanted(unattested=True),
        Wanted(first_use=True),
        Wanted(incident="incident-1"),
        Wanted(actors=("user:alice", "account-1")),
        Wanted(project="alpha", credentials=("token:alice-1",)),
        *[Wanted(project="alpha", release=release_key(version)) for version in ("1.0", "1.1", "7")],
        *[Wanted(first=(await asked.database.run(since, time))[0]) for time in times[::7]],
        *[Wanted(end=(await asked.database.run(until, time))[0]) for time in times[::7]],
    ]
    for each in wanted:
        for oldest_first in (True, False):
            yield [event async for event in find_events(asked, each, oldest_first=oldest_first)]
    for days in (0, 0.01, 2):
        yield [event async for event in find_events(asked, Wanted(), late_days=days)]
    for oldest_first in (True, False):
        yield [row async for row in find_publications(asked, 0, None, oldest_first=oldest_first)]


async def named(asked: Asked) -> AsyncIterator[Any]:
    """What `show` and `find` say."""
    run = asked.database.run
    keys = await run(names_of, tables.keys.c.keyid)
    ids = await run(names_of, tables.events.c.event_id)
    files = await run(names_of, tables.files.c.filename)
    roles = ["root@1", "targets@1", "bins@1", *(f"{role}@{asked.number}" for role in ("snapshot", "timestamp"))]
    projects = await run(uploaded_projects)
    paths = ["simple/index.json", *(f"simple/{name}/index.{kind}" for name in projects for kind in ("json", "html"))]
    for text in (*keys, *ids[::9], *roles, *paths, "0", f"{asked.size - 1}", "#1", f"#{asked.number}"):
        yield await run(find_thing, asked, text)
    digests = [each.hex() for each in await run(digests_of)]
    for text in (*keys[:3], *ids[::29], *files[:20], *digests[:20], "alice", "token:alice-1"):
        yield await run(find_things, asked, text)
        yield [event async for event in find_mentions(asked, text, Wanted())]
    yield await run(find_beside, asked, bytes.fromhex("ab" * 32))
    page = json.dumps({"name": "alpha", "meta": {"_last-serial": 4}}).encode()
    yield await run(recognize, asked, page)


def uploaded_projects(connection: Connection) -> list[str]:
    query = select(tables.projects.c.name).join(tables.files, tables.files.c.project == tables.projects.c.id)
    return sorted(set(connection.execute(query).scalars()))[:9]


def digests_of(connection: Connection) -> list[bytes]:
    columns = (tables.files.c.sha256, tables.events.c.digest, tables.chain_records.c.digest)
    return [value for column in columns for value in sorted(connection.execute(select(column)).scalars())[:7]]


async def about(asked: Asked) -> AsyncIterator[Any]:
    """What `blame`, `access` and `log --story` say."""
    run = asked.database.run
    for project in await run(names_of, tables.projects.c.name):
        yield [each async for each in blame_project(asked, project)]
        yield [each async for each in tell(asked, project)]
        yield await run(how_it_stands, project)
    for file in (await run(names_of, tables.files.c.filename))[:10]:
        yield await blame_file(asked, file)
    people = await run(names_of, tables.access.c.account, tables.access.c.credential, tables.access.c.project)
    times = await run(names_of, tables.publications.c.time)
    for name in (*people, *await run(names_of, tables.actors.c.name)):
        for at in (None, times[0], times[-1]):
            yield [each async for each in find_access(asked, name, at)]


async def of_incidents(asked: Asked) -> AsyncIterator[Any]:
    """What incidents are, what selectors choose, what else may belong to them, and whom things reached."""
    run = asked.database.run
    for name in await run(incident_names):
        yield await run(load_incident, asked, name)
    times = await run(names_of, tables.publications.c.time)
    digests = [each.hex() for each in await run(digests_of)]
    texts = [
        *(
            [f"{kind}={time}", *strict]
            for time in times[::5]
            for kind in ("since", "until")
            for strict in ([], ["strict"])
        ),
        *([f"sha256={digest}"] for digest in digests),
        *([f"key={key}"] for key in await run(names_of, tables.keys.c.keyid)),
        ["first-use"],
        ["unattested", "late-files=0"],
        ["project=alpha", "not actor=alice", "not events=3..9"],
        ["actor=alice", "actor=account-1", "credential=token:alice-1", "credential=none"],
        ["publisher=github/beta", "project=nothing"],
    ]
    for some in texts:
        found = await run(find_matching, asked, read_selectors(some), Own("theft", 3))
        yield found, await run(freeze, found.runs)
        yield [sorted(each.items()) for each in await run(tally, found.runs)]
        yield await run(propose, asked, found.runs)
    for name in (await run(names_of, tables.files.c.filename, tables.artifact_states.c.path))[:30]:
        yield [each async for each in find_exposures(asked, name)]


async def answers(asked: Asked) -> list[str]:
    """All answers, as text."""
    return [repr(each) for ask in (selected, named, about, of_incidents) async for each in ask(asked)]


async def same_answers(filled: dict[str, Asked]) -> None:
    """The answers of two catalogs."""
    one, other = [await answers(asked) for asked in filled.values()]
    assert len(one) == len(other) > 50
    for mine, its in zip(one, other, strict=True):
        assert mine == its


# Two catalogs in SQLite have the story alone: it is the shorter twin.
@pytest.mark.parametrize(
    "make_database", [pytest.param("postgresql", marks=(pytest.mark.postgresql, pytest.mark.slow))], indirect=True
)
async def test_the_golden_ledger(database: Database, tmp_path: Path) -> None:
    other = sqlite_catalog(tmp_path / "other.sqlite", writes=True)
    await other.open()
    filled = {}
    for each in (database, other):
        filling: Filling = await fill(each, golden_logs())
        filled[each.name] = Asked(each, filling.size, filling.number, 3, filling.held_from)
    try:
        await same_answers(filled)
    finally:
        await other.close()


async def test_a_story(database: Database, tmp_path: Path) -> None:
    other = sqlite_catalog(tmp_path / "other.sqlite", writes=True)
    await other.open()
    try:
        world = await story_catalog(tmp_path / "story", database)
        await fill_world(world, other)
        filled = {each.name: Asked(each, len(world.events.values), 6, 0) for each in (database, other)}
        await same_answers(filled)
    finally:
        await other.close()
