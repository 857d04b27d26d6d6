"""What a catalog answers over random histories, with holds and publications anywhere, is what the records say."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from consumers.catalog.accessing import Acts, Grant, Oddity, find_access
from consumers.catalog.asking import Asked
from consumers.catalog.blaming import blame_file, blame_project
from consumers.catalog.event_answers import find_events
from consumers.catalog.recognizing import PageVersion, recognize
from consumers.catalog.showing import RoleAnswer
from consumers.catalog.story import how_it_stands, tell
from consumers.catalog.times import between, since, until
from ledger.catalog import tables
from ledger.catalog.database import sqlite_catalog
from ledger.catalog.event_rows import Wanted
from projections.index.names import release_key
from projections.metadata.paths import MetadataPlace, TargetPlace, read_path
from tests import factory
from tests.factory import Make, digest
from tests.fuzz.catalogs import fill
from tests.fuzz.plain_answers import (
    PlainIndex,
    PlainTimes,
    accepted_events,
    access_of,
    first_uses,
    late_files,
    of_releases,
    runs,
    unattested,
)
from tests.fuzz.test_all_rules import TEAM
from tests.fuzz.world import World
from tests.property.histories import PROJECTS, cuts, freeing_histories, histories, narrow_histories, projects


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


def read_indices(connection: Connection) -> list[int]:
    table = tables.events
    return list(
        connection.execute(select(table.c.idx).where(table.c.type.is_not(None)).order_by(table.c.idx)).scalars()
    )


def publications_of(connection: Connection) -> list[tuple[int, int, int, str]]:
    """Number, size, content size and time of each publication."""
    table = tables.publications
    query = select(table.c.number, table.c.size, table.c.content_size, table.c.time).order_by(table.c.number)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


async def check_blame(world: World, asked: Asked) -> None:
    """Every file's state, causes and publications are those of a plain fold."""
    accepted = accepted_events(world.events.values, await asked.database.run(accepted_indices))
    plain = PlainIndex(accepted)
    publications = await asked.database.run(publications_of)
    at = {
        number: PlainIndex(each for each in accepted if each.at < content_size).listed()
        for number, _, content_size, _ in publications
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
        expected = runs([(number, file.upload in at[number]) for number, *_ in publications])
        assert [tuple(each) for each in answer.offered] == expected
        assert answer in await blame_file(asked, file.filename)


async def check_story(asked: Asked) -> None:
    """The story of a project tells of all that did something, or was refused, in the order of the log."""
    for project in PROJECTS:
        told = [each async for each in tell(asked, project)]
        assert all(one.last < other.first for one, other in pairwise(told))
        about = [each async for each in find_events(asked, Wanted(project=project)) if each.verdict != "no effect"]
        assert all(any(each.first <= event.row.idx <= each.last for each in told) for event in about)
        assert (await asked.database.run(how_it_stands, project)).endswith(".")


async def check_pages(world: World, asked: Asked) -> None:
    """Every page and metadata file that was ever served is known by itself, and an altered one is known as such."""
    for path, data in world.storage.tree.files.items():
        place = read_path(path)
        if isinstance(place, TargetPlace) and not place.is_page:
            continue
        found = await asked.database.run(recognize, asked, data)
        if isinstance(place, TargetPlace):
            assert found is not None
            assert found.is_same, path
            assert isinstance(found.answer, PageVersion)
            assert found.answer.path == place.target
            other = await asked.database.run(recognize, asked, data.replace(b"1.", b"2.", 1))
            assert other is None or not other.is_same
        elif found is not None and isinstance(place, MetadataPlace):
            assert isinstance(found.answer, RoleAnswer)
            assert found.is_same
            assert found.answer.file.role == place.role
        else:
            assert b'"targets":{}' in data


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, values, data)
        async with asking(world) as asked:
            await check_blame(world, asked)
            await check_pages(world, asked)
            await check_story(asked)


# --- who acted, and when ---------------------------------------------------------------------------------------------

NAMES = ["alice", "bob", "t-1", "t-2", "t-3", None]


def signed_by_many(values: list[bytes], data: st.DataObject) -> list[bytes]:
    """A history with events about access between, and other actors, credentials and provenances."""
    make, draw, found = Make(), data.draw, list[bytes]()
    for value in values:
        if draw(st.integers(0, 2)) == 0:
            facts: dict[str, Any] = {name: draw(st.sampled_from(NAMES)) for name in ("account", "role", "credential")}
            facts |= {"kind": draw(st.sampled_from(["credential", "owner"])), "project": draw(projects | st.none())}
            acts: list[Literal["granted", "revoked", "noted"]] = ["granted", "granted", "revoked", "noted"]
            found += factory.encode([make.access(draw(st.sampled_from(acts)), **facts)])
        document = json.loads(value)
        document["actorid"] = draw(st.sampled_from(["alice", "bob"]))
        document["id"] = f"e-{len(found)}"
        if (credential := draw(st.sampled_from(NAMES))) is not None:
            document["actorcredential"] = credential
        if document["type"] == "file.uploaded.v1" and draw(st.booleans()):
            document["data"]["provenance_sha256"] = digest("provenance")
        found.append(json.dumps(document).encode())
    return found


