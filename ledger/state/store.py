"""The state of one follower: bytes under keys in one SQLite file, large values in files, and its position in the logs.

A state is disposable: it can be deleted and rebuilt from the logs at any time, and a file of another format is deleted
and rebuilt. A state is not held in memory: a publication loads and saves rows in batches, because one statement through
the async stack costs 0.3 ms. One transaction lasts from the first change of a publication until its record was read
back; a crash in between leaves the state unchanged.
"""

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from zlib import crc32

from ledger.databases import complete, plain
from ledger.databases.plain import ERRORS, is_passing, primary_code, unusable_now
from ledger.disk.files import may_pass, writing
from ledger.disk.syncing import Synced, now_written, sync_file, sync_folder
from ledger.state import StateDamagedError, StateMissingError, StateUnavailableError, StoreError
from ledger.state.kept_files import KeptFiles
from schemas.errors import InUseError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

P = ParamSpec("P")
Answer = TypeVar("Answer")

FORMAT = 8
"""Version of the file's layout and sizes. A state file with another version is deleted and rebuilt."""

_PAGE_SIZE = "page_size = 16384"
"""Most data is in rows of five to ten kilobytes: with this page size a row takes one read instead of three."""

# Durable enough for a state that can be rebuilt: a power failure may lose the last commits, never their order. `settle`
# moves commits from the write-ahead log into the file; without it, SQLite does so at 1 GiB, and a commit waits for it.
_PRAGMAS = (
    _PAGE_SIZE,
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "cache_size = -65536",
    "wal_autocheckpoint = 65536",
    "journal_size_limit = 67108864",
)
_MANY_ROWS = 4096
"""Number of written rows, most of some kilobytes, from which a commit begins to settle."""

_AHEAD = "signing"
"""The note of the size up to which events about signing were put, perhaps beyond the position."""
_FORGOTTEN_TOGETHER = 10_000
"""Number of events about signing that are forgotten in one transaction."""

_SCHEMA = """
CREATE TABLE format (number INTEGER NOT NULL);
CREATE TABLE position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL, digest TEXT NOT NULL, time TEXT NOT NULL, size INTEGER NOT NULL,
    content_size INTEGER NOT NULL, content_token INTEGER NOT NULL, last_event TEXT NOT NULL,
    events_token INTEGER NOT NULL,
    next_record INTEGER NOT NULL, publications_token INTEGER NOT NULL,
    prefix BLOB NOT NULL, crc32 INTEGER NOT NULL
);
CREATE TABLE reading (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    next_record INTEGER NOT NULL, digest TEXT NOT NULL, publications_token INTEGER NOT NULL, state BLOB NOT NULL,
    crc32 INTEGER NOT NULL
);
CREATE TABLE ceremonies (idx INTEGER NOT NULL, role TEXT NOT NULL, version INTEGER NOT NULL, file BLOB NOT NULL,
    PRIMARY KEY (idx, role)) WITHOUT ROWID;
CREATE TABLE aggregates (key TEXT PRIMARY KEY, header BLOB NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (key TEXT NOT NULL, lower TEXT NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL,
    html BLOB NOT NULL, crc32 INTEGER NOT NULL, PRIMARY KEY (key, lower));
CREATE TABLE pages (key TEXT PRIMARY KEY, file TEXT NOT NULL, mark BLOB NOT NULL, chunks BLOB NOT NULL,
    crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (key TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE signing (id TEXT PRIMARY KEY, digest TEXT NOT NULL, idx INTEGER NOT NULL, size INTEGER, lock TEXT NOT NULL,
    released INTEGER, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX signing_held ON signing (size, idx) WHERE size IS NOT NULL AND released IS NULL;
CREATE INDEX signing_released ON signing (released) WHERE released IS NOT NULL;
CREATE TABLE waiting (name TEXT PRIMARY KEY, came INTEGER NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE withheld (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE roles (name TEXT PRIMARY KEY, version INTEGER NOT NULL, expires TEXT NOT NULL, length INTEGER NOT NULL,
    sha256 TEXT NOT NULL, mark BLOB NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE publications (number INTEGER PRIMARY KEY, idx INTEGER NOT NULL, digest TEXT NOT NULL,
    time TEXT NOT NULL, size INTEGER NOT NULL, content_size INTEGER NOT NULL, signed INTEGER NOT NULL,
    snapshot_sha256 TEXT NOT NULL, timestamp_sha256 TEXT NOT NULL, stepped INTEGER NOT NULL);
CREATE INDEX publications_by_size ON publications (size);
CREATE INDEX publications_by_content_size ON publications (content_size);
CREATE TABLE judged (log TEXT NOT NULL, idx INTEGER NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL,
    verdict TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (log, idx)) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, number INTEGER NOT NULL,
    checked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX files_unchecked ON files (number) WHERE checked = 0;
CREATE TABLE differences (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, number INTEGER NOT NULL, problem TEXT NOT NULL,
    detail TEXT NOT NULL, is_now INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX differences_now ON differences (path) WHERE is_now = 1;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

# Updated in place: REPLACE would delete the row and add another at the end of the table, which writes the index twice
# and scatters rows that are read together.
_PUT_CHUNK = """
INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, lower)
DO UPDATE SET facts = excluded.facts, body = excluded.body, html = excluded.html, crc32 = excluded.crc32
"""


# Two queries, each by its index: a million holds may be open, and as many released.
LOWEST_HELD = """
SELECT min(size) FROM (
    SELECT * FROM (SELECT size FROM signing WHERE size IS NOT NULL AND released IS NULL AND idx >= ?1 AND idx < ?2
        AND id NOT IN (SELECT value FROM json_each(?3)) ORDER BY size LIMIT 1)
    UNION ALL SELECT min(size) FROM signing WHERE size IS NOT NULL AND released >= ?2 AND idx >= ?1 AND idx < ?2
        AND id NOT IN (SELECT value FROM json_each(?3)))
