"""What a metadata file is that is served and is not the log's.

The log says what every key of the ledger signed. So a valid signature over anything else was made outside of the log:
it is proof that somebody else has that key. This module finds out which of these a file is:

    published   the log has the same content, or this name; the bytes were changed, or are here under another name
    older       the log's, and no longer the newest
    forged      signed by a key that was ever online, and not on the log
    offline     signed by offline keys, and not on the log
    unsigned    not signed by any key of this ledger

The words are the same wherever a file is named. Nothing here trusts the file: a stranger may have chosen every byte.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec
from securesystemslib.exceptions import FormatError

from projections.metadata.paths import MetadataPlace, read_path
from projections.roles.history import Duty, History
from projections.roles.keys import verify
from schemas import canonical
from schemas.publications import Publication, Record

Kind = Literal["published", "older", "forged", "offline", "unsigned"]

OLDER = "older than the newest"
"""How the words of `older` begin."""

_MOST_SIGNATURES = 16
"""How many signatures of one key are tried. Clients refuse a file that has two."""

_HEXADECIMAL = frozenset("0123456789abcdef")


class Finding(NamedTuple):
    """What a file is, in words, with the keys that signed it outside of the log."""

    kind: Kind
    detail: str
    keyids: tuple[str, ...] = ()


class Logged(NamedTuple):
    """The signatures of one publication, hexadecimal, by role. `timestamp` and `snapshot` are among the roles."""

    number: int
    signatures: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, record: Record, publication: Publication) -> "Logged":
        """The signatures in the record of a publication."""
        packed = [(name, signatures) for name, _, signatures in publication.roles]
        packed.append(("snapshot", publication.snapshot[2]))
        roles = {name: frozenset(b64decode(each).hex() for each in signatures if each) for name, signatures in packed}
        return cls(publication.number, {**roles, "timestamp": frozenset(each.sig for each in record.signatures)})


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _Served(msgspec.Struct, frozen=True):
    signatures: tuple[_Signature, ...]
    signed: dict[str, Any]

    @property
    def version(self) -> int:
        """The version that it states; 0 if it states none."""
        version = self.signed.get("version")
        return version if type(version) is int and 0 < version <= canonical.MAX_INTEGER else 0


class _Examined(NamedTuple):
    """A file that can be read, what its signatures may cover, and those that are valid, by key id."""

    served: _Served
    payloads: list[bytes]
    signed_by: Mapping[str, frozenset[str]]


class _Name(NamedTuple):
    """A version of a role that the log has."""

    role: str
    version: int

    def __str__(self) -> str:
        is_offline = self.role in {"root", "targets", "bins"}
        return f"{self.role} {self.version}" if is_offline else f"number {self.version}"


def numbers_of(path: str, file: bytes) -> set[int]:
    """The numbers of the publications whose signatures `classify` must know: those that path and file state."""
    place, served = _place(path), _read(file)
    versions = {place.version if place else None, served.version if served else None}
    return {version for version in versions if version}


def older(publications: int, expires: str) -> Finding:
    """The finding for a timestamp of the log that later publications have replaced."""
    many = "1 publication" if publications == 1 else f"{publications:,} publications"
    return Finding("older", f"{OLDER} by {many}, valid until {expires}")


def expiry_of(file: bytes) -> str:
    """When a metadata file expires, as it states itself; empty if it states nothing."""
    served = _read(file)
    expires = served.signed.get("expires") if served else None
    return expires if isinstance(expires, str) else ""


def advice(finding: Finding, history: History) -> str:
    """What to do about a file, as a sentence that names the place in the manual."""
    if finding.kind == "forged":
        if any(history.is_online(keyid) for keyid in finding.keyids):
            what = "treat the key as stolen, and replace it with `tuf-ledger ceremony --replace-online`"
        else:
            what = "the key was replaced, and whoever has it still writes what is served"
    elif finding.kind == "offline":
        what = "somebody signs with offline keys outside of the log"
    elif finding.kind == "unsigned":
        what = "somebody else wrote it"
    else:
        return "See docs/operators.md, 'What is served is damaged'"
    return f"{what} (docs/operators.md, 'Something is forged')"


def classify(path: str, file: bytes, history: History, logged: Mapping[int, Logged]) -> Finding:
    """Find out what a served metadata file is whose bytes are not those that the log has for its path.

    Args:
        path: its served path.
        file: its bytes.
        history: who could ever sign, by the whole log.
        logged: publications by number; at least those of `numbers_of` that are on the log.
    """
    place, served = _place(path), _read(file)
    if served is not None:
        payloads = list(_payloads(served.signed))
        signed_by = _signed_by(served, payloads, history)
        name = _published_as(place, _Examined(served, payloads, signed_by), history, logged)
        if name is not None:
            is_here = place is not None and place.role == name.role and place.version in {None, name.version}
            return Finding("published", f"published as {name}, {'altered' if is_here else 'here under another name'}")
        if signed_by:
            return _signed_outside(signed_by, history)
    if place is not None and place.version is not None:
        name = _Name(place.role, place.version)
        if name in history.signatures or place.role in _roles(logged, place.version):
            return Finding("published", f"published as {name}, altered")
    return Finding("unsigned", "not signed by any key of this ledger")


def _place(path: str) -> MetadataPlace | None:
    place = read_path(path)
    return place if isinstance(place, MetadataPlace) else None


def _read(file: bytes) -> _Served | None:
    try:
        return msgspec.json.decode(file, type=_Served)
    except (ValueError, RecursionError):
        return None


def _payloads(signed: dict[str, Any]) -> Iterator[bytes]:
    """What signatures of this may cover: its canonical JSON, in both forms if they differ (`schemas.canonical`)."""
    try:
        payload = canonical.encode(signed)
        yield payload
        if b"\\" not in payload.replace(b"\\\\", b"").replace(b'\\"', b""):
            return
    except TypeError:  # numbers beyond 64 bits: clients read them
        pass
    with suppress(FormatError, ValueError, RecursionError):
        yield canonical.encode_for_signing(signed)


def _signed_by(served: _Served, payloads: list[bytes], history: History) -> dict[str, frozenset[str]]:
    """The valid signatures in a file by the key ids of this ledger's keys, in their order."""
    given: dict[str, list[str]] = {}
    for keyid, signature in ((each.keyid, each.sig) for each in served.signatures):
        if keyid in history.keys and not set(signature) - _HEXADECIMAL and len(signature) % 2 == 0:
            given.setdefault(keyid, []).append(signature)
    valid = {
        keyid: frozenset(
            signature
            for signature in given[keyid][:_MOST_SIGNATURES]
            if any(verify(history.keys[keyid], signature, payload) for payload in payloads)
        )
        for keyid in sorted(given)
    }
    return {keyid: signatures for keyid, signatures in valid.items() if signatures}


