"""What somebody knows of an earlier time, and the check that nothing up to then was rewritten.

    a snapshot                          the Merkle root of all events that it covers (its `x-ledger`)
    a timestamp                         the digest of its publication, and so of the snapshot and the claim
    a saved answer of `verify --json`   the Merkle root, and the digest of the last publication's record

The Merkle root decides about the events (RFC 6962, section 2.1): verification reads and hashes all of them. About the
publications decides their chain: each claim names the record of the publication before.
"""

from hashlib import sha256
from typing import NamedTuple

import msgspec
import orjson

from consumers.follow.follower import Follower
from ledger.config import ConfigError
from schemas import canonical
from schemas.errors import NegativeAnswerError
from schemas.fields import Number, Origin, Sha256, Size


class Since(NamedTuple):
    """The publication up to which nothing was rewritten, and how many events it covers."""

    publication: int
    size: int


class Earlier(NamedTuple):
    """What a file says of an earlier time; empty where it says nothing.

    `digests` are those of the file itself, as it is and in canonical form: somebody may have stored it with spaces.
    """

    number: int
    size: int = 0
    root_hash: str = ""
    origin: str = ""
    ledger: str = ""
    record_digest: str = ""
    metadata: str = ""
    digests: frozenset[str] = frozenset()


class _Answer(msgspec.Struct, frozen=True):
    ledger: Sha256
    last: Number
    size: Size
    root_hash: Sha256
    digest: Sha256


class _Covered(msgspec.Struct, frozen=True):
    origin: Origin
    size: Size
    root_hash: Sha256


class _Snapshot(msgspec.Struct, frozen=True, rename={"covered": "x-ledger"}, tag_field="_type", tag="snapshot"):
    version: Number
    covered: _Covered


class _Timestamp(msgspec.Struct, frozen=True, tag_field="_type", tag="timestamp"):
    version: Number


class _Metadata(msgspec.Struct, frozen=True):
    signed: _Snapshot | _Timestamp


def read_earlier(file: bytes) -> Earlier:
    """Read what a file says of an earlier time.

    Raises:
        ConfigError: the file is none of the three kinds.
    """
    try:
        value = orjson.loads(file)
        if isinstance(value, dict) and "signed" in value:
            return _of_metadata(file, msgspec.convert(value, _Metadata).signed, canonical.encode(value))
        answer = msgspec.convert(value, _Answer)
    except ValueError as error:
        raise ConfigError(
            "--since: the file must be a snapshot, a timestamp, or a saved answer of `verify --json`"
        ) from error
    return Earlier(answer.last, answer.size, answer.root_hash, ledger=answer.ledger, record_digest=answer.digest)


def _of_metadata(file: bytes, signed: _Snapshot | _Timestamp, encoded: bytes) -> Earlier:
    digests = frozenset(sha256(each).hexdigest() for each in (file, encoded))
    if isinstance(signed, _Timestamp):
        return Earlier(signed.version, metadata="timestamp", digests=digests)
    origin, size, root_hash = signed.covered.origin, signed.covered.size, signed.covered.root_hash
    return Earlier(signed.version, size, root_hash, origin, metadata="snapshot", digests=digests)


async def check_events(earlier: Earlier, follower: Follower) -> None:
    """Check that the log begins with the events of an earlier time. The follower has not applied anything yet.

    Raises:
        NegativeAnswerError: the events are of another ledger, too few, or others.
    """
    ledger, tail = follower.ledger, follower.tail
    if earlier.ledger not in {"", ledger.digest} or earlier.origin not in {"", ledger.origin}:
        raise NegativeAnswerError("--since: the file is of another ledger")
    if earlier.size == 0:
        return
    if not await tail.reach(earlier.size):
        raise NegativeAnswerError(
            f"--since: the log has lost events. It has {tail.end.size}, and the file is of {earlier.size}. See "
            "docs/operators.md, 'A log was rolled back'"
        )
    found = (await tail.prefix_at(earlier.size)).tree.root_hash()
    if found != earlier.root_hash:
        raise NegativeAnswerError(
            f"--since: the first {earlier.size} events are not those that they were. Their Merkle root is {found}, and "
            f"the file has {earlier.root_hash}"
        )


async def check_publication(earlier: Earlier, follower: Follower) -> Since:
    """Check that the log has the publication of an earlier time. The follower has applied everything.

    Raises:
        NegativeAnswerError: the publication is missing, or another one.
    """
    published = await follower.publication(earlier.number)
    if published is None:
        raise NegativeAnswerError(f"--since: publication {earlier.number} is none of those that were verified")
    if earlier.metadata:
        of_log = published.snapshot_sha256 if earlier.metadata == "snapshot" else published.timestamp_sha256
        is_same = of_log in earlier.digests
    else:
        is_same = (earlier.record_digest, earlier.size) == (published.digest, published.size)
    if not is_same:
        raise NegativeAnswerError(
            f"--since: publication {earlier.number} is not the one that it was, or the file was never the log's"
        )
    return Since(earlier.number, published.size)
