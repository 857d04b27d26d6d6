"""The file of a proof: what somebody needs to check a fact about a ledger offline, with a first root that they trust.

    event         a record is the event of this index
    target        this path is offered with these bytes, and this event is why
    consistency   a later publication has the events of an earlier one, unchanged, as its first ones

Metadata files stand in it as they are served, byte for byte, each as one text. docs/proofs.md says how each part is
checked; another `format` is another way to check.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.fields import Number, Sha256, Size, TargetPath

MAX_HASHES = 64
"""Most hashes on the way to a Merkle root: a log has at most 2^53 records."""

Format = Annotated[Literal[1], Meta(description="Format of the file; another format is checked in another way.")]
MetadataFile = Annotated[str, Meta(description="A metadata file as it is served.")]
Path = Annotated[
    tuple[Sha256, ...], Meta(max_length=MAX_HASHES, description="Hashes that lead to a Merkle root, from below.")
]
Base64 = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]*={0,2}(?!\n)$", description="Bytes, base64.")]


class PublishedProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients trust of a publication: its timestamp and its snapshot, with the version of the root in force."""

    root: Number
    timestamp: MetadataFile
    snapshot: MetadataFile


class EventPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event: its index, and the path from its leaf to the Merkle root in the snapshot.

    `record` is the record. Where it is left out, `leaf_hash` is the hash of its leaf (RFC 6962, section 2.1).
    """

    index: Size
    path: Path
    record: Base64 | UnsetType = UNSET
    leaf_hash: Sha256 | UnsetType = UNSET


class TargetPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target: its path, and the files of the roles that lead to it."""

    path: TargetPath
    targets: MetadataFile
    bins: MetadataFile
    bin: MetadataFile


Roots = Annotated[
    tuple[MetadataFile, ...], Meta(min_length=1, description="All roots up to the one in force, from version 1 on.")
]


class EventProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="event"):
    """The proof that a publication covers a record as the event of an index."""

    format: Format = 1
    roots: Roots
    published: PublishedProof
    event: EventPart


class TargetProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="target"):
    """The proof that a publication offers a target.

    `event` is the event that it comes from: the upload of a file; of a project's page, the last event that it shows.
    The list of all projects has none.
    """

    format: Format = 1
    roots: Roots
    published: PublishedProof
    target: TargetPart
    event: EventPart | UnsetType = UNSET


class ConsistencyProof(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="consistency"
):
    """The proof that a later publication begins with the events of an earlier one."""

    format: Format = 1
    roots: Roots
    earlier: PublishedProof
    later: PublishedProof
    path: Path


Proof = EventProof | TargetProof | ConsistencyProof
