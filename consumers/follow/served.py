"""Comparison of the served timestamp with the log."""

from hashlib import sha256

from consumers.follow.follower import Follower
from consumers.reading.publications import ValidPublication
from consumers.render.outlets import served_version
from schemas.errors import DisagreementError


class ServedAheadError(DisagreementError):
    """The served timestamp is not on the log, or no longer: going on would publish versions twice."""


async def is_on_log(timestamp: bytes | None, follower: Follower) -> bool:
    """Whether a served timestamp, read before the log, is on the log: already applied by a follower, or still to come.

    Publications still to come are judged, not rendered. A publication that a root voids does not count.
    """
    version = served_version(timestamp)
    if 0 < version <= follower.head.number:
        published = await follower.publication(version)
        return published is not None and published.timestamp_sha256 == _digest(timestamp)
    return version > 0 and await _will_come(version, timestamp, follower)


async def _will_come(version: int, timestamp: bytes | None, follower: Follower) -> bool:
    reader = follower.reader
    before, end = reader.state, await follower.tail.read_on()
    try:
        while (found := await reader.next()) is not None:
            if not isinstance(found, ValidPublication):
                continue
            number = found.claim.number
            voided = end.authority.void_for(number, found.digest) if end.authority else None
            if voided is not None:
                reader.void(voided)
            elif number < version:
                reader.accept(found)
            else:
                return number == version and found.timestamp() == timestamp
    finally:
        reader.state = before
    return False


async def check_not_ahead(timestamp: bytes | None, follower: Follower, *, above: int) -> None:
    """Make sure that a served timestamp is on the log, unless an operator resumed above it.

    Raises:
        ServedAheadError: the timestamp is not on the log.
    """
    version = served_version(timestamp)
    if version == 0 or version <= above:
        return
    advice = (
        "Was the log restored from a backup? Further signing would publish versions again, with other bytes than "
        "clients have seen. See docs/operators.md, 'A log was rolled back', before you go on with "
        f"`tuf-ledger resume --above {version}`"
    )
    if version > follower.head.number:
        raise ServedAheadError(
            f"the served timestamp has version {version}, but the log's last publication is number "
            f"{follower.head.number}. {advice}"
        )
    published = await follower.publication(version)
    if published is None or published.timestamp_sha256 != _digest(timestamp):
        raise ServedAheadError(f"the served timestamp has version {version}, but other bytes than the log's. {advice}")


def _digest(timestamp: bytes | None) -> str:
    return sha256(timestamp or b"").hexdigest()
