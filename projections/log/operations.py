"""Operations: the facts of an event that its aggregate's fold reads, and nothing else of the record.

An event has up to 64 KB, and most of that is never folded (commitments, notes, the actor). Millions of events wait for
their aggregates, spilled to disk. An operation takes a few hundred bytes, and never more than 5,000.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from projections.log.proofs import InclusionProof, freeable_leaf, proven_root
from projections.text import clean
from schemas import events
from schemas.plain_uploads import PlainUpload


def type_of(kind: type[events.BaseEvent]) -> str:
    """The `type` in the records of a class of events."""
    return str(kind.__struct_config__.tag)


# `gc=False`: there are millions, and texts and numbers make no cycles.
class Upload(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="shape", tag=0):
    """`file.uploaded`. It is idempotent by meaning. It is remembered by its id only if it expects something; else `id`
    is empty.
    """

    type: ClassVar[str] = type_of(events.FileUploaded)

    filename: str
    version: str
    length: int
    sha256: str
    blake2b_256: str
    uploaded_at: str
    requires_python: str | None
    core_metadata_sha256: str | None
    provenance_sha256: str | None
    legacy: bool
    id: str = ""
    expects: str = ""


class _Act(msgspec.Struct, frozen=True, array_like=True):
    """An event that is remembered by its id."""

    type: str
    id: str


class ProjectAct(_Act, frozen=True, array_like=True, tag_field="shape", tag=1):
    """An event about a project as a whole."""

    status: str = ""
    reason: str = ""
    withhold: bool = False
    expects: str = ""


class FileAct(_Act, frozen=True, array_like=True, tag_field="shape", tag=2):
    """An event about a file, other than its upload. `root` is the Merkle root to which the proof of a freed file leads;
    empty if it leads nowhere.
    """

    filename: str
    reason: str
    sha256: str = ""
    withhold: bool = False
    expects: str = ""
    root: str = ""


class ReleaseAct(_Act, frozen=True, array_like=True, tag_field="shape", tag=3):
    """An event about a release."""

    version: str
    reason: str
    withhold: bool = False
    expects: str = ""


class TargetAct(_Act, frozen=True, array_like=True, tag_field="shape", tag=4):
    """An event about a target that is neither a page nor a distribution file."""

    path: str
    length: int = 0
    sha256: str = ""
    withhold: bool = False


class FactAct(_Act, frozen=True, array_like=True, tag_field="shape", tag=5):
    """An event that shapes no metadata."""


Act = ProjectAct | FileAct | ReleaseAct | TargetAct | FactAct
"""The operation of an event that is always remembered by its id."""

ProjectOperation = Upload | ProjectAct | FileAct | ReleaseAct
"""The operation of an event about a project."""

Operation = Upload | Act


PROJECT_KEYS = "project:"
"""The beginning of the keys of projects' aggregates."""

TARGET_KEYS = "target:"
"""The beginning of the keys of other targets' aggregates."""


def project_key(name: str) -> str:
    """The key of a project's aggregate."""
    return f"{PROJECT_KEYS}{name}"


def target_key(path: str) -> str:
    """The key of the aggregate of a target that is neither a page nor a distribution file."""
    return f"{TARGET_KEYS}{path}"


def filenames_of(operations: Iterable[Operation]) -> set[str] | None:
    """The names of the project's files that operations are about; None if they may be about any file."""
    names = set()
    for operation in operations:
        if not isinstance(operation, Upload | FileAct):
            return None
        names.add(operation.filename)
    return names


def upload_of(event: events.FileUploaded | PlainUpload) -> Upload:
    """The operation of an upload, for both ways of decoding it."""
    data = event.data
    return Upload(
        data.filename,
        data.version,
        data.length,
        data.hashes.sha256,
        data.hashes.blake2b_256,
        event.time,
        data.requires_python,
        data.core_metadata_sha256,
        data.provenance_sha256,
        data.legacy,
    )


def operation_of(event: events.BaseEvent) -> tuple[str, Operation] | None:
    """The key of the aggregate that judges an event, and the operation; None if the prefix judges the event."""
    if isinstance(event, events.ProjectEvent):
        operation = _of_project(event)
        expects = event.data.expects  # type: ignore[attr-defined]  # all have
        if expects is not None:
            operation = msgspec.structs.replace(operation, id=event.id, expects=expects)
        return project_key(event.subject), operation
    name = type_of(type(event))
    if isinstance(event, events.TargetAdded):
        act = TargetAct(name, event.id, event.subject, event.data.length, event.data.sha256)
        return target_key(event.subject), act
    if isinstance(event, events.TargetRemoved):
        return target_key(event.subject), TargetAct(name, event.id, event.subject, withhold=event.data.withhold)
    if isinstance(
        event, events.IncidentOpened | events.IncidentNoted | events.IncidentSelected | events.IncidentClosed
    ):
        return f"incident:{event.subject}", FactAct(name, event.id)
    if isinstance(event, events.AccessGranted | events.AccessRevoked | events.AccessNoted):
        return f"access:{event.subject}", FactAct(name, event.id)
    if isinstance(event, events.OpeningErased):
        return f"opening:{event.subject}", FactAct(name, event.id)
    return None


def _of_project(event: Any) -> ProjectOperation:
    if isinstance(event, events.FileUploaded):
        return upload_of(event)
    name = type_of(type(event))
    if isinstance(event, events.FileRestored):
        return FileAct(name, event.id, event.data.filename, "", event.data.sha256)
    if isinstance(event, events.FileFreed):
        return FileAct(name, event.id, event.data.filename, "", event.data.sha256, root=_root_of(event))
    if isinstance(event, events.FileRemoved):
        return FileAct(name, event.id, event.data.filename, "", withhold=event.data.withhold)
    if isinstance(event, events.FileYanked | events.FileUnyanked):
        return FileAct(name, event.id, event.data.filename, clean(event.data.reason))
    if isinstance(event, events.ProjectStatusChanged):
        return ProjectAct(name, event.id, event.data.status, clean(event.data.reason))
    if isinstance(event, events.ProjectCreated):
        return ProjectAct(name, event.id)
    if isinstance(event, events.ProjectRemoved):
        return ProjectAct(name, event.id, withhold=event.data.withhold)
    if isinstance(event, events.ReleaseRemoved):
        return ReleaseAct(name, event.id, event.data.version, "", withhold=event.data.withhold)
    return ReleaseAct(name, event.id, event.data.version, clean(event.data.reason))


def _root_of(event: events.FileFreed) -> str:
    data, proof = event.data, event.data.proof
    leaf = freeable_leaf(data.sha256, event.subject, data.filename)
    return proven_root(leaf, InclusionProof(proof.leaf, proof.size, proof.path))
