"""The prefix: the state that follows from the first `size` records of the `events` log before any project is folded.

A prefix has a Merkle root, offline roles in force, and holds on signing. Judging claims and publications needs nothing
else from the events. Every other event is local to one aggregate, and `Prefix.extend` says to which.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import msgspec

from projections.log.merkle import Tree, split_leaves
from projections.log.operations import type_of
from projections.log.reading import Other, Reading, Routed, read_records
from projections.outcomes import ACCEPTED, Judged, Outcome, no_effect, rejected
from projections.roles.authority import Authority, judge_ceremony
from projections.roles.documents import Document
from schemas import events
from schemas.codec import Rejection
from schemas.errors import LedgerError


class NotALedgerError(LedgerError):
    """Record 0 is not `ledger.created`: this log is not a ledger's."""


class Ledger(msgspec.Struct, frozen=True, array_like=True):
    """A ledger's identity: the digest of record 0, and the origin and the digest of the first root that it states."""

    digest: str
    origin: str
    root_sha256: str


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A `signing.held` event: signers claim nothing beyond the first `size` records, until it is released."""

    size: int
    released: bool = False


class AcceptedCeremony(msgspec.Struct, frozen=True, array_like=True):
    """The new documents of an accepted ceremony, with the index of its event."""

    index: int
    documents: tuple[Document, ...]


class Extension(msgspec.Struct, frozen=True):
    """The result of extending a prefix: events for aggregates, records that the prefix judged, accepted ceremonies."""

    routed: list[Routed]
    judged: list[Judged]
    ceremonies: list[AcceptedCeremony]


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a prefix, immutable: extending it gives another. `last_digest` is the digest of its last record."""

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
        """The lowest size beyond which signers must not claim anything, or None."""
        return min((hold.size for hold in self.holds.values() if not hold.released), default=None)

    def extend(self, values: Sequence[bytes | None]) -> tuple["Prefix", Extension]:
        """Append records.

        Raises:
            NotALedgerError: record 0 is not `ledger.created`.
            UpgradeNeededError: a root names a ruleset that this program does not know.
        """
        return self.advance(read_records(self.size, values))

    def advance(self, reading: "Reading") -> tuple["Prefix", Extension]:
        """Append records, read beforehand, that begin at this size. Raises the errors of `extend`."""
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


_NO_ROOT = rejected("no-root", "no root is in force yet")


class _Judge:
    """Judges the records that no aggregate judges."""

    def __init__(self, prefix: Prefix) -> None:
        self.ledger = prefix.ledger
        self.authority = prefix.authority
        self.holds = dict(prefix.holds)
        self.signing_ids = dict(prefix.signing_ids)
        self.judged: list[Judged] = []
        self.ceremonies: list[AcceptedCeremony] = []
        self._index = 0

    @property
    def routed_from(self) -> float:
        """The index after the first root's, from which events go to aggregates, if no root was in force before."""
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
            self.ceremonies.append(AcceptedCeremony(self._index, ceremony.documents))
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
    """A prefix as stored, without its authority, which follows from the documents."""

    ledger: Ledger | None
    size: int
    roots: tuple[bytes, ...]
    last_digest: str
    holds: dict[str, Hold]
    signing_ids: dict[str, str]
    versions: tuple[int, ...]


def save(prefix: Prefix) -> bytes:
    """A prefix as bytes. The caller stores the documents of its ceremonies beside them."""
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
    """Restore a prefix from the bytes of `save` and the files of all accepted ceremonies, by index and role, in order.

    Raises:
        ValueError: the bytes and the files do not fit each other.
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
