"""Checking a proof, with nothing but its file and a root that is trusted. docs/proofs.md says the same in words.

    roots          each root is signed by the keys of the root before and by its own; the trusted one is among them
    timestamp      signed by the online keys of the root in force
    snapshot       the one that the timestamp states; signed by the same keys; it states the Merkle root of the events
    event          its record is a leaf of that tree
    targets, bins  as the snapshot states them, signed by the keys that root and `targets` name
    bin            as the snapshot states it, signed by the keys that `bins` names; it lists the target
    about          the event is about the target
    consistency    the tree of the earlier snapshot is the beginning of that of the later one

What has expired is proven all the same: it was so when it was signed. Whoever asks is told when each file expires.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import orjson
from securesystemslib.exceptions import FormatError

from projections.log.merkle import leaf_hash
from projections.log.proofs import InclusionProof, are_consistent, proven_root
from projections.metadata.paths import is_page, package_target, project_of_page
from projections.roles.authority import RootKeys, check_signatures, read_delegation, read_root_keys
from projections.roles.documents import Document, DocumentError, SignedFile, read_document
from projections.roles.keys import KeysError, RoleKeys, signatures_by_keyid
from schemas import canonical, events
from schemas.codec import Rejection, decode_event
from schemas.errors import LedgerError, NegativeAnswerError
from schemas.fields import Instant, Length, Number, Origin, Sha256, Size
from schemas.proof_files import ConsistencyProof, EventPart, Proof, PublishedProof, TargetPart, TargetProof

Step = Literal["roots", "timestamp", "snapshot", "event", "targets", "bins", "bin", "about", "consistency"]


class UnreadableProofError(LedgerError):
    """A proof, or the root to check it with, is not what it must be."""


class WrongProofError(NegativeAnswerError):
    """A proof does not hold. Its fact `step` names the first step that failed."""


class _Covered(msgspec.Struct, frozen=True):
    """A snapshot's `x-ledger`."""

    origin: Origin
    root_hash: Sha256
    size: Size
    content_size: Size


class _Hashes(msgspec.Struct, frozen=True):
    sha256: Sha256


class _Meta(msgspec.Struct, frozen=True):
    version: Number


class _SnapshotMeta(msgspec.Struct, frozen=True):
    version: Number
    length: Length
    hashes: _Hashes


class _Target(msgspec.Struct, frozen=True):
    length: Length
    hashes: _Hashes


class _Timestamp(msgspec.Struct, frozen=True, tag_field="_type", tag="timestamp"):
    version: Number
    expires: Instant
    meta: dict[str, _SnapshotMeta]


class _Snapshot(msgspec.Struct, frozen=True, rename={"covered": "x-ledger"}, tag_field="_type", tag="snapshot"):
    version: Number
    expires: Instant
    meta: dict[str, _Meta]
    covered: _Covered


class _Bin(msgspec.Struct, frozen=True, tag_field="_type", tag="targets"):
    version: Number
    expires: Instant
    targets: dict[str, _Target]


_Signed = TypeVar("_Signed", _Timestamp, _Snapshot, _Bin)


class CheckedPublication(NamedTuple):
    """A publication that clients trust: its number, the version of its root, what it covers, and when files expire.

    `expires` is by role. `meta` are the versions that the snapshot states, by file name.
    """

    number: int
    root: int
    origin: str
    size: int
    content_size: int
    root_hash: str
    expires: Mapping[str, str]
    meta: Mapping[str, int]


class _TrustedRoot(NamedTuple):
    keys: RootKeys
    expires: str


class CheckedEvent(NamedTuple):
    """An event that is on the log: its index, the hash of its leaf, and its record (None: left out)."""

    event: int
    leaf_hash: str
    record: bytes | None


class CheckedTarget(NamedTuple):
    """A target that is offered: its path, length in bytes and SHA-256, and when each file that leads to it expires."""

    path: str
    length: int
    sha256: str
    expires: Mapping[str, str]


class Offer(NamedTuple):
    """What an event offers, if it is accepted: the path, length in bytes and SHA-256 of a target."""

    path: str
    length: int
    sha256: str


class CheckedProof(NamedTuple):
    """What was proven. `earlier` is the publication whose events the other one begins with."""

    published: CheckedPublication
    event: CheckedEvent | None = None
    target: CheckedTarget | None = None
    earlier: CheckedPublication | None = None


def read_proof(data: bytes) -> Proof:
    """Read the file of a proof.

    Raises:
        UnreadableProofError: it is none, or has a format that is not known here.
    """
    try:
        proof: Proof = _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableProofError(f"the file is not a proof that this program knows: {error}") from error
    return proof


