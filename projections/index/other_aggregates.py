"""Aggregates that are not projects: other targets, incidents, access, erased openings (docs/rules.md, 4 and 5).

Each has one small header and no chunks.
"""

import msgspec

from projections.index.effects import Effect, IncidentEffect, TargetEffect
from projections.log.operations import Operation, TargetAct, type_of
from projections.metadata.paths import is_reserved
from projections.metadata.targets import TargetChange, target_entry
from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected
from schemas import events

_TARGET_ADDED = type_of(events.TargetAdded)
_INCIDENT_OPENED = type_of(events.IncidentOpened)
_INCIDENT_SELECTED = type_of(events.IncidentSelected)
_INCIDENT_CLOSED = type_of(events.IncidentClosed)


class TargetFacts(msgspec.Struct, frozen=True, array_like=True):
    """A target that is neither a page nor a distribution file, as last added. What is withheld is removed."""

    length: int
    sha256: str
    removed: bool = False
    withheld: bool = False


def read_target(header: bytes) -> TargetFacts:
    """The facts of a stored target."""
    return msgspec.msgpack.decode(header, type=TargetFacts)


class OtherAggregate:
    """An aggregate that is not a project, while a batch of its events is folded."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self._path = ""
        self._entry: bytes | None = None
        self._withheld: dict[str, tuple[bytes, bool]] = {}

    @property
    def targets(self) -> list[TargetChange]:
        """The changes of targets: what is set in the end, and of which bytes it changed whether they are withheld."""
        if not self._path:
            return []
        facts = read_target(self.header)
        return [
            TargetChange(self._path, self._entry),
            *(
                TargetChange(self._path, entry, "withhold" if is_withheld else "lift")
                for sha256, (entry, is_withheld) in sorted(self._withheld.items())
                if self._entry is None or sha256 != facts.sha256  # what is set is lifted
            ),
        ]

    def effects(self, key: str, operation: Operation) -> tuple[Effect, ...]:
        """What an event that was just accepted changed."""
        if isinstance(operation, TargetAct):
            facts = read_target(self.header)
            length, sha256 = facts.length, facts.sha256
            return (TargetEffect(operation.path, length, sha256, removed=facts.removed, withheld=facts.withheld),)
        if operation.type.startswith("incident."):
            return (IncidentEffect(key.partition(":")[2], self.header.decode()),)
        return ()

    def apply(self, operation: Operation) -> Outcome:
        """Judge an event and, if it is accepted, apply it."""
        if isinstance(operation, TargetAct):
            if is_reserved(operation.path):
                return rejected("reserved-path", "the paths of pages and packages are not free")
            return self._target_added(operation) if operation.type == _TARGET_ADDED else self._target_removed(operation)
        return self._incident(operation.type) if operation.type.startswith("incident.") else ACCEPTED

    def _target_added(self, act: TargetAct) -> Outcome:
        facts = TargetFacts(act.length, act.sha256)
        if self.header == msgspec.msgpack.encode(facts):
            return no_effect("same")
        self.header = msgspec.msgpack.encode(facts)
        self._path, self._entry = act.path, target_entry(act.path, facts.length, facts.sha256)
        self._withheld[facts.sha256] = self._entry, False
        return ACCEPTED

    def _target_removed(self, act: TargetAct) -> Outcome:
        if not self.header:
            return rejected("no-target", f"there is no target {act.path}")
        facts = read_target(self.header)
        if facts.removed and not act.withhold:
            return no_effect("already-removed")
        if facts.withheld:
            return no_effect("already-withheld")
        self.header = msgspec.msgpack.encode(msgspec.structs.replace(facts, removed=True, withheld=act.withhold))
        self._path, self._entry = act.path, None
        if act.withhold:
            self._withheld[facts.sha256] = target_entry(act.path, facts.length, facts.sha256), True
        return ACCEPTED

    def _incident(self, kind: str) -> Outcome:
        state = self.header or b"unknown"
        if kind == _INCIDENT_OPENED:
            if state == b"open":
                return no_effect("already-open")
            self.header = b"open"
        elif state == b"unknown":
            return rejected("no-incident", "it was never opened")
        elif kind == _INCIDENT_SELECTED and state == b"closed":
            return rejected("closed", "it was closed")
        elif kind == _INCIDENT_CLOSED:
            if state == b"closed":
                return no_effect("already-closed")
            self.header = b"closed"
        return ACCEPTED
