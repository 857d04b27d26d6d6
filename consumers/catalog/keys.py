"""Who could sign what: the roles that listed a key, and what it signed."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import orjson

from consumers.catalog.filling import load_authority
from ledger.catalog import ceremonies
from ledger.catalog.ceremonies import KeyRow
from ledger.catalog.database import Connection

ALL_BINS = "bin"
"""What the roles of all bins are called where keys are listed."""

_LISTED_IN = {"bins": "targets", ALL_BINS: "bins"}
"""The offline role that lists the keys of a role; for all others it is root."""

_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class KeySpan(NamedTuple):
    """That a role listed a key, from the ceremony at one index until the one at another (None: it still does)."""

    role: str
    since: int
    until: int | None


class KeyAnswer(NamedTuple):
    """A key, the roles that listed it, and how many versions of which role it signed."""

    key: KeyRow
    spans: Sequence[KeySpan]
    signed: dict[str, int]


def find_key(connection: Connection, beginning: str) -> list[KeyRow]:
    """The keys whose id begins with a text."""
    return ceremonies.keys_beginning(connection, beginning)


def spans_of(connection: Connection, keyid: str) -> list[KeySpan]:
    """The roles that listed a key, in order of the ceremonies."""
    listed: dict[str, set[int]] = {}
    for each in ceremonies.listings_of(connection, keyid):
        listed.setdefault(each.role, set()).add(each.idx)
    found = []
    for role, indices in listed.items():
        since: int | None = None
        for index in ceremonies.ceremonies_with(connection, _LISTED_IN.get(role, "root")):
            if index in indices:
                since = index if since is None else since
            elif since is not None:
                found.append(KeySpan(role, since, index))
                since = None
        if since is not None:
            found.append(KeySpan(role, since, None))
    return sorted(found, key=lambda each: (each.since, each.role))


def answer_key(connection: Connection, key: KeyRow) -> KeyAnswer:
    """All about one key."""
    spans = spans_of(connection, key.keyid)
    signed = _signed_offline(connection, key.keyid, spans)
    signed |= _signed_online(connection, key.keyid) if any(each.role == "timestamp" for each in spans) else {}
    return KeyAnswer(key, spans, {role: count for role, count in signed.items() if count})


def signers_of(document: bytes) -> list[str]:
    """The ids of the keys that signed an offline role."""
    return [each["keyid"] for each in orjson.loads(document)["signatures"] if each["sig"]]


def _signed_offline(connection: Connection, keyid: str, spans: Sequence[KeySpan]) -> dict[str, int]:
    roles = sorted({each.role for each in spans} & {"root", "targets", "bins"})
    return {
        role: sum(keyid in signers_of(each.file) for each in ceremonies.documents_of(connection, role))
        for role in roles
    }


def _signed_online(connection: Connection, keyid: str) -> dict[str, int]:
    """Each publication is a version of snapshot and timestamp, and of the bins that it signed."""
    counts = {"timestamp": 0, "snapshot": 0, ALL_BINS: 0}
    for under in ceremonies.signed_under(connection):
        online = load_authority(connection, under.roles_idx).online
        if keyid not in online.keyids:
            continue
        if online.threshold == len(online.keyids):  # then all of them signed everything
            some = {"timestamp": under.publications, "snapshot": under.publications, ALL_BINS: under.bins}
        else:
            some = _count(connection, under.roles_idx, online.keyids.index(keyid))
        counts = {role: count + some[role] for role, count in counts.items()}
    return counts


def _count(connection: Connection, roles_idx: int, place: int) -> dict[str, int]:
    """Count the signatures at a place among the keys, in all publications under the roles of a ceremony."""
    counts = {"timestamp": 0, "snapshot": 0, ALL_BINS: 0}
    first, last = ceremonies.publications_under(connection, roles_idx)
    for number, name in ceremonies.signed_roles(connection):
        found = ceremonies.signatures_of(connection, number, first, last + 1)
        counts[name if name in counts else ALL_BINS] += sum(bool(_unpack(each)[place]) for each in found)
    return counts
