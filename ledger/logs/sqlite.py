"""The embedded log: one SQLite file, append-only by triggers inside the database.

Write-ahead logging lets any number of processes read while one appends. `synchronous=FULL` makes an append durable
before it returns. Readers fetch by index range and hold no cursor across an await: an open cursor would keep SQLite
from truncating its write-ahead log. Reading uses Python's own driver in a thread; only the first append imports the
asynchronous stack.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.databases import complete
from ledger.databases.plain import fetch_all, is_passing, open_file, open_to_read, primary_code, stamp, unusable_now
from ledger.disk.files import may_pass
from ledger.logs import READ_BYTES, LogConflictError, LogError, LogSettingsError, LogUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

POLL_SECONDS = 0.02
READ_RECORDS = 8192
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL")

_SCHEMA = (
    "CREATE TABLE records (idx INTEGER PRIMARY KEY, value BLOB)",
    # The primary key alone would let a writer skip numbers, or replace a record (REPLACE fires no delete trigger).
    """CREATE TRIGGER records_are_dense BEFORE INSERT ON records
       WHEN NEW.idx IS NOT (SELECT coalesce(max(idx) + 1, 0) FROM records)
       BEGIN SELECT RAISE(ABORT, 'append-only: the next index is another'); END""",
    """CREATE TRIGGER records_are_never_updated BEFORE UPDATE ON records
       BEGIN SELECT RAISE(ABORT, 'append-only: records are never updated'); END""",
    """CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
       BEGIN SELECT RAISE(ABORT, 'append-only: records are never deleted'); END""",
)
_SIZE = "SELECT coalesce(max(idx) + 1, 0) FROM records"

Answer = TypeVar("Answer")


class SqliteLog:
    """A log in a SQLite file. Contract: `ledger.logs.Log`.

    Without the right to write the file, the log can still be read: by an auditor, or from a copy on a read-only medium.
    """

    unchecked: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        self._writer: AsyncConnection | None = None
        self._is_new = False
        self._frozen: tuple[int, ...] | None = None  # the file's stamp when it was opened as immutable

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._path)

    async def create(self) -> None:
        """Create the file, which must not exist, and leave the log open.

        Whoever is killed meanwhile leaves a log, or what `is_missing` tells from one.

        Raises:
            LogSettingsError: the file exists.
            LogUnavailableError: the disk is full. Nothing is left behind.
        """
        if not await self.is_missing():
            raise LogSettingsError(f"{self._path} exists already")
        try:
            with self._translated(_explain_writing):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                writer = await self._open_writer("rwc")
                await _stack().execute(writer, "BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    await _stack().execute(writer, statement)
                await _stack().execute(writer, "COMMIT")
        except BaseException:
            await self.close()
            self._delete()
            raise
        self._is_new = True
        await self.open()

    async def is_missing(self) -> bool:
        """Whether there is no file, or only what a creation left behind that was killed: a database without a table.

        Raises:
            LogSettingsError: the file is something else, or cannot be read.
            LogUnavailableError: the file cannot be read now.
        """
        if not self._path.is_file():
            return not self._path.exists()

        def count() -> int:
            with closing(open_to_read(self._path).connection) as found:
                ((tables,),) = fetch_all(found, "SELECT count(*) FROM sqlite_master", ())
                return int(tables)

        return not await self._read_in_thread(count)

    async def discard(self) -> None:
        """Close the log, and delete it if this object created it, so that no half ledger is left behind."""
        await self.close()
        if self._is_new:
            self._delete()

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()

    async def open(self) -> None:
        """Open the file. It is not created: a mistyped path must not become an empty ledger."""
        try:
            await self._read_in_thread(self._open)
        except BaseException:
            await self.close()
            raise

    def _open(self) -> None:
        try:
            found = self._path.is_file()
        except OSError as error:
            raise LogSettingsError(f"{self._path} cannot be read: {error.strerror}") from error
        if not found:
            raise LogSettingsError(
                f"there is no log at {self._path}. `tuf-ledger init` creates one for a new ledger; `tuf-ledger "
                "restore-backup` brings a lost one back"
            )
        self._connect()
        first = self._fresh(self._first)
        if first not in {None, 0}:
            raise LogConflictError(
                f"{self._path} begins at record {first}: its first records are gone. Restore the log"
            )

    async def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await _stack().disconnect(writer)
        self._close_reader()

    # --- appending -----------------------------------------------------------------------------------------------

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        """Append records in one transaction, durably. None is a record without a value, from a copied log."""
        return await complete(self._append(values)) if values else []

    async def _append(self, values: Sequence[bytes | None]) -> list[int]:
        self._open_reader()
        stack = _stack()
        with self._translated(_explain_writing):
            writer = await self._open_writer("rw")
            await stack.execute(writer, "BEGIN IMMEDIATE")
            try:
                ((first,),) = await stack.fetch_all(writer, _SIZE, ())
                rows = [(first + offset, value) for offset, value in enumerate(values)]
                await stack.execute_many(writer, "INSERT INTO records (idx, value) VALUES (?, ?)", rows)
                await stack.execute(writer, "COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has already rolled back if the disk is full
                    await stack.execute(writer, "ROLLBACK")
                raise
        return [index for index, _ in rows]

    async def _open_writer(self, mode: str) -> "AsyncConnection":
        if self._writer is None:
            self._writer = await _stack().connect(self._path, mode, *_PRAGMAS)
        return self._writer

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, start: int) -> list[bytes | None]:
        """Read a range of records."""
        return await self._read_in_thread(lambda: self._fresh(lambda: self._read_rows(start)))

    def _read_rows(self, start: int) -> list[bytes | None]:
        lengths = self._rows(
            "SELECT coalesce(length(value), 0) FROM records WHERE idx >= ? ORDER BY idx LIMIT ?", start, READ_RECORDS
        )
        count = total = 0
        for (length,) in lengths:
            if count and total + length > READ_BYTES:
                break
            count, total = count + 1, total + length
        if not count:
            self._check_not_shrunk(start)
            return []
        # As a blob: SQLite stores any type in any column, and a stranger may have stored text that is not UTF-8.
        rows = self._rows(
            "SELECT CAST(value AS BLOB) FROM records WHERE idx >= ? AND idx < ? ORDER BY idx", start, start + count
        )
        return [value for (value,) in rows]

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Poll until record `start` exists. Polling every 20 milliseconds costs well under 1 % of a core."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while await self.size() <= start:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return
            await asyncio.sleep(min(POLL_SECONDS, remaining))

    async def size(self) -> int:
        """The number of records."""
        return await self._read_in_thread(lambda: self._fresh(self._size))

    def token(self, index: int) -> int:
        """The index itself."""
        return index

    def resume(self, index: int, token: int) -> None:
        """Do nothing: the index is the key."""

    # --- the connection ------------------------------------------------------------------------------------------

    async def _read_in_thread(self, operation: Callable[[], Answer]) -> Answer:
        """Run a reading operation to its end even if the caller is cancelled: there is only one connection."""

        def run() -> Answer:
            with self._translated(_explain_reading):
                return operation()

        return await complete(asyncio.to_thread(run))

    def _connect(self) -> None:
        """Open the reader: with the right to write if possible, since SQLite then recovers after a crash."""
        self._frozen = None
        try:
            self._reader = open_file(self._path, "rw")
        except sqlite3.OperationalError as error:
            if primary_code(error) not in _NOT_WRITABLE or is_passing(self._path, error):
                raise
            seen = stamp(self._path)
            self._reader, frozen = open_to_read(self._path)
            self._frozen = seen if frozen else None

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _fresh(self, operation: Callable[[], Answer]) -> Answer:
        """Read; read again if the file was opened as immutable and has changed since."""
        while True:
            try:
                answer = operation()
            except sqlite3.DatabaseError:
                if not self._has_changed():
                    raise
            else:
                if not self._has_changed():
                    return answer
            self._close_reader()
            self._connect()

    def _has_changed(self) -> bool:
        return self._frozen is not None and self._frozen != stamp(self._path)

    def _first(self) -> int | None:
        ((triggers,),) = self._rows(
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'records_are_%'"
        )
        if triggers != 3:
            raise LogSettingsError(f"{self._path} is not a log: it lacks the triggers that keep a log append-only")
        ((first,),) = self._rows("SELECT min(idx) FROM records")
        found: int | None = first
        return found

    def _open_reader(self) -> sqlite3.Connection:
        if self._reader is None:
            raise LogUnavailableError(f"{self._path} is not open")
        return self._reader

    def _rows(self, statement: str, *parameters: int) -> list[tuple[Any, ...]]:
        return fetch_all(self._open_reader(), statement, parameters)

    def _size(self) -> int:
        ((size,),) = self._rows(_SIZE)
        return int(size)

    def _check_not_shrunk(self, start: int) -> None:
        size = self._size()
        if start > size:
            raise LogConflictError(
                f"{self._path} has shrunk: its size is {size}, and was at least {start}. Was a backup restored? See "
                "docs/operators.md, 'A log was rolled back'"
            )

    @contextmanager
    def _translated(self, explain: Callable[[Path, sqlite3.OperationalError], LogError]) -> Iterator[None]:
        """Turn errors of the database into errors of the port."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise explain(self._path, error) from error
        except sqlite3.DatabaseError as error:
            raise LogSettingsError(f"{self._path} is not a log: {error}") from error
        except OSError as error:
            kind = LogUnavailableError if may_pass(error) else LogSettingsError
            raise kind(f"{error.filename or self._path} cannot be used: {error.strerror}") from error


def _stack() -> Any:
    """The asynchronous stack, imported only for writing."""
    from ledger.databases import asynchronous  # noqa: PLC0415

    return asynchronous


def _explain_writing(path: Path, error: sqlite3.OperationalError) -> LogError:
    if primary_code(error) in _NOT_WRITABLE and not is_passing(path, error):
        return LogSettingsError(f"{path} cannot be written by this user, only read: check its owner and mode")
    return LogUnavailableError(unusable_now(path, error))


def _explain_reading(path: Path, error: sqlite3.OperationalError) -> LogError:
    if primary_code(error) == sqlite3.SQLITE_CANTOPEN and not is_passing(path, error):
        return LogSettingsError(
            f"{path} cannot be read by this user ({error}). If a crash left a {path.name}-wal, reading the log needs "
            "the right to write its folder: copy the folder, and read the copy"
        )
    return LogUnavailableError(unusable_now(path, error))
