"""SQLite files as Python's own driver opens them: all that it takes to read, and nothing to import."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ledger.databases import BUSY_TIMEOUT_SECONDS

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite fails with; the last when its message is decoded."""

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
}
"""Codes of errors that say nothing against the file."""

_PRIMARY = 0xFF
"""Of an error's code: the rest is one of its kinds."""


class Readable(NamedTuple):
    """A connection that only reads; `frozen` if SQLite was told that nobody writes meanwhile."""

    connection: sqlite3.Connection
    frozen: bool


def open_file(path: Path, mode: Literal["ro", "rw"], *, immutable: bool = False) -> sqlite3.Connection:
    """Open a file that exists; it may be used by any thread, one at a time.

    Raises:
        sqlite3.DatabaseError: it cannot be opened, or is no database.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        # SQLite looks for the other files at the first statement.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> Readable:
    """Open a file that we may not be able to write, in a folder where we may not be able to make a file.

    Even to read, write-ahead logging wants a file of shared memory beside the database. Where we cannot make it, and
    there is no write-ahead log that would have to be read with it, the database is opened as one that nobody writes.
    That is so when it is opened; who keeps the connection looks whether it still is (`stamp`).

    Raises:
        sqlite3.DatabaseError: as SQLite.
    """
    try:
        return Readable(open_file(path, "ro"), frozen=False)
    except sqlite3.OperationalError:
        if _has_write_ahead_log(path):
            raise
        return Readable(open_file(path, "ro", immutable=True), frozen=True)


def fetch_all(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement, and give the rows that it finds: no cursor stays open.

    Raises:
        sqlite3.DatabaseError: as SQLite.
    """
    return connection.execute(statement, parameters).fetchall()


def stamp(path: Path) -> tuple[int, int, int, bool]:
    """What changes when somebody writes to a database.

    Raises:
        OSError: it is gone.
    """
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, _has_write_ahead_log(path)


def primary_code(error: BaseException) -> int:
    """SQLite's primary code of an error; 0 if it has none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY


def is_passing(path: Path, error: BaseException) -> bool:
    """Whether what SQLite fails with at a file may pass: a full disk, or one that fails, says nothing against the file.

    That a file cannot be opened passes if we may open it: then there was no room for what SQLite makes beside it.
    """
    code = primary_code(error)
    if path.is_dir():
        return False
    if code == sqlite3.SQLITE_CANTOPEN:
        return os.access(path.parent, os.W_OK | os.X_OK)
    return code in _PASSING


def unusable_now(path: Path, error: BaseException) -> str:
    """What to say then: what may help, and never that the file is to be deleted."""
    room = (
        "" if primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else ". Check that the disk has room"
    )
    return f"{path} cannot be used now: {error}{room}"


def _has_write_ahead_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
