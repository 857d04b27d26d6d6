"""Targets in hashed bins: the bin of each target, and the rendered entries of each bin.

The leading bits of the SHA-256 of a target's path say which bin the target is in (TAP 15). The same bins can be
delegated by `path_hash_prefixes` (TUF 1.0.34, section 4.5).

The state of a bin is its rendered targets, as part of its last file, and the holders of its targets
(`projections.metadata.holders`). Holders are stored under the bin's index and number of bits, not under its name: names
return with another meaning when the number of bins changes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from projections.metadata.holders import (
    Holder,
    Withholding,
    are_stored,
    changed,
    entry_of,
    holder_of,
    moved,
    moves,
    read_holders,
    withholdings,
    write_holders,
)
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
        return self._changed[path] if path in self._changed else self.before(path)

    def set(self, path: str, entry: bytes | None) -> None:
        """Set the entry of a target, or delete it (None)."""
        self._changed[path] = entry

    def finish(self) -> tuple[Fragment, ...] | None:
        """All entries in order, several in a fragment; None if no entry changed."""
        changed = {path: entry for path, entry in self._changed.items() if entry != self.before(path)}
        if not changed:
            return None
        return self._spliced(changed) if self._all is None else _sorted({**self._all, **changed})

    def before(self, path: str) -> bytes | None:
        """The entry of a target before the changes, or None."""
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
    """A bin after a batch: its header (None: unchanged), whether an entry changed, all entries in order, and what is
    withheld since, or no longer.

    A fragment of `targets` may have several entries.
    """

    header: bytes | None
    differs: bool
    targets: tuple[Fragment, ...]
    withholdings: tuple[Withholding, ...] = ()


def fold_bin(stored: StoredBin, changes: Sequence[TargetChange]) -> FoldedBin:
    """Apply changes of targets to a bin. The result does not depend on the order of changes by different holders."""
    known = read_holders(stored.header)
    held = dict(known)
    entries = EntryTable(stored.targets, len(changes))
    touched: set[str] = set()
    for change in changes:
        path = change.path
        entry = entries.get(path)
        if path not in held and (change.act == "set" or (entry is None and _is_alone(change))):
            entries.set(path, change.entry)  # nearly always: nobody else holds the path
            continue
        touched.add(path)
        holders = changed(_holders(held, entry, path), change)
        entries.set(path, entry_of(holders))
        held.pop(path, None)
        if are_stored(holders):
            held[path] = holders
    targets, differs = entries.finish(), True
    if targets is None:
        data, start, end = stored.targets
        targets, differs = (memoryview(data)[start:end],) if data else (), False
    header = write_holders(held) if touched else stored.header
    found: list[Withholding] = []
    if touched:
        known |= moved(changes, touched)
    for path in sorted(touched):
        was, now = _holders(known, entries.before(path), path), _holders(held, entries.get(path), path)
        found.extend(withholdings(path, was, now))
    return FoldedBin(header if header != stored.header else None, differs, targets, tuple(found))


def _is_alone(change: TargetChange) -> bool:
    """Whether the holder of a change is not stored if nobody else holds the path."""
    return change.act in {"hold", "move"} and change.rank == 0 and change.was == "" and change.now == "lists"


def _holders(held: Mapping[str, list[Holder]], entry: bytes | None, path: str) -> list[Holder]:
    """The holders of a path, in order, given the path's entry."""
    return held[path] if path in held else [] if entry is None else [holder_of(entry)]


def holders_of(stored: StoredBin, path: str) -> list[Holder]:
    """The holders of a path, in order."""
    return _holders(read_holders(stored.header), EntryTable(stored.targets, 1).get(path), path)


def take_targets(bins: Iterable[StoredBin]) -> list[TargetChange]:
    """The targets of stored bins, as changes that add them to other bins."""
    changes: list[TargetChange] = []
    for stored in bins:
        held = read_holders(stored.header)
        for path, holders in held.items():
            changes.extend(moves(path, holders))
        for match in _entries(stored.targets):
            path = match[1].decode()
            if path not in held:
                changes.extend(moves(path, [holder_of(match[0])]))
    return changes
