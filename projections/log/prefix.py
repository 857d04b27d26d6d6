"""What the first `size` records of the `events` log decide by themselves, before any project is folded.

A prefix of the log has a Merkle root, offline roles in force, and holds on signing. That is all it takes to judge
whether a claim or a publication is valid. Everything else is local to one aggregate, and `Prefix.extend` says to which.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import TypeVar

import msgspec

from projections.log.merkle import LEAF_BYTES, Tree, leaf_hash, record_digest, split_leaves
from projections.log.operations import Operation, operation_of, project_key, type_of, upload_of
from projections.outcomes import ACCEPTED, Judged, Outcome, no_effect, rejected
from projections.roles.authority import Authority, judge_ceremony
from projections.roles.documents import Document
from schemas import events
from schemas.codec import Rejection, decode_event
from schemas.plain_uploads import decode_plain_upload


class NotALedgerError(Exception):
    """Record 0 is not `ledger.created`: this log is not a ledger's."""


class Ledger(msgspec.Struct, frozen=True, array_like=True):
    """A ledger's identity: the digest of record 0, and what that says."""

    digest: str
    origin: str
    root_sha256: str


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A `signing.held` event: nothing beyond the first `size` records, until it is released."""

    size: int
    released: bool = False


# `gc=False`: there are millions, and texts and numbers make no cycles.
class Routed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a well-formed event asks, on its way to the aggregate that will judge it."""

    key: str
    index: int
    digest: str
    operation: Operation


class Ceremony(msgspec.Struct, frozen=True, array_like=True):
    """The new documents of an accepted ceremony, with the index of its event."""

    index: int
    documents: tuple[Document, ...]


class Extension(msgspec.Struct, frozen=True):
    """What records added to a prefix: events for aggregates, records that were judged already, accepted ceremonies."""

    routed: list[Routed]
    judged: list[Judged]
    ceremonies: list[Ceremony]


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a prefix. It is a value: extending it gives another. `last_digest` is that of its last record."""

    ledger: Ledger | None = None
    tree: Tree = Tree()
    last_digest: str = ""
    authority: Authority | None = None
    holds: Mapping[str, Hold] = {}
    signing_ids: Mapping[str, str] = {}

    @property
    def size(self) -> int:
        """Number of records."""
        return self.tree.size

    @property
    def held_at(self) -> int | None:
        """The lowest size beyond which nothing is to be claimed, or None."""
        return min((hold.size for hold in self.holds.values() if not hold.released), default=None)

    def extend(self, values: Sequence[bytes | None]) -> tuple["Prefix", Extension]:
        """Append records.

        Raises:
            NotALedgerError: record 0 is not `ledger.created`.
            UpgradeNeededError: a root names a ruleset that is not known here.
        """
        return self.advance(read_records(self.size, values))

    def advance(self, reading: "Reading") -> tuple["Prefix", Extension]:
        """Append records that were read beforehand, from this size on. Raises as `extend` does."""
        judge = _Judge(self)
        for other in reading.others:
            judge.judge(other)
        routed = reading.routed
        if self.authority is None:
            early = [item for item in routed if item.index < judge.routed_from]
            routed = [item for item in routed if item.index >= judge.routed_from]
            judge.judged.extend(Judged(item.index, item.digest, item.operation.type, _NO_ROOT) for item in early)
            judge.judged.sort(key=lambda judged: judged.index)
        prefix = Prefix(
            ledger=judge.ledger,
            tree=self.tree.append(split_leaves(reading.leaves)),
            last_digest=reading.last_digest if reading.leaves else self.last_digest,
            authority=judge.authority,
            holds=judge.holds,
            signing_ids=judge.signing_ids,
        )
        return prefix, Extension(routed, judge.judged, judge.ceremonies)


class Other(msgspec.Struct, frozen=True, array_like=True):
    """A record that the prefix judges: one about the ledger itself, or none that can be read."""

    index: int
    digest: str
    event: events.Event | Rejection


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """What records say by themselves, whatever stands before them. To find that out is what takes time, and can be done
    for many slices of a log side by side.

    `start` is the index of the first; `leaves` are their Merkle leaves, joined; `last_digest` is that of the last, and
    empty if that is not known.
    """

    start: int
    leaves: bytes
    routed: list[Routed]
    others: list[Other]
    last_digest: str

    @property
    def end(self) -> int:
        """The index behind the last record."""
        return self.start + len(self.leaves) // LEAF_BYTES

    def part(self, first: int, last: int) -> "Reading":
        """What the records from one index to another say."""
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


def read_records(start: int, values: Sequence[bytes | None]) -> Reading:
    """Decode records, of which the first has the index `start`."""
    leaves = b"".join(map(leaf_hash, values))
    routed: list[Routed] = []
    others: list[Other] = []
    for index, value in enumerate(values, start):
        digest = record_digest(value)
        upload = decode_plain_upload(value) if index else None
        if upload is not None:
            routed.append(Routed(project_key(upload.subject), index, digest, upload_of(upload)))
            continue
        event = decode_event(value)
        found = operation_of(event) if isinstance(event, events.BaseEvent) and index else None
        if found is None:
            others.append(Other(index, digest, event))
        else:
            routed.append(Routed(found[0], index, digest, found[1]))
    return Reading(start, leaves, routed, others, record_digest(values[-1]) if values else "")


_NO_ROOT = rejected("no-root", "no root is in force yet")


class _Judge:
    """Judges what is for the prefix to judge."""

    def __init__(self, prefix: Prefix) -> None:
        self.ledger = prefix.ledger
        self.authority = prefix.authority
        self.holds = dict(prefix.holds)
        self.signing_ids = dict(prefix.signing_ids)
        self.judged: list[Judged] = []
        self.ceremonies: list[Ceremony] = []
        self._index = 0

    @property
    def routed_from(self) -> float:
        """From which index on events go to their aggregates, if none did before: the one after the first root's."""
        return self.ceremonies[0].index + 1 if self.ceremonies else inf

    def judge(self, other: Other) -> None:
        """Judge a record."""
        self._index = other.index
        outcome = self._judge(other.event, other.digest)
        kind = type_of(type(other.event)) if isinstance(other.event, events.BaseEvent) else ""
        self.judged.append(Judged(other.index, other.digest, kind, outcome))

    def _judge(self, event: events.BaseEvent | Rejection, digest: str) -> Outcome:
        if self._index == 0:
            return self._created(event, digest)
        if isinstance(event, Rejection):
            return rejected(*event)
        if isinstance(event, events.LedgerCreated):
            return rejected("not-first", "`ledger.created` is record 0 and nowhere else")
        if isinstance(event, events.RolesSigned):
            return self._roles_signed(event)
        if self.authority is None:
            return _NO_ROOT
        return self._signing(event, digest)

    def _created(self, event: events.BaseEvent | Rejection, digest: str) -> Outcome:
        if not isinstance(event, events.LedgerCreated):
            detail = f": {rejected(*event).detail}" if isinstance(event, Rejection) else ""
            raise NotALedgerError(f"record 0 of the events log is not `ledger.created`{detail}. Is this the right log?")
        self.ledger = Ledger(digest, event.data.origin, event.data.root_sha256)
        return ACCEPTED

    def _roles_signed(self, event: events.RolesSigned) -> Outcome:
        root_sha256 = self.ledger.root_sha256 if self.ledger else ""
        ceremony = judge_ceremony(self.authority, root_sha256, event.data.roles, self._index + 1)
        if ceremony.documents:
            self.ceremonies.append(Ceremony(self._index, ceremony.documents))
        self.authority = ceremony.authority
        return ceremony.outcome

    def _signing(self, event: events.BaseEvent, digest: str) -> Outcome:
        repeated = judge_id(self.signing_ids.get(event.id), digest)
        if repeated:
            return repeated
        outcome = self._held(event) if isinstance(event, events.SigningHeld) else self._released(event)
        if outcome.verdict != "rejected":
            self.signing_ids[event.id] = digest
        return outcome

    def _held(self, event: events.SigningHeld) -> Outcome:
        size = self._index if event.data.size is None else min(event.data.size, self._index)
        self.holds[event.id] = Hold(size)
        return ACCEPTED

    def _released(self, event: events.BaseEvent) -> Outcome:
        name = event.data.hold if isinstance(event, events.SigningReleased) else ""
        hold = self.holds.get(name)
        if hold is None:
            return rejected("no-hold", f"there is no hold {name}")
        if hold.released:
            return no_effect("already-released")
        self.holds[name] = Hold(hold.size, released=True)
        return ACCEPTED


