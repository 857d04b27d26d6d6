"""The online roles: payloads of bins, snapshot and timestamp, and the choice of bins that a publication signs.

Payloads are canonical JSON, joined from rendered parts. python-tuf reads every payload and writes the same bytes. Every
version is the number of the publication that signs it. Every `expires` is the claim's time plus a period from root.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import msgspec

from projections.metadata.bins import Entries, Fragment
from projections.roles.authority import Authority
from projections.roles.documents import SPEC_VERSION
from projections.roles.keys import RoleKeys
from schemas.codec import encode_signed
from schemas.publications import Claim, Publication

LENGTH_ABOVE_BYTES = 2_000_000
"""Length of a bin's file above which the snapshot states the length. Without a stated length, clients refuse files
above their own default (python-tuf: 5,000,000)."""

BLOCK = 128
"""The number of a snapshot's names that are joined together: about the square root of the usual 16,384."""


class RoleEntry(msgspec.Struct, frozen=True, array_like=True):
    """The last version of a role: publication number, expiry, length and SHA-256 of its file.

    The length of a retired bin is 0: nobody fetches its file, and a rebuild from the log need not know the length.
    """

    version: int
    expires: str
    length: int = 0
    sha256: str = ""


def expires_at(time: str, seconds: int) -> str:
    """The instant that is `seconds` after a time."""
    return (datetime.fromisoformat(time[:-1]) + timedelta(seconds=seconds)).isoformat() + "Z"


def signs_all_bins(before: Authority | None, now: Authority) -> bool:
    """Whether a publication signs every bin; otherwise it signs bins with changed targets, and those its claim renews.

    After a change of keys, threshold or names, earlier signatures no longer count.
    """
    return (
        before is None
        or before.online != now.online
        or (before.layout.bits, before.layout.prefix) != (now.layout.bits, now.layout.prefix)
    )


def bin_payload(targets: Sequence[Fragment], number: int, expires: str) -> bytes:
    """The signed part of a bin (TUF 1.0.34, section 4.5) from its rendered targets, several in a fragment."""
    head = f'{{"_type":"targets","expires":"{expires}","spec_version":"{SPEC_VERSION}","targets":{{'
    # Joined once: a payload is long, and each copy takes as long as hashing it.
    members: list[Fragment] = [fragment for target in targets for fragment in (b",", target)][1:]
    return b"".join([head.encode(), *members, b'},"version":%d}' % number])


def bin_targets(file: bytes) -> Entries:
    """The rendered targets in a bin's file, which `bin_payload` and `signed_file` made."""
    opening = b'"targets":{'
    return Entries(file, file.index(opening) + len(opening), file.rindex(b'},"version":'))


class SnapshotTable:
    """The bins that a snapshot lists, rendered in advance: every publication joins all of them, for instance 16,384.

    Retired bins stay at their last version: a snapshot never drops a name (TUF 1.0.34, section 5.5.5). `entries` has
    all bins, retired ones too, by role name.
    """

    def __init__(self, entries: Mapping[str, RoleEntry]) -> None:
        self.reset(entries)

    def reset(self, entries: Mapping[str, RoleEntry]) -> None:
        """Forget everything and set the entries of bins by role name."""
        self.entries: dict[str, RoleEntry] = {}
        self._fragments: dict[str, bytes] = {}
        self._blocks: list[list[str]] = []
        self._block_of: dict[str, int] = {}
        self._joined: list[bytes] = []
        self.update(entries)

    def update(self, entries: Mapping[str, RoleEntry]) -> None:
        """Set the entries of bins by role name."""
        self.entries.update(entries)
        self._render(entries)

    def _render(self, entries: Mapping[str, RoleEntry]) -> None:
        known, changed = len(self._fragments), set[str]()
        for name, entry in entries.items():
            length = b'"length":%d,' % entry.length if entry.length > LENGTH_ABOVE_BYTES else b""
            filename = f"{name}.json"
            fragment = b'"%s":{%s"version":%d}' % (filename.encode(), length, entry.version)
            if self._fragments.get(filename) != fragment:
                self._fragments[filename] = fragment
                changed.add(filename)
        if len(self._fragments) != known:
            self._arrange()
            changed = set(self._fragments)
        for at in {self._block_of[filename] for filename in changed}:
            self._joined[at] = b",".join([self._fragments[filename] for filename in self._blocks[at]])

    def _arrange(self) -> None:
        """Cut all names, sorted, into blocks. A publication of few bins joins few blocks anew."""
        order = sorted(self._fragments)
        self._blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
        self._block_of = {filename: at for at, names in enumerate(self._blocks) for filename in names}
        self._joined = [b""] * len(self._blocks)

    def payload(self, claim: Claim, authority: Authority, content_size: int) -> bytes:
        """The signed part of the snapshot (TUF 1.0.34, section 4.4); `x-ledger` binds it to the log."""
        offline = (authority.bins, authority.targets)
        self._render({document.role: RoleEntry(document.version, document.expires) for document in offline})
        return (
            b'{"_type":"snapshot","expires":"%s","meta":{%s},"spec_version":"%s","version":%d,'
            b'"x-ledger":{"content_size":%d,"origin":"%s","root_hash":"%s","size":%d}}'
        ) % (
            expires_at(claim.time, authority.settings.snapshot_expiry_seconds).encode(),
            b",".join(self._joined),
            SPEC_VERSION.encode(),
            claim.number,
            content_size,
            claim.origin.encode(),
            claim.root_hash.encode(),
            claim.size,
        )


