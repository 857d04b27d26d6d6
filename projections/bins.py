"""Targets in hashed bins: which bin a target is in, and the bin's rendered entries.

A target is in the bin that the leading bits of the SHA-256 of its path name (TAP 15; the same bins can be delegated by
`path_hash_prefixes`, TUF 1.0.34 section 4.5). Bins are stored under their index and number of bits, not under
their name: names return with another meaning when the number of bins changes.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
import orjson

from projections.chunks import Aggregate, Change, Chunk, ChunkedMap


# `gc=False`: there are millions, and texts and numbers make no cycles.
class TargetChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a batch of events does to a target.

    `set` gives it this entry, or takes it away (None). `hold` and `release` do so for one of several holders: two
    projects can hold one path, even with different claims about it, because a legacy filename does not say where the
    project's name ends. The holder of least `rank` is believed, and the target goes when the last lets go. A file whose
    name does say whose it is has rank 0, so nobody else's claim replaces it.
    """

    path: str
    entry: bytes | None
    act: Literal["set", "hold", "release"] = "set"
    rank: int = 0


class Layout(msgspec.Struct, frozen=True):
    """How bins are delegated: 2^`bits` bins, called `prefix`-`index in hexadecimal` (TAP 15), by succinct roles or by
    path hash prefixes.
    """

    bits: int
    prefix: str = "bin"
    succinct: bool = True

    @property
    def count(self) -> int:
        """Number of bins."""
        return 1 << self.bits

    def name(self, index: int) -> str:
        """The role name of a bin."""
        return f"{self.prefix}-{index:0{self._digits}x}"

    def index(self, name: str) -> int | None:
        """The index of a bin by its role name, or None if it is not one of these bins."""
        prefix, _, suffix = name.rpartition("-")
        if prefix != self.prefix or len(suffix) != self._digits or suffix.strip("0123456789abcdef"):
            return None
        index = int(suffix, 16)
        return index if index < self.count else None

    def index_of_target(self, path: str) -> int:
        """The index of the bin that a target path belongs to."""
        return int.from_bytes(sha256(path.encode()).digest()[:4], "big") >> (32 - self.bits)

    def partition_of(self, path: str, partitions: int) -> int:
        """Which of so many groups of neighbouring bins a target path belongs to."""
        return self.index_of_target(path) * partitions >> self.bits

    def bins_of(self, partition: int, partitions: int) -> range:
        """The bins of such a group; the inverse of `partition_of`."""
        first, last = (-(-(at << self.bits) // partitions) for at in (partition, partition + 1))
        return range(first, last)

    def key(self, index: int) -> str:
        """The key under which a bin is stored."""
        return bin_key(self.bits, index)

    @property
    def _digits(self) -> int:
        return len(f"{self.count - 1:x}")


def bin_key(bits: int, index: int) -> str:
    """The key under which a bin is stored; keys of one number of bits sort by index."""
    return f"bin:{bits:02}:{index:05x}"


def target_entry(path: str, length: int, digest: str) -> bytes:
    """The member of a bin's `targets` for one target (TUF 1.0.34, section 4.5)."""
    return b'%s:{"hashes":{"sha256":"%s"},"length":%d}' % (orjson.dumps(path), digest.encode(), length)


# What `target_entry` gives. No path has anything in it that JSON escapes (`schemas.fields.TARGET_PATTERN`).
_ENTRY = re.compile(rb'"([^"]*)":\{"hashes":\{[^}]*\},[^}]*\}')


def hashed_path(path: str, digest: str) -> str:
    """Where a target is served under consistent snapshots (TUF 1.0.34, section 6.2)."""
    folder, slash, name = path.rpartition("/")
    return f"targets/{folder}{slash}{digest}.{name}"


class Page(NamedTuple):
    """A target whose bytes we render: its path, its bytes, and their SHA-256."""

    path: str
    data: bytes
    sha256: str

    @property
    def hashed_path(self) -> str:
        """Where it is served under consistent snapshots."""
        return hashed_path(self.path, self.sha256)


def rendered_page(path: str, data: bytes) -> tuple[Page, TargetChange]:
    """A page that was rendered, and the change of its target."""
    page = Page(path, data, sha256(data).hexdigest())
    return page, TargetChange(path, target_entry(path, len(data), page.sha256))


class BinCodec:
    """Targets of a bin in chunks: members of `targets`, joined by commas."""

    def parse(self, chunk: Chunk) -> dict[str, bytes]:
        """The rendered entries of a chunk by target path."""
        return {match[1].decode(): match[0] for match in _ENTRY.finditer(chunk.body)}

    def render(self, lower: str, entries: Sequence[tuple[str, bytes]]) -> Chunk:
        """A chunk of these entries."""
        return Chunk(lower, body=b",".join([entry for _, entry in entries]))


class FoldedBin(NamedTuple):
    """A bin after a batch: what to store, whether any entry changed, and all rendered entries, several in a piece."""

    change: Change
    differs: bool
    targets: tuple[bytes, ...]


_held_decoder = msgspec.msgpack.Decoder(dict[str, list[tuple[int, bytes]]])
_held_encoder = msgspec.msgpack.Encoder()


def fold_bin(state: Aggregate, changes: Iterable[TargetChange]) -> FoldedBin:
    """Apply changes of targets to a bin. The result does not depend on the order of changes by different holders."""
    held = _held(state)
    entries = ChunkedMap(state.chunks, BinCodec())
    before: dict[str, bytes | None] = {}
    for change in changes:
        path = change.path
        old = entries.get(path)
        new = change.entry if change.act == "set" else _hold_or_release(held, old, change)
        if new == old:
            continue
        before.setdefault(path, old)
        if new is None:
            entries.delete(path)
        else:
            entries.put(path, new)
    differs = any(entries.get(path) != old for path, old in before.items())
    put, drop = entries.finish()
    header = _held_encoder.encode(dict(sorted(held.items()))) if held else b""
    stored = Change(state.key, header if header != state.header else None, put, drop)
    return FoldedBin(stored, differs, tuple(chunk.body for chunk in entries.chunks if chunk.body))


def _held(state: Aggregate) -> dict[str, list[tuple[int, bytes]]]:
    """The holders, sorted by rank, of the targets that have any of a rank above 0."""
    return _held_decoder.decode(state.header) if state.header else {}


def _hold_or_release(held: dict[str, list[tuple[int, bytes]]], old: bytes | None, change: TargetChange) -> bytes | None:
    """The target's entry after one holder came or went."""
    path, entry, act, rank = change.path, change.entry, change.act, change.rank
    if rank == 0 and path not in held:  # nearly always: one file whose name says whose it is
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


def take_targets(state: Iterable[Aggregate]) -> list[TargetChange]:
    """The targets of stored bins, as changes that add them to other bins."""
    changes: list[TargetChange] = []
    for aggregate in state:
        held = _held(aggregate)
        for path, entry in ChunkedMap(aggregate.chunks, BinCodec()).items():
            changes.extend(TargetChange(path, each, "hold", rank) for rank, each in held.get(path, [(0, entry)]))
    return changes
