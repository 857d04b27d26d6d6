"""Aggregates that are not projects: other targets, incidents, access, erased openings (docs/rules.md, 4 and 5).

Each keeps one small header and no chunks.
"""

import msgspec

from projections.bins import TargetChange, target_entry
from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected
from schemas import events


class TargetFacts(msgspec.Struct, frozen=True, array_like=True):
    """A target that is neither a page nor a distribution file, as last added."""

    length: int
    sha256: str
    removed: bool = False


def read_target(header: bytes) -> TargetFacts:
    """The facts of a stored target."""
    return msgspec.msgpack.decode(header, type=TargetFacts)


class Facts:
    """Such an aggregate while a batch of its events is folded."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.targets: list[TargetChange] = []

    def apply(self, event: events.BaseEvent) -> Outcome:
        """Judge an event and, if it is accepted, apply it."""
        if isinstance(event, events.TargetEvent) and event.subject.startswith(("simple/", "packages/")):
            return rejected("reserved-path", "the paths of pages and packages are not free")
        if isinstance(event, events.TargetAdded):
            return self._target_added(event)
        if isinstance(event, events.TargetRemoved):
            return self._target_removed(event)
        if isinstance(event, events.IncidentOpened | events.IncidentNoted | events.IncidentClosed):
            return self._incident(event)
        return ACCEPTED

    def _target_added(self, event: events.TargetAdded) -> Outcome:
        facts = TargetFacts(event.data.length, event.data.sha256)
        if self.header == msgspec.msgpack.encode(facts):
            return no_effect("same")
        self.header = msgspec.msgpack.encode(facts)
        self.targets = [TargetChange(event.subject, target_entry(event.subject, facts.length, facts.sha256))]
        return ACCEPTED

    def _target_removed(self, event: events.TargetRemoved) -> Outcome:
        if not self.header:
            return rejected("no-target", f"there is no target {event.subject}")
        facts = read_target(self.header)
        if facts.removed:
            return no_effect("already-removed")
        self.header = msgspec.msgpack.encode(msgspec.structs.replace(facts, removed=True))
        self.targets = [TargetChange(event.subject, None)]
        return ACCEPTED

    def _incident(self, event: events.BaseEvent) -> Outcome:
        state = self.header or b"unknown"
        if isinstance(event, events.IncidentOpened):
            if state == b"open":
                return no_effect("already-open")
            self.header = b"open"
        elif state == b"unknown":
            return rejected("no-incident", f"there is no incident {event.subject}")
        elif isinstance(event, events.IncidentClosed):
            if state == b"closed":
                return no_effect("already-closed")
            self.header = b"closed"
        return ACCEPTED
