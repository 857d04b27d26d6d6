"""Holds as docs/rules.md says, read naively: all holds in a dict, all of them looked at for every answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from schemas.codec import decode_event
from schemas.events import RolesSigned, SigningHeld, SigningReleased


@dataclass
class _Hold:
    size: int
    index: int
    lock: str
    is_released: bool = False


@dataclass
class Holds:
    """The holds after some events."""

    holds: dict[str, _Hold] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)
    holds_end: int = 0
    first_root_size: int = 0

    def add(self, index: int, value: bytes | None, *, is_accepted: bool = True) -> str:
        """Add a record; returns the code of an event about signing, empty if it is accepted.

        Args:
            index: the index of the record.
            value: the record.
            is_accepted: if it is a ceremony: whether it is accepted.
        """
        event = decode_event(value)
        if isinstance(event, RolesSigned) and is_accepted:
            self.first_root_size = self.first_root_size or index + 1
            roles: dict[Any, dict[str, Any]] = event.data.roles
            if "root" in roles:
                self.holds_end = roles["root"]["signed"]["x-ledger"].get("holds_end", 0)
        if not isinstance(event, SigningHeld | SigningReleased):
            return ""
        if not self.first_root_size:
            return "no-root"
        if event.id in self.seen:
            return "repeated" if self.seen[event.id] == value else "id-conflict"
        code = self._judge(index, event)
        if code not in {"no-hold", "locked"}:
            self.seen[event.id] = value or b""
        return code

    def _judge(self, index: int, event: SigningHeld | SigningReleased) -> str:
        if isinstance(event, SigningHeld):
            size = index if event.data.size is None else min(event.data.size, index)
            self.holds[event.id] = _Hold(size, index, event.data.lock or "")
            return ""
        hold = self.holds.get(event.data.hold)
        if hold is None:
            return "no-hold"
        if hold.is_released:
            return "already-released"
        if hold.index < self.holds_end:
            return "ended"
        if hold.lock and hold.lock != sha256(bytes.fromhex(event.data.secret or "")).hexdigest():
            return "locked"
        hold.is_released = True
        return ""

    def held_at(self) -> int | None:
        """The lowest size that is held."""
        held = [hold.size for hold in self.holds.values() if not hold.is_released and hold.index >= self.holds_end]
        return min(held, default=None)


def content_sizes(values: Sequence[bytes | None], ceremonies: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The content sizes of publications.

    Args:
        values: the records of the events log.
        ceremonies: the indices of the accepted ceremonies.
        sizes: the sizes of the publications, in order.
    """
    holds, shown, index = Holds(), 0, 0
    found = []
    for size in sizes:
        while index < size:
            holds.add(index, values[index], is_accepted=index in ceremonies)
            index += 1
        held_at = holds.held_at()
        shown = max(shown, holds.first_root_size, size if held_at is None else min(size, held_at))
        found.append(shown)
    return found


def stated_sizes(snapshot: bytes) -> tuple[int, int]:
    """Size and content size, as the file of a snapshot states them."""
    stated = msgspec.json.decode(snapshot)["signed"]["x-ledger"]
    return stated["size"], stated["content_size"]
