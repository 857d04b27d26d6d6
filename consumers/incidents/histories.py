"""Histories of projects and other targets, read from a catalog as the log has them."""

from collections.abc import Sequence

from consumers.catalog.filling import load_authority
from ledger.catalog import FOREVER, event_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import EventRow, Wanted
from ledger.catalog.states import UploadRow
from projections.incidents.planning import ProjectHistory
from projections.log.operations import Upload, operation_of, project_key, target_key
from projections.log.reading import Routed
from projections.roles.authority import Terms
from schemas.codec import Rejection, decode_event

_EARLY = "no-root"
"""The code of events that stand before the first root: no project and no target ever saw them."""
_ALL = 1 << 60


def terms_of(connection: Connection) -> tuple[Terms, ...]:
    """The settings by which all events on the log are judged."""
    return load_authority(connection, FOREVER).terms if writing.load_documents(connection) else ()


def project_history(connection: Connection, name: str) -> ProjectHistory:
    """All events about a project, in order, and the records of those that a plan may repeat."""
    rows = event_rows.events_from(connection, Wanted(project=name), 0, _ALL)
    bodies = event_rows.load_bodies(connection, [row.idx for row in rows])
    number = states.project_number(connection, name)
    uploads = {} if number is None else {each.upload_idx: each for each in states.uploads_of(connection, number)}
    return ProjectHistory(name, _routed(rows, bodies, project_key(name), uploads), bodies)


def target_history(connection: Connection, path: str) -> Sequence[Routed]:
    """All events about another target, in order."""
    rows = event_rows.events_from(connection, Wanted(subject=path, types=("target",)), 0, _ALL)
    bodies = event_rows.load_bodies(connection, [row.idx for row in rows])
    return _routed(rows, bodies, target_key(path), {})


def _routed(
    rows: Sequence[EventRow], bodies: dict[int, bytes], key: str, uploads: dict[int, UploadRow]
) -> list[Routed]:
    items = []
    for row in rows:
        if row.code == _EARLY:
            continue
        if row.idx not in bodies:
            items.append(Routed(key, row.idx, row.digest.hex(), _upload(uploads[row.idx])))
            continue
        event = decode_event(bodies[row.idx])
        found = None if isinstance(event, Rejection) else operation_of(event)
        if found is not None and found[0] == key:
            items.append(Routed(key, row.idx, row.digest.hex(), found[1]))
    return items


def _upload(row: UploadRow) -> Upload:
    return Upload(
        row.filename,
        row.version,
        row.length,
        row.sha256.hex(),
        row.blake2b_256.hex(),
        row.time,
        row.requires_python,
        None if row.core_metadata_sha256 is None else row.core_metadata_sha256.hex(),
        None if row.provenance_sha256 is None else row.provenance_sha256.hex(),
        bool(row.legacy),
    )
