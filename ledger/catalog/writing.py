"""Reading and writing what the consumer that fills a catalog needs: functions over a connection, in a transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Table, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ledger.catalog import FOREVER, FORMAT
from ledger.catalog.database import has_tables
from ledger.catalog.selecting import first_of, in_parts, rows_among, rows_of
from ledger.catalog.tables import (
    FREED,
    access,
    actors,
    chain_records,
    documents,
    events,
    file_states,
    files,
    fold_aggregates,
    fold_chunks,
    holds,
    position,
    project_states,
    projects,
    publications,
    role_versions,
    subjects,
    types,
)

R = TypeVar("R")
T = TypeVar("T")


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows, given by column: those with the same primary key are replaced."""
    if not rows:
        return
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


# --- where the catalog stands ----------------------------------------------------------------------------------------


def load_position(connection: Connection) -> dict[str, bytes]:
    """The named values that say where the catalog stands."""
    return dict(rows_of(connection, _pair, select(position.c.name, position.c.value)))


def is_of_other_format(connection: Connection) -> bool:
    """Whether another version of this program made a catalog."""
    return has_tables(connection) and load_position(connection).get("format") != f"{FORMAT}".encode()


def can_be_asked(connection: Connection) -> bool:
    """Whether a catalog was made, and by this version of the program."""
    return has_tables(connection) and not is_of_other_format(connection)


def _pair(one: T, other: R) -> tuple[T, R]:
    return one, other


def save_position(connection: Connection, values: Mapping[str, bytes]) -> None:
    """Put named values."""
    upsert(connection, position, [{"name": name, "value": value} for name, value in values.items()])


# --- what folding needs ----------------------------------------------------------------------------------------------


class StoredAggregate(NamedTuple):
    """A header, and chunks: lower bounds with facts, in order."""

    header: bytes
    chunks: list[tuple[str, bytes]]


def load_aggregates(connection: Connection, keys: Iterable[str]) -> dict[str, StoredAggregate]:
    """The stored aggregates with these keys."""
    found: dict[str, StoredAggregate] = {}
    for some in in_parts(keys):
        table = fold_aggregates
        for key, header in connection.execute(select(table.c.key, table.c.header).where(table.c.key.in_(some))):
            found[key] = StoredAggregate(header, [])
        query = select(fold_chunks.c.key, fold_chunks.c.lower, fold_chunks.c.facts)
        for key, lower, facts in connection.execute(
            query.where(fold_chunks.c.key.in_(some)).order_by(fold_chunks.c.key, fold_chunks.c.lower)
        ):
            found[key].chunks.append((lower, facts))
    return found


def drop_chunks(connection: Connection, dropped: Sequence[tuple[str, str]]) -> None:
    """Drop chunks, given by key and lower bound."""
    table = fold_chunks
    statement = delete(table).where(table.c.key == bindparam("k"), table.c.lower == bindparam("l"))
    if dropped:
        connection.execute(statement, [{"k": key, "l": lower} for key, lower in dropped])


class Remembered(NamedTuple):
    """An event whose id counts: its id, digest, type, and the name of its project or else its subject."""

    event_id: str
    digest: bytes
    type: str
    about: str


def remembered(connection: Connection, ids: Iterable[str]) -> list[Remembered]:
    """The events that are remembered with these ids."""
    query = (
        select(events.c.event_id, events.c.digest, types.c.name, func.coalesce(projects.c.name, subjects.c.name))
        .join(types, types.c.id == events.c.type)
        .outerjoin(projects, projects.c.id == events.c.project)
        .outerjoin(subjects, subjects.c.id == events.c.subject)
        .where(events.c.remembered == 1)
    )
    return rows_among(connection, Remembered, lambda some: query.where(events.c.event_id.in_(some)), ids)


# --- dictionaries ----------------------------------------------------------------------------------------------------


def next_ids(connection: Connection, tables: Iterable[Table]) -> dict[str, int]:
    """The lowest free id of each table, by its name."""
    return {table.name: (connection.execute(select(func.max(table.c.id))).scalar() or 0) + 1 for table in tables}


def find_names(connection: Connection, table: Table, names: Iterable[str]) -> dict[str, int]:
    """The ids of known names in a dictionary."""
    query = select(table.c.name, table.c.id)
    return dict(rows_among(connection, _pair, lambda some: query.where(table.c.name.in_(some)), names))


