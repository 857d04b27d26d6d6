"""Reading what leads from some events to others: who acted, what they began, granted and brought.

Events are given as sorted runs of indices, from one (inclusive) to another (exclusive), however many there are.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from ledger.catalog.rights import AccessRow
from ledger.catalog.selecting import AT_ONCE, in_parts, rows_among, rows_of
from ledger.catalog.tables import (
    THERE,
    access,
    actors,
    artifact_states,
    credentials,
    documents,
    events,
    files,
    projects,
    types,
)

RANGES_AT_ONCE = 50
"""Number of longer runs in one query."""

Run = tuple[int, int]


class Actor(NamedTuple):
    """Who acted, with which credential, and how often; `credential` and its number are None where there is none."""

    actor_id: int
    kind: str
    name: str
    credential_id: int | None
    credential: str | None
    events: int


class BegunProject(NamedTuple):
    """A project, and its first accepted event."""

    project: int
    name: str
    first: int


class Sought(NamedTuple):
    """Which events, of all that fit: from one index to below another.

    Attributes:
        first: the lowest index.
        end: the index above the highest.
        actors: numbers of actors, if any are given.
        credentials: numbers of credentials, if any are given.
        projects: numbers of projects, if any are given.
        other_than: none with these credentials.
        never: no events of these types.
    """

    first: int
    end: int
    actors: Sequence[int] = ()
    credentials: Sequence[int] = ()
    projects: Sequence[int] = ()
    other_than: Sequence[int] = ()
    never: Sequence[str] = ()


def who_acted(connection: Connection, runs: Sequence[Run]) -> list[Actor]:
    """Who made some events, in order of kind, name and credential."""
    found: dict[tuple[int, str, str, int | None, str | None], int] = {}
    for condition in _among(events.c.idx, runs):
        columns = actors.c.id, actors.c.kind, actors.c.name, credentials.c.id, credentials.c.name
        query = select(*columns, func.count()).select_from(events).join(actors, actors.c.id == events.c.actor)
        query = query.outerjoin(credentials, credentials.c.id == events.c.credential).where(condition)
        for row in connection.execute(query.group_by(*columns)):
            who = row[0], row[1], row[2], row[3], row[4]
            found[who] = found.get(who, 0) + row[5]
    actors_found = [Actor(*who, count) for who, count in found.items()]
    return sorted(actors_found, key=lambda each: (each.kind, each.name, each.credential or ""))


def what_began(connection: Connection, runs: Sequence[Run]) -> list[BegunProject]:
    """The projects whose first accepted event is one of some events, by name."""
    numbers = {
        number
        for condition in _among(events.c.idx, runs)
        for number in connection.execute(
            select(events.c.project).where(condition, events.c.project.is_not(None), events.c.outcome == 0).distinct()
        ).scalars()
    }
    of_project = events.alias("of_project")
    first = select(func.min(of_project.c.idx)).where(of_project.c.project == projects.c.id, of_project.c.outcome == 0)
    query = select(projects.c.id, projects.c.name, first.scalar_subquery())
    found = rows_among(connection, BegunProject, lambda some: query.where(projects.c.id.in_(some)), sorted(numbers))
    return sorted((each for each in found if _has(runs, each.first)), key=lambda each: each.name)


def access_in(connection: Connection, runs: Sequence[Run], act: str) -> list[AccessRow]:
    """The accepted events about access among some events that did something (`granted`, `revoked`), in order."""
    found = [
        each
        for condition in _among(access.c.idx, runs)
        for each in rows_of(connection, AccessRow, select(access).where(condition, access.c.act == act))
    ]
    return sorted(found)


def digests_brought(connection: Connection, runs: Sequence[Run]) -> list[bytes]:
    """The SHA-256 of all files and other targets that some events brought, sorted."""
    found: set[bytes] = set()
    for condition in _among(files.c.upload_idx, runs):
        found.update(connection.execute(select(files.c.sha256).where(condition).distinct()).scalars())
    for condition in _among(artifact_states.c.from_idx, runs):
        query = select(artifact_states.c.sha256).where(condition, artifact_states.c.state == THERE)
        found.update(connection.execute(query.distinct()).scalars())
    return sorted(found)


def brought_often(connection: Connection, digests: Iterable[bytes]) -> list[bytes]:
    """Those of some SHA-256 that more than one event brought, sorted."""
    counts: dict[bytes, int] = {}
    table = artifact_states
    for some in in_parts(digests):
        query = select(files.c.sha256, func.count()).where(files.c.sha256.in_(some)).group_by(files.c.sha256)
        other = select(table.c.sha256, func.count()).where(table.c.sha256.in_(some), table.c.state == THERE)
        for each in (query, other.group_by(table.c.sha256)):
            for digest, count in connection.execute(each):
                counts[bytes(digest)] = counts.get(bytes(digest), 0) + count
    return sorted(digest for digest, count in counts.items() if count > 1)


def brought_by(connection: Connection, digest: bytes, first: int, limit: int) -> list[int]:
    """The first events from an index on that brought a file or another target with a SHA-256, at most so many."""
    table = artifact_states
    query = select(files.c.upload_idx).where(files.c.sha256 == digest, files.c.upload_idx >= first)
    other = select(table.c.from_idx).where(table.c.sha256 == digest, table.c.state == THERE, table.c.from_idx >= first)
    found = set(connection.execute(query.order_by(files.c.upload_idx).limit(limit)).scalars())
    found.update(connection.execute(other.order_by(table.c.from_idx).limit(limit)).scalars())
    return sorted(found)[:limit]


def roots_between(connection: Connection, first: int, end: int) -> list[tuple[int, int]]:
    """The roots that came from one index to below another: index and version, in order."""
    query = select(documents.c.idx, documents.c.version).where(documents.c.role == "root")
    query = query.where(documents.c.idx >= first, documents.c.idx < end).order_by(documents.c.idx)
    return [(row[0], row[1]) for row in connection.execute(query)]


def next_root(connection: Connection, index: int) -> int | None:
    """The index of the root that follows the one of an index."""
    query = select(func.min(documents.c.idx)).where(documents.c.role == "root", documents.c.idx > index)
    return connection.execute(query).scalar()


def numbers_of_names(connection: Connection, table: str, name: str) -> tuple[int, ...]:
    """The numbers of the actors, the credential or the project (`actors`, `credentials`, `projects`) of a name."""
    of = {"actors": actors, "credentials": credentials, "projects": projects}[table]
    return tuple(connection.execute(select(of.c.id).where(of.c.name == name).order_by(of.c.id)).scalars())


# --- events that fit -------------------------------------------------------------------------------------------------


def indices_sought(connection: Connection, sought: Sought, limit: int, *, newest_first: bool = False) -> list[int]:
    """The first events that fit, in order, or the last ones, the newest first; at most so many."""
    query = _fitting(connection, sought, events.c.idx)
    query = query.order_by(events.c.idx.desc() if newest_first else events.c.idx)
    return list(connection.execute(query.limit(limit)).scalars())


def count_sought(connection: Connection, sought: Sought) -> int:
    """How many events fit."""
    return int(connection.execute(_fitting(connection, sought, func.count())).scalar_one())


def count_sought_among(connection: Connection, sought: Sought, runs: Sequence[Run]) -> int:
    """How many of some events fit."""
    return sum(
        connection.execute(_fitting(connection, sought, func.count()).where(condition)).scalar_one()
        for condition in _among(events.c.idx, runs)
    )


def _fitting(connection: Connection, sought: Sought, *columns: Any) -> Select[Any]:
    query = select(*columns).where(events.c.idx >= sought.first, events.c.idx < sought.end)
    if sought.actors:
        query = query.where(events.c.actor.in_(sought.actors))
    if sought.credentials:
        query = query.where(events.c.credential.in_(sought.credentials))
    if sought.projects:
        query = query.where(events.c.project.in_(sought.projects))
    if sought.other_than:
        query = query.where(or_(events.c.credential.is_(None), events.c.credential.not_in(sought.other_than)))
    if sought.never:
        never = connection.execute(select(types.c.id).where(types.c.name.in_(sought.never))).scalars().all()
        query = query.where(events.c.type.not_in(never))
    return query


def _has(runs: Sequence[Run], index: int) -> bool:
    at = bisect_right(runs, index, key=lambda run: run[0])
    return at > 0 and index < runs[at - 1][1]


def _among(column: ColumnElement[int], runs: Sequence[Run]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together are that an index is in one of some runs; no two are true of one index."""
    single = [index for start, end in runs if end - start <= RANGES_AT_ONCE for index in range(start, end)]
    long = [(start, end) for start, end in runs if end - start > RANGES_AT_ONCE]
    for at in range(0, len(single), AT_ONCE):
        yield column.in_(single[at : at + AT_ONCE])
    for at in range(0, len(long), RANGES_AT_ONCE):
        yield or_(*(and_(column >= start, column < end) for start, end in long[at : at + RANGES_AT_ONCE]))
