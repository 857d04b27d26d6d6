"""Bins between a state and files: a state has no targets of its own, those of a bin stand in its last file."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ledger.state.kept_files import KeptFiles
from ledger.state.store import kept_name
from projections.metadata.bins import Entries
from projections.metadata.repository import RoleEntry, bin_targets
from projections.roles.layout import Layout


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

    def targets(self, index: int, marks: Mapping[str, bytes]) -> Entries:
        """The rendered targets of a bin, given the marks of files by role name (`Store.load_marks`).

        Raises:
            StateDamagedError: its file is not what was written. A signer would sign what follows from it.
        """
        name = "" if self.layout is None else self.layout.name(index)
        entry = self.entries.get(name)
        if entry is None:
            return Entries()
        return bin_targets(self.kept.read(kept_name(name, entry.version), marks.get(name, b"")))

    def keep(self, name: str, entry: RoleEntry, file: bytes) -> tuple[str, KeptBin]:
        """Put a bin's next file beside them, and mark it; gives its path, too. It counts when the store is told
        (`Store.keep`).
        """
        path = self.kept.put(kept_name(name, entry.version), file)
        return path, KeptBin(entry, self.kept.mark(file))