def _roles(logged: Mapping[int, Logged], number: int) -> Mapping[str, frozenset[str]]:
    return logged[number].signatures if number in logged else {}


def _published_as(
    place: MetadataPlace | None, examined: _Examined, history: History, logged: Mapping[int, Logged]
) -> _Name | None:
    """The version that the log has with this content, or with a signature of this file."""
    served, payloads, signed_by = examined
    for payload in payloads:
        document = history.documents.get(sha256(payload).hexdigest())
        if document is not None:
            return _Name(*document)
    roles = _roles(logged, served.version)
    valid = frozenset().union(*signed_by.values())
    for role, signatures in roles.items():
        if signatures & valid:
            return _Name(role, served.version)
    if place is None:
        return None
    # Some signatures have several forms, so the one on the log decides about the content, and not the one in the file.
    # Where no signature is valid, one that the log has in this place tells what the file was before it was changed.
    known = roles.get(place.role, frozenset())
    if not signed_by and known & {each.sig for each in served.signatures}:
        return _Name(place.role, served.version)
    is_logged = any(
        verify(history.keys[keyid], signature, payload)
        for keyid in signed_by
        for signature in sorted(known)
        for payload in payloads
    )
    return _Name(place.role, served.version) if is_logged else None


def _signed_outside(signed_by: Mapping[str, frozenset[str]], history: History) -> Finding:
    """The finding for content that keys of this ledger signed and the log does not have."""
    keyids = tuple(signed_by)
    reached = [each.duty for each in history.quorums if len(each.keyids.intersection(keyids)) >= each.threshold]
    offline: list[Duty] = [duty for duty in ("root", "targets", "bins") if duty in reached]
    who = ", and by ".join(map(history.describe, keyids))
    if offline:
        roles = " and ".join(offline)
        detail = f"NOT ON THE LOG, and signed by a threshold of the offline keys of {roles}: by {who}"
        return Finding("offline", detail, keyids)
    few = "" if reached else ", by fewer keys than clients ask for"
    if any(stay.duty == "online" for keyid in keyids for stay in history.stays[keyid]):
        return Finding("forged", f"FORGED: signed outside the log by {who}{few}", keyids)
    return Finding("offline", f"NOT ON THE LOG, and signed by {who}{few}", keyids)