_decoder = msgspec.json.Decoder(Proof)


def check_proof(proof: Proof, trusted_root: bytes) -> CheckedProof:
    """Check a proof.

    Args:
        proof: the proof.
        trusted_root: the file of a root of the ledger that is trusted, of any version.

    Raises:
        WrongProofError: the proof does not hold; it names the first step that failed.
        UnreadableProofError: the trusted root is not a root.
    """
    roots = _check_roots(proof.roots, trusted_root)
    if isinstance(proof, ConsistencyProof):
        earlier, later = _check_published(roots, proof.earlier), _check_published(roots, proof.later)
        _require("consistency", earlier.origin == later.origin, "the snapshots are of two ledgers")
        _require(
            "consistency",
            are_consistent(earlier.size, earlier.root_hash, later.size, later.root_hash, proof.path),
            f"the path does not lead from the Merkle root of publication {earlier.number} to that of {later.number}",
        )
        return CheckedProof(later, earlier=earlier)
    published = _check_published(roots, proof.published)
    event = None if proof.event is msgspec.UNSET else _check_event(published, proof.event)
    if not isinstance(proof, TargetProof):
        return CheckedProof(published, event)
    target = _check_target(published, roots[published.root].keys, proof.target)
    if event is not None:
        _check_about(target, event)
    return CheckedProof(published, event, target)


def offer_of(event: events.BaseEvent | Rejection) -> Offer | None:
    """What an event offers; None if it is not one that adds a target."""
    if isinstance(event, events.FileUploaded):
        data = event.data
        return Offer(package_target(data.hashes.blake2b_256, data.filename), data.length, data.hashes.sha256)
    if isinstance(event, events.TargetAdded):
        return Offer(event.subject, event.data.length, event.data.sha256)
    return None


# --- the steps -------------------------------------------------------------------------------------------------------


def _check_roots(files: tuple[str, ...], trusted_root: bytes) -> dict[int, _TrustedRoot]:
    """The trusted root and the later ones, by version (TUF 1.0.34, section 5.3)."""
    try:
        trusted = read_document("root", orjson.loads(trusted_root))
        read_root_keys(trusted)
    except (ValueError, RecursionError) as error:
        raise UnreadableProofError(f"the file of the root is no root: {error}") from error
    before: list[RoleKeys] = []
    found: dict[int, tuple[Document, RootKeys]] = {}
    for version, file in enumerate(files, 1):
        root = _read_offline("roots", "root", file, version)
        try:
            keys = read_root_keys(root)
            check_signatures(root, keys.root, *before)
        except DocumentError as error:
            raise _wrong("roots", str(error)) from error
        before = [keys.root]
        found[version] = (root, keys)
    _require(
        "roots",
        trusted.version in found,
        f"the root that you trust has version {trusted.version}, and the proof is of a publication under root version "
        f"{len(files)}. Trust an earlier root, or ask for the proof in a later publication",
    )
    same = found[trusted.version][0].payload == trusted.payload
    _require("roots", same, f"root version {trusted.version} is not the one that you trust")
    return {
        version: _TrustedRoot(keys, root.expires)
        for version, (root, keys) in found.items()
        if version >= trusted.version
    }


def _check_published(roots: Mapping[int, _TrustedRoot], part: PublishedProof) -> CheckedPublication:
    """The publication that a timestamp and a snapshot are of (TUF 1.0.34, sections 5.4 and 5.5)."""
    _require(
        "timestamp",
        part.root in roots,
        f"it is under root version {part.root}, and the roots from the one that you trust on are {sorted(roots)}",
    )
    keys, root_expires = roots[part.root]
    timestamp = _read_online("timestamp", part.timestamp, keys.timestamp, _Timestamp)
    stated = timestamp.meta.get("snapshot.json")
    file = part.snapshot.encode()
    _require(
        "snapshot",
        stated is not None and (stated.length, stated.hashes.sha256) == (len(file), sha256(file).hexdigest()),
        "its length or SHA-256 is not the one that the timestamp states",
    )
    snapshot = _read_online("snapshot", part.snapshot, keys.snapshot, _Snapshot)
    _require(
        "snapshot",
        stated is not None and snapshot.version == stated.version == timestamp.version,
        "its version is not the one that the timestamp states",
    )
    covered = snapshot.covered
    return CheckedPublication(
        timestamp.version,
        part.root,
        covered.origin,
        covered.size,
        covered.content_size,
        covered.root_hash,
        {"root": root_expires, "timestamp": timestamp.expires, "snapshot": snapshot.expires},
        {name: each.version for name, each in snapshot.meta.items()},
    )