def timestamp_payload(claim: Claim, publication: Publication, authority: Authority) -> bytes:
    """The signed part of the timestamp (TUF 1.0.34, section 4.6), a function of both records.

    Its signatures are the seal of the publication.
    """
    digest, length, _ = publication.snapshot
    signed_sha256 = sha256(encode_signed(publication)).hexdigest()
    return render_timestamp(claim, SnapshotFile(b64decode(digest).hex(), length), signed_sha256, authority)


class SnapshotFile(NamedTuple):
    """What a timestamp says of the snapshot's file: its SHA-256, hexadecimal, and its length."""

    sha256: str
    length: int


def render_timestamp(claim: Claim, snapshot: SnapshotFile, signed_sha256: str, authority: Authority) -> bytes:
    """`timestamp_payload`, given the SHA-256 of the signed part of the publication's record instead of the record."""
    return (
        b'{"_type":"timestamp","expires":"%s","meta":{"snapshot.json":{"hashes":{"sha256":"%s"},"length":%d,'
        b'"version":%d}},"spec_version":"%s","version":%d,"x-publication":"%s"}'
    ) % (
        expires_at(claim.time, authority.settings.timestamp_expiry_seconds).encode(),
        snapshot.sha256.encode(),
        snapshot.length,
        claim.number,
        SPEC_VERSION.encode(),
        claim.number,
        signed_sha256.encode(),
    )


def signed_file(payload: bytes, signatures: Mapping[str, str]) -> bytes:
    """A metadata file as served: the signed part with signatures (hexadecimal, by key id) in the order of key ids."""
    parts = [
        b'{"keyid":"%s","sig":"%s"}' % (keyid.encode(), signature.encode())
        for keyid, signature in sorted(signatures.items())
    ]
    return b"".join((b'{"signatures":[', b",".join(parts), b'],"signed":', payload, b"}"))


def pack_signatures(keys: RoleKeys, signatures: Mapping[str, str]) -> tuple[str, ...]:
    """Signatures (hexadecimal, by key id) as a publication holds them: base64, one for each key of the role."""
    return tuple(b64encode(bytes.fromhex(signatures.get(keyid, ""))).decode() for keyid in keys.keyids)


def unpack_signatures(keys: RoleKeys, packed: Sequence[str]) -> dict[str, str]:
    """The inverse of `pack_signatures`.

    Raises:
        ValueError: there are more or fewer strings than keys, or a string is not base64.
    """
    pairs = zip(keys.keyids, packed, strict=True)
    return {keyid: b64decode(text, validate=True).hex() for keyid, text in pairs if text}


def pack_digest(file: bytes) -> str:
    """The SHA-256 of a file as a publication holds it."""
    return b64encode(sha256(file).digest()).decode()


def pack_sha256(digest: str) -> str:
    """A hexadecimal SHA-256 as a publication holds it."""
    return b64encode(bytes.fromhex(digest)).decode()
