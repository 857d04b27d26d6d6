"""Reading publications, and the versions of roles that they signed."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from ledger.catalog.selecting import first_of, rows_of
from ledger.catalog.tables import chain_records, publications, role_versions, roles
from ledger.catalog.writing import PublicationRow


class RoleVersionRow(NamedTuple):
    """A version of a role: the number of the publication that signed it, SHA-256 and packed signatures."""

    role: str
    number: int
    sha256: bytes
    signatures: bytes


class Era(NamedTuple):
    """The publications under the offline roles of one ceremony, from the first to the last."""

    roles_idx: int
    first: int
    last: int


_VERSIONS = select(roles.c.name, role_versions.c.number, role_versions.c.sha256, role_versions.c.signatures).join(
    roles, roles.c.id == role_versions.c.role
)


def load_publication(connection: Connection, number: int) -> PublicationRow | None:
    """A publication by its number."""
    return first_of(connection, PublicationRow, select(publications).where(publications.c.number == number))


class ChainRow(NamedTuple):
    """A record of `publications` that was judged; `outcome` is an index of `ledger.catalog.tables.OUTCOMES`."""

    record: int
    digest: bytes
    kind: str
    number: int | None
    outcome: int
    code: str | None
    detail: str | None


def chain_records_with_digest(connection: Connection, digest: bytes) -> list[ChainRow]:
    """The records of `publications` with a digest, in order."""
    query = select(chain_records).where(chain_records.c.digest == digest).order_by(chain_records.c.record)
    return rows_of(connection, ChainRow, query)


def publications_with_list(connection: Connection, list_size: int) -> list[PublicationRow]:
    """The first and the last publication that show the list of projects of a content size."""
    table = publications
    numbers = select(func.min(table.c.number), func.max(table.c.number)).where(table.c.list_size == list_size)
    found = (load_publication(connection, number) for number in connection.execute(numbers).one() if number)
    return [each for each in found if each is not None]


def first_publication(connection: Connection) -> PublicationRow | None:
    """The first publication."""
    return first_of(connection, PublicationRow, select(publications).order_by(publications.c.number))


def last_publication(connection: Connection) -> PublicationRow | None:
    """The last publication."""
    return first_of(connection, PublicationRow, select(publications).order_by(publications.c.number.desc()))


def publications_between(
    connection: Connection, first: int, end: int, limit: int, *, oldest_first: bool
) -> list[PublicationRow]:
    """Publications from one number to below another, the newest first or the oldest, at most so many."""
    table = publications
    query = select(table).where(table.c.number >= first, table.c.number < end).limit(limit)
    return rows_of(
        connection, PublicationRow, query.order_by(table.c.number if oldest_first else table.c.number.desc())
    )


def publication_at(connection: Connection, time: str) -> PublicationRow | None:
    """The publication in force at a time: the last one whose effective time is not later."""
    table = publications
    query = select(table).where(table.c.effective_time <= time)
    return first_of(connection, PublicationRow, query.order_by(table.c.effective_time.desc(), table.c.number.desc()))


def first_showing(connection: Connection, index: int) -> PublicationRow | None:
    """The first publication that shows the event at an index."""
    table = publications
    query = select(table).where(table.c.content_size > index).order_by(table.c.content_size, table.c.number)
    return first_of(connection, PublicationRow, query)


def first_covering(connection: Connection, index: int) -> PublicationRow | None:
    """The first publication that covers the record at an index: what counts for events about the ledger itself."""
    table = publications
    query = select(table).where(table.c.size > index).order_by(table.c.size, table.c.number)
    return first_of(connection, PublicationRow, query)


def eras(connection: Connection) -> list[Era]:
    """All publications by the offline roles in force, in order."""
    table = publications
    query = select(table.c.roles_idx, func.min(table.c.number), func.max(table.c.number)).group_by(table.c.roles_idx)
    return rows_of(connection, Era, query.order_by(table.c.roles_idx))


def effective_times(connection: Connection) -> list[tuple[int, str]]:
    """The size and the effective time of each publication, in order."""
    table = publications
    query = select(table.c.size, table.c.effective_time).order_by(table.c.number)
    return [(row[0], row[1]) for row in connection.execute(query)]


def last_before(connection: Connection, time: str) -> PublicationRow | None:
    """The last publication whose effective time is before a time."""
    table = publications
    query = select(table).where(table.c.effective_time < time)
    return first_of(connection, PublicationRow, query.order_by(table.c.effective_time.desc(), table.c.number.desc()))


def first_after(connection: Connection, time: str) -> PublicationRow | None:
    """The first publication whose effective time is after a time."""
    table = publications
    query = select(table).where(table.c.effective_time > time)
    return first_of(connection, PublicationRow, query.order_by(table.c.effective_time, table.c.number))


def first_from(connection: Connection, time: str) -> PublicationRow | None:
    """The first publication whose effective time is not before a time."""
    table = publications
    query = select(table).where(table.c.effective_time >= time)
    return first_of(connection, PublicationRow, query.order_by(table.c.effective_time, table.c.number))


def publications_under_roles(
    connection: Connection, since: int, until: int | None
) -> tuple[PublicationRow, PublicationRow] | None:
    """The first and the last publication under the roles of the ceremonies from one index to below another (None: of
    all later ones); None: there is none.
    """
    table = publications
    query = select(table).where(table.c.roles_idx >= since)
    if until is not None:
        query = query.where(table.c.roles_idx < until)
    first = first_of(connection, PublicationRow, query.order_by(table.c.roles_idx, table.c.number))
    last = first_of(connection, PublicationRow, query.order_by(table.c.roles_idx.desc(), table.c.number.desc()))
    return None if first is None or last is None else (first, last)


def role_version(connection: Connection, role: str, number: int) -> RoleVersionRow | None:
    """The version of a role that a publication signed."""
    query = _VERSIONS.where(roles.c.name == role, role_versions.c.number == number)
    return first_of(connection, RoleVersionRow, query)


def versions_at(connection: Connection, number: int) -> dict[str, int]:
    """The last version of each role up to a publication."""
    last = (
        select(func.max(role_versions.c.number))
        .where(role_versions.c.role == roles.c.id, role_versions.c.number <= number)
        .scalar_subquery()
    )
    return {name: version for name, version in connection.execute(select(roles.c.name, last)) if version is not None}


def last_version(connection: Connection, role: str, number: int) -> int | None:
    """The last version of a role up to a publication."""
    query = select(func.max(role_versions.c.number)).join(roles, roles.c.id == role_versions.c.role)
    return connection.execute(query.where(roles.c.name == role, role_versions.c.number <= number)).scalar()


def signed_by(connection: Connection, number: int) -> list[str]:
    """The roles of which a publication signed a version, sorted."""
    query = select(roles.c.name).join(role_versions, role_versions.c.role == roles.c.id)
    return list(connection.execute(query.where(role_versions.c.number == number).order_by(roles.c.name)).scalars())


def signed_versions(connection: Connection, number: int) -> list[RoleVersionRow]:
    """The versions of roles that a publication signed, by role."""
    query = _VERSIONS.where(role_versions.c.number == number).order_by(roles.c.name)
    return rows_of(connection, RoleVersionRow, query)


def versions_with_digest(connection: Connection, sha256: bytes) -> list[RoleVersionRow]:
    """The versions of roles whose file has a digest, in order."""
    query = _VERSIONS.where(role_versions.c.sha256 == sha256).order_by(role_versions.c.number, roles.c.name)
    return rows_of(connection, RoleVersionRow, query)


def versions_between(connection: Connection, role: str, first: int, end: int, limit: int) -> list[int]:
    """The first versions of a role from one number to below another, at most so many."""
    query = _numbers_of(role, first, end).order_by(role_versions.c.number).limit(limit)
    return list(connection.execute(query).scalars())


def count_versions(connection: Connection, role: str, first: int, end: int) -> tuple[int, int]:
    """How many versions of a role there are from one number to below another, and the last one; 0: there is none."""
    table = role_versions
    query = _numbers_of(role, first, end).with_only_columns(func.count(), func.coalesce(func.max(table.c.number), 0))
    count, last = connection.execute(query).one()
    return count, last


def signatures_between(connection: Connection, role: str, first: int, end: int) -> list[tuple[int, bytes]]:
    """The versions of a role from one number to below another, each with its packed signatures, in order."""
    query = _numbers_of(role, first, end).add_columns(role_versions.c.signatures)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(role_versions.c.number))]


def _numbers_of(role: str, first: int, end: int) -> Select[Any]:
    table = role_versions
    query = select(table.c.number).join(roles, roles.c.id == table.c.role)
    return query.where(roles.c.name == role, table.c.number >= first, table.c.number < end)


def version_after(connection: Connection, role: str, number: int) -> int | None:
    """The version of a role that follows one."""
    query = select(func.min(role_versions.c.number)).join(roles, roles.c.id == role_versions.c.role)
    return connection.execute(query.where(roles.c.name == role, role_versions.c.number > number)).scalar()


def count_from(connection: Connection, number: int) -> int:
    """How many publications there are from a number on."""
    table = publications
    query = select(func.count()).select_from(table).where(table.c.number >= number)
    return int(connection.execute(query).scalar_one())


def version_before(connection: Connection, role: str, number: int) -> int | None:
    """The last version of a role below a number."""
    query = select(func.max(role_versions.c.number)).join(roles, roles.c.id == role_versions.c.role)
    return connection.execute(query.where(roles.c.name == role, role_versions.c.number < number)).scalar()


def new_times(connection: Connection, number: int) -> list[tuple[int, str]]:
    """The publications up to one that started a new time: number and time, in order."""
    table = publications
    firsts = select(func.min(table.c.number)).where(table.c.number <= number).group_by(table.c.roles_idx)
    query = select(table.c.number, table.c.time, table.c.time_from).where(table.c.number.in_(firsts))
    found: list[tuple[int, str]] = []
    before: str | None = None
    for each, time, time_from in connection.execute(query.order_by(table.c.number)):
        if before is not None and time_from != before:
            found.append((each, time))
        before = time_from
    return found
