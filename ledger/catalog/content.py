"""Reading what holds at a size: the projects, releases, files and other targets as of the events below it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, select

from ledger.catalog.selecting import first_of, rows_among, rows_of
from ledger.catalog.tables import (
    THERE,
    artifact_states,
    events,
    file_states,
    files,
    project_states,
    projects,
    release_states,
)


class ProjectRow(NamedTuple):
    """A project and its state."""

    id: int
    name: str
    status: str
    reason: str
    removed: int


class FileRow(NamedTuple):
    """A file and its state."""

    id: int
    project: int
    filename: str
    version: str
    release: str
    length: int
    sha256: bytes
    blake2b_256: bytes
    time: str
    requires_python: str | None
    core_metadata_sha256: bytes | None
    provenance_sha256: bytes | None
    legacy: int
    rank: int
    upload_idx: int
    state: int
    yanked: str | None
    since: int


FILE_COLUMNS = FileRow._fields[:15]
"""The columns of `files` that a row has, before the state."""


class UploadedFile(NamedTuple):
    """What an upload says of a file."""

    filename: str
    sha256: bytes
    length: int


class UploadPath(NamedTuple):
    """An accepted upload."""

    upload_idx: int
    blake2b_256: bytes


class ReleaseFlags(NamedTuple):
    """The flags of a release that has some."""

    project: int
    key: str
    yanked: str | None
    quarantined: str | None


class ArtifactRow(NamedTuple):
    """A target that is neither a page nor a distribution file, and its state."""

    path: str
    sha256: bytes
    length: int
    state: int


class Range(NamedTuple):
    """Hashes of paths from one (inclusive) to another (exclusive)."""

    first: int
    end: int


def at(table: Table, size: int) -> ColumnElement[bool]:
    """The condition that an interval holds after the first `size` events."""
    return and_(table.c.from_idx < size, table.c.to_idx >= size)


def _projects(size: int) -> Select[Any]:
    states = project_states
    return (
        select(projects.c.id, projects.c.name, states.c.status, states.c.reason, states.c.removed)
        .join(states, states.c.project == projects.c.id)
        .where(at(states, size))
    )


def project_named(connection: Connection, name: str, size: int) -> ProjectRow | None:
    """A project that was ever there."""
    return first_of(connection, ProjectRow, _projects(size).where(projects.c.name == name))


def projects_numbered(connection: Connection, numbers: Iterable[int], size: int) -> dict[int, ProjectRow]:
    """Projects by their numbers."""
    found = rows_among(connection, ProjectRow, lambda some: _projects(size).where(projects.c.id.in_(some)), numbers)
    return {each.id: each for each in found}


def projects_in(connection: Connection, hashes: Range, size: int, *, html: bool) -> list[ProjectRow]:
    """The projects with a page whose path has a hash in a range."""
    column = projects.c.html_hash if html else projects.c.json_hash
    return rows_of(connection, ProjectRow, _projects(size).where(column >= hashes.first, column < hashes.end))


def project_numbers(connection: Connection, names: Iterable[str]) -> list[int]:
    """The numbers of the projects with these names, in the order of the names."""
    query = select(projects.c.name, projects.c.id).where(projects.c.name.in_(sorted(names)))
    return [row.id for row in connection.execute(query.order_by(projects.c.name))]


def project_names(connection: Connection, size: int) -> list[str]:
    """The names of all projects that exist, sorted."""
    query = (
        select(projects.c.name)
        .join(project_states, project_states.c.project == projects.c.id)
        .where(at(project_states, size), project_states.c.removed == 0)
        .order_by(projects.c.name)
    )
    return list(connection.execute(query).scalars())


def _files(size: int) -> Select[Any]:
    columns = [files.c[name] for name in FILE_COLUMNS]
    states = file_states
    return (
        select(*columns, states.c.state, states.c.yanked, states.c.from_idx)
        .join(states, states.c.file == files.c.id)
        .where(at(states, size), files.c.upload_idx < size)
    )


def files_of(connection: Connection, project: int, size: int, *, removed: bool = False) -> list[FileRow]:
    """The files of a project, sorted by name; with `removed`, removed ones too."""
    query = _files(size).where(files.c.project == project)
    if not removed:
        query = query.where(file_states.c.state == THERE)
    return rows_of(connection, FileRow, query.order_by(files.c.filename))


def files_in(connection: Connection, hashes: Range, size: int) -> list[FileRow]:
    """The files that are there and whose path has a hash in a range."""
    query = _files(size).where(
        files.c.path_hash >= hashes.first, files.c.path_hash < hashes.end, file_states.c.state == THERE
    )
    return rows_of(connection, FileRow, query)


def uploads_of(connection: Connection, path_hash: int, offered: UploadedFile, size: int) -> list[UploadPath]:
    """The uploads of the files that are there with this name and these bytes, whose path has this hash, in order."""
    query = (
        select(files.c.upload_idx, files.c.blake2b_256)
        .join(file_states, file_states.c.file == files.c.id)
        .where(at(file_states, size), file_states.c.state == THERE, files.c.path_hash == path_hash)
        .where(files.c.filename == offered.filename, files.c.sha256 == offered.sha256, files.c.length == offered.length)
    )
    return rows_of(connection, UploadPath, query.order_by(files.c.upload_idx))


def files_hashed(connection: Connection, hashes: Iterable[int], size: int) -> list[FileRow]:
    """The files that are there and whose path has one of these hashes."""
    query = _files(size).where(file_states.c.state == THERE)
    return rows_among(connection, FileRow, lambda some: query.where(files.c.path_hash.in_(some)), hashes)


def release_flags(connection: Connection, numbers: Iterable[int], size: int) -> dict[tuple[int, str], ReleaseFlags]:
    """The flags of the releases of some projects, by project and key."""
    table = release_states
    query = select(table.c.project, table.c.key, table.c.yanked, table.c.quarantined).where(at(table, size))
    found = rows_among(connection, ReleaseFlags, lambda some: query.where(table.c.project.in_(some)), numbers)
    return {(each.project, each.key): each for each in found}


def spellings(connection: Connection, releases: Iterable[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """The version of the first file of each of some releases, given by project and key."""
    found: dict[tuple[int, str], str] = {}
    for project, key in sorted(releases):  # by pairs, SQLite would scan the table
        query = select(files.c.version).where(files.c.project == project, files.c.release == key)
        version = connection.execute(query.order_by(files.c.id).limit(1)).scalar()
        if version is not None:
            found[project, key] = version
    return found


def artifacts_in(connection: Connection, hashes: Range, size: int) -> list[ArtifactRow]:
    """The other targets that are there and whose path has a hash in a range."""
    table = artifact_states
    query = select(table.c.path, table.c.sha256, table.c.length, table.c.state).where(
        at(table, size), table.c.state == THERE, table.c.path_hash >= hashes.first, table.c.path_hash < hashes.end
    )
    return rows_of(connection, ArtifactRow, query)


def last_serials(connection: Connection, numbers: Iterable[int], size: int) -> dict[int, int]:
    """The index of the last accepted event of each of some projects."""
    found = {}
    for number in numbers:
        query = select(func.max(events.c.idx)).where(
            events.c.project == number, events.c.outcome == 0, events.c.idx < size
        )
        found[number] = connection.execute(query).scalar_one()
    return found


def offered_since(connection: Connection, project: int, release: str, size: int) -> list[tuple[str, int, int]]:
    """When files of a release were there, up to a size: the spelling of the version, and the interval; in order."""
    query = (
        select(files.c.version, file_states.c.from_idx, file_states.c.to_idx)
        .join(file_states, file_states.c.file == files.c.id)
        .where(
            files.c.project == project,
            files.c.release == release,
            file_states.c.state == THERE,
            file_states.c.from_idx < size,
        )
        .order_by(file_states.c.from_idx)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def artifact_since(connection: Connection, path: str, sha256: bytes, size: int) -> int | None:
    """The event since which a target that is neither a page nor a distribution file is there with this SHA-256."""
    table = artifact_states
    query = select(table.c.from_idx).where(
        at(table, size), table.c.path == path, table.c.sha256 == sha256, table.c.state == THERE
    )
    return connection.execute(query).scalar()


def count_targets(connection: Connection) -> int:
    """An upper bound of the number of targets that any publication shows."""
    tables = (files, projects, projects, artifact_states)
    return sum(connection.execute(select(func.count()).select_from(table)).scalar() or 0 for table in tables) + 2


def crowded(connection: Connection, bits: int, most: int) -> list[int]:
    """The bins, of 2^bits, that may have more than so many targets."""
    counts: dict[int, int] = {}
    divisor = 1 << (32 - bits)
    for column in (files.c.path_hash, projects.c.json_hash, projects.c.html_hash, artifact_states.c.path_hash):
        index = column // divisor
        for found, count in connection.execute(select(index, func.count()).group_by(index)):
            counts[int(found)] = counts.get(int(found), 0) + count
    return sorted(index for index, count in counts.items() if count > most)