def judge_id(known: str | None, digest: str) -> Outcome | None:
    """The outcome of an event whose id is remembered with a digest; None if the id is new (docs/rules.md, 1)."""
    if known is None:
        return None
    return no_effect("repeated") if known == digest else rejected("id-conflict", "another event had this id")


class _Saved(msgspec.Struct, array_like=True):
    """A prefix as stored, without its authority: that follows from the documents."""

    ledger: Ledger | None
    size: int
    roots: tuple[bytes, ...]
    last_digest: str
    holds: dict[str, Hold]
    signing_ids: dict[str, str]
    versions: tuple[int, ...]


def save(prefix: Prefix) -> bytes:
    """A prefix as bytes. The documents of its ceremonies are to be stored beside them."""
    return msgspec.msgpack.encode(
        _Saved(
            prefix.ledger,
            prefix.size,
            prefix.tree.roots,
            prefix.last_digest,
            dict(prefix.holds),
            dict(prefix.signing_ids),
            _versions(prefix.authority),
        )
    )


def _versions(authority: Authority | None) -> tuple[int, ...]:
    return () if authority is None else tuple(document.version for document in authority.documents)


def restore(saved: bytes, ceremonies: Iterable[tuple[int, Mapping[str, bytes]]]) -> Prefix:
    """A prefix from what `save` gave and from the files of all accepted ceremonies, by index and role, in order.

    Raises:
        ValueError: they do not fit.
    """
    state = msgspec.msgpack.decode(saved, type=_Saved)
    authority = None
    for index, files in ceremonies:
        documents = {role: msgspec.json.decode(file) for role, file in files.items()}
        root_sha256 = state.ledger.root_sha256 if state.ledger else ""
        ceremony = judge_ceremony(authority, root_sha256, documents, index + 1)
        if ceremony.outcome != ACCEPTED:
            raise ValueError(f"the stored ceremony of event {index} is not acceptable: {ceremony.outcome.detail}")
        authority = ceremony.authority
    if _versions(authority) != state.versions:
        raise ValueError("the stored ceremonies do not lead to the offline roles that were in force")
    return Prefix(
        ledger=state.ledger,
        tree=Tree(state.size, state.roots),
        last_digest=state.last_digest,
        authority=authority,
        holds=state.holds,
        signing_ids=state.signing_ids,
    )
