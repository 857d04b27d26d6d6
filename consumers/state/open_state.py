"""A state as a worker process reads it, while the follower writes it."""

from collections.abc import Collection, Mapping, Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

from consumers.state import records
from consumers.state.records import Loaded
from ledger.state.aggregates import load_headers
from ledger.state.read_only import StateReader
from ledger.state.roles import load_marks
from projections.log.reading import Routed


class _Opened(NamedTuple):
    """An open state, with the identity of its file, since another file may have replaced it."""

    path: Path
    device: int
    inode: int
    reader: StateReader


class OpenState:
    """The last committed state, or none. Changes of the open transaction are not visible."""

    def __init__(self) -> None:
        self._opened: _Opened | None = None

    def open(self, path: Path | None) -> None:
        """Open a state (or none), and close the previous one."""
        file = None if path is None else (path, path.stat().st_dev, path.stat().st_ino)
        if self._opened is not None and self._opened[:3] == file:
            return
        self.close()
        if file is not None:
            opened = self._opened = _Opened(*file, StateReader(file[0]))
            try:
                opened.reader.open()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the state."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.reader.close()

    def load(self, keys: Sequence[str], filenames: Mapping[str, Collection[str]], rows_beside: Sequence[str]) -> Loaded:
        """Stored aggregates, as `consumers.state.records.load_aggregates`."""
        if self._opened is None:
            return Loaded({}, {})
        return records.load_aggregates(self._opened.reader, keys, filenames, rows_beside)

    def headers(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Stored headers by key."""
        if self._opened is None:
            return {}
        return dict(load_headers(self._opened.reader, keys))

    def marks(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Stored marks of the kept files of bins, by role name."""
        if self._opened is None:
            return {}
        return load_marks(self._opened.reader, names)

    def seen(self, items: Sequence[Routed]) -> Mapping[tuple[str, str], str]:
        """Digests of remembered events that have the ids of these events."""
        if self._opened is None:
            return {}
        return records.load_seen(self._opened.reader, items)


_state = OpenState()
Finalize(None, _state.close, exitpriority=1)


def open_state(path: Path | None) -> OpenState:
    """Open a state, or none. It stays open between tasks, because opening it takes as long as a task's reading."""
    _state.open(path)
    return _state
