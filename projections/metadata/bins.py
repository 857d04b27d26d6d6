"""Targets in hashed bins: the bin of each target, and the rendered entries of each bin.

The leading bits of the SHA-256 of a target's path say which bin the target is in (TAP 15). The same bins can be
delegated by `path_hash_prefixes` (TUF 1.0.34, section 4.5).

The state of a bin is its rendered targets, as part of its last file, and the holders of its targets. Holders are stored
only for targets that have several, or one of a rank above 0; nearly all targets have neither. Holders are stored under
the bin's index and number of bits, not under its name: names return with another meaning when the number of bins
changes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from projections.metadata.targets import TargetChange

# An entry as `target_entry` makes it. No path contains a character that JSON escapes (`schemas.fields.TARGET_PATTERN`).
_ENTRY = re.compile(rb'"([^"]*)":\{"hashes":\{[^}]*\},[^}]*\}')


Fragment = bytes | memoryview
"""Some rendered entries, joined by commas."""

_MARK = b'":{"hashes":'
_MANY = 32
"""Number of targets that take as long to look up as the whole bin takes to read."""


class Entries(NamedTuple):
    """Rendered entries in place, inside the file of their bin: copying them takes as long as finding one."""

    data: bytes = b""
    start: int = 0
    end: int = 0

    def copy(self) -> bytes:
        """The entries, joined by commas."""
        return self.data[self.start : self.end]


class EntryTable:
    """The rendered entries of a bin, sorted by path and joined by commas. Single entries can be replaced."""

    def __init__(self, rendered: Entries, lookups: int) -> None:
        self._rendered = rendered
        self._all: dict[str, bytes] | None = None
        if lookups > _MANY or rendered.start == rendered.end:
            self._all = {match[1].decode(): match[0] for match in _entries(rendered)}
        self._places: dict[str, tuple[int, int]] = {}
        self._changed: dict[str, bytes | None] = {}

    def get(self, path: str) -> bytes | None:
        """The entry of a target, or None."""
        return self._changed[path] if path in self._changed else self._before(path)

    def set(self, path: str, entry: bytes | None) -> None:
        """Set the entry of a target, or delete it (None)."""
        self._changed[path] = entry

    def finish(self) -> tuple[Fragment, ...] | None:
        """All entries in order, several in a fragment; None if no entry changed."""
        changed = {path: entry for path, entry in self._changed.items() if entry != self._before(path)}
        if not changed:
            return None
        return self._spliced(changed) if self._all is None else _sorted({**self._all, **changed})

    def _before(self, path: str) -> bytes | None:
        if self._all is not None:
            return self._all.get(path)
        start, end = self._place(path)
        return self._rendered.data[start:end] or None

    def _place(self, path: str) -> tuple[int, int]:
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = _find(*self._rendered, path.encode())
        return place

    def _spliced(self, changed: Mapping[str, bytes | None]) -> tuple[Fragment, ...]:
        data, copied, last = self._rendered
        view = memoryview(data)
        fragments: list[Fragment] = []
        for path in sorted(changed):
            (start, end), entry = self._place(path), changed[path]
            fragments.append(view[copied : max(start - 1, copied)])  # without the comma before
            fragments.append(entry or b"")
            copied = end + 1 if end > start else start
        fragments.append(view[copied : max(last, copied)])
        return tuple(fragment for fragment in fragments if fragment)


def _entries(rendered: Entries) -> "Iterator[re.Match[bytes]]":
    return _ENTRY.finditer(*rendered)


def _find(data: bytes, low: int, high: int, path: bytes) -> tuple[int, int]:
    """The start and end of a target's entry, or twice the start that it would have. No entry is parsed."""
    while low < high:
        middle = (low + high) // 2
        mark = data.rfind(_MARK, low, middle + len(_MARK))
        if mark < 0:
            mark = data.index(_MARK, low)
        start = data.rindex(b'"', low, mark)
        found = data[start + 1 : mark]
        if found > path:
            high = start
            continue
        end = data.index(b"}", data.index(b"}", mark) + 1) + 1
        if found == path:
            return start, end
        low = end + 1
    return low, low


def _sorted(entries: Mapping[str, bytes | None]) -> tuple[bytes, ...]:
    return (b",".join([entry for _, entry in sorted(entries.items()) if entry is not None]),)


class StoredBin(NamedTuple):
    """The state of a bin: a header with the holders that are stored, and the rendered targets."""

    header: bytes = b""
    targets: Entries = Entries()


class FoldedBin(NamedTuple):
    """A bin after a batch: its header (None: unchanged), whether an entry changed, and all entries in order.

    A fragment of `targets` may have several entries.
    """

    header: bytes | None
    differs: bool
    targets: tuple[Fragment, ...]


_held_decoder = msgspec.msgpack.Decoder(dict[str, list[tuple[int, bytes]]])
_held_encoder = msgspec.msgpack.Encoder()


def fold_bin(stored: StoredBin, changes: Sequence[TargetChange]) -> FoldedBin:
    """Apply changes of targets to a bin. The result does not depend on the order of changes by different holders."""
    held = _held(stored)
    entries = EntryTable(stored.targets, len(changes))
    for change in changes:
        path = change.path
        old = entries.get(path)
        entries.set(path, change.entry if change.act == "set" else _hold_or_release(held, old, change))
    targets, differs = entries.finish(), True
    if targets is None:
        data, start, end = stored.targets
        targets, differs = (memoryview(data)[start:end],) if data else (), False
    header = _held_encoder.encode(dict(sorted(held.items()))) if held else b""
    return FoldedBin(header if header != stored.header else None, differs, targets)


def _held(stored: StoredBin) -> dict[str, list[tuple[int, bytes]]]:
    """The holders, sorted by rank, of each target that has several, or one of a rank above 0."""
    return _held_decoder.decode(stored.header) if stored.header else {}


def _hold_or_release(held: dict[str, list[tuple[int, bytes]]], old: bytes | None, change: TargetChange) -> bytes | None:
    """The target's entry after one holder came or went."""
    path, entry, act, rank = change.path, change.entry, change.act, change.rank
    if rank == 0 and path not in held:  # nearly always: a single file, whose name says its project
        if act == "hold" and old is None:
            return entry
        if act == "release" and old == entry:
            return None
    holders = held.pop(path, None) or ([] if old is None else [(0, old)])
    if entry is not None and act == "hold":
        holders = sorted([*holders, (rank, entry)])
    elif entry is not None and (rank, entry) in holders:
        holders.remove((rank, entry))
    if len(holders) > 1 or any(rank for rank, _ in holders):
        held[path] = holders
    return holders[0][1] if holders else None


def take_targets(bins: Iterable[StoredBin]) -> list[TargetChange]:
    """The targets of stored bins, as changes that add them to other bins."""
    changes: list[TargetChange] = []
    for stored in bins:
        held = _held(stored)
        for match in _entries(stored.targets):
            path = match[1].decode()
            changes.extend(TargetChange(path, each, "hold", rank) for rank, each in held.get(path, [(0, match[0])]))
    return changes
