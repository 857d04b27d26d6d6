"""Reading events: who did what, when, and what became of it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, func, literal_column, not_, or_, select

from ledger.catalog.selecting import AT_ONCE, first_of, in_parts, rows_among, rows_of
from ledger.catalog.tables import (
    OUTCOMES,
    access,
    actors,
    artifact_states,
    credentials,
    event_bodies,
    events,
    files,
    log_positions,
    projects,
    subjects,
    tree_nodes,
    types,
    unknown_files,
)

T = TypeVar("T")

_IS_ODD = events.c.outcome > literal_column("0")
"""As the index of such events says it: with a parameter instead of the number, SQLite would not use it."""


class EventRow(NamedTuple):
    """A record of the events log. `type` and what follows are None where it is no event; `outcome` is an index of
    `ledger.catalog.tables.OUTCOMES`. `filename` and `version` are those of the file that it is about.
    """

    idx: int
    digest: bytes
    type: str | None
    project: str | None
    subject: str | None
    time: str | None
    actor_kind: str | None
    actor: str | None
    credential: str | None
    event_id: str | None
    incident: str | None
    outcome: int
    code: str | None
    detail: str | None
    file: int | None
    filename: str | None
    version: str | None


class Between(NamedTuple):
    """The events that some publications were the first to show: those of `covered_types`, and records that are no
    events, between two sizes, and all others between two content sizes.
    """

    covered_types: Sequence[str]
    covered: tuple[int, int]
    shown: tuple[int, int]


class Wanted(NamedTuple):
    """Which events: those that fit everything that is given. `first` (inclusive) and `end` (exclusive) are indices.

    `types` are whole types, or their beginnings (`file`, `access`). An actor is `NAME` or `KIND:NAME`.

    Attributes:
        subject: events about this subject, which is no project.
        release: events about files of this release (its key) of the project. Also those about no file, and those about
            releases of the project: whoever asks looks which of them name it.
        between: what some publications were the first to show.
        bytes_of_file: events about files with this SHA-256.
        named: events about access that name this account or credential.
        access_to: events about access to this project.
        event_id: the events with this id.
        digest: the record with this SHA-256.
        added: uploads to a release that had a file before this index.
        unattested: uploads without the digest of a provenance, where an earlier release of the project had one.
        first_use: the first events of credentials, where no grant of the credential is before.
    """

    first: int = 0
    end: int | None = None
    between: Between | None = None
    project: str | None = None
    subject: str | None = None
    release: str | None = None
    filename: str | None = None
    types: Sequence[str] = ()
    actors: Sequence[str] = ()
    credentials: Sequence[str] = ()
    incident: str | None = None
    rejected: bool = False
    bytes_of_file: bytes | None = None
    named: str | None = None
    access_to: str | None = None
    event_id: str | None = None
    digest: bytes | None = None
    added: int | None = None
    unattested: bool = False
    first_use: bool = False


def events_before(connection: Connection, wanted: Wanted, end: int, limit: int) -> list[EventRow]:
    """The last events below an index that are wanted, the newest first."""
    return _ordered(connection, wanted, events.c.idx < end, limit, newest_first=True)


def events_from(connection: Connection, wanted: Wanted, first: int, limit: int) -> list[EventRow]:
    """The first events from an index on that are wanted, the oldest first."""
    return _ordered(connection, wanted, events.c.idx >= first, limit, newest_first=False)


def _ordered(
    connection: Connection, wanted: Wanted, where: ColumnElement[bool], limit: int, *, newest_first: bool
) -> list[EventRow]:
    """Wanted events in their order."""
    if _ways(connection, wanted):
        rows = load_events(connection, _indices(connection, wanted, where, limit, newest_first=newest_first))
        return rows[::-1] if newest_first else rows
    order = events.c.idx.desc() if newest_first else events.c.idx
    return rows_of(connection, EventRow, _narrowed(connection, wanted).where(where).order_by(order).limit(limit))


def _indices(
    connection: Connection, wanted: Wanted, where: ColumnElement[bool], limit: int, *, newest_first: bool
) -> list[int]:
    """The indices of wanted events in their order. Where several numbers of one column are wanted, those of each number
    are found first: an index has these in order, and to sort all that have any of the numbers would take long.
    """
    order = events.c.idx.desc() if newest_first else events.c.idx
    query = _narrowed(connection, wanted).with_only_columns(events.c.idx).where(where).order_by(order).limit(limit)
    queries = [query.where(way) for way in _ways(connection, wanted)] or [query]
    found = [index for each in queries for index in connection.execute(each).scalars()]
    return sorted(found, reverse=newest_first)[:limit]


def _ways(connection: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    """The numbers that a column may have, if there are several and an index of that column is the one to use."""
    others = wanted._replace(first=0, end=None, between=None, types=(), actors=(), credentials=(), unattested=False)
    if others._replace(added=None) != Wanted():
        return []
    column, numbers = next(_numbered(connection, wanted), (events.c.type, ()))
    return [column == number for number in dict.fromkeys(numbers)] if len(numbers) > 1 else []


def _numbered(connection: Connection, wanted: Wanted) -> Iterator[tuple[ColumnElement[int | None], Sequence[int]]]:
    """The columns of which some numbers are wanted, first those that select fewest events."""
    if wanted.credentials:
        yield (
            events.c.credential,
            [each for name in wanted.credentials for each in _ids(connection, credentials, name)],
        )
    if wanted.actors:
        yield events.c.actor, [each for name in wanted.actors for each in actor_ids(connection, name)]
    if wanted.types:
        fitting = [name for name in event_types(connection) if any(is_of_type(name, each) for each in wanted.types)]
        yield events.c.type, [each for name in fitting for each in _ids(connection, types, name)]


def indices_from(connection: Connection, wanted: Wanted, first: int, limit: int) -> list[int]:
    """The indices of the first events from an index on that are wanted, in order."""
    return _indices(connection, wanted, events.c.idx >= first, limit, newest_first=False)


def unreadable_between(connection: Connection, first: int, end: int, limit: int) -> list[int]:
    """The indices of the first records from one index to below another that are no events, in order."""
    query = select(events.c.idx).where(events.c.type.is_(None), events.c.idx >= first, events.c.idx < end)
    return list(connection.execute(query.order_by(events.c.idx).limit(limit)).scalars())


def digests_between(connection: Connection, first: int, end: int) -> list[tuple[int, bytes]]:
    """The records from one index to below another, each with its digest, in order."""
    query = select(events.c.idx, events.c.digest).where(events.c.idx >= first, events.c.idx < end)
    return rows_of(connection, _pair, query.order_by(events.c.idx))


def digests_at(connection: Connection, indices: Iterable[int]) -> list[tuple[int, bytes]]:
    """The records at some ascending indices, each with its digest, in order."""
    query = select(events.c.idx, events.c.digest).order_by(events.c.idx)
    return rows_among(connection, _pair, lambda some: query.where(events.c.idx.in_(some)), indices)


def tree_nodes_from(connection: Connection, level: int, first: int, count: int) -> list[bytes]:
    """Consecutive nodes of the Merkle tree of the events."""
    table = tree_nodes
    query = select(table.c.hash).where(table.c.level == level, table.c.n >= first, table.c.n < first + count)
    return list(connection.execute(query.order_by(table.c.n)).scalars())


def position_before(connection: Connection, index: int) -> tuple[int, int] | None:
    """The nearest record before an index of which a token of the log is known: its index, and the token."""
    table = log_positions
    query = select(table.c.idx, table.c.token).where(table.c.idx < index).order_by(table.c.idx.desc())
    return first_of(connection, _pair, query)


def load_event(connection: Connection, index: int) -> EventRow | None:
    """One event by its index."""
    return first_of(connection, EventRow, _all().where(events.c.idx == index))


def load_events(connection: Connection, indices: Iterable[int]) -> list[EventRow]:
    """Events by their indices, in order."""
    query = _all().order_by(events.c.idx)
    return rows_among(connection, EventRow, lambda some: query.where(events.c.idx.in_(some)), sorted(indices))


def load_bodies(connection: Connection, indices: Iterable[int]) -> dict[int, bytes]:
    """The records at some indices, where the catalog keeps them."""
    query = select(event_bodies.c.idx, event_bodies.c.value)
    return dict(rows_among(connection, _pair, lambda some: query.where(event_bodies.c.idx.in_(some)), indices))


def events_with_digests(connection: Connection, digests: Iterable[bytes]) -> list[EventRow]:
    """All records with one of these SHA-256, in order."""
    rows = rows_among(connection, EventRow, lambda some: _all().where(events.c.digest.in_(some)), digests)
    return sorted(rows, key=lambda row: row.idx)


def count_events(connection: Connection) -> int:
    """How many events a catalog has read."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.idx) + 1, 0))).scalar_one())