async def selected(asked: Asked, wanted: Wanted, late_days: float | None = None) -> list[int]:
    """The indices of wanted events, the same in both orders."""
    newest = [each.row.idx async for each in find_events(asked, wanted, late_days=late_days)]
    oldest = [each.row.idx async for each in find_events(asked, wanted, oldest_first=True, late_days=late_days)]
    assert newest[::-1] == oldest
    return oldest


async def check_selectors(world: World, asked: Asked, data: st.DataObject) -> None:
    """What selectors find is what a look at every record finds."""
    values, run = world.events.values, asked.database.run
    accepted = accepted_events(values, await run(accepted_indices))
    publications = await run(publications_of)
    times = PlainTimes([(number, size, time) for number, size, _, time in publications])
    assert await selected(asked, Wanted(unattested=True)) == unattested(accepted)
    assert await selected(asked, Wanted(first_use=True)) == first_uses(
        accepted_events(values, await run(read_indices)), accepted
    )
    events = accepted_events(values, await run(read_indices))
    for kinds, names in ((("file",), ()), (("file", "access"), ()), ((), ("alice", "bob")), (("release",), ("bob",))):
        assert await selected(asked, Wanted(types=kinds, actors=names)) == [
            each.at
            for each in events
            if (not kinds or each.document["type"].partition(".")[0] in kinds)
            and (not names or each.document["actorid"] in names)
        ]
    about = of_releases(events, accepted)
    for (project, release), indices in about.items():
        assert await selected(asked, Wanted(project=project, release=release_key(f"{release}"))) == indices
    for days in (0, 1, 1.5):
        assert await selected(asked, Wanted(), days) == late_files(accepted, times, days)
    for time in {"2030-01-01T00:00:00Z", "2999-01-01T00:00:00Z", *(time for *_, time in publications)}:
        first, _ = await run(since, time)
        end, _ = await run(until, time)
        brackets = [times.bracket(index) for index in range(len(values))]
        not_before = [index for index, (_, after) in enumerate(brackets) if not after or after >= time]
        assert await selected(asked, Wanted(first=first)) == not_before
        not_after = [index for index, (before, _) in enumerate(brackets) if not before or before <= time]
        assert await selected(asked, Wanted(end=end)) == not_after
    await check_between(asked, data, publications)


async def check_between(asked: Asked, data: st.DataObject, publications: list[tuple[int, int, int, str]]) -> None:
    """What is between two publications is what those after the one, up to the other, were the first to show."""
    numbers = [0, *(number for number, *_ in publications)]
    first, last = sorted((data.draw(st.sampled_from(numbers)), data.draw(st.sampled_from(numbers))))
    wanted = await asked.database.run(between, asked, Wanted(), (first, last))
    everything = [each async for each in find_events(asked, Wanted(), oldest_first=True)]
    inside = [
        each.row.idx
        for each in everything
        if each.place.publication is not None and first < each.place.publication <= last
    ]
    assert await selected(asked, wanted) == inside


async def check_access(world: World, asked: Asked) -> None:
    """Grants, their ends, acts and oddities are what a look at every record finds, now and at any time."""
    values, run = world.events.values, asked.database.run
    accepted = accepted_events(values, await run(accepted_indices))
    events = accepted_events(values, await run(read_indices))
    publications = await run(publications_of)
    times = PlainTimes([(number, size, time) for number, size, _, time in publications])
    for name in [*(name for name in NAMES if name), *PROJECTS, "none"]:
        for at in [None, *{time for *_, time in publications[-2:]}]:
            brackets = [times.bracket(index) for index in range(len(values))]
            end = len([1 for before, _ in brackets if at is None or not before or before <= at])
            first = len(values) if at is None else len([1 for _, after in brackets if after and after < at])
            plain = access_of(name, events, accepted, end)
            found = [each async for each in find_access(asked, name, at)]
            grants = [each for each in found if isinstance(each, Grant)]
            ends = {each.row.idx: None if each.revoked is None else each.revoked.row.idx for each in grants}
            held = {
                grant: ended for grant, ended in plain.grants.items() if at is None or ended is None or ended >= first
            }
            assert ends == held, (name, at)
            for each in grants:
                ended = ends[each.row.idx]
                surely = each.row.idx < first and (ended is None or ended >= end)
                assert each.is_certain == (at is None or surely)
            oddities = [each.event.row.idx for each in found if isinstance(each, Oddity)]
            assert oddities == sorted(plain.unexplained)
            acts = {(each.actor, each.credential): each.events for each in found if isinstance(each, Acts)}
            assert acts == plain.acts


async def play_many(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, signed_by_many(values, data), data)
        async with asking(world) as asked:
            await check_selectors(world, asked, data)
            await check_access(world, asked)


@given(st.one_of(histories(20), narrow_histories(20)), st.data())
@settings(max_examples=10)
def test_selectors_and_access_find_what_a_look_at_every_record_finds(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play_many(values, data))


@pytest.mark.slow
@given(st.one_of(histories(20), narrow_histories(20)), st.data())
@settings(max_examples=30)
def test_selectors_and_access_more_often(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play_many(values, data))


# --- blame -----------------------------------------------------------------------------------------------------------


@given(st.one_of(histories(30), narrow_histories(), freeing_histories()), st.data())
@settings(max_examples=12)
def test_blame_and_pages_are_what_a_plain_fold_says(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))


@pytest.mark.slow
@given(st.one_of(histories(30), narrow_histories(), freeing_histories()), st.data())
@settings(max_examples=30)
def test_blame_and_pages_more_often(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
