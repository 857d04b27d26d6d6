"""Reading records without regard to earlier ones: they are decoded, digested, and routed to aggregates."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from projections.log.envelopes import Envelope, envelope_of
from projections.log.merkle import LEAF_BYTES, leaf_hash, record_digest
from projections.log.operations import Operation, operation_of, project_key, upload_of
from schemas import events
from schemas.codec import Rejection, decode_event
from schemas.plain_uploads import decode_plain_upload


# `gc=False`: there are millions, and texts and numbers make no cycles.
class Routed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The operation of a well-formed event, on its way to the aggregate that judges it."""

    key: str
    index: int
    digest: str
    operation: Operation


class Other(msgspec.Struct, frozen=True, array_like=True):
    """A record that the prefix judges: an event about the ledger itself, or an unreadable record."""

    index: int
    digest: str
    event: events.Event | Rejection


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """A slice of a log, read without regard to earlier records.

    Reading takes most of the time, and can be done for many slices side by side.

    `start` is the index of the first record. `leaves` are the joined Merkle leaves of the records. `last_digest` is the
    digest of the last record, or empty if it is not known.
    """

    start: int
    leaves: bytes
    routed: list[Routed]
    others: list[Other]
    last_digest: str

    @property
    def end(self) -> int:
        """The index after the last record."""
        return self.start + len(self.leaves) // LEAF_BYTES

    def between(self, first: int, last: int) -> "Reading":
        """The part of this reading from one index (inclusive) to another (exclusive)."""
        if (first, last) == (self.start, self.end):
            return self
        routed = _between(self.routed, first, last)
        others = _between(self.others, first, last)
        ends: list[Routed | Other] = [*routed[-1:], *others[-1:]]
        last_digest = next((item.digest for item in ends if item.index == last - 1), "")
        leaves = self.leaves[(first - self.start) * LEAF_BYTES : (last - self.start) * LEAF_BYTES]
        return Reading(first, leaves, routed, others, last_digest)


_Indexed = TypeVar("_Indexed", Routed, Other)


def _index_of(item: Routed | Other) -> int:
    return item.index


def _between(items: list[_Indexed], first: int, last: int) -> list[_Indexed]:
    return items[bisect_left(items, first, key=_index_of) : bisect_left(items, last, key=_index_of)]


def read_records(start: int, values: Sequence[bytes | None], envelopes: list[Envelope | None] | None = None) -> Reading:
    """Decode records.

    Args:
        start: the index of the first.
        values: the records.
        envelopes: gets the envelope of each record, None where it is no event. Without a list nobody pays for them.
    """
    leaves = b"".join(map(leaf_hash, values))
    routed: list[Routed] = []
    others: list[Other] = []
    for index, value in enumerate(values, start):
        digest = record_digest(value)
        upload = decode_plain_upload(value) if index else None
        if upload is not None:
            routed.append(Routed(project_key(upload.subject), index, digest, upload_of(upload)))
            if envelopes is not None:
                envelopes.append(envelope_of(upload))
            continue
        event = decode_event(value)
        if envelopes is not None:
            envelopes.append(envelope_of(event))
        found = operation_of(event) if isinstance(event, events.BaseEvent) and index else None
        if found is None:
            others.append(Other(index, digest, event))
        else:
            routed.append(Routed(found[0], index, digest, found[1]))
    return Reading(start, leaves, routed, others, record_digest(values[-1]) if values else "")
