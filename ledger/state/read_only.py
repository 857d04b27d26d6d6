"""A state that is only read, by whomever: another process may write it meanwhile."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ledger.databases import plain
from ledger.state import StateDamagedError, StateMissingError, StoreError
from ledger.state.statements import State
from ledger.state.tables import is_current

_MAGIC = b"SQLite format 3\0"


class StateReader(State):
    """A state that is only read: as it was last committed."""

    def open(self) -> None:
        """Open the file.

        Raises:
            StateMissingError: there is none.
            StoreError: it cannot be read, or has another format.
        """
        with self._closed_on_failure():
            self._open()

    def _open(self) -> None:
        path = self.path
        if not path.exists():
            raise StateMissingError(f"there is no state at {path}: its consumer has not run here")
        if not path.is_file():
            raise StoreError(f"{path} is no file: move it away, and the state is rebuilt from the logs")
        if not os.access(path, os.R_OK):
            raise StoreError(f"{path} cannot be read by this user")
        try:
            self._connection = plain.open_to_read(path).connection
            current = is_current(self._connection)
        except sqlite3.DatabaseError as error:
            failed = self._failed(error)
            if isinstance(failed, StateDamagedError):
                failed = StoreError(f"{path} cannot be read: {error}")
            raise failed from error
        if not current:
            raise StoreError(f"{path} has another format: start its consumer to rebuild the state")


def is_blank(path: Path) -> bool:
    """Whether an existing file has nothing in it: it is empty, or an SQLite file without tables."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
        if begin != _MAGIC:  # SQLite takes any file that is short enough for an empty one
            return not begin
        with closing(plain.open_to_read(path).connection) as connection:
            return plain.fetch_all(connection, "SELECT count(*) FROM sqlite_master") == [(0,)]
    except (OSError, sqlite3.DatabaseError):
        return False
