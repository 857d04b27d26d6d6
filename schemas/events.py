"""The events: facts that an index, a key ceremony or an incident responder appends to the `events` log.

An event is a CloudEvents 1.0 object in structured JSON mode. Attributes of CloudEvents are scalars, so who acted is
three extension attributes (`actorkind`, `actorid`, `actorcredential`). The types are frozen: the bytes as
appended are what counts, an event is never changed and written again.

To add a type: one `…Data` struct, one event class, its name in `Event`, its row in docs/rules.md, its fold.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from schemas.fields import (
    Blake2b256,
    Commitment,
    EventTime,
    Filename,
    FreeText,
    Identifier,
    Length,
    Number,
    Origin,
    ProjectName,
    RequiresPython,
    Secret,
    Sha256,
    Size,
    TargetPath,
    Uri,
    Version,
)

MAX_EVENT_BYTES = 65_535
"""Longest event in bytes: what a C2SP tlog-tiles entry bundle can hold."""

ActorKind = Literal["user", "trusted-publisher", "administrator", "system"]
ProjectStatus = Literal["active", "archived", "quarantined", "deprecated"]


class Data(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every event's `data` may have: commitments to values that are not published (docs/design.md, "Private
    values"), by field name.
    """

    commitments: dict[Identifier, Commitment] = field(default_factory=dict)


