"""Reading the history of states: of projects, of their releases and files, and of other targets, through all times."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Select, func, or_, select

from ledger.catalog import FOREVER
from ledger.catalog.content import FILE_COLUMNS
from ledger.catalog.selecting import first_of, rows_among, rows_of
from ledger.catalog.tables import (
    artifact_states,
    beginning,
    file_states,
    files,
    holds,
    incidents,
    project_states,
    projects,
    release_states,
)

_FACTS = [files.c[name] for name in FILE_COLUMNS]


class UploadRow(NamedTuple):
    """An accepted upload: the facts of a file."""

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


class ProjectState(NamedTuple):
    """The state of a project from one index to another."""

    from_idx: int
    to_idx: int
    status: str
    reason: str
    removed: int


class ReleaseState(NamedTuple):
    """The flags of a release from one index to another."""

    release: str
    from_idx: int
    to_idx: int
    yanked: str | None
    quarantined: str | None


class FileState(NamedTuple):
    """The state of a file from one index to another."""

    file: int
    from_idx: int
    to_idx: int
    state: int
    yanked: str | None


class ArtifactState(NamedTuple):
    """The state of a target that is neither a page nor a distribution file, from one index to another."""

    path: str
    from_idx: int
    to_idx: int
    sha256: bytes
    length: int
    state: int


def project_number(connection: Connection, name: str) -> int | None:
    """The number of a project that any event is about."""
    return connection.execute(select(projects.c.id).where(projects.c.name == name)).scalar()


def project_names(connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
    """The names of projects."""
    query = select(projects.c.id, projects.c.name)
    return dict(rows_among(connection, _pair, lambda some: query.where(projects.c.id.in_(some)), numbers))


def _pair(number: int, name: str) -> tuple[int, str]:
    return number, name


def uploads_of(
    connection: Connection,
    project: int,
    *,
    release: str | None = None,
    after: tuple[str, int] = ("", -1),
    limit: int = -1,
) -> list[UploadRow]:
    """Uploads to a project, or to one release of it, by filename and then in order: those after a filename and index,
    at most so many.
    """
    name, index = after
    query = select(*_FACTS).where(files.c.project == project, files.c.filename >= name)
    if release is not None:
        query = query.where(files.c.release == release)
    query = query.where(or_(files.c.filename > name, files.c.upload_idx > index))
    query = query.order_by(files.c.filename, files.c.upload_idx)
    return rows_of(connection, UploadRow, query if limit < 0 else query.limit(limit))


def uploads_of_release(connection: Connection, project: int, release: str) -> list[UploadRow]:
    """All uploads to a release, in order."""
    query = select(*_FACTS).where(files.c.project == project, files.c.release == release)
    return rows_of(connection, UploadRow, _in_order(query))


def uploads_numbered(connection: Connection, numbers: Iterable[int]) -> list[UploadRow]:
    """Uploads by the numbers of their files, in order."""
    query = select(*_FACTS)
    found = rows_among(connection, UploadRow, lambda some: query.where(files.c.id.in_(some)), sorted(numbers))
    return sorted(found, key=lambda each: each.upload_idx)


def upload_at(connection: Connection, index: int) -> UploadRow | None:
    """The accepted upload at an index."""
    return first_of(connection, UploadRow, select(*_FACTS).where(files.c.upload_idx == index))


def uploads_at(connection: Connection, indices: Iterable[int]) -> list[UploadRow]:
    """The accepted uploads among the events at some indices."""
    query = select(*_FACTS)
    return rows_among(connection, UploadRow, lambda some: query.where(files.c.upload_idx.in_(some)), indices)


def uploads_named(connection: Connection, filename: str) -> list[UploadRow]:
    """All uploads of files of a name, in any project, in order."""
    return rows_of(connection, UploadRow, _in_order(select(*_FACTS).where(files.c.filename == filename)))


def uploads_hashed(connection: Connection, path_hash: int) -> list[UploadRow]:
    """All uploads of files whose path has a hash, in order."""
    return rows_of(connection, UploadRow, _in_order(select(*_FACTS).where(files.c.path_hash == path_hash)))


def uploads_of_bytes(connection: Connection, sha256: bytes) -> list[UploadRow]:
    """All uploads of files with a SHA-256, in order."""
    return rows_of(connection, UploadRow, _in_order(select(*_FACTS).where(files.c.sha256 == sha256)))


def uploads_beside(connection: Connection, sha256: bytes) -> list[tuple[str, UploadRow]]:
    """The uploads whose core metadata or provenance has a SHA-256, with which of both, in order."""
    found = []
    for what, column in (("metadata", files.c.core_metadata_sha256), ("provenance", files.c.provenance_sha256)):
        query = _in_order(select(*_FACTS).where(beginning(column) == sha256[:8], column == sha256))
        found += [(what, each) for each in rows_of(connection, UploadRow, query)]
    return found


def _in_order(query: Select[tuple[object, ...]]) -> Select[tuple[object, ...]]:
    return query.order_by(files.c.upload_idx)


def states_of_project(connection: Connection, project: int) -> list[ProjectState]:
    """The states of a project, in order."""
    table = project_states
    columns = [table.c[name] for name in ProjectState._fields]
    return rows_of(
        connection, ProjectState, select(*columns).where(table.c.project == project).order_by(table.c.from_idx)
    )


def states_of_releases(connection: Connection, project: int, releases: Iterable[str]) -> list[ReleaseState]:
    """The flags of releases of a project, given by their keys, of each in order."""
    table = release_states
    columns = table.c.key, table.c.from_idx, table.c.to_idx, table.c.yanked, table.c.quarantined
    query = select(*columns).where(table.c.project == project).order_by(table.c.key, table.c.from_idx)
    return rows_among(connection, ReleaseState, lambda some: query.where(table.c.key.in_(some)), releases)


def states_of_files(connection: Connection, numbers: Iterable[int]) -> dict[int, list[FileState]]:
    """The states of files, given by their numbers, in order."""
    table = file_states
    columns = [table.c[name] for name in FileState._fields]
    query = select(*columns).order_by(table.c.file, table.c.from_idx)
    found: dict[int, list[FileState]] = {}
    for each in rows_among(connection, FileState, lambda some: query.where(table.c.file.in_(some)), numbers):
        found.setdefault(each.file, []).append(each)
    return found


def states_of_artifact(connection: Connection, path: str) -> list[ArtifactState]:
    """The states of a target that is neither a page nor a distribution file, in order."""
    table = artifact_states
    columns = [table.c[name] for name in ArtifactState._fields]
    return rows_of(connection, ArtifactState, select(*columns).where(table.c.path == path).order_by(table.c.from_idx))


def artifacts_of_bytes(connection: Connection, sha256: bytes) -> list[ArtifactState]:
    """The states in which any such target has a SHA-256, by path and in order."""
    table = artifact_states
    columns = [table.c[name] for name in ArtifactState._fields]
    query = select(*columns).where(table.c.sha256 == sha256)
    return rows_of(connection, ArtifactState, query.order_by(table.c.path, table.c.from_idx))


def incident_names(connection: Connection) -> list[str]:
    """The names of all incidents that were ever opened, in the order in which they were."""
    query = select(incidents.c.name).group_by(incidents.c.name)
    return list(connection.execute(query.order_by(func.min(incidents.c.from_idx))).scalars())


def is_lock_known(connection: Connection, lock: str) -> bool:
    """Whether there ever was a hold with a lock."""
    return connection.execute(select(holds.c.idx).where(holds.c.lock == lock).limit(1)).first() is not None


def is_incident_open(connection: Connection, name: str) -> bool:
    """Whether an incident is open at the end of the log."""
    query = select(func.max(incidents.c.to_idx)).where(incidents.c.name == name)
    return bool(connection.execute(query).scalar() == FOREVER)
