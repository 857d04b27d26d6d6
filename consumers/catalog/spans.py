"""Intervals of one kind while a batch is folded: each has a key, values, and the index from which it holds."""

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from ledger.catalog import FOREVER

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=tuple[Any, ...])


class Spans(Generic[K, V]):
    """The intervals of a batch. Keys are single values or tuples of them, and values are tuples. `ended` are stored
    ones that the batch ends: key, first index, and the index where it ends.
    """

    def __init__(self) -> None:
        self._stored: dict[K, int] = {}
        self._open: dict[K, tuple[int, V]] = {}
        self._done: list[tuple[Any, ...]] = []
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
                self._done.append((*key_of(key), from_idx, index, *before))
            del self._open[key]
        if values is not None:
            self._open[key] = (index, values)

    def finish(self) -> Iterator[tuple[Any, ...]]:
        """The new intervals as rows: key, first index, the index where it ends, and values."""
        yield from self._done
        for key, (from_idx, values) in self._open.items():
            if key not in self._stored:
                yield (*key_of(key), from_idx, FOREVER, *values)


def key_of(key: Any) -> tuple[Any, ...]:
    """A key as values of a row."""
    return key if isinstance(key, tuple) else (key,)