class BaseEvent(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """Attributes of every event (CloudEvents 1.0, section 3; PEP 458's "who" and "when").

    `incident` names the incident that an event belongs to; no rule reads it. `time` is the producer's claim; no rule
    reads it except as the upload time of a file.
    """

    specversion: Literal["1.0"]
    id: Identifier
    source: Uri
    subject: str
    time: EventTime
    actorkind: ActorKind
    actorid: Identifier
    actorcredential: Identifier | None = None
    incident: Identifier | None = None


class ReasonData(Data, frozen=True, kw_only=True):
    """A reason, for people to read."""

    reason: FreeText | None = None


class RemovalData(ReasonData, frozen=True, kw_only=True):
    """The removal of a target. With `withhold`, as of a file."""

    withhold: bool = False


# --- the ledger itself -------------------------------------------------------------------------------------------


class Predecessor(Struct, frozen=True, kw_only=True):
    """The ledger that this one continues: its identity and the last size that counts."""

    ledger: Sha256
    size: Size
    root_hash: Sha256


class LedgerCreatedData(Data, frozen=True, kw_only=True):
    """Record 0. `epoch` is random, so two ledgers of one origin differ; `root_sha256` is root version 1's digest."""

    origin: Origin
    epoch: Identifier
    root_sha256: Sha256
    predecessor: Predecessor | None = None


class LedgerCreated(BaseEvent, frozen=True, kw_only=True, tag="ledger.created.v1"):
    """The first record of the log and of no other place. Its digest is the ledger's identity."""

    data: LedgerCreatedData


class RolesSignedData(Data, frozen=True, kw_only=True):
    """The documents of one ceremony by role name: whole TUF metadata files as JSON objects."""

    roles: dict[Literal["root", "targets", "bins"], dict[str, Any]]
    comment: FreeText | None = None


class RolesSigned(BaseEvent, frozen=True, kw_only=True, tag="roles.signed.v1"):
    """Offline roles were signed: the first ones, a key rotation, new settings, another number of bins."""

    data: RolesSignedData


# --- projects, releases, files -----------------------------------------------------------------------------------


class ProjectData(Data, frozen=True, kw_only=True):
    """What the `data` of every event about a project may have: `expects`, the digest of the last accepted record about
    the project, or 64 zeros if there is none. The event is rejected if another one came between.
    """

    expects: Sha256 | None = None


class ProjectReasonData(ProjectData, frozen=True, kw_only=True):
    """A reason, for people to read."""

    reason: FreeText | None = None


class ProjectEvent(BaseEvent, frozen=True, kw_only=True):
    """An event about one project, which is its subject."""

    subject: ProjectName


class ProjectCreated(ProjectEvent, frozen=True, kw_only=True, tag="project.created.v1"):
    """A project exists, perhaps without files yet."""

    data: ProjectData = field(default_factory=ProjectData)


class ProjectStatusData(ProjectReasonData, frozen=True, kw_only=True):
    """A PEP 792 status."""

    status: ProjectStatus


class ProjectStatusChanged(ProjectEvent, frozen=True, kw_only=True, tag="project.status_changed.v1"):
    """The project has another PEP 792 status, or another reason for it."""

    data: ProjectStatusData


class ProjectRemovedData(ProjectReasonData, frozen=True, kw_only=True):
    """The removal of a project. With `withhold`, as of a file."""

    withhold: bool = False


class ProjectRemoved(ProjectEvent, frozen=True, kw_only=True, tag="project.removed.v1"):
    """The project and its files are gone from the index; its filenames stay taken."""

    data: ProjectRemovedData = field(default_factory=ProjectRemovedData)


class Hashes(Struct, frozen=True, kw_only=True):
    """Digests of a distribution file: BLAKE2b makes its path, SHA-256 its identity."""

    sha256: Sha256
    blake2b_256: Blake2b256


class FileUploadedData(ProjectData, frozen=True, kw_only=True):
    """All facts of a file that a page or a target needs. `legacy` marks names and versions from before PEP 440,
    PEP 491 and PEP 625.
    """

    filename: Filename
    version: Version
    length: Length
    hashes: Hashes
    requires_python: RequiresPython | None = None
    core_metadata_sha256: Sha256 | None = None
    provenance_sha256: Sha256 | None = None
    legacy: bool = False


class FileUploaded(ProjectEvent, frozen=True, kw_only=True, tag="file.uploaded.v1"):
    """A distribution file was uploaded."""

    data: FileUploadedData


class FileData(ProjectReasonData, frozen=True, kw_only=True):
    """One file of the project, and why."""

    filename: Filename


class FileRemovedData(FileData, frozen=True, kw_only=True):
    """The file that is removed. With `withhold`, its bytes are taken out of what is served, too."""

    withhold: bool = False


class FileRemoved(ProjectEvent, frozen=True, kw_only=True, tag="file.removed.v1"):
    """A file is gone from the index; its name stays taken."""

    data: FileRemovedData


class FileRestoredData(FileData, frozen=True, kw_only=True):
    """The file and the digest that it must have had."""

    sha256: Sha256


class FileRestored(ProjectEvent, frozen=True, kw_only=True, tag="file.restored.v1"):
    """A removed file is offered again, with the same bytes."""

    data: FileRestoredData


class Proof(Struct, frozen=True, kw_only=True):
    """The proof that a file is in a list of files that may be freed (RFC 9162, section 2.1.3): its index in the list,
    the length of the list, and the hashes that lead to the Merkle root.
    """

    leaf: Size
    size: Size
    path: Annotated[tuple[Sha256, ...], Meta(max_length=64)] = ()


class FileFreedData(FileData, frozen=True, kw_only=True):
    """The file, the digest that it must have had, and the proof that root allows it."""

    sha256: Sha256
    proof: Proof


class FileFreed(ProjectEvent, frozen=True, kw_only=True, tag="file.freed.v1"):
    """A removed file gives its name up: other bytes may be uploaded under it, its own never again."""

    data: FileFreedData


class FileYanked(ProjectEvent, frozen=True, kw_only=True, tag="file.yanked.v1"):
    """A file is yanked (PEP 592)."""

    data: FileData


class FileUnyanked(ProjectEvent, frozen=True, kw_only=True, tag="file.unyanked.v1"):
    """A file's own yank is taken back."""

    data: FileData


class ReleaseData(ProjectReasonData, frozen=True, kw_only=True):
    """One release of the project, and why."""

    version: Version


class ReleaseRemovedData(ReleaseData, frozen=True, kw_only=True):
    """The release that is removed. With `withhold`, as of a file."""

    withhold: bool = False


class ReleaseRemoved(ProjectEvent, frozen=True, kw_only=True, tag="release.removed.v1"):
    """All files of a release are gone from the index."""

    data: ReleaseRemovedData


class ReleaseYanked(ProjectEvent, frozen=True, kw_only=True, tag="release.yanked.v1"):
    """A release is yanked: all its files, later ones too."""

    data: ReleaseData


class ReleaseUnyanked(ProjectEvent, frozen=True, kw_only=True, tag="release.unyanked.v1"):
    """A release's yank is taken back; files' own yanks stay."""

    data: ReleaseData


class ReleaseQuarantined(ProjectEvent, frozen=True, kw_only=True, tag="release.quarantined.v1"):
    """A release is hidden from the index, and refuses uploads."""

    data: ReleaseData


class ReleaseQuarantineCleared(ProjectEvent, frozen=True, kw_only=True, tag="release.quarantine_cleared.v1"):
    """A release's quarantine is over."""

    data: ReleaseData


# --- other targets -----------------------------------------------------------------------------------------------


class TargetEvent(BaseEvent, frozen=True, kw_only=True):
    """An event about a target that is neither a page nor a distribution file; its path is the subject."""

    subject: TargetPath


class TargetAddedData(Data, frozen=True, kw_only=True):
    """Length and digest of the target file."""

    length: Length
    sha256: Sha256


class TargetAdded(TargetEvent, frozen=True, kw_only=True, tag="target.added.v1"):
    """A target was added, or replaced."""

    data: TargetAddedData


class TargetRemoved(TargetEvent, frozen=True, kw_only=True, tag="target.removed.v1"):
    """A target is gone."""

    data: RemovalData = field(default_factory=RemovalData)


# --- facts without metadata: what incidents ask for --------------------------------------------------------------


class NamedEvent(BaseEvent, frozen=True, kw_only=True):
    """An event about something that has an identifier: an account, a project, an incident, an event."""

    subject: Identifier


class AccessData(Data, frozen=True, kw_only=True):
    """Who may do what: `kind` says what was granted (`collaborator`, `credential`, `trusted-publisher`,
    `administrator`, `sign-in` …); the rest is as the index names it.
    """

    kind: Identifier
    account: Identifier | None = None
    role: Identifier | None = None
    credential: Identifier | None = None
    project: ProjectName | None = None
    note: FreeText | None = None


class AccessGranted(NamedEvent, frozen=True, kw_only=True, tag="access.granted.v1"):
    """Someone may act: a collaborator was added, a token was minted, a trusted publisher was configured."""

    data: AccessData


class AccessRevoked(NamedEvent, frozen=True, kw_only=True, tag="access.revoked.v1"):
    """Someone may no longer act."""

    data: AccessData


class AccessNoted(NamedEvent, frozen=True, kw_only=True, tag="access.noted.v1"):
    """Something about access happened: a sign-in, a failed second factor, a leaked credential."""

    data: AccessData


class IncidentOpenedData(Data, frozen=True, kw_only=True):
    """What the incident is called, and by what its events are to be found: as a command took it."""

    title: FreeText
    selectors: tuple[FreeText, ...] = ()


class IncidentOpened(NamedEvent, frozen=True, kw_only=True, tag="incident.opened.v1"):
    """An incident was opened; its identifier is the subject."""

    data: IncidentOpenedData


class IncidentNotedData(Data, frozen=True, kw_only=True):
    """A note; `events` and `publications` are what it is about, by number."""

    note: FreeText
    events: tuple[Size, ...] = ()
    publications: tuple[Size, ...] = ()


class IncidentNoted(NamedEvent, frozen=True, kw_only=True, tag="incident.noted.v1"):
    """Something was found out about an incident."""

    data: IncidentNotedData


class IncidentSelectedData(Data, frozen=True, kw_only=True):
    """A part of the list of events that belong to an incident; no rule checks it.

    `version` counts the lists of the incident from 1, and `part` the parts of a list from 0 to `parts` (exclusive).
    `runs` are indices of events, from the first (inclusive) to the last (exclusive) of each run. `selection`, the same
    in all parts, is the Merkle root (RFC 6962) over the list: the leaf of an event is its index (8 bytes, big-endian)
    and the SHA-256 of its record (32 bytes). Part 0 also says what the list was made from, the first `size` records,
    whose Merkle root is `root_hash`, and the last `publication`; and `count`, the number of selected events.
    """

    version: Number
    part: Size
    parts: Number
    runs: tuple[tuple[Size, Size], ...]
    selection: Sha256 | None = None
    size: Size | None = None
    root_hash: Sha256 | None = None
    count: Size | None = None
    publication: Number | None = None


class IncidentSelected(NamedEvent, frozen=True, kw_only=True, tag="incident.selected.v1"):
    """Events were found to belong to an incident."""

    data: IncidentSelectedData


class IncidentClosedData(ReasonData, frozen=True, kw_only=True):
    """The publication that shows the result, and the SHA-256 of the plan and of the list of what is left undone; no
    rule checks them.
    """

    publication: Number | None = None
    plan: Sha256 | None = None
    residuals: Sha256 | None = None


class IncidentClosed(NamedEvent, frozen=True, kw_only=True, tag="incident.closed.v1"):
    """An incident was closed."""

    data: IncidentClosedData = field(default_factory=IncidentClosedData)


class OpeningErasedData(Data, frozen=True, kw_only=True):
    """The fields whose private values and salts were erased from the store of openings."""

    fields: tuple[Identifier, ...]


class OpeningErased(NamedEvent, frozen=True, kw_only=True, tag="opening.erased.v1"):
    """Private values behind the commitments of an event were erased; that event's id is the subject."""

    data: OpeningErasedData


# --- the emergency brake -----------------------------------------------------------------------------------------


class SigningHeldData(ReasonData, frozen=True, kw_only=True):
    """Nothing beyond the first `size` records is to be shown (default: the records before this one).

    `lock` is the SHA-256 of 32 random bytes: only who knows them can release the hold.
    """

    size: Size | None = None
    lock: Sha256 | None = None


class SigningHeld(NamedEvent, frozen=True, kw_only=True, tag="signing.held.v1"):
    """What comes after is not shown until the hold is released. Offline roles, holds and renewals go on."""

    data: SigningHeldData = field(default_factory=SigningHeldData)


class SigningReleasedData(ReasonData, frozen=True, kw_only=True):
    """`hold` is the id of the `signing.held` event that ends; `secret` is the 32 bytes of its lock."""

    hold: Identifier
    secret: Secret | None = None


class SigningReleased(NamedEvent, frozen=True, kw_only=True, tag="signing.released.v1"):
    """A hold ends."""

    data: SigningReleasedData


Event = (
    LedgerCreated
    | RolesSigned
    | ProjectCreated
    | ProjectStatusChanged
    | ProjectRemoved
    | FileUploaded
    | FileRemoved
    | FileRestored
    | FileFreed
    | FileYanked
    | FileUnyanked
    | ReleaseRemoved
    | ReleaseYanked
    | ReleaseUnyanked
    | ReleaseQuarantined
    | ReleaseQuarantineCleared
    | TargetAdded
    | TargetRemoved
    | AccessGranted
    | AccessRevoked
    | AccessNoted
    | IncidentOpened
    | IncidentNoted
    | IncidentSelected
    | IncidentClosed
    | OpeningErased
    | SigningHeld
    | SigningReleased
)
"""Every type of event."""
