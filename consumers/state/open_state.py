"""A state as a process reads it that works for the one who writes it."""

from collections.abc import Collection, Mapping, Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

from consumers.state import records
from consumers.state.records import Loaded
from ledger.state.store import ReadingStore, finish
from projections.log.reading import Routed


class _Opened(NamedTuple):
    """A state that is open: which file it is, since another may have taken its place."""

    path: Path
    device: int
    inode: int
    store: ReadingStore


class OpenState:
    """What is stored, or nothing; what the writer does meanwhile is not in it yet."""

    def __init__(self) -> None:
        self._opened: _Opened | None = None

    def open(self, path: Path | None) -> None:
        """Open a state, or none, in place of the one before."""
        file = None if path is None else (path, path.stat().st_dev, path.stat().st_ino)
        if self._opened is not None and self._opened[:3] == file:
            return
        self.close()
        if file is not None:
            opened = self._opened = _Opened(*file, ReadingStore(file[0]))
            try:
                finish(opened.store.open())
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close it."""
        opened, self._opened = self._opened, None
        if opened is not None:
            finish(opened.store.close())

    def load(self, keys: Sequence[str], filenames: Mapping[str, Collection[str]]) -> Loaded:
        """Stored aggregates, as `consumers.state.records.load_aggregates`."""
        if self._opened is None:
            return Loaded({}, {})
        return finish(records.load_aggregates(self._opened.store, keys, filenames))

    def headers(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Stored headers by key."""
        if self._opened is None:
            return {}
        return dict(finish(self._opened.store.load_headers(keys)))

    def marks(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Stored marks of the kept files of bins, by role name."""
        if self._opened is None:
            return {}
        return dict(finish(self._opened.store.load_marks(names)))

    def seen(self, items: Sequence[Routed]) -> Mapping[tuple[str, str], str]:
        """Digests of remembered events with the ids of these."""
        if self._opened is None:
            return {}
        return finish(records.load_seen(self._opened.store, items))


_state = OpenState()
Finalize(None, _state.close, exitpriority=1)


def open_state(path: Path | None) -> OpenState:
    """A state, or none. It stays open from one task to the next: to open it takes as long as a task reads from it."""
    _state.open(path)
    return _state
