"""What is served, held against the log."""

from hashlib import sha256

from consumers.follower import Follower
from consumers.outlets import served_version


class ServedAheadError(Exception):
    """What is served is not, or no longer, on the log: going on would use versions twice."""


async def check_not_ahead(timestamp: bytes | None, follower: Follower, *, above: int) -> None:
    """Make sure that a served timestamp is one of the log, unless an operator resumed above it.

    Raises:
        ServedAheadError: it is not.
    """
    version = served_version(timestamp)
    if version == 0 or version <= above:
        return
    advice = (
        "Was the log restored from a backup? Signing on would give versions that clients have seen another content. "
        f"See docs/operators.md, 'A log was rolled back': `tuf-ledger resume --above {version}` is the way on"
    )
    if version > follower.head.number:
        raise ServedAheadError(
            f"the served timestamp has version {version}, and the log's last publication is number "
            f"{follower.head.number}. {advice}"
        )
    published = await follower.publication(version)
    if published is not None and published.timestamp_sha256 != sha256(timestamp or b"").hexdigest():
        raise ServedAheadError(f"the served timestamp of version {version} is not the one on the log. {advice}")
