"""The steps from a bin in a state to its next file: read, fold, seal; in this process or in a worker process.

The state file holds no targets: those of a bin are in its last file, which is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from consumers.reading.runs import Stamp
from consumers.render.edition import Choice
from consumers.render.sealing import BinSealer
from consumers.state.kept_bins import LastBins
from projections.metadata.bins import Entries, Fragment, StoredBin, fold_bin
from projections.metadata.holders import Withholding
from projections.metadata.paths import metadata_path
from projections.metadata.repository import RoleEntry, bin_payload
from projections.metadata.targets import TargetChange
from projections.roles.layout import Layout


class SealedBin(NamedTuple):
    """A sealed bin: its file, and its entry in the snapshot."""

    name: str
    file: bytes
    entry: RoleEntry

    @property
    def path(self) -> str:
        """The path at which the bin is served."""
        return metadata_path(self.name, self.entry.version)


class Unsealed(NamedTuple):
    """A bin to be sealed: its name, its stamp, and its rendered targets, several per fragment."""

    name: str
    stamp: Stamp
    targets: Sequence[Fragment]


class FoldedBins(NamedTuple):
    """Bins after a batch: the headers to store, by key, the bins to seal, and what is withheld since, or no longer."""

    headers: list[tuple[str, bytes]]
    unsealed: list[Unsealed]
    withholdings: list[Withholding]


def by_bin(layout: Layout, changes: Iterable[TargetChange]) -> dict[int, list[TargetChange]]:
    """Changes of targets by the index of their bin."""
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
    """The stored bins, given their stored headers and marks. Raises the errors of `LastBins.targets`."""
    return [
        StoredBin(headers.get(layout.key(index), b""), Entries() if last is None else last.targets(index, marks))
        for index in indices
    ]


def fold_bins(
    choice: Choice,
    indices: Sequence[int],
    stored: Sequence[StoredBin],
    changes: Mapping[int, Sequence[TargetChange]],
) -> FoldedBins:
    """Fold changes into bins.

    Raises:
        DivergenceError: a bin has changed, but no publication signed it.
    """
    layout = choice.layout
    done = FoldedBins([], [], [])
    for index, each in zip(indices, stored, strict=True):
        folded = fold_bin(each, changes.get(index, ()))
        if folded.header is not None:
            done.headers.append((layout.key(index), folded.header))
        done.withholdings.extend(folded.withholdings)
        stamp = choice.stamp(index, differs=folded.differs)
        if stamp is not None:
            done.unsealed.append(Unsealed(layout.name(index), stamp, folded.targets))
    return done


def seal_bin(sealer: BinSealer, unsealed: Unsealed) -> SealedBin:
    """Seal a bin. Raises the sealer's errors."""
    name, stamp, targets = unsealed
    file = sealer.seal(name, bin_payload(targets, stamp.number, stamp.expires))
    entry = RoleEntry(stamp.number, stamp.expires, len(file), sha256(file).hexdigest())
    return SealedBin(name, file, entry)
