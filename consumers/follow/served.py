"""Served timestamps that are not the log's: what a signer must not go on from, and what consumers tell."""

from hashlib import sha256

import structlog

from consumers.follow.examining import Examiner
from consumers.follow.follower import Follower
from consumers.render.outlets import served_version
from projections.metadata.paths import TIMESTAMP
from schemas.errors import DisagreementError

log = structlog.get_logger()


class ServedAheadError(DisagreementError):
    """The served timestamp is not on the log, or no longer: going on would publish versions twice."""


class ForgedError(ServedAheadError):
    """Keys of this ledger signed what is served, and the log does not have it."""


async def check_not_ahead(timestamp: bytes | None, follower: Follower, *, above: int, lost: int) -> None:
    """Make sure that what clients have seen is on the log, unless an operator resumed above it.

    Args:
        timestamp: the served timestamp, read before the log.
        follower: a follower that has caught up.
        above: the number that `tuf-ledger resume` set.
        lost: the last publication that a restore knows to be lost; 0: none.

    Raises:
        ForgedError: keys of this ledger signed the timestamp, and it is not on the log.
        ServedAheadError: the timestamp is not on the log for another reason, or publications are lost.
    """
    if lost > max(above, follower.head.number):
        raise ServedAheadError(
            f"clients have seen publication {lost}, and the log, as it was restored, ends with {follower.head.number}. "
            "Nothing is signed: go through docs/operators.md, 'A log was rolled back'"
        )
    version = served_version(timestamp)
    if version <= above:
        return
    examiner = Examiner(follower)
    finding = await examiner.examine_timestamp(timestamp)
    if finding is None:
        return
    number = follower.head.number
    than = f"the log's last publication is number {number}" if version > number else "other bytes than the log's"
    what = f"the served timestamp has version {version}, but {than}. It is {finding.detail}. Nothing is signed"
    advice = await examiner.advice(finding)
    if finding.kind == "published":
        raise ServedAheadError(f"{what}. {advice}")
    # From the log alone, a publication that the log has lost looks like one that was signed outside of it.
    restored = "Was this log restored from an older copy? Then see docs/operators.md, 'A log was rolled back'. If not: "
    kind = ServedAheadError if finding.kind == "unsigned" else ForgedError
    raise kind(f"{what}. {restored}{advice}", keyids=list(finding.keyids))


class TimestampWatch:
    """Tells, once, of each served timestamp that is not the log's. Used by one task."""

    def __init__(self, follower: Follower) -> None:
        self._examiner = Examiner(follower)
        self._seen = ""

    async def look(self, timestamp: bytes | None) -> None:
        """Examine a served timestamp that was read just now."""
        digest = sha256(timestamp or b"").hexdigest()
        if digest == self._seen:
            return
        finding = await self._examiner.examine_timestamp(timestamp)
        self._seen = digest
        if finding is None:
            return
        log.error(
            "the served timestamp is not the log's",
            path=TIMESTAMP,
            served=served_version(timestamp),
            publication=self._examiner.follower.head.number,
            why=finding.detail,
            advice=await self._examiner.advice(finding),
        )
