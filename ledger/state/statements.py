"""An open state: its statements, its checksums, and the errors that say what to do. The queries stand on this."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from zlib import crc32

from ledger.databases.plain import ERRORS, is_passing, primary_code, unusable_now
from ledger.disk.files import may_pass
from ledger.state import StateDamagedError, StateUnavailableError, StoreError
from ledger.state.disk import SYSTEM_DISK, Connection, Disk
from ledger.state.kept_files import KeptFiles

Row = TypeVar("Row")


class Table(NamedTuple, Generic[Row]):
    """A table of a state, and the type of its rows. Columns have the order of the type's fields; the key's are first.

    `is_checked`: behind these columns each row has its checksum.
    """

    name: str
    columns: tuple[str, ...]
    row: Callable[..., Row]
    is_checked: bool = True

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns, with that of the checksum."""
        return (*self.columns, "crc32") if self.is_checked else self.columns


class State:
    """A state: rows in its file, and its kept files. Blocking, and for one thread at a time."""

    def __init__(self, path: Path, disk: Disk = SYSTEM_DISK) -> None:
        self.path = path
        self.kept = KeptFiles(path.with_name(f"{path.name.removesuffix('.sqlite')}.kept"), path, disk=disk)
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
        with self._explained():
            return self._open_connection().execute(statement, parameters).fetchall()

    def select(self, table: Table[Row], rest: str = "", *parameters: Any) -> list[Row]:
        """The rows of a table that the rest of a statement chooses; without one, all.

        Raises:
            StateDamagedError: a row has changed since it was written. A signer would sign metadata made from it.
        """
        return self._as_rows(table, self.rows(f"{_select(table)} {rest}", *parameters))

    def first(self, table: Table[Row], rest: str = "", *parameters: Any) -> Row | None:
        """The first row that `select` gives, or None."""
        return next(iter(self.select(table, rest, *parameters)), None)

    def among(self, table: Table[Row], keys: Sequence[str] | Sequence[tuple[str, str]]) -> list[Row]:
        """The rows of a table whose first column, or first two, are among some, in the order of these.

        Raises:
            StateDamagedError: as for `select`.
        """
        if not keys:
            return []
        statement = _select_among(table, isinstance(keys[0], tuple))
        return self._as_rows(table, self.rows(statement, json.dumps(list(keys))))

    def put(self, table: Table[Row], rows: Sequence[tuple[Any, ...]]) -> None:
        """Put rows into a table, in place of those with the same keys."""
        self.many(_insert(table), with_checksums(rows) if table.is_checked else rows)

    def drop(self, table: Table[Row], keys: Sequence[tuple[str, ...]]) -> None:
        """Delete the rows of a table whose first columns are these."""
        if keys:
            same = " AND ".join(f"{column} = ?" for column in table.columns[: len(keys[0])])
            self.many(f"DELETE FROM {table.name} WHERE {same}", keys)  # noqa: S608

    def _as_rows(self, table: Table[Row], rows: Iterable[tuple[Any, ...]]) -> list[Row]:
        if not table.is_checked:
            return [table.row(*row) for row in rows]
        checked = []
        for *fields, checksum in rows:
            if _checksum(fields) != checksum:
                raise StateDamagedError(
                    f"{self.path} is damaged at {fields[0]!r:.100}. Stop its consumer and delete the file; it is "
                    "rebuilt from the logs"
                )
            checked.append(table.row(*fields))
        return checked

    def execute(self, statement: str, *parameters: Any) -> None:
        """Execute one statement that returns no rows."""
        self.rows(statement, *parameters)

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each row of parameters."""
        if rows:
            with self._explained():
                self._open_connection().executemany(statement, rows)

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

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into those of a state."""
        try:
            yield
        except ERRORS as error:
            raise self._failed(error) from error

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


@lru_cache
def _select(table: Table[Any]) -> str:
    return f"SELECT {', '.join(table.stored)} FROM {table.name}"  # noqa: S608


@lru_cache
def _select_among(table: Table[Any], are_pairs: bool) -> str:
    same = f"t.{table.columns[0]} = j.value"
    if are_pairs:
        both = enumerate(table.columns[:2])
        same = " AND ".join(f"t.{column} = json_extract(j.value, '$[{place}]')" for place, column in both)
    columns = ", ".join(f"t.{column}" for column in table.stored)
    return f"SELECT {columns} FROM json_each(?) AS j CROSS JOIN {table.name} AS t ON {same}"  # noqa: S608


@lru_cache
def _insert(table: Table[Any]) -> str:
    marks = ", ".join("?" for _ in table.stored)
    return f"INSERT OR REPLACE INTO {table.name} ({', '.join(table.stored)}) VALUES ({marks})"  # noqa: S608


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
