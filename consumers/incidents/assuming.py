"""What it means if a key or a right counts as lost: after the table "Role compromise" of PEP 458, for this ledger.

For each loss: whether clients can be given malicious updates, whether they can be kept from newer ones (a freeze),
until when, how it shows, and what ends it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from consumers.incidents.losing import KeyBound
from projections.roles.authority import Authority
from projections.roles.keys import RoleKeys


class Assumption(msgspec.Struct, frozen=True):
    """What a loss means.

    Attributes:
        lost: what counts as lost.
        updates: whether clients can be given malicious updates.
        freeze: whether clients can be kept from newer ones.
        until: until when clients believe it, if time ends it.
        shows: how it shows.
        remedy: what ends it.
    """

    lost: str
    updates: str
    freeze: str
    until: str | None
    shows: str
    remedy: str


def assumptions(authority: Authority, bounds: Sequence[KeyBound], frozen_until: str | None) -> tuple[Assumption, ...]:
    """What each loss means now.

    Args:
        authority: the offline roles at the end of the log.
        bounds: the bounds of the online keys that matter for an incident.
        frozen_until: until when a frozen mirror could show what suspects brought.
    """
    roots, targets, bins = authority.root_keys, authority.targets, authority.bins
    online_until = max((each.until for each in bounds if each.until is not None), default=None)
    return (
        Assumption(
            "a credential of the index (an account, a token, a publisher)",
            "yes: what it may upload is signed like everything else, under its own name on the log",
            "no",
            frozen_until,
            "the log has every act, with actor and credential; nothing is hidden",
            "revoke it, and carry out the plan; clients follow with the next publication",
        ),
        Assumption(
            "the index itself, or its right to write events",
            "yes: also under names of others; actors, credentials and times of its events are not to be believed",
            "no: a hold stops what is shown, offline keys end holds of a thief",
            frozen_until,
            "events whose own time lies outside of their publication; actors who deny it",
            "replace the right, and select by publications instead of by actors (--since, --until, --events)",
        ),
        Assumption(
            "the administrator of the logs (Kafka)",
            "as the index: they can write events as anybody; they cannot sign",
            "yes: they can withhold, cut off and rewrite the logs",
            frozen_until,
            "consumers halt at a rewritten record; verify and proofs show that a log is not the signed one",
            "restore both logs from a copy that verifies; whoever followed them holds one",
        ),
        Assumption(
            f"{_count(authority.online, 'online key')} (bins, snapshot, timestamp)",
            "yes: they sign any files and pages, outside of the log",
            "yes",
            online_until,
            "verify and compare say FORGED of whatever was signed outside of the log",
            "replace the online key by a ceremony of root, targets and bins, with a floor above all that was signed",
        ),
        Assumption(
            "one offline key, below its threshold",
            "no",
            "no",
            None,
            "nothing shows",
            "replace it with the next ceremony: the others are as strong as the threshold without it",
        ),
        Assumption(
            f"{_threshold(authority.root.signed, 'targets')}, or as many of bins",
            "no, as long as no online key is lost, too: timestamp and snapshot need to cooperate",
            "no",
            min(targets.expires, bins.expires),
            "documents that no ceremony on the log has: compare says who signed them",
            "root replaces the targets keys, targets those of bins, in one ceremony",
        ),
        Assumption(
            _count(roots, "root key"),
            "yes: they name all other keys",
            "yes",
            None,
            "a root that no ceremony on the log has",
            "no metadata ends it: clients need a new first root by another way than this index",
        ),
    )


def _count(keys: RoleKeys, what: str) -> str:
    return _of(keys.threshold, len(keys.keyids), what)


def _threshold(root: dict[str, Any], role: str) -> str:
    listed = root["roles"][role]
    return _of(listed["threshold"], len(listed["keyids"]), f"{role} key")


def _of(threshold: int, count: int, what: str) -> str:
    return f"the {what}" if count == 1 else f"{threshold} of the {count} {what}s"
