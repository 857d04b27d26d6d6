"""Bins between a state and files: read, folded, sealed; in this process or in one that works for it.

A state has no targets of its own: those of a bin stand in its last file, which it keeps.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from consumers.reading.runs import Stamp
from consumers.render.edition import Choice
from consumers.render.sealing import BinSealer
from consumers.state.kept_bins import LastBins
from projections.metadata.bins import Entries, Fragment, StoredBin, fold_bin
from projections.metadata.paths import metadata_path
from projections.metadata.repository import RoleEntry, bin_payload
from projections.metadata.targets import TargetChange
from projections.roles.layout import Layout


class SealedBin(NamedTuple):
    """A bin that was sealed: its file, and what a snapshot says of it."""

    name: str
    file: bytes
    entry: RoleEntry

    @property
    def path(self) -> str:
        """Where it is served."""
        return metadata_path(self.name, self.entry.version)


class Unsealed(NamedTuple):
    """A bin that is to be sealed: its name, its stamp, and its rendered targets, several in a fragment."""

    name: str
    stamp: Stamp
    targets: Sequence[Fragment]


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
        StoredBin(headers.get(layout.key(index), b""), Entries() if last is None else last.targets(index, marks))
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


def seal_bin(sealer: BinSealer, unsealed: Unsealed) -> SealedBin:
    """Seal a bin. Raises as the sealer does."""
    name, stamp, targets = unsealed
    file = sealer.seal(name, bin_payload(targets, stamp.number, stamp.expires))
    entry = RoleEntry(stamp.number, stamp.expires, len(file), sha256(file).hexdigest())
    return SealedBin(name, file, entry)