def events_with_id(connection: Connection, event_id: str) -> list[EventRow]:
    """All events with an id, in order."""
    return rows_of(connection, EventRow, _all().where(events.c.event_id == event_id).order_by(events.c.idx))


def next_accepted(connection: Connection, project: int, index: int) -> int | None:
    """The next accepted event about a project behind an index."""
    query = select(func.min(events.c.idx)).where(events.c.project == project, events.c.outcome == 0)
    return connection.execute(query.where(events.c.idx > index)).scalar()


def odd_outcomes(connection: Connection, first: int, end: int) -> list[tuple[int, int]]:
    """How many records from one index to another had each outcome but the first."""
    query = select(events.c.outcome, func.count()).where(_IS_ODD)
    query = query.where(events.c.idx >= first, events.c.idx < end).group_by(events.c.outcome)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(events.c.outcome))]


class Tally(NamedTuple):
    """How many events have a value in a column of events: the kind and the name of an actor, a name, an outcome."""

    column: str
    value: Sequence[Any]
    events: int


_TALLIED: dict[str, tuple[Table | None, Sequence[str]]] = {
    "type": (types, ["name"]),
    "actor": (actors, ["kind", "name"]),
    "credential": (credentials, ["name"]),
    "project": (projects, ["name"]),
    "outcome": (None, []),
}


