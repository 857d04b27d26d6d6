"""SQLite files opened with Python's own driver: it blocks, and its import costs nothing."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ledger.databases import BUSY_TIMEOUT_SECONDS

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors raised for SQLite files; the last one comes from decoding SQLite's message."""

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
}
"""Codes of temporary errors: the file is not damaged."""

_PRIMARY = 0xFF
"""Mask of the primary code in an extended error code."""


class Readable(NamedTuple):
    """A read-only connection; `frozen` if SQLite was told that the file does not change meanwhile."""

    connection: sqlite3.Connection
    frozen: bool


def open_file(path: Path, mode: Literal["ro", "rw"], *, immutable: bool = False) -> sqlite3.Connection:
    """Open an existing file. Any thread may use the connection, one at a time.

    Raises:
        sqlite3.DatabaseError: the file cannot be opened, or is not a database.
    """
    # SQLite looks for the other files at the first statement.
    first = "SELECT count(*) FROM sqlite_master"
    return _open(path, f"mode={mode}{'&immutable=1' if immutable else ''}", first)


def connect(path: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> sqlite3.Connection:
    """Open a file to be written, or with `rwc` create it. Any thread may use the connection, one at a time.

    Args:
        path: the file.
        mode: SQLite's mode.
        pragmas: set in this order, such as `synchronous = FULL`.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    return _open(path, f"mode={mode}", *(f"PRAGMA {each}" for each in pragmas))


def open_to_read(path: Path) -> Readable:
    """Open a file for reading, even without the right to write the file or its folder.

    Even for reading, write-ahead logging needs a file of shared memory beside the database. If it cannot be created,
    and there is no write-ahead log that must be read too, the database is opened as immutable. A caller that keeps the
    connection must check that the file has not changed since (`stamp`).

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    try:
        return Readable(open_file(path, "ro"), frozen=False)
    except sqlite3.OperationalError:
        if _has_write_ahead_log(path):
            raise
        return Readable(open_file(path, "ro", immutable=True), frozen=True)


def fetch_all(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement, and return its rows, so that no cursor stays open.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    return connection.execute(statement, parameters).fetchall()


def stamp(path: Path) -> tuple[int, int, int, bool]:
    """A value that changes when a database is written.

    Raises:
        OSError: the file is gone.
    """
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, _has_write_ahead_log(path)


def primary_code(error: BaseException) -> int:
    """SQLite's primary code of an error; 0 if it has none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY


def is_passing(path: Path, error: BaseException) -> bool:
    """Whether an SQLite error is temporary: a full or failing disk does not mean that the file is damaged.

    A file that cannot be opened is a temporary failure if its folder is writable: then SQLite lacked room for its files
    beside the database.
    """
    code = primary_code(error)
    if path.is_dir():
        return False
    if code == sqlite3.SQLITE_CANTOPEN:
        return os.access(path.parent, os.W_OK | os.X_OK)
    return code in _PASSING


def unusable_now(path: Path, error: BaseException) -> str:
    """The message for a temporary failure: it says what may help, and never to delete the file."""
    room = (
        "" if primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else ". Check that the disk has room"
    )
    return f"{path} cannot be used now: {error}{room}"


def _open(path: Path, parameters: str, *statements: str) -> sqlite3.Connection:
    """Open a connection that begins no transaction by itself."""
    uri = f"{path.absolute().as_uri()}?{parameters}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        for statement in statements:
            connection.execute(statement).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _has_write_ahead_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