"""


class Position(NamedTuple):
    """The position of a follower: its last publication, and its memory of the logs up to there.

    `digest` is that of the last publication's record, `last_event` that of the last event it covers. `content_size` is
    the size up to which it shows content. `next_record` is the index of the first record of `publications` behind it.
    Tokens are those of `ledger.logs.Log`: for the records that these digests are of, which are the first that a
    follower looks at when it starts, and for the last event that is shown, since later events are read again.
    """

    number: int
    digest: str
    time: str
    size: int
    content_size: int
    content_token: int
    last_event: str
    events_token: int
    next_record: int
    publications_token: int
    prefix: bytes


class ReadingRow(NamedTuple):
    """How far a follower has read `publications` beyond its last publication: what it need not judge again.

    `next_record` is the index of the next record, `digest` that of the record before it, and `publications_token` that
    record's token. `state` is what the records between have led to.
    """

    next_record: int
    digest: str
    publications_token: int
    state: bytes


class ChunkRow(NamedTuple):
    """A chunk of an aggregate. A body that is in a kept page is not stored again here."""

    key: str
    lower: str
    facts: bytes | None
    body: bytes
    html: bytes


class PageRow(NamedTuple):
    """The kept file of an aggregate's page, its mark, and the places of the chunks' bodies in it."""

    key: str
    file: str
    mark: bytes
    chunks: bytes


class AppliedPublication(NamedTuple):
    """An applied publication; `record` is its index in the `publications` log. `stepped` is 1 if the follower rendered
    this publication itself, and 0 if it skipped over it.
    """

    number: int
    record: int
    digest: str
    time: str
    size: int
    content_size: int
    signed: int
    snapshot_sha256: str
    timestamp_sha256: str
    stepped: int


class SigningRow(NamedTuple):
    """A remembered event about signing: its id, digest and index. A hold has the size that it holds, and its lock
    (empty: none); `released` is the index of the event that released it.
    """

    id: str
    digest: str
    record: int
    size: int | None
    lock: str
    released: int | None


class JudgedRow(NamedTuple):
    """The verdict on a record of a log (`events` or `publications`) that was not simply accepted."""

    log: str
    record: int
    digest: str
    kind: str
    verdict: str
    code: str
    detail: str


class DifferenceRow(NamedTuple):
    """A served file that differed from the log: its expected digest, its publication, and the problem. `is_now` is 1 if
    it still differed at the last comparison.
    """

    path: str
    sha256: str
    number: int
    problem: str
    detail: str
    is_now: int


class Store:
    """The state file and the folder of its kept files. A lock file ensures that one process writes; any number read.

    Without `durable`, files are not synced: for a state that is thrown away after a failure.
    """

    _read_only = False

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self.kept = KeptFiles(path.with_suffix(".kept"), path)
        self._connection: AsyncConnection | None = None
        self._replaced: AsyncConnection | None = None
        self._settler: AsyncConnection | None = None
        self._settling: asyncio.Task[None] | None = None
        self._unsettled_rows = 0
        self._new_files: list[str] = []
        self._written: int | None = None
        self._is_begun = False
        self._unended = 0
        """Unfinished operations that would leave orphaned kept files if the process died now."""
        self._replaced_files: list[str] = []
        self._unneeded_files: list[str] = []
        self._lock: int | None = None

    # --- opening and transactions --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file, or create it; a file of another format is deleted first.

        Raises:
            InUseError: another process uses the file.
            StoreError: the file cannot be written, or is missing in a read-only store.
        """
        try:
            await self._open()
        except OSError as error:
            await self.close()
            raise self._refused(error) from error
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        if self._read_only:
            if not self.path.exists():
                raise StateMissingError(f"there is no state at {self.path}: its consumer has not run here")
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._acquire_lock()
            self._unended = 1
            self._new_path.unlink(missing_ok=True)  # it was never finished
        self._check_file()
        try:
            await self._connect()
            is_current = await self._is_current()
        except (sqlite3.DatabaseError, StateDamagedError) as error:
            if isinstance(error, sqlite3.DatabaseError):
                failed = self._failed(error)
                if not isinstance(failed, StateDamagedError):
                    raise failed from error
            if self._read_only:
                raise StoreError(f"{self.path} cannot be read: {error}") from error
            is_current = False
        if not is_current:
            await self._replace()
        elif not self._read_only:
            self.kept = await self._in_thread(self.kept.opened)
            await self._delete_leftover_files()
        self._unended = 0  # leftover files are deleted

    def _check_file(self) -> None:
        """Refuse what is there and does not pass: SQLite would say no more than that it cannot be opened or read."""
        if self.path.exists() and not self.path.is_file():
            raise StoreError(f"{self.path} is no file: move it away, and the state is rebuilt from the logs")
        if self.path.exists() and not os.access(self.path, os.R_OK if self._read_only else os.R_OK | os.W_OK):
            what = "read" if self._read_only else "read and written"
            raise StoreError(f"{self.path} cannot be {what} by this user")

    async def close(self) -> None:
        """Close the file. Uncommitted changes are lost."""
        try:
            await self._disconnect()
            replaced, self._replaced = self._replaced, None
            await _disconnect(replaced)
            await self._delete_unneeded_files()
            if self._lock is not None and not self._unended:  # otherwise the next start looks for leftover files
                await self._in_thread(self.kept.tidy)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def is_locked(self) -> bool:
        """Whether a process has the file open for writing."""
        try:
            lock = os.open(self._lock_path, os.O_RDONLY)  # whoever may only read asks, too
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    async def reset(self) -> None:
        """Delete all state, to be rebuilt from the logs."""
        with writing(self.path):
            await self._replace()

    async def begin(self, *, anew: bool = False) -> None:
        """Begin the transaction of a publication.

        Args:
            anew: write everything into a new file, which replaces this one with the commit. For a large batch on a
                small state: a new file needs no journal, which would write everything twice.
        """
        self._written = None
        if anew:
            await self._begin_anew()
        await self._execute("BEGIN IMMEDIATE")
        self._unended += 1
        self._is_begun = True

    async def commit(self, *, after: Synced | None = None) -> None:
        """Commit the transaction. Kept files are made durable before the commit that names them.

        Args:
            after: what placing the published files has synced: that may have been the kept files, too.
        """
        is_synced = after is not None and self._written is not None and after.covers(self._written)
        if self._durable and not is_synced:
            await self._in_thread(self.kept.sync, self._new_files)
        # After a failed commit its effect is unknown: the next start looks for leftover files.
        replaced, self._replaced_files, self._new_files = self._replaced_files, [], []
        await self._execute("COMMIT")
        self._is_begun = False
        if self._replaced is not None:
            await complete(self._take_place())  # interrupted, it would leave no connection
        self._unended -= 1
        self._unneeded_files += replaced
        if self._unsettled_rows >= _MANY_ROWS:
            await self._begin_to_settle()

    async def settle(self) -> None:
        """Move commits from the write-ahead log into the file. To be called in idle time: it waits for the disk."""
        await self._settled()
        if self._unsettled_rows:
            await self._settle()

    async def _begin_to_settle(self) -> None:
        """Begin to settle in the background, unless that already runs."""
        if self._settling is None or self._settling.done():
            await self._settled()
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        """Do the work of `settle` on a second connection, so that the next transaction can go on meanwhile."""
        self._unsettled_rows = 0
        try:
            self._settler = self._settler or await _stack().connect(self.path, "rw")
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error
        await self._run_on(self._settler, "PRAGMA wal_checkpoint(PASSIVE)", ())
        await self._delete_unneeded_files()

    async def _settled(self) -> None:
        """Wait until settling in the background is done."""
        if self._settling is not None:
            await asyncio.shield(self._settling)
            self._settling = None

    async def rollback(self) -> None:
        """Undo the transaction. SQLite may have done so already, for instance when the disk was full."""
        new, self._new_files, self._replaced_files = self._new_files, [], []
        await self._in_thread(self.kept.delete, new)
        if self._replaced is not None:
            await self._disconnect()
            self._connection, self._replaced = self._replaced, None
            with writing(self._new_path):
                self._new_path.unlink(missing_ok=True)
        else:
            await self._undo()
        self._is_begun = False

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """A short transaction, without kept files."""
        await self._execute("BEGIN IMMEDIATE")
        try:
            yield
            await self._execute("COMMIT")
        except BaseException:
            await self._undo()
            raise

    async def _undo(self) -> None:
        try:
            await self._execute("ROLLBACK")
        except (StateDamagedError, StateUnavailableError) as error:
            # Otherwise this error would hide the first one.
            if "no transaction is active" not in str(error):
                raise

    # --- aggregates ----------------------------------------------------------------------------------------------

    async def load_chunks(self, keys: Sequence[str]) -> list[ChunkRow]:
        """All chunks of aggregates, grouped by aggregate."""
        return self._chunk_rows(
            await self._rows(
                "SELECT c.key, c.lower, c.facts, c.body, c.html, c.crc32"
                " FROM json_each(?) AS j CROSS JOIN chunks AS c ON c.key = j.value",
                json.dumps(list(keys)),
            )
        )

    async def load_some_chunks(self, pairs: Sequence[tuple[str, str]]) -> list[ChunkRow]:
        """Chunks, given by key and lower bound."""
        return self._chunk_rows(
            await self._rows(
                "SELECT c.key, c.lower, c.facts, c.body, c.html, c.crc32 FROM json_each(?) AS j CROSS JOIN chunks AS c"
                " ON c.key = json_extract(j.value, '$[0]') AND c.lower = json_extract(j.value, '$[1]')",
                json.dumps(list(pairs)),
            )
            if pairs
            else []
        )

    def _chunk_rows(self, rows: Sequence[Any]) -> list[ChunkRow]:
        return [ChunkRow(*row) for row in self._checked(rows)]

    async def load_pages(self, keys: Sequence[str]) -> list[PageRow]:
        """The kept files that are pages of aggregates."""
        rows = await self._rows(
            "SELECT p.key, p.file, p.mark, p.chunks, p.crc32 FROM json_each(?) AS j CROSS JOIN pages AS p"
            " ON p.key = j.value",
            json.dumps(list(keys)),
        )
        return [PageRow(*row) for row in self._checked(rows)]

    async def load_page_sizes(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        """The sizes of kept pages of aggregates, as lengths of their indexes in bytes."""
        return await self._rows(
            "SELECT p.key, length(p.chunks) FROM json_each(?) AS j CROSS JOIN pages AS p ON p.key = j.value",
            json.dumps(list(keys)),
        )

    async def save_pages(self, pages: Sequence[PageRow], dropped: Sequence[str]) -> None:
        """Put pages, and drop those with these keys."""
        await self._many("DELETE FROM pages WHERE key = ?", [(key,) for key in dropped])
        await self._many("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", _with_checksums(pages))

    async def load_headers(self, keys: Sequence[str]) -> list[tuple[str, bytes]]:
        """Headers `(key, header)` of aggregates, without their chunks."""
        return self._checked(
            await self._rows(
                "SELECT a.key, a.header, a.crc32 FROM json_each(?) AS j CROSS JOIN aggregates AS a ON a.key = j.value",
                json.dumps(list(keys)),
            )
        )

    async def save(
        self,
        headers: Sequence[tuple[str, bytes]] = (),
        chunks: Sequence[ChunkRow] = (),
        dropped: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Put headers and chunks, and drop chunks by key and lower bound."""
        await self._many("DELETE FROM chunks WHERE key = ? AND lower = ?", dropped)
        await self._many("INSERT OR REPLACE INTO aggregates VALUES (?, ?, ?)", _with_checksums(headers))
        await self._many(_PUT_CHUNK, _with_checksums(chunks))

    async def keys(self, first: str, last: str, limit: int) -> list[str]:
        """Keys of aggregates from `first` (exclusive) to `last` (exclusive), in order, at most `limit`."""
        rows = await self._rows(
            "SELECT key FROM aggregates WHERE key > ? AND key < ? ORDER BY key LIMIT ?", first, last, limit
        )
        return [key for (key,) in rows]

    async def delete_range(self, first: str, last: str) -> None:
        """Delete the aggregates from `first` (inclusive) to `last` (exclusive), which have nothing but headers."""
        await self._execute("DELETE FROM aggregates WHERE key >= ? AND key < ?", first, last)

    # --- kept files ----------------------------------------------------------------------------------------------

    def keep(self, new: Iterable[str], replaced: Iterable[str]) -> None:
        """Add files in `kept` to this transaction. Replaced files are deleted when they are no longer needed."""
        self._new_files += new
        self._replaced_files += replaced

    def all_written(self) -> None:
        """Note that all kept files of this transaction are written; a sync of everything makes them durable."""
        self._written = now_written()

    async def read_kept(self, files: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The contents of kept files, given by name and mark.

        Raises:
            StateDamagedError: a file has changed since it was written.
        """

        def read() -> list[bytes]:
            if not self.kept.key:  # a reader of rows only needs no right to read the key
                self.kept = self.kept.opened()
            self.kept.prefetch(name for name, _ in files[1:])  # the first is read at once
            return [self.kept.read(name, mark) for name, mark in files]

        return await self._in_thread(read)

    async def _delete_unneeded_files(self) -> None:
        """Delete files that committed transactions replaced, once the commits are durable: a power failure might
        otherwise bring back a state that needs them.
        """
        unneeded, self._unneeded_files = self._unneeded_files, []
        if unneeded:
            self._unended += 1
            await self._in_thread(self._delete_durably, unneeded)
            self._unended -= 1

    async def _delete_leftover_files(self) -> None:
        """Delete files that an earlier process kept uncommitted, replaced but did not delete, or did not finish."""
        if await self._in_thread(self.kept.is_tidy):
            return
        found = await self._in_thread(self.kept.names)
        if found:
            needed = {kept_name(name, version) for name, version, *_ in await self.load_roles()}
            pages = await self._rows("SELECT key, file, mark, chunks, crc32 FROM pages")
            needed.update(file for _, file, *_ in self._checked(pages))
            await self._in_thread(self._delete_durably, [name for name in found if name not in needed])
        await self._in_thread(self.kept.tidy)

    def _delete_durably(self, names: Sequence[str]) -> None:
        """Make the state durable, and then delete kept files that it does not need."""
        if names and self._durable:
            self._sync()
        self.kept.delete(names)

    def _sync(self) -> None:
        """Make commits durable."""
        for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            if path.exists():
                sync_file(path)
        sync_folder(self.path.parent)

    async def load_seen(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Remembered ids `(key, id, digest)` among these pairs of key and id."""
        return await self._rows(
            "SELECT s.key, s.id, s.digest FROM json_each(?) AS j CROSS JOIN seen AS s"
            " ON s.key = json_extract(j.value, '$[0]') AND s.id = json_extract(j.value, '$[1]')",
            json.dumps(list(pairs)),
        )

    async def save_seen(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Remember ids."""
        await self._many("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)

    async def load_waiting(self, names: Sequence[str] | None) -> list[tuple[str, int]]:
        """Names among these (None: all) that wait for the list of projects: `(name, whether added)`."""
        if names is None:
            return self._checked(await self._rows("SELECT name, came, crc32 FROM waiting"))
        statement = "SELECT w.name, w.came, w.crc32 FROM json_each(?) AS j CROSS JOIN waiting AS w ON w.name = j.value"
        return self._checked(await self._rows(statement, json.dumps(list(names))))

    async def save_waiting(self, rows: Sequence[tuple[str, int]], dropped: Sequence[str]) -> None:
        """Put names that wait, and drop others."""
        await self._many("DELETE FROM waiting WHERE name = ?", [(name,) for name in dropped])
        await self._many("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", _with_checksums(rows))

    async def clear_waiting(self) -> None:
        """Delete all waiting names."""
        await self._execute("DELETE FROM waiting")

    # --- events about signing ------------------------------------------------------------------------------------

    async def save_signing(self, rows: Sequence[SigningRow]) -> None:
        """Put remembered events about signing."""
        await self._many("INSERT OR REPLACE INTO signing VALUES (?, ?, ?, ?, ?, ?, ?)", _with_checksums(rows))

    async def save_signing_ahead(self, rows: Sequence[SigningRow], size: int) -> bool:
        """Put remembered events about signing up to a size beyond the position, in a transaction of its own.

        Returns:
            False, and nothing is put, while the transaction of a publication waits for its commit.
        """
        if self._is_begun:
            return False
        async with self._transaction():
            await self.save_signing(rows)
            await self.set_note(_AHEAD, f"{size}")
        return True

    async def forget_signing_ahead(self, size: int) -> None:
        """Forget what was put beyond the position, which is at this size: the log need not go on as it did then."""
        ahead = await self.note(_AHEAD)
        if ahead is None or int(ahead) <= size:
            return
        async with self._transaction():
            await self._execute("DELETE FROM signing WHERE idx >= ?", size)
        statement = "SELECT id, digest, idx, size, lock, released, crc32 FROM signing WHERE released >= ? LIMIT ?"
        while rows := self._checked(await self._rows(statement, size, _FORGOTTEN_TOGETHER)):
            async with self._transaction():
                await self.save_signing([SigningRow(*row)._replace(released=None) for row in rows])

    async def load_signing(self, names: Sequence[str]) -> list[SigningRow]:
        """The remembered events about signing with these ids."""
        rows = await self._rows(
            "SELECT s.id, s.digest, s.idx, s.size, s.lock, s.released, s.crc32"
            " FROM json_each(?) AS j CROSS JOIN signing AS s ON s.id = j.value",
            json.dumps(list(names)),
        )
        return [SigningRow(*row) for row in self._checked(rows)]

    async def lowest_held(self, first: int, end: int, released: Sequence[str]) -> int | None:
        """The lowest size held by a hold among the records from `first` to `end` (exclusive), as of `end`.

        Args:
            first: holds of earlier records have ended.
            end: the number of records; later releases do not count.
            released: ids of holds that count as released.
        """
        rows = await self._rows(LOWEST_HELD, first, end, json.dumps(list(released)))
        lowest: int | None = rows[0][0]
        return lowest

    async def open_holds(self, first: int, end: int, limit: int) -> list[SigningRow]:
        """The holds that are open at the size `end` and whose index is at least `first`, the lowest size first."""
        rows = await self._rows(
            "SELECT id, digest, idx, size, lock, released, crc32 FROM signing WHERE size IS NOT NULL AND idx >= ?"
            " AND idx < ? AND (released IS NULL OR released >= ?) ORDER BY size, idx LIMIT ?",
            first,
            end,
            end,
            limit,
        )
        return [SigningRow(*row) for row in self._checked(rows)]

    # --- what is withheld ----------------------------------------------------------------------------------------

    async def save_withheld(self, withheld: Sequence[str], free: Sequence[str]) -> None:
        """Add served paths that are withheld, and drop those that are not."""
        await self._many("DELETE FROM withheld WHERE path = ?", [(path,) for path in free])
        await self._many("INSERT OR IGNORE INTO withheld VALUES (?)", [(path,) for path in withheld])

    async def load_withheld(self, paths: Sequence[str]) -> set[str]:
        """The served paths among these that are withheld."""
        rows = await self._rows(
            "SELECT w.path FROM json_each(?) AS j CROSS JOIN withheld AS w ON w.path = j.value", json.dumps(list(paths))
        )
        return {path for (path,) in rows}

    async def withheld_after(self, path: str, limit: int) -> list[str]:
        """Served paths that are withheld, after a path, in order, at most `limit`."""
        rows = await self._rows("SELECT path FROM withheld WHERE path > ? ORDER BY path LIMIT ?", path, limit)
        return [path for (path,) in rows]

    # --- position, roles, publications ---------------------------------------------------------------------------

    async def load_position(self) -> Position | None:
        """The position, or None if the follower has not applied a publication yet."""
        rows = await self._rows(
            "SELECT number, digest, time, size, content_size, content_token, last_event, events_token, next_record,"
            " publications_token, prefix, crc32 FROM position"
        )
        return Position(*self._checked(rows)[0]) if rows else None

    async def save_position(self, position: Position) -> None:
        """Set the position. This must be the last change of a transaction."""
        rows = _with_checksums([position])
        await self._many("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    async def load_reading(self) -> ReadingRow | None:
        """How far `publications` was read when this was last saved. A position may be further."""
        rows = await self._rows("SELECT next_record, digest, publications_token, state, crc32 FROM reading")
        return ReadingRow(*self._checked(rows)[0]) if rows else None

    async def save_reading(self, judged: Sequence[JudgedRow], reading: ReadingRow) -> None:
        """Remember verdicts on records beyond the position, and how far these go, in a transaction of its own."""
        async with self._transaction():
            await self.save_judged(judged)
            await self._many("INSERT OR REPLACE INTO reading VALUES (1, ?, ?, ?, ?, ?)", _with_checksums([reading]))

    async def forget_reading(self, log: str, first: int) -> None:
        """Forget how far `publications` was read, and verdicts on records from an index on, in one transaction."""
        async with self._transaction():
            await self._execute("DELETE FROM reading")
            await self._execute("DELETE FROM judged WHERE log = ? AND idx >= ?", log, first)

    async def load_ceremonies(self) -> list[tuple[int, str, int, bytes]]:
        """All offline documents `(index of the event, role, version, file)` in order."""
        return await self._rows("SELECT idx, role, version, file FROM ceremonies ORDER BY idx, role")

    async def save_ceremonies(self, rows: Sequence[tuple[int, str, int, bytes]]) -> None:
        """Add offline documents."""
        await self._many("INSERT OR REPLACE INTO ceremonies VALUES (?, ?, ?, ?)", rows)

    async def load_roles(self) -> list[tuple[str, int, str, int, str]]:
        """All bins ever signed: `(name, version, expires, length, sha256)`."""
        rows = await self._rows("SELECT name, version, expires, length, sha256, mark, crc32 FROM roles ORDER BY name")
        return [row[:-1] for row in self._checked(rows)]

    async def load_marks(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        """The marks `(name, mark)` of the kept files of bins."""
        rows = await self._rows(
            "SELECT r.name, r.version, r.expires, r.length, r.sha256, r.mark, r.crc32"
            " FROM json_each(?) AS j CROSS JOIN roles AS r ON r.name = j.value",
            json.dumps(list(names)),
        )
        return [(row[0], row[-1]) for row in self._checked(rows)]

    async def save_roles(self, rows: Sequence[tuple[str, int, str, int, str, bytes]]) -> None:
        """Put versions of bins: as `load_roles` gives them, and the mark of the kept file (empty: there is none)."""
        await self._many("INSERT OR REPLACE INTO roles VALUES (?, ?, ?, ?, ?, ?, ?)", _with_checksums(rows))

    async def save_publications(self, publications: Sequence[AppliedPublication]) -> None:
        """Add applied publications."""
        await self._many("INSERT OR REPLACE INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", publications)

    async def publication(self, number: int) -> AppliedPublication | None:
        """A publication by its number."""
        return await self._publication("SELECT * FROM publications WHERE number = ?", number)

    async def publication_covering(self, index: int) -> AppliedPublication | None:
        """The first publication that covers an event."""
        return await self._publication("SELECT * FROM publications WHERE size > ? ORDER BY size, number LIMIT 1", index)

    async def publication_showing(self, index: int) -> AppliedPublication | None:
        """The first publication that shows an event."""
        statement = "SELECT * FROM publications WHERE content_size > ? ORDER BY content_size, number LIMIT 1"
        return await self._publication(statement, index)

    async def publication_above(self, number: int) -> AppliedPublication | None:
        """The first publication above a number."""
        return await self._publication("SELECT * FROM publications WHERE number > ? ORDER BY number LIMIT 1", number)

    async def count_publications(self, above: int = 0) -> int:
        """How many publications above a number were applied."""
        return int((await self._rows("SELECT count(*) FROM publications WHERE number > ?", above))[0][0])

    # --- what became of records ----------------------------------------------------------------------------------

    async def save_judged(self, rows: Sequence[JudgedRow]) -> None:
        """Remember the outcome of records that were not simply accepted."""
        await self._many("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    async def judged(self, log: str, index: int) -> JudgedRow | None:
        """The outcome of a record, or None if it was accepted or not judged yet."""
        rows = await self._rows("SELECT * FROM judged WHERE log = ? AND idx = ?", log, index)
        return JudgedRow(*rows[0]) if rows else None

    async def judged_page(self, verdicts: Sequence[str], after: tuple[str, int], limit: int) -> list[JudgedRow]:
        """Outcomes with these verdicts, in order of log and index, from after a place on."""
        rows = await self._rows(
            "SELECT * FROM judged WHERE (log, idx) > (?, ?) AND verdict IN (SELECT value FROM json_each(?))"
            " ORDER BY log, idx LIMIT ?",
            *after,
            json.dumps(list(verdicts)),
            limit,
        )
        return [JudgedRow(*row) for row in rows]

    async def count_judged(self) -> list[tuple[str, str, int]]:
        """The numbers of outcomes: `(log, verdict, count)`."""
        return await self._rows("SELECT log, verdict, count(*) FROM judged GROUP BY log, verdict ORDER BY log, verdict")

    # --- notes and files -----------------------------------------------------------------------------------------

    async def note(self, name: str) -> str | None:
        """A note that a consumer left for its next start."""
        rows = await self._rows("SELECT value FROM notes WHERE name = ?", name)
        return rows[0][0] if rows else None

    async def set_note(self, name: str, value: str | None) -> None:
        """Leave a note, or delete it (None)."""
        if value is None:
            await self._execute("DELETE FROM notes WHERE name = ?", name)
        else:
            await self._many("INSERT OR REPLACE INTO notes VALUES (?, ?)", [(name, value)])

    async def save_files(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Remember published files: `(path, sha256, number of the publication)`."""
        await self._many("INSERT OR REPLACE INTO files (path, sha256, number) VALUES (?, ?, ?)", list(rows))

    async def load_files(self, paths: Sequence[str]) -> list[tuple[str, str, int]]:
        """Published files among these paths."""
        return await self._rows(
            "SELECT f.path, f.sha256, f.number FROM json_each(?) AS j CROSS JOIN files AS f ON f.path = j.value",
            json.dumps(list(paths)),
        )

    async def unchecked_files(self, number: int, limit: int) -> list[tuple[str, str, int]]:
        """Files of publications up to a number that were never compared, as rows of `load_files`."""
        return await self._rows(
            "SELECT path, sha256, number FROM files WHERE checked = 0 AND number <= ? ORDER BY number LIMIT ?",
            number,
            limit,
        )

    async def count_files(self) -> tuple[int, int]:
        """The numbers of published files, and of those that were never compared."""
        rows = await self._rows("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM files WHERE checked = 0)")
        files, unchecked = rows[0]
        return int(files), int(unchecked)

    async def files_after(self, path: str, limit: int) -> list[tuple[str, str, int]]:
        """Published files `(path, sha256, number of the publication)` after a path, in order, at most `limit`."""
        return await self._rows(
            "SELECT path, sha256, number FROM files WHERE path > ? ORDER BY path LIMIT ?", path, limit
        )

    async def set_checked(self, paths: Sequence[str]) -> None:
        """Note that files were compared."""
        await self._many("UPDATE files SET checked = 1 WHERE path = ?", [(path,) for path in paths])

    async def save_differences(self, rows: Sequence[DifferenceRow]) -> None:
        """Remember files that differ, or differed."""
        await self._many("INSERT OR REPLACE INTO differences VALUES (?, ?, ?, ?, ?, ?)", rows)

    async def load_differences(self, paths: Sequence[str]) -> list[DifferenceRow]:
        """Files among these paths that ever differed."""
        rows = await self._rows(
            "SELECT d.* FROM json_each(?) AS j CROSS JOIN differences AS d ON d.path = j.value", json.dumps(list(paths))
        )
        return [DifferenceRow(*row) for row in rows]

    async def differences_after(self, path: str, limit: int) -> list[DifferenceRow]:
        """Files that differ now, after a path, in order, at most `limit`."""
        rows = await self._rows(
            "SELECT * FROM differences WHERE is_now = 1 AND path > ? ORDER BY path LIMIT ?", path, limit
        )
        return [DifferenceRow(*row) for row in rows]

    async def count_differences(self) -> tuple[int, int]:
        """The numbers of files that differ now, and that ever differed."""
        rows = await self._rows(
            "SELECT (SELECT count(*) FROM differences WHERE is_now = 1), (SELECT count(*) FROM differences)"
        )
        now, ever = rows[0]
        return int(now), int(ever)

    # --- the connection ------------------------------------------------------------------------------------------

    async def _publication(self, statement: str, *parameters: int | str) -> AppliedPublication | None:
        rows = await self._rows(statement, *parameters)
        return AppliedPublication(*rows[0]) if rows else None

    async def _rows(self, statement: str, *parameters: Any) -> list[Any]:
        return await self._run(statement, parameters)

    def _checked(self, rows: Sequence[Any]) -> list[Any]:
        """Check the checksums of rows (their last column), and remove them.

        Raises:
            StateDamagedError: a row has changed since it was written. A signer would sign metadata made from it.
        """
        checked = [row[:-1] for row in rows]
        for row, known in zip(rows, checked, strict=True):
            if _checksum(known) != row[-1]:
                raise StateDamagedError(
                    f"{self.path} is damaged at {row[0]!r:.100}. Stop its consumer and delete the file; it is rebuilt "
                    "from the logs"
                )
        return checked

    async def _execute(self, statement: str, *parameters: Any) -> None:
        await self._run(statement, parameters)

    async def _many(self, statement: str, rows: Sequence[Any]) -> None:
        if rows:
            self._unsettled_rows += len(rows)
            await self._run(statement, [tuple(row) for row in rows])

    async def _run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Execute a statement; with a list of parameters, once for each."""
        return await self._run_on(self._open_connection(), statement, parameters)

    async def _run_on(self, connection: "AsyncConnection", statement: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            if not isinstance(parameters, list):
                return await complete(_stack().fetch_all(connection, statement, parameters))
            await complete(_stack().execute_many(connection, statement, parameters))
        except ERRORS as error:
            raise self._failed(error) from error
        return []

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

    async def _in_thread(self, function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Run a blocking function to its end even if the caller is cancelled."""
        return await complete(asyncio.to_thread(function, *args, **kwargs))

    def _open_connection(self) -> "AsyncConnection":
        if self._connection is None:
            raise StoreError(f"{self.path} is not open")
        return self._connection

    async def _connect(self) -> None:
        self._connection = await _stack().connect(self.path, "rwc", *_PRAGMAS)

    async def _disconnect(self) -> None:
        if self._settling is not None:
            await asyncio.gather(self._settling, return_exceptions=True)
        await _disconnect(self._connection)
        await _disconnect(self._settler)
        self._connection = self._settler = self._settling = None

    async def _is_current(self) -> bool:
        tables = await self._rows("SELECT name FROM sqlite_master WHERE name = 'format'")
        return bool(tables) and [number for (number,) in await self._rows("SELECT number FROM format")] == [FORMAT]

    async def _replace(self) -> None:
        if self._read_only:
            raise StoreError(f"{self.path} has another format: start its consumer to rebuild the state")
        await self._disconnect()
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.kept = await self._in_thread(self.kept.create, durable=self._durable)
        await self._connect()
        await self._create()

    async def _create(self) -> None:
        """Create the tables in an empty file."""
        await self._execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";\n"):
            if statement.strip():
                await self._execute(statement)
        await self._many("INSERT INTO format VALUES (?)", [(FORMAT,)])
        await self._execute("COMMIT")

    async def _begin_anew(self) -> None:
        self._new_path.unlink(missing_ok=True)
        new = await _stack().connect(
            self._new_path, "rwc", _PAGE_SIZE, "journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"
        )
        self._replaced, self._connection = self._connection, new
        try:
            await self._create()
            await self._execute("ATTACH ? AS before", str(self.path.absolute()))
            tables = await self._rows("SELECT name FROM before.sqlite_master WHERE type = 'table' AND name <> 'format'")
            for (table,) in tables:
                await self._execute(f"INSERT INTO {table} SELECT * FROM before.{table}")  # noqa: S608
            await self._execute("DETACH before")
        except BaseException:
            await self.rollback()
            raise

    async def _take_place(self) -> None:
        """Make the new file durable, and replace the old one with it."""

        def take_place() -> None:
            sync_file(self._new_path)
            with writing(self.path):
                for suffix in ("-wal", "-shm"):  # they are the old one's
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                self._new_path.replace(self.path)

        self._unsettled_rows = 0
        await self._disconnect()
        replaced, self._replaced = self._replaced, None
        await _disconnect(replaced)
        await asyncio.to_thread(take_place)
        try:
            await self._connect()
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error

    @property
    def _new_path(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _acquire_lock(self) -> None:
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            os.close(lock)
            raise InUseError(
                f"{self.path} is in use by process {holder or 'unknown'}: its consumer already runs here"
            ) from error
        self._lock = lock
        os.truncate(lock, 0)
        with suppress(OSError):  # the process number only improves a message, and a full disk has no room for it
            os.pwrite(lock, str(os.getpid()).encode(), 0)


class ReadingStore(Store):
    """A read-only state that uses no threads: handing a call to a thread would take as long as reading. Its methods
    never wait, so they can be run without an event loop (`finish`).
    """

    _read_only = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._database: sqlite3.Connection | None = None

    async def _connect(self) -> None:
        self._database = plain.open_to_read(self.path).connection

    async def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    async def _run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        if self._database is None:
            raise StoreError(f"{self.path} is not open")
        try:
            return plain.fetch_all(self._database, statement, parameters)
        except ERRORS as error:
            raise self._failed(error) from error

    async def _in_thread(self, function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        return function(*args, **kwargs)


def _stack() -> Any:
    """The asynchronous stack, imported only for writing."""
    from ledger.databases import asynchronous  # noqa: PLC0415

    return asynchronous


async def _disconnect(connection: "AsyncConnection | None") -> None:
    if connection is not None:
        await _stack().disconnect(connection)


def finish(operation: Coroutine[Any, Any, Answer]) -> Answer:
    """Run an operation that never waits."""
    try:
        operation.send(None)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    operation.close()
    raise RuntimeError("the operation waits, but should have been done at once")


def kept_name(role: str, version: int) -> str:
    """The name of the kept file of a version of a role."""
    return f"{version}.{role}.json"


def _with_checksums(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
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
