"""Reading what changed between two sizes: rows whose intervals begin or end between them, and nothing else.

`a` and `b` are sizes, `a` not above `b`: the events at the indices from `a` (inclusive) to `b` (exclusive) lie between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from ledger.catalog.content import FILE_COLUMNS, FileRow
from ledger.catalog.selecting import in_parts, rows_of
from ledger.catalog.tables import (
    artifact_states,
    events,
    file_states,
    files,
    project_states,
    projects,
    release_states,
)

FEW_EVENTS = 100_000
"""Up to so many events `changed_projects` finds their projects at once; beyond, `next_projects` begins at once."""


class Sizes(NamedTuple):
    """Two sizes; the first is not above the second."""

    a: int
    b: int


class StateRow(NamedTuple):
    """The state of a project in an interval."""

    project: int
    from_idx: int
    to_idx: int
    status: str
    reason: str
    removed: int


class FlagsRow(NamedTuple):
    """The flags of a release in an interval."""

    project: int
    key: str
    from_idx: int
    to_idx: int
    yanked: str | None
    quarantined: str | None


class FileStateRow(NamedTuple):
    """The state of a file in an interval. `file.since` is where the interval begins."""

    file: FileRow
    to_idx: int


class TargetRow(NamedTuple):
    """Another target in an interval."""

    path: str
    from_idx: int
    to_idx: int
    sha256: bytes
    length: int
    state: int


def changed_projects(connection: Connection, between: Sizes) -> list[int]:
    """The numbers of all projects that events between two sizes are about, in the order of their names."""
    some = select(events.c.project).where(_within(events.c.idx, between), events.c.project.is_not(None)).distinct()
    query = select(projects.c.id).where(projects.c.id.in_(some)).order_by(projects.c.name)
    return list(connection.execute(query).scalars())


def next_projects(connection: Connection, between: Sizes, after: str, limit: int) -> list[tuple[int, str]]:
    """The first projects behind a name that events between two sizes are about: number and name, in that order."""
    about = select(events.c.idx).where(events.c.project == projects.c.id, _within(events.c.idx, between))
    query = select(projects.c.id, projects.c.name).where(projects.c.name > after, about.exists())
    return [(row.id, row.name) for row in connection.execute(query.order_by(projects.c.name).limit(limit))]


def last_events(connection: Connection, numbers: Iterable[int], between: Sizes) -> dict[int, int]:
    """The last accepted event between two sizes about each of some projects."""
    query = select(events.c.project, func.max(events.c.idx)).where(events.c.outcome == 0)
    query = query.where(_within(events.c.idx, between)).group_by(events.c.project)
    return {
        project: index
        for some in in_parts(numbers)
        for project, index in connection.execute(query.where(events.c.project.in_(some)))
    }


def project_intervals(connection: Connection, numbers: Iterable[int], between: Sizes) -> dict[int, list[StateRow]]:
    """The states of some projects from the first size on to the second, in order."""
    table = project_states

    def query(some: list[int]) -> Select[Any]:
        wanted = select(table).where(table.c.project.in_(some), *_overlapping(table, between))
        return wanted.order_by(table.c.project, table.c.from_idx)

    return _grouped(connection, StateRow, query, numbers)


def release_intervals(connection: Connection, numbers: Iterable[int], between: Sizes) -> dict[int, list[FlagsRow]]:
    """The flags of the releases of some projects from the first size on to the second, in order."""
    table = release_states

    def query(some: list[int]) -> Select[Any]:
        wanted = select(table).where(table.c.project.in_(some), *_overlapping(table, between))
        return wanted.order_by(table.c.project, table.c.key, table.c.from_idx)

    return _grouped(connection, FlagsRow, query, numbers)


def file_intervals(
    connection: Connection, numbers: Iterable[int], between: Sizes
) -> dict[int, list[list[FileStateRow]]]:
    """The states from the first size on to the second, in order, of those files of some projects that changed there."""
    changed: dict[int, None] = {}
    for some in in_parts(numbers):
        query = select(file_states.c.file).join(events, events.c.idx == file_states.c.from_idx)
        query = query.where(events.c.project.in_(some), _within(events.c.idx, between))
        changed.update(dict.fromkeys(connection.execute(query).scalars()))
    found: dict[int, list[list[FileStateRow]]] = {}
    for some in in_parts(sorted(changed)):
        for rows in _file_rows(connection, some, between):
            found.setdefault(rows[0].file.project, []).append(rows)
    for each in found.values():
        each.sort(key=lambda rows: (rows[0].file.filename, rows[0].file.id))
    return found


def _file_rows(connection: Connection, numbers: Sequence[int], between: Sizes) -> Iterator[list[FileStateRow]]:
    columns = [files.c[name] for name in FILE_COLUMNS]
    states = file_states
    query = (
        select(*columns, states.c.state, states.c.yanked, states.c.from_idx, states.c.to_idx)
        .join(states, states.c.file == files.c.id)
        .where(files.c.id.in_(numbers), *_overlapping(states, between))
        .order_by(files.c.id, states.c.from_idx)
    )
    rows = (FileStateRow(FileRow(*row[:-1]), row[-1]) for row in connection.execute(query))
    for _, group in groupby(rows, key=lambda row: row.file.id):
        yield list(group)


def changed_targets(connection: Connection, between: Sizes, after: str, limit: int) -> list[str]:
    """The first paths behind another of targets, neither pages nor distribution files, that changed between sizes."""
    table = artifact_states
    query = select(table.c.path).where(_within(table.c.from_idx, between), table.c.path > after).distinct()
    return list(connection.execute(query.order_by(table.c.path).limit(limit)).scalars())


def target_intervals(connection: Connection, paths: Iterable[str], between: Sizes) -> list[list[TargetRow]]:
    """The states from the first size on to the second of some targets, in order."""
    table = artifact_states
    columns = [table.c[name] for name in TargetRow._fields]
    found: list[list[TargetRow]] = []
    for some in in_parts(paths):
        query = select(*columns).where(table.c.path.in_(some), *_overlapping(table, between))
        rows = rows_of(connection, TargetRow, query.order_by(table.c.path, table.c.from_idx))
        found.extend(list(group) for _, group in groupby(rows, key=lambda row: row.path))
    return found


def last_project_change(connection: Connection, between: Sizes) -> int | None:
    """The last event between two sizes that created or removed a project, or changed its status."""
    query = select(func.max(project_states.c.from_idx)).where(_within(project_states.c.from_idx, between))
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def _within(column: Any, between: Sizes) -> Any:
    return column.between(between.a, between.b - 1)


def _overlapping(table: Any, between: Sizes) -> tuple[Any, Any]:
    """The interval holds at the first size, or begins between them."""
    return table.c.to_idx >= between.a, table.c.from_idx < between.b


def _grouped(
    connection: Connection,
    kind: Callable[..., Any],
    query: Callable[[list[int]], Select[Any]],
    numbers: Iterable[int],
) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for some in in_parts(numbers):
        for row in rows_of(connection, kind, query(some)):
            found.setdefault(row.project, []).append(row)
    return found
