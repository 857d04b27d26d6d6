"""An open state: its statements, its checksums, and the errors that say what to do. The queries stand on this."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from ledger.databases.plain import ERRORS, is_passing, primary_code, unusable_now
from ledger.disk.files import may_pass
from ledger.state import StateDamagedError, StateUnavailableError, StoreError
from ledger.state.disk import SYSTEM_DISK, Connection, Disk
from ledger.state.kept_files import KeptFiles


class State:
    """A state: rows in its file, and its kept files. Blocking, and for one thread at a time."""

    def __init__(self, path: Path, disk: Disk = SYSTEM_DISK) -> None:
        self.path = path
        self.kept = KeptFiles(path.with_suffix(".kept"), path, disk=disk)
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the file."""
        self._close_connection()

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        """Whatever fails while the file is opened, it is closed; the system's errors become ours."""
        try:
            yield
        except OSError as error:
            self.close()
            raise self._refused(error) from error
        except BaseException:
            self.close()
            raise

    # --- statements ----------------------------------------------------------------------------------------------

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """Execute one statement, and return its rows."""
        connection = self._open_connection()
        try:
            return connection.execute(statement, parameters).fetchall()
        except ERRORS as error:
            raise self._failed(error) from error

    def checked_rows(self, statement: str, *parameters: Any) -> list[Any]:
        """The rows of a statement, without their last column, which is the checksum of the others.

        Raises:
            StateDamagedError: a row has changed since it was written. A signer would sign metadata made from it.
        """
        rows = self.rows(statement, *parameters)
        checked = [row[:-1] for row in rows]
        for row, known in zip(rows, checked, strict=True):
            if _checksum(known) != row[-1]:
                raise StateDamagedError(
                    f"{self.path} is damaged at {row[0]!r:.100}. Stop its consumer and delete the file; it is rebuilt "
                    "from the logs"
                )
        return checked

    def execute(self, statement: str, *parameters: Any) -> None:
        """Execute one statement that returns no rows."""
        self.rows(statement, *parameters)

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each row of parameters."""
        if not rows:
            return
        connection = self._open_connection()
        try:
            connection.executemany(statement, rows)
        except ERRORS as error:
            raise self._failed(error) from error

    # --- kept files ----------------------------------------------------------------------------------------------

    def read_kept(self, files: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The contents of kept files, given by name and mark.

        Raises:
            StateDamagedError: a file has changed since it was written.
        """
        if not self.kept.key:  # a reader of rows only needs no right to read the key
            self.kept = self.kept.opened()
        self.kept.prefetch(name for name, _ in files[1:])  # the first is read at once
        return [self.kept.read(name, mark) for name, mark in files]

    # --- the connection ------------------------------------------------------------------------------------------

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise StoreError(f"{self.path} is not open")
        return self._connection

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _failed(self, error: BaseException) -> StoreError:
        """The error to raise for an SQLite error: a temporary failure, missing rights, or damage."""
        if is_passing(self.path, error):
            return StateUnavailableError(unusable_now(self.path, error))
        if primary_code(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            return StoreError(f"{self.path} cannot be used: {error}")
        return StateDamagedError(
            f"{self.path} is damaged: {error}. Stop its consumer and delete the file; it is rebuilt from the logs"
        )

    def _refused(self, error: OSError) -> StoreError:
        """The error to raise for a system error about the file or one beside it."""
        path = error.filename or self.path
        if may_pass(error):
            return StateUnavailableError(f"{path} cannot be used now: {error.strerror}. Check that the disk has room")
        return StoreError(f"{path} cannot be used: {error.strerror}")


def lock_path(path: Path) -> Path:
    """The file by whose lock one process alone writes a state."""
    return path.with_name(path.name + ".lock")


def with_checksums(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows, each with its checksum as the last column."""
    return [(*row, _checksum(row)) for row in rows]


def _checksum(row: Iterable[Any]) -> int:
    """CRC-32 of a row: protects against a disk that corrupts bits, not against an attacker who can write the file."""
    value = 0
    for field in row:
        if type(field) is not bytes:
            value = crc32(f"{field}\0".encode(errors="surrogatepass"), value)
        elif field:
            value = crc32(field, value)
    return value
