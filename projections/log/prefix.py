"""The prefix: the state that follows from the first `size` records of the `events` log before any project is folded.

A prefix has a Merkle root, offline roles in force, and the lowest size that is held. Judging claims and publications
needs nothing else from the events. Every other event is local to one aggregate, and `Prefix.extend` says to which.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from projections.log.holds import Signing, SigningEvent, judge_release, lower_of
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
    """The state of a prefix, immutable: extending it gives another.

    `last_digest` is the digest of the last record. `first_root_size` is the size with the first root (0: there is
    none), `decided_at` the size with the last accepted ceremony, hold or release. `lowest_held` is the lowest size that
    is held; if it `is_unsettled`, stored holds do not count yet. `signing` are the events about signing that changed
    since the stored prefix from which this one was extended.
    """

    ledger: Ledger | None = None
    tree: Tree = Tree()
    last_digest: str = ""
    authority: Authority | None = None
    first_root_size: int = 0
    decided_at: int = 0
    lowest_held: int | None = None
    is_unsettled: bool = False
    signing: Signing = Signing()

    @property
    def size(self) -> int:
        """Number of records."""
        return self.tree.size

    @property
    def held_at(self) -> int | None:
        """The lowest size that is held, or None.

        Raises:
            ValueError: stored holds do not count yet; `settle` counts them.
        """
        if self.is_unsettled:
            raise ValueError("the lowest size that is held is not known until stored holds are counted")
        return self.lowest_held

    @property
    def holds_end(self) -> int:
        """Holds whose event has a lower index than this have ended."""
        return self.authority.settings.holds_end if self.authority else 0

    def extend(self, values: Sequence[bytes | None]) -> tuple["Prefix", Extension]:
        """Append records to a prefix that was made in memory, so no holds are stored elsewhere.

        Raises:
            NotALedgerError: record 0 is not `ledger.created`.
            UpgradeNeededError: a root names a ruleset that this program does not know.
        """
        prefix, extension = self.advance(read_records(self.size, values))
        return prefix.settle(None), extension

    def advance(
        self, reading: "Reading", stored: Mapping[str, SigningEvent] | None = None
    ) -> tuple["Prefix", Extension]:
        """Append records, read beforehand, that begin at this size. Raises the errors of `extend`.

        Args:
            reading: the records.
            stored: the stored events about signing, by id, that the records name (`signing_ids`).
        """
        judge = _Judge(self, stored or {})
        for other in reading.others:
            judge.judge(other)
        routed, early = route(reading.routed, self.authority, judge.ceremonies)
        if early:
            judge.judged.extend(Judged(item.index, item.digest, item.operation.type, _NO_ROOT) for item in early)
            judge.judged.sort(key=lambda judged: judged.index)
        prefix = Prefix(
            ledger=judge.ledger,
            tree=self.tree.append(split_leaves(reading.leaves)),
            last_digest=reading.last_digest if reading.leaves else self.last_digest,
            authority=judge.authority,
            first_root_size=self.first_root_size or (judge.ceremonies[0].index + 1 if judge.ceremonies else 0),
            decided_at=judge.decided_at,
            lowest_held=judge.lowest_held(),
            is_unsettled=judge.is_unsettled,
            signing=self.signing.put(judge.changes),
        )
        return prefix, Extension(routed, judge.judged, judge.ceremonies)

    def settle(self, lowest: int | None) -> "Prefix":
        """The same prefix if `lowest` is the lowest size that a stored hold holds that is not among `signing`."""
        if not self.is_unsettled:
            return self
        return msgspec.structs.replace(self, lowest_held=lower_of(self.lowest_held, lowest), is_unsettled=False)

    def as_stored(self) -> "Prefix":
        """The same prefix when its events about signing are stored."""
        return msgspec.structs.replace(self, signing=Signing())


def route(
    routed: list[Routed], authority: Authority | None, ceremonies: Sequence[AcceptedCeremony]
) -> tuple[list[Routed], list[Routed]]:
    """Separate the events that aggregates judge from those that stand before the first root.

    Args:
        routed: events in the order of their indices.
        authority: the authority in force before them.
        ceremonies: the accepted ceremonies among the records that these events are from.
    """
    if authority is not None:
        return routed, []
    start = ceremonies[0].index + 1 if ceremonies else None
    early = [item for item in routed if start is None or item.index < start]
    return routed[len(early) :], early


def signing_ids(reading: Reading) -> set[str]:
    """The ids of events about signing that records are or name."""
    names = set()
    for other in reading.others:
        if isinstance(other.event, events.SigningHeld | events.SigningReleased):
            names.add(other.event.id)
        if isinstance(other.event, events.SigningReleased):
            names.add(other.event.data.hold)
    return names


_NO_ROOT = rejected("no-root", "no root is in force yet")


class _Judge:
    """Judges the records that no aggregate judges."""

    def __init__(self, prefix: Prefix, stored: Mapping[str, SigningEvent]) -> None:
        self.ledger = prefix.ledger
        self.authority = prefix.authority
        self.decided_at = prefix.decided_at
        self.changes: dict[str, SigningEvent] = {}
        self.is_unsettled = False
        self.judged: list[Judged] = []
        self.ceremonies: list[AcceptedCeremony] = []
        self._signing = prefix.signing
        self._stored = stored
        self._lowest = prefix.held_at
        self._index = 0

    @property
    def _holds_end(self) -> int:
        return self.authority.settings.holds_end if self.authority else 0

    def lowest_held(self) -> int | None:
        """The lowest size that is held; if it `is_unsettled`, without stored holds."""
        return self._signing.put(self.changes).lowest(self._holds_end) if self.is_unsettled else self._lowest

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
        return self._signing_event(event, digest)

    def _created(self, event: events.BaseEvent | Rejection, digest: str) -> Outcome:
        if not isinstance(event, events.LedgerCreated):
            detail = f": {rejected(*event).detail}" if isinstance(event, Rejection) else ""
            raise NotALedgerError(f"record 0 of the events log is not `ledger.created`{detail}. Is this the right log?")
        self.ledger = Ledger(digest, event.data.origin, event.data.root_sha256)
        return ACCEPTED

    def _roles_signed(self, event: events.RolesSigned) -> Outcome:
        root_sha256 = self.ledger.root_sha256 if self.ledger else ""
        holds_end = self._holds_end
        ceremony = judge_ceremony(self.authority, root_sha256, event.data.roles, self._index + 1)
        if ceremony.documents:
            self.ceremonies.append(AcceptedCeremony(self._index, ceremony.documents))
            self.decided_at = self._index + 1
        self.authority = ceremony.authority
        if self._holds_end > holds_end and self._lowest is not None:
            self.is_unsettled = True
        return ceremony.outcome

    def _signing_event(self, event: events.BaseEvent, digest: str) -> Outcome:
        known = self._find(event.id)
        repeated = judge_id(known.digest if known else None, digest)
        if repeated:
            return repeated
        outcome = self._held(event, digest) if isinstance(event, events.SigningHeld) else self._released(event, digest)
        if outcome.verdict == "accepted":
            self.decided_at = self._index + 1
        return outcome

    def _find(self, name: str) -> SigningEvent | None:
        return self.changes.get(name) or self._signing.get(name) or self._stored.get(name)

    def _held(self, event: events.SigningHeld, digest: str) -> Outcome:
        size = self._index if event.data.size is None else min(event.data.size, self._index)
        self.changes[event.id] = SigningEvent(digest, self._index, size, event.data.lock or "")
        self._lowest = lower_of(self._lowest, size)
        return ACCEPTED

    def _released(self, event: events.BaseEvent, digest: str) -> Outcome:
        if not isinstance(event, events.SigningReleased):
            raise TypeError(f"{type(event)} is no event about signing")
        name = event.data.hold
        hold = self._find(name)
        outcome = judge_release(hold, name, event.data.secret, self._holds_end)
        if outcome.verdict == "rejected":
            return outcome
        self.changes[event.id] = SigningEvent(digest, self._index)
        if hold is not None and outcome.verdict == "accepted":
            self.changes.pop(name, None)  # it becomes the last change
            self.changes[name] = msgspec.structs.replace(hold, released_at=self._index)
            if hold.size == self._lowest:
                self.is_unsettled = True
        return outcome


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
    first_root_size: int
    decided_at: int
    held_at: int | None
    versions: tuple[int, ...]
    used: list[str] = []


def save(prefix: Prefix) -> bytes:
    """A prefix as bytes. The caller stores the documents of its ceremonies and `signing` beside them."""
    return msgspec.msgpack.encode(
        _Saved(
            prefix.ledger,
            prefix.size,
            prefix.tree.roots,
            prefix.last_digest,
            prefix.first_root_size,
            prefix.decided_at,
            prefix.held_at,
            _versions(prefix.authority),
            sorted(prefix.authority.used) if prefix.authority else [],
        )
    )


def _versions(authority: Authority | None) -> tuple[int, ...]:
    return () if authority is None else tuple(document.version for document in authority.documents)


def restore(saved: bytes, ceremonies: Iterable[tuple[int, Mapping[str, bytes]]]) -> Prefix:
    """Restore a prefix from the bytes of `save` and the files of all accepted ceremonies, by index and role, in order.

    Later ceremonies do not count: a command reads a state while its consumer goes on.

    Raises:
        ValueError: the bytes and the files do not fit each other.
    """
    state = msgspec.msgpack.decode(saved, type=_Saved)
    authority = restore_authority(state.ledger, (each for each in ceremonies if each[0] < state.size))
    if _versions(authority) != state.versions:
        raise ValueError("the stored ceremonies do not lead to the offline roles that were in force")
    if authority is not None:
        authority = msgspec.structs.replace(authority, used=frozenset(state.used))
    return Prefix(
        ledger=state.ledger,
        tree=Tree(state.size, state.roots),
        last_digest=state.last_digest,
        authority=authority,
        first_root_size=state.first_root_size,
        decided_at=state.decided_at,
        lowest_held=state.held_at,
    )


def restore_authority(ledger: Ledger | None, ceremonies: Iterable[tuple[int, Mapping[str, bytes]]]) -> Authority | None:
    """The offline roles in force after accepted ceremonies, given by index and files by role, in order.

    Raises:
        ValueError: a ceremony is not acceptable.
    """
    authority = None
    for index, files in ceremonies:
        documents = {role: msgspec.json.decode(file) for role, file in files.items()}
        ceremony = judge_ceremony(authority, ledger.root_sha256 if ledger else "", documents, index + 1)
        if ceremony.outcome != ACCEPTED:
            raise ValueError(f"the stored ceremony of event {index} is not acceptable: {ceremony.outcome.detail}")
        authority = ceremony.authority
    return authority
