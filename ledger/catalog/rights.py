"""Reading who was allowed to act, and who acted."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, case, func, or_, select

from ledger.catalog.event_rows import actor_ids
from ledger.catalog.selecting import rows_among, rows_of
from ledger.catalog.tables import OUTCOMES, access, actors, credentials, events, projects, types

RIGHT = ("kind", "account", "role", "credential", "project")
"""What makes two rights one."""


class AccessRow(NamedTuple):
    """An accepted event about access; `ended_idx` is the revocation that ended a grant."""

    idx: int
    act: str
    kind: str
    account: str | None
    role: str | None
    credential: str | None
    project: str | None
    ended_idx: int | None


class Subjects(NamedTuple):
    """What a text names: numbers of a project, of actors, of a credential. There may be rows of access besides."""

    projects: tuple[int, ...]
    actors: tuple[int, ...]
    credentials: tuple[int, ...]


class ActsRow(NamedTuple):
    """How many events of a type somebody made with a credential, how many of them were rejected, and the first and the
    last of them.
    """

    actor_kind: str
    actor: str
    credential: str | None
    type: str
    events: int
    rejected: int
    first: int
    last: int


def access_rows(connection: Connection, project: str, name: str) -> list[AccessRow]:
    """The events about access that name a project, an account or a credential, in order."""
    is_about = or_(access.c.project == project, access.c.account == name, access.c.credential == name)
    return rows_of(connection, AccessRow, select(access).where(is_about).order_by(access.c.idx))


def access_at(connection: Connection, indices: Iterable[int]) -> list[AccessRow]:
    """Those of some events that are about access and were accepted, in order."""
    query = select(access)
    found = rows_among(connection, AccessRow, lambda some: query.where(access.c.idx.in_(some)), indices)
    return sorted(found, key=lambda row: row.idx)


def rows_of_right(connection: Connection, right: AccessRow) -> list[AccessRow]:
    """The events about the same right as one of them, in order."""
    pairs = [(access.c[name], getattr(right, name)) for name in RIGHT]
    same = [column.is_(None) if value is None else column == value for column, value in pairs]
    return rows_of(connection, AccessRow, select(access).where(*same).order_by(access.c.idx))


def ends_of_grants(connection: Connection, project: str) -> set[int]:
    """The revocations that ended a grant of access to a project."""
    query = select(access.c.ended_idx).where(access.c.project == project, access.c.ended_idx.is_not(None))
    return set(connection.execute(query).scalars())


def subjects_of(connection: Connection, project: str, name: str) -> Subjects:
    """What events are about or by whom they are, given the name of a project, and of an actor or credential."""
    of_project = select(projects.c.id).where(projects.c.name == project)
    of_credential = select(credentials.c.id).where(credentials.c.name == name)
    return Subjects(
        tuple(connection.execute(of_project).scalars()),
        tuple(actor_ids(connection, name)),
        tuple(connection.execute(of_credential).scalars()),
    )


def count_acts(connection: Connection, subjects: Subjects, end: int) -> list[ActsRow]:
    """What was done to a project, or by actors, or with credentials, before an index: by actor, credential and type."""
    # What is empty is left out: with it, no index would be used for the others.
    columns_of = (
        (events.c.project, subjects.projects),
        (events.c.actor, subjects.actors),
        (events.c.credential, subjects.credentials),
    )
    conditions = [column.in_(numbers) for column, numbers in columns_of if numbers]
    if not conditions:
        return []
    rejected = func.sum(case((events.c.outcome == OUTCOMES.index("rejected"), 1), else_=0))
    columns = actors.c.kind, actors.c.name, credentials.c.name, types.c.name
    query = (
        select(*columns, func.count(), rejected, func.min(events.c.idx), func.max(events.c.idx))
        .select_from(events)
        .join(types, types.c.id == events.c.type)
        .join(actors, actors.c.id == events.c.actor)
        .outerjoin(credentials, credentials.c.id == events.c.credential)
        .where(or_(*conditions), events.c.idx < end)
        .group_by(*columns)
    )
    found = rows_of(connection, ActsRow, query)
    return [each._replace(rejected=int(each.rejected)) for each in found]


def ungranted_uses(connection: Connection, names: Iterable[str]) -> list[int]:
    """The first uses of those of some credentials that no grant precedes, in order."""
    first = select(func.min(events.c.idx)).where(events.c.credential == credentials.c.id).scalar_subquery()
    grant = select(func.min(access.c.idx)).where(access.c.credential == credentials.c.name, access.c.act == "granted")
    query = select(first, grant.scalar_subquery())
    found = rows_among(connection, _pair, lambda some: query.where(credentials.c.name.in_(some)), names)
    return sorted(use for use, granted in found if use is not None and (granted is None or granted > use))


def _pair(use: int | None, granted: int | None) -> tuple[int | None, int | None]:
    return use, granted