def tally_between(connection: Connection, first: int, end: int) -> list[Tally]:
    """Count the events from one index to below another, by each of five columns. What has no value is not counted."""
    return _tally(connection, (events.c.idx >= first) & (events.c.idx < end))


def tally_at(connection: Connection, indices: Iterable[int]) -> list[Tally]:
    """Count the events at some indices in the same way; a value may come several times."""
    return [each for some in in_parts(indices) for each in _tally(connection, events.c.idx.in_(some))]


def _tally(connection: Connection, condition: ColumnElement[bool]) -> list[Tally]:
    found = []
    for name, (names, columns) in _TALLIED.items():
        column = events.c[name] + literal_column("0")  # not the column itself, or an index is read from end to end
        query = select(column.label("value"), func.count().label("events")).where(condition, column.is_not(None))
        counted = query.group_by(column).subquery()
        if names is None:
            rows = connection.execute(select(counted))
        else:
            values = [names.c[each] for each in columns]
            rows = connection.execute(select(*values, counted.c.events).join(counted, names.c.id == counted.c.value))
        found += [Tally(name, values, count) for *values, count in rows]
    return found


def measures_of(connection: Connection, incident: str, first: int, end: int) -> list[int]:
    """The accepted events from one index to below another that belong to an incident, in order."""
    query = select(events.c.idx).where(events.c.incident == incident, events.c.outcome == 0)
    query = query.where(events.c.idx >= first, events.c.idx < end)
    return list(connection.execute(query.order_by(events.c.idx)).scalars())


def event_types(connection: Connection) -> list[str]:
    """The types of all events, and of rejected records that say one."""
    return list(connection.execute(select(types.c.name)).scalars())


