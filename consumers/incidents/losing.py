"""What a lost key can still do: until when clients believe it."""

import msgspec

from consumers.catalog.keys import ALL_BINS
from ledger.catalog import ceremonies
from ledger.catalog.database import Connection


class KeyBound(msgspec.Struct, frozen=True):
    """Until when a client can be shown anything that a key of the online roles signs.

    A client that is kept from newer roots believes the last root that lists the key. `until` is when the last offline
    roles that list it expire: the least of the greatest expiries among the roots and the versions of bins that list it,
    and of all versions of targets, which online keys cannot sign. None: no offline roles ever listed the key as online.
    As many online keys must be lost as `threshold` says, the lowest one of these roots.
    """

    keyid: str
    until: str | None
    threshold: int


def bound_of_key(connection: Connection, keyid: str) -> KeyBound:
    """What the loss of a key means, by all offline roles on the log."""
    listings = [each for each in ceremonies.listings_of(connection, keyid) if each.role in {"timestamp", ALL_BINS}]
    by_root = {each.idx for each in listings if each.role == "timestamp"}
    by_bins = {each.idx for each in listings if each.role == ALL_BINS}
    roots = [each.expires for each in ceremonies.documents_of(connection, "root") if each.idx in by_root]
    bins = [each.expires for each in ceremonies.documents_of(connection, "bins") if each.idx in by_bins]
    if not roots or not bins:
        return KeyBound(keyid, None, 0)
    targets = [each.expires for each in ceremonies.documents_of(connection, "targets")]
    threshold = min(each.threshold for each in listings)
    return KeyBound(keyid, min(max(roots), max(targets), max(bins)), threshold)
