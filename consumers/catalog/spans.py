"""Intervals of one kind while a batch is folded: each has a key, values, and the index from which it holds."""

from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from ledger.catalog import FOREVER

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Span(NamedTuple, Generic[K, V]):
    """What holds for a key from one index (inclusive) to another (exclusive)."""

    key: K
    from_idx: int
    to_idx: int
    values: V


class Spans(Generic[K, V]):
    """The intervals of a batch. `ended` are stored ones that it ends: key and first index, and the last index."""

    def __init__(self) -> None:
        self._stored: dict[K, int] = {}
        self._open: dict[K, tuple[int, V]] = {}
        self._done: list[Span[K, V]] = []
        self.ended: list[tuple[K, int, int]] = []

    def load(self, key: K, from_idx: int, values: V) -> None:
        """Take a stored interval that has not ended."""
        self._stored[key] = from_idx
        self._open[key] = (from_idx, values)

    def get(self, key: K) -> V | None:
        """What holds for a key now."""
        found = self._open.get(key)
        return None if found is None else found[1]

    def set(self, key: K, index: int, values: V | None) -> None:
        """Let other values hold from an index on; None: nothing holds any more."""
        found = self._open.get(key)
        if found is not None:
            from_idx, before = found
            if before == values:
                return
            if self._stored.pop(key, None) is not None:
                self.ended.append((key, from_idx, index))
            elif from_idx < index:
                self._done.append(Span(key, from_idx, index, before))
            del self._open[key]
        if values is not None:
            self._open[key] = (index, values)

    def finish(self) -> Iterable[Span[K, V]]:
        """The new intervals."""
        yield from self._done
        for key, (from_idx, values) in self._open.items():
            if key not in self._stored:
                yield Span(key, from_idx, FOREVER, values)
