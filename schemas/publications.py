"""The records of the `publications` log: claims and publications, written by the signer alone.

A *claim* takes the next number before anything is signed; the *publication* that completes it carries digest and
signatures of every role that it signs. Between them they hold only what cannot be computed from the events.

Both are canonical JSON (`schemas.canonical.encode`), byte for byte: the same content has one form, so nobody without a
key can write a second, different record that says the same.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.fields import Identifier, Instant, Length, Number, Origin, Sha256, Size

MAX_PUBLICATION_BYTES = 16 * 2**20
"""Longest record in bytes: 65,536 bins make about 10.4 MB."""

HexSignature = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})+(?!\n)$", max_length=4096)]
Base64Digest = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=(?!\n)$", description="SHA-256, base64.")]
Base64Signature = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9+/]*={0,2}(?!\n)$",
        max_length=2732,
        description="Signature, base64; empty where that key did not sign.",
    ),
]


class Seal(Struct, frozen=True, kw_only=True):
    """One signature of a seal, in TUF's form (TUF 1.0.34, section 4.2.1)."""

    keyid: Sha256
    sig: HexSignature


Format = Annotated[Literal[1], Meta(description="Format of both records; another format is another ruleset.")]


class Claim(Struct, frozen=True, kw_only=True, tag_field="type", tag="claim"):
    """The intent to publish, as number `number`, the repository that the first `size` events make.

    `previous` is the SHA-256 of the last publication's record (for the first, of record 0 of `events`); `root_hash` the
    Merkle root (RFC 6962) of the first `size` events; `renew` names the bins to sign although nothing in them changed.
    """

    format: Format
    origin: Origin
    number: Number
    previous: Sha256
    time: Instant
    size: Size
    root_hash: Sha256
    renew: tuple[Identifier, ...]


class Publication(Struct, frozen=True, kw_only=True, tag_field="type", tag="publication"):
    """What was signed under a claim.

    `claim` is the SHA-256 of the claim's record. Each entry of `roles` is the bin's name, the SHA-256 of its whole
    file as served, and one signature for each of the role's key ids in sorted order, empty where that key did not
    sign; `snapshot` is the same with the file's length in place of the name. Digests and signatures are base64: in
    hexadecimal the 16,384 bins of a key rotation would be 3.7 MB instead of 2.6.
    """

    format: Format
    number: Number
    claim: Sha256
    roles: tuple[tuple[Identifier, Base64Digest, tuple[Base64Signature, ...]], ...]
    snapshot: tuple[Base64Digest, Length, tuple[Base64Signature, ...]]


class Record(Struct, frozen=True, kw_only=True):
    """A record as it stands on the log.

    A claim is sealed by signatures over its canonical JSON. A publication is sealed by the signatures of its timestamp,
    which is a function of both records and holds the digest of the publication's canonical JSON in `x-publication`.
    """

    signatures: tuple[Seal, ...]
    signed: Claim | Publication
