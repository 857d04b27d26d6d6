"""The bins of a state: their targets are not in the state file, but in the last file of each bin, which is kept."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ledger.state.kept_files import KeptFiles
from ledger.state.roles import kept_name
from projections.metadata.bins import Entries
from projections.metadata.repository import RoleEntry, bin_targets
from projections.roles.layout import Layout


class KeptBin(NamedTuple):
    """A bin in a state: its entry in the snapshot, and the mark of its file if the file is kept."""

    entry: RoleEntry
    mark: bytes = b""


class LastBins(NamedTuple):
    """The last files of bins in a state: their layout (None: no bins yet), and the snapshot's entry of each."""

    kept: KeptFiles
    layout: Layout | None
    entries: Mapping[str, RoleEntry]

    def of(self, bins: Iterable[int]) -> "LastBins":
        """The same, reduced to some bins."""
        if self.layout is None:
            return self
        return self._replace(entries={name: self.entries[name] for name in self.names(bins)})

    def prefetch(self, bins: Iterable[int]) -> None:
        """Let the disk begin to read the files of some bins."""
        self.kept.prefetch(kept_name(name, entry.version) for name, entry in self.of(bins).entries.items())

    def names(self, bins: Iterable[int]) -> list[str]:
        """The names of those bins, among some, that have a file."""
        return [] if self.layout is None else [name for name in map(self.layout.name, bins) if name in self.entries]

    def targets(self, index: int, marks: Mapping[str, bytes]) -> Entries:
        """The rendered targets of a bin, given the marks of files by role name (`load_marks`).

        Raises:
            StateDamagedError: the bin's file has changed. A signer would sign metadata made from it.
        """
        name = "" if self.layout is None else self.layout.name(index)
        entry = self.entries.get(name)
        if entry is None:
            return Entries()
        return bin_targets(self.kept.read(kept_name(name, entry.version), marks.get(name, b"")))

    def keep(self, name: str, entry: RoleEntry, file: bytes) -> tuple[str, KeptBin]:
        """Keep a bin's next file, and return its path and its mark. The file counts after `Store.keep`."""
        path = self.kept.put(kept_name(name, entry.version), file)
        return path, KeptBin(entry, self.kept.mark(file))