def _check_event(published: CheckedPublication, part: EventPart) -> CheckedEvent:
    """The event whose record is a leaf of the tree in the snapshot (RFC 9162, section 2.1.3.2)."""
    record = None if part.record is msgspec.UNSET else _decode(part.record)
    hashed = None if part.leaf_hash is msgspec.UNSET else bytes.fromhex(part.leaf_hash)
    _require("event", (record is None) != (hashed is None), "it must have either a record or the hash of its leaf")
    leaf = leaf_hash(record) if hashed is None else hashed
    _require(
        "event",
        proven_root(leaf, InclusionProof(part.index, published.size, part.path)) == published.root_hash,
        f"its path does not lead from the record as event {part.index} to the Merkle root of the {published.size} "
        "events in the snapshot",
    )
    return CheckedEvent(part.index, leaf.hex(), record)


def _check_target(published: CheckedPublication, root: RootKeys, part: TargetPart) -> CheckedTarget:
    """The target that a bin lists (TUF 1.0.34, section 5.6)."""
    targets = _read_offline("targets", "targets", part.targets, published.meta.get("targets.json"))
    bins = _read_offline("bins", "bins", part.bins, published.meta.get("bins.json"))
    step: Step = "targets"
    try:
        check_signatures(targets, root.targets)
        bins_keys, _ = read_delegation(targets, to_bins=True)
        step = "bins"
        check_signatures(bins, bins_keys)
        bin_keys, layout = read_delegation(bins, to_bins=False)
    except DocumentError as error:
        raise _wrong(step, str(error)) from error
    name = layout.name(layout.index_of_target(part.path))
    found = _read_online("bin", part.bin, bin_keys, _Bin)
    _require(
        "bin",
        found.version == published.meta.get(f"{name}.json"),
        f"it is not the version of {name} that the snapshot states",
    )
    target = found.targets.get(part.path)
    if target is None:
        raise _wrong("bin", f"{name} does not list {part.path}")
    expires = {"targets": targets.expires, "bins": bins.expires, name: found.expires}
    return CheckedTarget(part.path, target.length, target.hashes.sha256, expires)


def _check_about(target: CheckedTarget, event: CheckedEvent) -> None:
    """Whether an event offered a target, or is about the project whose page the target is."""
    if event.record is None:
        raise _wrong("about", "the record is left out, so it does not say what it is about")
    found = decode_event(event.record)
    is_of_page = (
        is_page(target.path)
        and isinstance(found, events.ProjectEvent)
        and found.subject == project_of_page(target.path)
    )
    _require(
        "about",
        is_of_page or offer_of(found) == Offer(target.path, target.length, target.sha256),
        f"event {event.event} did not offer {target.path} with these bytes",
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_file(step: Step, file: str) -> tuple[Any, SignedFile]:
    """A metadata file. It has one byte string, so that all readers read the same."""
    try:
        value = orjson.loads(file)
        read = msgspec.convert(value, SignedFile)
        is_canonical = canonical.encode(value) == file.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise _wrong(step, f"the file is no metadata: {error}") from error
    _require(step, is_canonical, "the file is not in canonical form")
    return value, read


def _read_offline(step: Step, role: str, file: str, version: int | None) -> Document:
    value, _ = _read_file(step, file)
    try:
        document = read_document(role, value)
    except DocumentError as error:
        raise _wrong(step, str(error)) from error
    _require(step, document.version == version, f"the version of {role} is {document.version}, and must be {version}")
    return document


def _read_online(step: Step, file: str, keys: RoleKeys, kind: type[_Signed]) -> _Signed:
    """Read a file that a threshold of the keys signed, and nobody else."""
    _, read = _read_file(step, file)
    try:
        payload = canonical.encode_for_signing(read.signed)
        signatures = signatures_by_keyid((each.keyid, each.sig) for each in read.signatures)
        signed = msgspec.convert(read.signed, kind)
    except (ValueError, KeysError, FormatError, RecursionError) as error:
        raise _wrong(step, f"the file is no {step}: {error}") from error
    _require(
        step,
        keys.accept_all(signatures, payload),
        f"it is not signed by a threshold ({keys.threshold}) of the keys in force, and nobody else",
    )
    return signed


def _decode(text: str) -> bytes:
    """The bytes of a base64 text, which has no other form."""
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise _wrong("event", f"the record is not base64: {error}") from error
    _require("event", b64encode(data).decode() == text, "the record is not in the one form of base64")
    return data


def _wrong(step: Step, why: str) -> WrongProofError:
    return WrongProofError(f"the proof does not hold. Step `{step}` failed: {why}", step=step)


def _require(step: Step, holds: bool, why: str) -> None:  # reads as a sentence
    if not holds:
        raise _wrong(step, why)
