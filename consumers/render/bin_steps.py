"""Bins between a state and files: read, folded, sealed; in this process or in one that works for it.

A state has no targets of its own: those of a bin stand in its last file, which it keeps.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from consumers.reading.runs import Stamp
from consumers.render.edition import Choice
from ledger.state.kept_files import KeptFiles
from ledger.state.store import kept_name
from projections.metadata.bins import Layout, Piece, Rendered, StoredBin, TargetChange, fold_bin
from projections.metadata.repository import RoleEntry, bin_payload, bin_targets, metadata_path


class Sealer(Protocol):
    """Turns payloads into metadata files."""

    @property
    def packed(self) -> dict[str, tuple[str, ...]]:
        """The signatures that it made, by role name, as a publication holds them."""

    def seal(self, name: str, payload: bytes) -> bytes:
        """The file of a bin or of `snapshot`: the payload with its signatures.

        Raises:
            DivergenceError: the log has no such signatures, or others.
            SignerError: a key does not sign.
        """


class SealedBin(NamedTuple):
    """A bin that was sealed: its file, and what a snapshot says of it."""

    name: str
    file: bytes
    entry: RoleEntry

    @property
    def path(self) -> str:
        """Where it is served."""
        return metadata_path(self.name, self.entry.version)


class KeptBin(NamedTuple):
    """What a state remembers of a bin: what a snapshot says of it, and the mark of its file if that is kept."""

    entry: RoleEntry
    mark: bytes = b""


class LastBins(NamedTuple):
    """The last files of bins, as a state keeps them: under which layout, and what each is. No layout: there is none."""

    kept: KeptFiles
    layout: Layout | None
    entries: Mapping[str, RoleEntry]

    def of(self, bins: Iterable[int]) -> "LastBins":
        """As far as it concerns some bins."""
        if self.layout is None:
            return self
        return self._replace(entries={name: self.entries[name] for name in self.names(bins)})

    def prefetch(self, bins: Iterable[int]) -> None:
        """Let the disk begin to read some."""
        self.kept.prefetch(kept_name(name, entry.version) for name, entry in self.of(bins).entries.items())

    def names(self, bins: Iterable[int]) -> list[str]:
        """The names of those among some bins that there are."""
        return [] if self.layout is None else [name for name in map(self.layout.name, bins) if name in self.entries]

    def targets(self, index: int, marks: Mapping[str, bytes]) -> Rendered:
        """The rendered targets of a bin, given the marks of files by role name (`Store.load_marks`).

        Raises:
            StateDamagedError: its file is not what was written. A signer would sign what follows from it.
        """
        name = "" if self.layout is None else self.layout.name(index)
        entry = self.entries.get(name)
        if entry is None:
            return Rendered()
        return bin_targets(self.kept.read(kept_name(name, entry.version), marks.get(name, b"")))

    def keep(self, sealed: SealedBin) -> tuple[str, KeptBin]:
        """Put a bin's next file beside them, and mark it; gives its path, too. It counts when the store is told
        (`Store.keep`).
        """
        path = self.kept.put(kept_name(sealed.name, sealed.entry.version), sealed.file)
        return path, KeptBin(sealed.entry, self.kept.mark(sealed.file))


class Unsealed(NamedTuple):
    """A bin that is to be sealed: its name, its stamp, and its rendered targets, several in a piece."""

    name: str
    stamp: Stamp
    targets: Sequence[Piece]


def by_bin(layout: Layout, changes: Iterable[TargetChange]) -> dict[int, list[TargetChange]]:
    """Changes of targets by the index of the bin that they are in."""
    bins: dict[int, list[TargetChange]] = {}
    for change in changes:
        bins.setdefault(layout.index_of_target(change.path), []).append(change)
    return bins


def read_bins(
    last: LastBins | None,
    layout: Layout,
    indices: Sequence[int],
    headers: Mapping[str, bytes],
    marks: Mapping[str, bytes],
) -> list[StoredBin]:
    """What is known of bins, given the headers and marks that are stored. Raises as `LastBins.targets`."""
    return [
        StoredBin(headers.get(layout.key(index), b""), Rendered() if last is None else last.targets(index, marks))
        for index in indices
    ]


def fold_bins(
    choice: Choice,
    indices: Sequence[int],
    stored: Sequence[StoredBin],
    changes: Mapping[int, Sequence[TargetChange]],
) -> tuple[list[tuple[str, bytes]], list[Unsealed]]:
    """Fold changes into bins; gives the headers to store, by key, and which are to be sealed.

    Raises:
        DivergenceError: a bin has changed, and no publication signed it.
    """
    layout = choice.layout
    headers: list[tuple[str, bytes]] = []
    unsealed: list[Unsealed] = []
    for index, each in zip(indices, stored, strict=True):
        folded = fold_bin(each, changes.get(index, ()))
        if folded.header is not None:
            headers.append((layout.key(index), folded.header))
        stamp = choice.stamp(index, differs=folded.differs)
        if stamp is not None:
            unsealed.append(Unsealed(layout.name(index), stamp, folded.targets))
    return headers, unsealed


def seal_bin(sealer: Sealer, unsealed: Unsealed) -> SealedBin:
    """Seal a bin. Raises as the sealer does."""
    name, stamp, targets = unsealed
    file = sealer.seal(name, bin_payload(targets, stamp.number, stamp.expires))
    entry = RoleEntry(stamp.number, stamp.expires, len(file), sha256(file).hexdigest())
    return SealedBin(name, file, entry)
