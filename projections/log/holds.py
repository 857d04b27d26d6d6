"""Holds on what is shown: the remembered events about signing, and the lowest size that is held.

Anybody who may append events can append a million holds. So a prefix carries one number, the lowest size that is held,
and the changes since the prefix that is stored. All other remembered events are rows of a follower's state, found by id
and by size.
"""

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected


class SigningEvent(msgspec.Struct, frozen=True, array_like=True):
    """A remembered event about signing: the digest and the index of its record.

    `size` is the size that a hold holds; None: the event is a release. `lock` is the SHA-256 of a locked hold's secret.
    `released_at` is the index of the event that released a hold; None: it was not released.
    """

    digest: str
    index: int
    size: int | None = None
    lock: str = ""
    released_at: int | None = None

    @property
    def changed_at(self) -> int:
        """The index of the last event that changed this."""
        return self.index if self.released_at is None else self.released_at

    def holds(self, ended_below: int) -> int | None:
        """The size that this event holds, given the index below which holds have ended; None: it holds nothing."""
        return None if self.released_at is not None or self.index < ended_below else self.size


class Signing:
    """Remembered events about signing by id, in the order of their last changes. Immutable: `put` gives another.

    Layers of decreasing length, the newest last: adding to a million events copies few of them.
    """

    def __init__(self, layers: tuple[dict[str, SigningEvent], ...] = ()) -> None:
        self._layers = layers

    def __len__(self) -> int:
        """The number of events, or a few more: one that changed may be counted twice."""
        return sum(map(len, self._layers))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signing) and dict(self.since(0)) == dict(other.since(0))

    def __hash__(self) -> int:
        return hash(frozenset(self.since(0)))

    def get(self, name: str) -> SigningEvent | None:
        """The event with an id."""
        return next((layer[name] for layer in reversed(self._layers) if name in layer), None)

    def put(self, changes: dict[str, SigningEvent]) -> "Signing":
        """Add events, or change them; `changes` are in the order of their last changes."""
        if not changes:
            return self
        layers = list(self._layers)
        while layers and len(layers[-1]) <= 2 * len(changes):
            older = layers.pop()
            changes = {name: event for name, event in older.items() if name not in changes} | changes
        return Signing((*layers, changes))

    def since(self, size: int) -> Iterator[tuple[str, SigningEvent]]:
        """The events by id that changed at or after a size, the last change first."""
        for place in range(len(self._layers) - 1, -1, -1):
            newer = self._layers[place + 1 :]
            for name, event in reversed(self._layers[place].items()):
                if event.changed_at < size:
                    return
                if not any(name in layer for layer in newer):
                    yield name, event

    def lowest(self, ended_below: int) -> int | None:
        """The lowest size that these events hold, given the index below which holds have ended."""
        sizes = (event.holds(ended_below) for _, event in self.since(0))
        return min((size for size in sizes if size is not None), default=None)


def lower_of(one: int | None, other: int | None) -> int | None:
    """The lower of two sizes, either of which may be missing."""
    return min((size for size in (one, other) if size is not None), default=None)


def judge_release(hold: SigningEvent | None, name: str, secret: str | None, ended_below: int) -> Outcome:
    """Judge a `signing.released` event (docs/rules.md, section 5).

    Args:
        hold: the remembered event that it names, if there is one.
        name: the id that it names.
        secret: its secret, hexadecimal.
        ended_below: the index below which holds have ended.
    """
    if hold is None or hold.size is None:
        return rejected("no-hold", f"there is no hold {name}")
    if hold.released_at is not None:
        return no_effect("already-released")
    if hold.index < ended_below:
        return no_effect("ended")
    if hold.lock and not opens(hold.lock, secret):
        return rejected("locked", f"the hold {name} is locked, and this is not its secret")
    return ACCEPTED


def opens(lock: str, secret: str | None) -> bool:
    """Whether a secret (hexadecimal) is the one of a lock."""
    return secret is not None and lock_of(secret) == lock


def lock_of(secret: str) -> str:
    """The lock of a secret: the SHA-256 of its bytes. Both are hexadecimal."""
    return sha256(bytes.fromhex(secret)).hexdigest()