def find_actors(connection: Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The ids of known actors, by kind and name."""
    wanted = set(names)
    found = {}
    for some in in_parts(sorted({name for _, name in wanted})):
        query = select(actors.c.kind, actors.c.name, actors.c.id).where(actors.c.name.in_(some))
        for kind, name, number in connection.execute(query):
            if (kind, name) in wanted:
                found[kind, name] = number
    return found


# --- intervals -------------------------------------------------------------------------------------------------------


class OpenFile(NamedTuple):
    """The row of a file's state that has not ended, with its file."""

    file: int
    project: int
    filename: str
    release: str
    from_idx: int
    state: int
    yanked: str | None


_OPEN_FILES = (
    select(
        files.c.id,
        files.c.project,
        files.c.filename,
        files.c.release,
        file_states.c.from_idx,
        file_states.c.state,
        file_states.c.yanked,
    )
    .join(file_states, file_states.c.file == files.c.id)
    .where(file_states.c.to_idx == FOREVER)
)


def open_files_named(connection: Connection, filenames: Iterable[str]) -> list[OpenFile]:
    """The files of these names, in any project."""
    return rows_among(connection, OpenFile, lambda some: _OPEN_FILES.where(files.c.filename.in_(some)), filenames)


def open_files_of(connection: Connection, numbers: Iterable[int]) -> list[OpenFile]:
    """All files of these projects."""
    return rows_among(connection, OpenFile, lambda some: _OPEN_FILES.where(files.c.project.in_(some)), numbers)


def has_freed(connection: Connection) -> bool:
    """Whether any file was freed."""
    query = select(file_states.c.file).where(file_states.c.state == FREED).limit(1)
    return connection.execute(query).first() is not None


OpenRow = Sequence[Any]
"""The key of an interval that has not ended, its first index, and its values."""


def open_rows(connection: Connection, table: Table, column: str, values: Iterable[Any]) -> list[OpenRow]:
    """The rows of a table of intervals that have not ended and have one of these values in a column."""
    query = select(table).where(table.c.to_idx == FOREVER)
    return rows_among(connection, _tuple, lambda some: query.where(table.c[column].in_(some)), values)


def _tuple(*values: Any) -> OpenRow:
    return values


def end_rows(connection: Connection, table: Table, ended: Sequence[tuple[tuple[Any, ...], int]]) -> None:
    """End intervals, given by their primary keys."""
    if not ended:
        return
    keys = list(table.primary_key)
    statement = update(table).values(to_idx=bindparam("end"))
    for place, column in enumerate(keys):
        statement = statement.where(column == bindparam(f"key_{place}"))
    connection.execute(
        statement,
        [{"end": end, **{f"key_{place}": value for place, value in enumerate(key)}} for key, end in ended],
    )


def end_grants(connection: Connection, ends: Sequence[tuple[Sequence[str | None], int]]) -> None:
    """End the grants of the same kind, account, role, credential and project that were made before an index."""
    for values, index in ends:
        statement = update(access).values(ended_idx=index)
        statement = statement.where(access.c.act == "granted", access.c.idx < index, access.c.ended_idx.is_(None))
        for name, value in zip(("kind", "account", "role", "credential", "project"), values, strict=True):
            column = access.c[name]
            statement = statement.where(column.is_(None) if value is None else column == value)
        connection.execute(statement)


# --- holds and roles -------------------------------------------------------------------------------------------------


class HoldRow(NamedTuple):
    """A remembered event about signing."""

    event_id: str
    digest: bytes
    idx: int
    size: int | None
    lock: str
    released_idx: int | None


def load_holds(connection: Connection) -> list[HoldRow]:
    """All remembered events about signing."""
    return rows_of(connection, HoldRow, select(holds))


def save_holds(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put remembered events about signing."""
    upsert(connection, holds, rows)


class CeremonyDocument(NamedTuple):
    """A version of an offline role, by the index of its ceremony."""

    idx: int
    role: str
    file: bytes


def load_documents(connection: Connection) -> list[CeremonyDocument]:
    """The offline roles of all accepted ceremonies, in order."""
    query = select(documents.c.idx, documents.c.role, documents.c.file).order_by(documents.c.idx, documents.c.role)
    return rows_of(connection, CeremonyDocument, query)


# --- publications ----------------------------------------------------------------------------------------------------


class PublicationRow(NamedTuple):
    """A publication, as in the table."""

    number: int
    record: int
    digest: bytes
    claim_record: int
    time: str
    effective_time: str
    time_from: str
    size: int
    root_hash: str
    content_size: int
    roles_idx: int
    list_size: int
    list_time: str
    signed: int
    signed_sha256: bytes
    snapshot_length: int


def publication_before(connection: Connection, number: int) -> PublicationRow | None:
    """The last publication below a number."""
    table = publications
    query = select(table).where(table.c.number < number).order_by(table.c.number.desc())
    return first_of(connection, PublicationRow, query)


def find_claim(connection: Connection, digest: bytes) -> int:
    """The record of an accepted claim, by its digest.

    Raises:
        LookupError: there is none.
    """
    query = select(chain_records.c.record).where(
        chain_records.c.digest == digest, chain_records.c.kind == "claim", chain_records.c.outcome == 0
    )
    row = connection.execute(query.order_by(chain_records.c.record.desc()).limit(1)).first()
    if row is None:
        raise LookupError("a valid publication names a claim that was judged")
    return int(row[0])


def lower_effective_times(connection: Connection, number: int, time: str) -> None:
    """Lower the effective times of all publications before this one to its time."""
    table = publications
    connection.execute(
        update(table).where(table.c.number < number, table.c.effective_time > time).values(effective_time=time)
    )


def forget_publications(connection: Connection, number: int, record: int) -> None:
    """Forget the publications from a number on, and all verdicts from a record on."""
    connection.execute(delete(publications).where(publications.c.number >= number))
    connection.execute(delete(role_versions).where(role_versions.c.number >= number))
    forget_verdicts(connection, record)


def forget_verdicts(connection: Connection, record: int) -> None:
    """Forget the verdicts on records of `publications` from this one on."""
    connection.execute(delete(chain_records).where(chain_records.c.record >= record))


def projects_differ(connection: Connection, from_size: int, to_size: int) -> bool:
    """Whether the set of projects that exist differs between two content sizes (the second is not lower)."""
    table = project_states
    changed = select(table.c.project).where(table.c.from_idx >= from_size, table.c.from_idx < to_size).distinct()
    for (project,) in connection.execute(changed):
        if _exists(connection, project, from_size) != _exists(connection, project, to_size):
            return True
    return False


def _exists(connection: Connection, project: int, size: int) -> bool:
    table = project_states
    query = select(table.c.removed).where(table.c.project == project, table.c.from_idx < size, table.c.to_idx >= size)
    row = connection.execute(query).first()
    return row is not None and not row[0]