def is_project(connection: Connection, name: str) -> bool:
    """Whether any event is about a project, given by its normalised name."""
    return connection.execute(select(projects.c.id).where(projects.c.name == name).limit(1)).first() is not None


def is_credential(connection: Connection, name: str) -> bool:
    """Whether any event was made with a credential."""
    return bool(_ids(connection, credentials, name))


def is_of_file(connection: Connection, sha256: bytes) -> bool:
    """Whether an accepted upload, or another target, has these bytes."""
    queries = (
        select(files.c.id).where(files.c.sha256 == sha256),
        select(artifact_states.c.from_idx).where(artifact_states.c.sha256 == sha256),
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def is_filename(connection: Connection, name: str) -> bool:
    """Whether any event is about a file of this name."""
    queries = (
        select(files.c.id).where(files.c.filename == name),
        select(unknown_files.c.idx).where(unknown_files.c.filename == name),
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def _pair(index: int, value: T) -> tuple[int, T]:
    return index, value


def _all() -> Select[Any]:
    columns = [events.c[name] for name in ("time", "event_id", "incident", "outcome", "code", "detail", "file")]
    time, event_id, incident, *rest = columns
    return (
        select(
            events.c.idx,
            events.c.digest,
            types.c.name.label("type_name"),
            projects.c.name.label("project_name"),
            subjects.c.name.label("subject_name"),
            time,
            actors.c.kind,
            actors.c.name.label("actor_name"),
            credentials.c.name.label("credential_name"),
            event_id,
            incident,
            *rest,
            files.c.filename,
            files.c.version,
        )
        .select_from(events)
        .outerjoin(types, types.c.id == events.c.type)
        .outerjoin(projects, projects.c.id == events.c.project)
        .outerjoin(subjects, subjects.c.id == events.c.subject)
        .outerjoin(actors, actors.c.id == events.c.actor)
        .outerjoin(credentials, credentials.c.id == events.c.credential)
        .outerjoin(files, files.c.id == events.c.file)
    )


def _narrowed(connection: Connection, wanted: Wanted) -> Select[Any]:
    """The query for wanted events. Names become numbers first: then one index of the events serves the order, too."""
    query = _all().where(events.c.idx >= wanted.first)
    if wanted.end is not None:
        query = query.where(events.c.idx < wanted.end)
    if wanted.project is not None:
        query = query.where(events.c.project.in_(_ids(connection, projects, wanted.project)))
    if wanted.release is not None:
        query = query.where(_of_release(connection, wanted.project or "", wanted.release))
    if wanted.filename is not None:
        known = select(files.c.id).where(files.c.filename == wanted.filename)
        other = select(unknown_files.c.idx).where(unknown_files.c.filename == wanted.filename)
        query = query.where(or_(_among(connection, events.c.file, known), _among(connection, events.c.idx, other)))
    for column, numbers in _numbered(connection, wanted):
        query = query.where(column.in_(numbers))
    if wanted.bytes_of_file is not None:
        same = select(files.c.id).where(files.c.sha256 == wanted.bytes_of_file)
        query = query.where(_among(connection, events.c.file, same))
    for condition in (*_stated(connection, wanted), *_selected(connection, wanted)):
        query = query.where(condition)
    return query


def _of_release(connection: Connection, project: str, key: str) -> ColumnElement[bool]:
    of_releases = [name for name in event_types(connection) if is_of_type(name, "release")]
    numbers = [each for name in of_releases for each in _ids(connection, types, name)]
    of_it = select(files.c.id).where(files.c.project.in_(_ids(connection, projects, project)), files.c.release == key)
    return or_(events.c.file.is_(None), events.c.type.in_(numbers), _among(connection, events.c.file, of_it))


def _among(connection: Connection, column: ColumnElement[int], query: Select[Any]) -> ColumnElement[bool]:
    """That a column has one of the numbers that a query finds. Few are found first: then one index of the events serves
    the order, too. Anybody may append so many that no query takes them all.
    """
    found = connection.execute(query.limit(AT_ONCE + 1)).scalars().all()
    return column.in_(found if len(found) <= AT_ONCE else query)


def _stated(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """The conditions about what events say of themselves."""
    if wanted.subject is not None:
        yield events.c.subject.in_(_ids(connection, subjects, wanted.subject))
    if wanted.incident is not None:
        yield events.c.incident == wanted.incident
    if wanted.event_id is not None:
        yield events.c.event_id == wanted.event_id
    if wanted.digest is not None:
        yield events.c.digest == wanted.digest
    if wanted.named is not None:
        is_named = or_(access.c.account == wanted.named, access.c.credential == wanted.named)
        yield events.c.idx.in_(select(access.c.idx).where(is_named))
    if wanted.access_to is not None:
        yield events.c.idx.in_(select(access.c.idx).where(access.c.project == wanted.access_to))
    if wanted.rejected:
        yield _IS_ODD
        yield events.c.outcome == OUTCOMES.index("rejected")


def _selected(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """The conditions of selectors, each of which an index answers for one event."""
    before = files.alias("before")
    if wanted.between is not None:
        names, (covered, covered_end), (shown, shown_end) = wanted.between
        is_covered = or_(events.c.type.is_(None), types.c.name.in_(names))
        yield or_(
            and_(is_covered, events.c.idx >= covered, events.c.idx < covered_end),
            and_(not_(is_covered), events.c.idx >= shown, events.c.idx < shown_end),
        )
    if wanted.added is not None or wanted.unattested:
        yield files.c.upload_idx == events.c.idx
    if wanted.added is not None:
        yield exists().where(
            before.c.project == files.c.project,
            before.c.release == files.c.release,
            before.c.upload_idx < wanted.added,
            before.c.upload_idx < files.c.upload_idx,
        )
    if wanted.unattested:
        attested = select(files.c.project).where(files.c.provenance_sha256.is_not(None)).distinct().limit(AT_ONCE + 1)
        found = connection.execute(attested).scalars().all()
        if len(found) <= AT_ONCE:  # where there are more, some of the newest uploads are of one of them
            yield events.c.project.in_(found)
        yield files.c.provenance_sha256.is_(None)
        yield exists().where(
            before.c.project == files.c.project,
            before.c.provenance_sha256.is_not(None),
            before.c.upload_idx < files.c.upload_idx,
            before.c.release != files.c.release,
        )
    if wanted.first_use:
        of_credential = events.alias("of_credential")
        first = select(func.min(of_credential.c.idx)).where(of_credential.c.credential == credentials.c.id)
        yield events.c.idx.in_(select(first.scalar_subquery()).select_from(credentials))
        yield not_(
            exists().where(
                access.c.credential == credentials.c.name, access.c.act == "granted", access.c.idx < events.c.idx
            )
        )


def first_uploads(connection: Connection, indices: Iterable[int]) -> dict[int, int]:
    """The first upload to the release of each of some uploads, by index."""
    before = files.alias("before")
    first = (
        select(func.min(before.c.upload_idx))
        .where(before.c.project == files.c.project, before.c.release == files.c.release)
        .scalar_subquery()
    )
    query = select(files.c.upload_idx, first)
    return dict(rows_among(connection, _pair, lambda some: query.where(files.c.upload_idx.in_(some)), indices))


def is_of_type(name: str, wanted: str) -> bool:
    """Whether a type is the wanted one, or begins with it."""
    return name == wanted or name.startswith(f"{wanted.rstrip('.')}.")


def _ids(connection: Connection, table: Any, name: str) -> Sequence[int]:
    return connection.execute(select(table.c.id).where(table.c.name == name)).scalars().all()


def actor_ids(connection: Connection, text: str) -> Sequence[int]:
    """The numbers of the actors with a name, given as `NAME` or `KIND:NAME`."""
    kind, colon, name = text.partition(":")
    query = select(actors.c.id).where(or_(actors.c.name == text, (actors.c.kind == kind) & (actors.c.name == name)))
    return connection.execute(query if colon else select(actors.c.id).where(actors.c.name == text)).scalars().all()
