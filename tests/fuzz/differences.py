"""Differences between any two sides of a catalog: put on top of the one side, they give the other."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from consumers.catalog import differing
from consumers.catalog.asking import Asked
from consumers.catalog.changes import changes_of, events_of
from consumers.catalog.comparison import Comparison, compare_sides
from consumers.catalog.filling import load_authority
from consumers.catalog.remaking import Remaking
from consumers.catalog.sides import Side
from ledger.catalog import content, tables
from ledger.catalog.database import Database
from projections.metadata.facts import Fact, facts_of

LISTS = {"simple/index.json", "simple/index.html"}

State = dict[Any, Any]


async def check_differences(database: Database, size: int, number: int) -> None:
    """All pairs of few publications, or some pairs of many; and events, as sides of their own."""
    asked = Asked(database, size, number, 0)
    await check_bins(asked)
    sides = sorted({0, number // 3, number // 2, number - 1, number} - {-1})
    events = sorted({0, size // 3, size - 1})
    for before in sides:
        for after in sides:
            await check_pair(await compare_sides(asked, str(before), str(after), None), database)
    for event in events:
        for other in (f"event:{events[-1 if event < events[-1] else 0]}", str(number // 2)):
            await check_pair(await compare_sides(asked, f"event:{event}", other, None), database)


async def check_bins(asked: Asked) -> None:
    """Two versions of a bin differ where their targets do, and every difference has a cause."""
    for role in ("bin-0", "bin-1", "bin-2"):
        versions = await asked.database.run(versions_of, role)
        for before, after in {(versions[0], versions[-1]), (versions[-1], versions[0])} if versions else ():
            comparison = await compare_sides(asked, f"{role}@{before}", f"{role}@{after}", None)
            page = await comparison.bin_targets()
            sides = [await asked.database.run(bin_at, side) for side in sides_of(comparison)]
            for each in page.targets:
                put(sides[0], each.path, each.before, each.after)
                assert each.events or each.path in LISTS
            assert sides[0] == sides[1]


def versions_of(connection: Connection, role: str) -> list[int]:
    table, names = tables.role_versions, tables.roles
    query = select(table.c.number).join(names, names.c.id == table.c.role).where(names.c.name == role)
    return list(connection.execute(query.order_by(table.c.number)).scalars())


def bin_at(connection: Connection, side: Side) -> dict[Any, Any]:
    remaking = Remaking(connection)
    assert side.publication is not None
    index = remaking.authority(side.publication).layout.index(side.role)
    assert index is not None
    return {each.path: each for each in remaking.bin_targets(index, side.publication)}


async def check_pair(comparison: Comparison, database: Database) -> None:
    """Put what differs on top of the state before: it becomes the state after. Every event lies in between."""
    before = await database.run(state_at, comparison.before)
    after = await database.run(state_at, comparison.after)
    sizes = sorted((comparison.before.content_size, comparison.after.content_size))
    async for page in comparison.projects(targets=False):
        for each in page.projects:
            apply(before, each)
            check_events(sizes, events_of(each))
            assert events_of(each) <= page.events.keys()
            said = changes_of(each, page.events)
            assert said or (each.before is None) == (each.after is None)
            for change in said:
                assert change.events
                assert set(change.events) <= events_of(each)
    assert before == after
    await check_roles(comparison, database)
    await check_targets(comparison, database, sizes)


def check_events(sizes: list[int], events: Iterable[int]) -> None:
    assert all(sizes[0] <= event < sizes[1] for event in events), (sizes, events)


def apply(state: State, each: differing.ProjectDifference) -> None:
    """Put what differs of a project on top of a state, after making sure that it says what the state is."""
    put(state, ("project", each.id), each.before, each.after)
    for release in each.releases:
        none = differing.Flags()
        key = ("release", each.id, release.key)
        put(state, key, *(None if flags == none else flags for flags in (release.before, release.after)))
    for file in each.files:
        put(state, ("file", file.file.id), file.before, file.after)


def put(state: State, key: Any, before: Any, after: Any) -> None:
    assert state.get(key) == before, key
    state.pop(key, None)
    if after is not None:
        state[key] = after


def state_at(connection: Connection, side: Side) -> State:
    """Everything about projects at a size, read plainly."""
    size, state = side.content_size, State()
    numbers = list(connection.execute(select(tables.projects.c.id)).scalars())
    for number, project in content.projects_numbered(connection, numbers, size).items():
        state["project", number] = project
        for file in content.files_of(connection, number, size, removed=True):
            state["file", file.id] = differing.StandingOfFile(file.state, file.yanked)
    for flags in content.release_flags(connection, numbers, size).values():
        state["release", flags.project, flags.key] = differing.Flags(flags.yanked, flags.quarantined)
    return state


async def check_roles(comparison: Comparison, database: Database) -> None:
    """The same for the facts of offline roles."""
    roles = await comparison.roles()
    facts = await database.run(facts_at, comparison.before)
    sizes = sorted((comparison.before.size, comparison.after.size))
    for each in roles.changes:
        assert each.event is not None
        assert each.event in roles.events
        check_events(sizes, [each.event])
        put(facts, each.fact, each.before, each.after)
    assert facts == await database.run(facts_at, comparison.after)


def facts_at(connection: Connection, side: Side) -> State:
    query = select(tables.documents.c.idx).where(tables.documents.c.idx < side.size)
    last = connection.execute(query.order_by(tables.documents.c.idx.desc()).limit(1)).scalar()
    facts: dict[Fact, Any] = {}
    if last is not None:
        for document in load_authority(connection, last).documents:
            facts |= facts_of(document.role, document.signed)
    return {fact: value for fact, value in facts.items() if value is not None}


async def check_targets(comparison: Comparison, database: Database, sizes: list[int]) -> None:
    """The targets of two publications differ where it is said, and nowhere else."""
    found: dict[str, differing.TargetDifference] = {}
    async for page in comparison.projects(targets=True):
        for some in page.targets.values():
            for each in some:
                check_events(sizes, each.events)
                assert found.setdefault(each.path, each)[:3] == each[:3]
    async for others in comparison.others():
        for each in others.targets:
            check_events(sizes, each.events)
            found[each.path] = each
    found |= {each.path: each for each in await comparison.lists()}
    async for renewed in comparison.renewed_pages():
        found |= {each.path: each for each in renewed}
    assert all(each.events for each in found.values() if each.path not in LISTS)
    if not all(map(is_published, sides_of(comparison))):
        return
    before, after = [await database.run(targets_at, side) for side in sides_of(comparison)]
    for path in before.keys() | after.keys():
        if before.get(path) == after.get(path):
            assert path not in found, path
            continue
        each = found.pop(path)
        for known, said in ((before.get(path), each.before), (after.get(path), each.after)):
            assert (known is None) == (said is None), path
            assert said is None or not said.sha256 or said == known
    assert not found


def sides_of(comparison: Comparison) -> tuple[Side, Side]:
    return comparison.before, comparison.after


def is_published(side: Side) -> bool:
    return side.number > 0 or side.size == 0


def targets_at(connection: Connection, side: Side) -> dict[str, Any]:
    remaking, row = Remaking(connection), side.publication
    if row is None:
        return {}
    bins = range(remaking.authority(row).layout.count)
    return {each.path: each for index in bins for each in remaking.bin_targets(index, row)}
