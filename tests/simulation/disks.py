"""The disk below a state: in memory, and it fails. The real state file and kept files stand on it.

A `DiskContents` belongs to the world and outlives processes. A `SimDisk` is the port of one life of one process.
"""

import errno
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ledger.state.disk import UNFINISHED, Lock
from schemas.errors import InUseError
from tests.simulation.processes import Process

Committed = Callable[[sqlite3.Connection], None]


class Database:
    """An SQLite file. Statements take effect at once; what was not committed is undone when its process dies.

    `is_torn`: it is written without a journal and was not synced, so that of some tables nothing would survive.
    """

    def __init__(self, *, keeps_images: bool) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.is_torn = False
        self._keeps_images = keeps_images
        self._images: deque[sqlite3.Connection] = deque(maxlen=3)
        self.written()

    def written(self) -> None:
        """Something was committed. A power failure may lose the last commits, never their order."""
        if self._keeps_images:
            self._images.append(_copy(self.connection, is_torn=self.is_torn))

    def sync(self, *, commits: bool) -> None:
        """The file is durable, or with `commits` its write-ahead log."""
        if commits:
            while len(self._images) > 1:
                self._images.popleft()
        elif self.is_torn:
            self.is_torn = False
            self._images.clear()
            self.written()

    def replaces(self, other: "Database") -> None:
        """It gets the name of another one: a power failure may undo that."""
        self._images = deque((*other._images, *self._images), maxlen=3)

    def undo(self) -> None:
        """Undo what was not committed."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def lose_commits(self, chance: random.Random) -> None:
        """The power fails."""
        for _ in range(chance.randint(0, len(self._images) - 1)):
            self._images.pop()
        self.connection = _copy(self._images[-1], is_torn=False)


def _copy(connection: sqlite3.Connection, *, is_torn: bool) -> sqlite3.Connection:
    copied = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copied)
    if is_torn and copied.execute("SELECT name FROM sqlite_master WHERE name = 'aggregates'").fetchall():
        copied.execute("DELETE FROM aggregates")
    return copied


class DiskContents:
    """What is on a disk: SQLite files, and files that are durable when they were synced."""

    def __init__(self, *, keeps_images: bool = False) -> None:
        self.writes = 0
        self.owner: Process | None = None
        self.keeps_images = keeps_images
        self.databases: dict[str, Database] = {}
        self.files: dict[str, bytes] = {}
        self.unfinished: set[str] = set()
        self._unsynced: set[str] = set()

    def copy(self) -> "DiskContents":
        """The same on another disk."""
        copied = DiskContents(keeps_images=self.keeps_images)
        for name, database in self.databases.items():
            copied.databases[name] = Database(keeps_images=self.keeps_images)
            database.connection.backup(copied.databases[name].connection)
        copied.files.update(self.files)
        copied.unfinished.update(self.unfinished)
        return copied

    def erase(self) -> None:
        """Everything is gone."""
        self.writes += 1
        for each in (self.databases, self.files, self.unfinished, self._unsynced):
            each.clear()

    def write(self, path: str, data: bytes) -> None:
        """Write a file."""
        self.writes += 1
        self.files[path] = data
        self._unsynced.add(path)

    def delete(self, path: str) -> None:
        """Delete a file of any kind. That is durable at once."""
        self.writes += 1
        self.databases.pop(path, None)
        self.files.pop(path, None)
        self._unsynced.discard(path)

    def replace(self, new: str, path: str) -> None:
        """Rename an SQLite file."""
        self.writes += 1
        database = self.databases.pop(new)
        database.replaces(self.databases[path])
        self.databases[path] = database

    def sync(self, path: str) -> None:
        """A file is durable."""
        self._unsynced.discard(path)
        name = path.removesuffix("-wal")
        if name in self.databases:
            self.databases[name].sync(commits=name != path)

    def crash(self) -> None:
        """The process dies that had it open."""
        self.owner = None
        for database in self.databases.values():
            database.undo()

    def lose_unsynced(self, chance: random.Random) -> None:
        """The power fails: the last commits may be lost, never their order; and files that were not synced."""
        for path in sorted(self._unsynced):
            self.files[path] = b""
        self._unsynced.clear()
        for name in sorted(self.databases):
            self.databases[name].lose_commits(chance)

    @property
    def state(self) -> sqlite3.Connection:
        """The state file."""
        (name,) = (name for name in self.databases if name.endswith(".sqlite"))
        return self.databases[name].connection

    def leftover(self) -> set[str]:
        """The names of kept files that the state does not need, where nothing tells the next start to look for them."""
        if self.unfinished:
            return set()
        roles = self.state.execute("SELECT version || '.' || name || '.json' FROM roles")
        pages = self.state.execute("SELECT file FROM pages")
        needed = {name for (name,) in (*roles, *pages)}
        return {path.rpartition("/")[2] for path in self.files} - needed - {".key"}


class SimConnection:
    """A connection to an SQLite file. Contract: `ledger.state.disk.Connection`."""

    def __init__(self, disk: "SimDisk", database: Database) -> None:
        self._disk = disk
        self._database = database

    @property
    def in_transaction(self) -> bool:
        return self._database.connection.in_transaction

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        return self._run(statement, lambda connection: connection.execute(statement, parameters))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> sqlite3.Cursor:
        return self._run(statement, lambda connection: connection.executemany(statement, rows))

    def _run(self, statement: str, run: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> sqlite3.Cursor:
        label = f"state.{statement.strip()[:24]}"
        self._disk.enter(label, _fails)
        connection = self._database.connection
        before = connection.total_changes
        cursor = run(connection)
        is_commit = statement == "COMMIT"
        if is_commit or (not connection.in_transaction and connection.total_changes != before):
            self._disk.contents.writes += 1
            self._database.written()
        if is_commit:
            self._disk.committed(connection)
        try:
            self._disk.leave(label, _fails)
        except BaseException:
            cursor.close()
            raise
        return cursor

    def close(self) -> None:
        self._disk.enter("state.close", None)
        self._database.undo()
        self._disk.leave("state.close", None)


def _fails(message: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


def _refuses(message: str) -> OSError:
    return OSError(errno.EIO, message)


class SimDisk:
    """A disk as one life of a process sees it. Contract: `ledger.state.disk.Disk`."""

    def __init__(self, contents: DiskContents, process: Process, committed: Committed) -> None:
        self.contents = contents
        self.committed = committed
        self._process = process

    def enter(self, label: str, error: Callable[[str], Exception] | None) -> None:
        self._process.enter(label, error)
        assert self.contents.owner is self._process, "another process has this disk by now"

    def leave(self, label: str, error: Callable[[str], Exception] | None) -> None:
        self._process.leave(label, error)

    # --- the state file ------------------------------------------------------------------------------------------

    def lock(self, path: Path) -> Lock:
        owner = self.contents.owner
        if owner is not None and owner.alive:
            raise InUseError(str(owner))
        self.contents.owner = self._process
        return Lock(self._let_go)

    def _let_go(self) -> None:
        self.contents.owner = None

    def connect(self, path: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> SimConnection:
        self.enter("state.connect", _fails)
        databases = self.contents.databases
        if str(path) not in databases:
            assert mode == "rwc"
            databases[str(path)] = Database(keeps_images=self.contents.keeps_images)
            databases[str(path)].is_torn = "synchronous = OFF" in pragmas
        self.leave("state.connect", _fails)
        return SimConnection(self, databases[str(path)])

    def exists(self, path: Path) -> bool:
        name = str(path)
        return name in self.contents.unfinished or name.removesuffix("-wal") in self.contents.databases

    def check(self, path: Path) -> str:
        return ""

    def replace(self, new: Path, path: Path) -> None:
        self.enter("disk.replace", _refuses)
        self.contents.replace(str(new), str(path))
        self.leave("disk.replace", _refuses)

    # --- kept files ----------------------------------------------------------------------------------------------

    def create_folder(self, folder: Path) -> None:
        """Folders are there."""

    def empty_folder(self, folder: Path) -> None:
        self.enter("disk.empty folder", _refuses)
        for path in [path for path in self.contents.files if path.startswith(f"{folder}/")]:
            self.contents.delete(path)
        self.contents.unfinished.discard(f"{folder}/{UNFINISHED}")
        self.leave("disk.empty folder", _refuses)

    def delete_folder(self, folder: Path) -> None:
        self.enter("disk.delete folder", None)
        self.contents.writes += 1
        self.contents.unfinished.discard(str(folder))
        self.leave("disk.delete folder", None)

    def write_secret(self, path: Path, data: bytes) -> None:
        self.enter("disk.write", _refuses)
        self.contents.write(str(path), data)
        self.leave("disk.write", _refuses)

    def put(self, folder: Path, name: str, data: bytes) -> None:
        self.enter("disk.put", _refuses)
        self.contents.unfinished.add(f"{folder}/{UNFINISHED}")
        self.contents.write(f"{folder}/{name}", data)
        self.leave("disk.put", _refuses)

    def read(self, path: str) -> bytes:
        self.enter("disk.read", _refuses)
        data = self.contents.files.get(path)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        self.leave("disk.read", _refuses)
        return data

    def prefetch(self, paths: Iterable[str]) -> None:
        """All of it is in memory."""

    def names(self, folder: Path) -> list[str]:
        self.enter("disk.names", _refuses)
        return [path.rpartition("/")[2] for path in self.contents.files if path.startswith(f"{folder}/")]

    def delete(self, path: str) -> None:
        if path not in self.contents.files and path not in self.contents.databases:
            return
        self.enter("disk.delete", _refuses)
        self.contents.delete(path)
        self.leave("disk.delete", _refuses)

    def sync(self, folder: Path, names: Collection[str]) -> None:
        self.enter("disk.sync", _refuses)
        for name in names:
            self.contents.sync(f"{folder}/{name}")
        self.leave("disk.sync", _refuses)
