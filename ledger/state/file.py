"""The state file: its lock, transactions, settling, rewriting beside, and what tells an unclean end.

One transaction lasts from the first change of a publication until its record was read back; a crash in between leaves
the state unchanged.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ledger.databases.plain import ERRORS
from ledger.disk.files import writing
from ledger.disk.syncing import Synced
from ledger.state import StateDamagedError, StoreError, tables
from ledger.state.aggregates import load_page_files
from ledger.state.disk import Connection, Disk, Lock
from ledger.state.roles import kept_name, load_roles
from ledger.state.statements import State, lock_path
from schemas.errors import InUseError

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
_PRAGMAS_ANEW = (_PAGE_SIZE, "journal_mode = OFF", "synchronous = OFF", "cache_size = -65536")
MANY_ROWS = 4096
"""Number of written rows, most of some kilobytes, from which a commit begins to settle."""


class StateFile(State):
    """A state that is written. A lock file ensures that one process writes; any number reads.

    Args:
        path: the file.
        disk: the disk.
        durable: without it, files are not synced: for a state that is thrown away after a failure.
        aside: where commits are settled, while the next transaction goes on.
        many_rows: how many written rows a commit begins to settle.
    """

    def __init__(
        self, path: Path, disk: Disk, aside: Executor, *, durable: bool = True, many_rows: int = MANY_ROWS
    ) -> None:
        super().__init__(path, disk)
        self._disk = disk
        self._aside = aside
        self._durable = durable
        self._many_rows = many_rows
        self._replaced: Connection | None = None
        self._settler: Connection | None = None
        self._settling: Future[None] | None = None
        self._unsettled_rows = 0
        self._new_files: list[str] = []
        self._written: int | None = None
        self._is_begun = False
        self._unended = 0
        """Unfinished operations that would leave orphaned kept files if the process died now."""
        self._replaced_files: list[str] = []
        self._unneeded_files: list[str] = []
        self._lock: Lock | None = None

    # --- opening -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, or create it; a file of another format, or a damaged one, is deleted first.

        Raises:
            InUseError: another process uses the file.
            StoreError: the file cannot be written.
        """
        with self._closed_on_failure():
            self._open()

    def _open(self) -> None:
        self._disk.create_folder(self.path.parent)
        self._acquire_lock()
        self._unended = 1
        self._disk.delete(str(self._new_path))  # it was never finished
        if problem := self._disk.check(self.path):
            raise StoreError(f"{self.path} {problem}")
        if self._connect_if_current():
            self.kept = self.kept.opened()
            self._delete_leftover_files()
        else:
            self._replace()
        self._unended = 0  # leftover files are deleted

    def _connect_if_current(self) -> bool:
        """Connect, and tell whether the file has the present layout. A damaged one has none."""
        try:
            self._connection = self._disk.connect(self.path, "rwc", *_PRAGMAS)
            return tables.is_current(self._connection)
        except ERRORS as error:
            failed = self._failed(error)
            if not isinstance(failed, StateDamagedError):
                raise failed from error
            return False

    def _acquire_lock(self) -> None:
        try:
            self._lock = self._disk.lock(lock_path(self.path))
        except InUseError as error:
            raise InUseError(f"{self.path} is in use by process {error}: its consumer already runs here") from error

    def close(self) -> None:
        """Close the file. Uncommitted changes are lost."""
        try:
            self._disconnect()
            self._delete_unneeded_files()
            if self._lock is not None and not self._unended:  # otherwise the next start looks for leftover files
                self.kept.tidy()
        finally:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.let_go()

    def reset(self) -> None:
        """Delete all state, to be rebuilt from the logs."""
        with writing(self.path):
            self._replace()

    def delete(self) -> None:
        """Delete the file for good, with everything beside it. Only `close` may follow.

        Until all is deleted, the file is there and empty: whoever dies in between leaves a state that can be begun.
        """
        with writing(self.path):
            self._disconnect()
            self._disk.connect(self._new_path, "rwc", "user_version").close()  # an empty file
            self._disk.replace(self._new_path, self.path)
            for suffix in ("-wal", "-shm"):  # they are there if another process still reads
                self._disk.delete(f"{self.path}{suffix}")
            self._new_files, self._replaced_files, self._unneeded_files = [], [], []
            self._disk.delete_folder(self.kept.folder)
            for path in (self.path, lock_path(self.path)):
                self._disk.delete(str(path))

    def _replace(self) -> None:
        self._disconnect()
        for suffix in ("", "-wal", "-shm", "-journal"):
            self._disk.delete(f"{self.path}{suffix}")
        self.kept = self.kept.create(durable=self._durable)
        self._connect()
        with self.transaction(), self._explained():
            tables.create(self._open_connection())

    def _connect(self) -> None:
        with self._explained():
            self._connection = self._disk.connect(self.path, "rwc", *_PRAGMAS)

    def _disconnect(self) -> None:
        """Close all connections, when settling has ended in any way."""
        with suppress(Exception):  # whoever settles next is told
            self._settled()
        settler, replaced, self._settler, self._replaced = self._settler, self._replaced, None, None
        for connection in (self._connection, settler, replaced):
            if connection is not None:
                connection.close()
        self._connection = None

    # --- transactions --------------------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """Whether the transaction of a publication waits for its commit."""
        return self._is_begun

    def begin(self, *, anew: bool = False) -> None:
        """Begin the transaction of a publication.

        Args:
            anew: write everything into a new file, which replaces this one with the commit. For a large batch on a
                small state: a new file needs no journal, which would write everything twice.
        """
        self._written = None
        if anew:
            self._begin_anew()
        else:
            self.execute("BEGIN IMMEDIATE")
        self._unended += 1
        self._is_begun = True

    def commit(self, *, after: Synced | None = None) -> None:
        """Commit the transaction. Kept files are made durable before the commit that names them.

        Args:
            after: what placing the published files has synced: that may have been the kept files, too.
        """
        is_synced = after is not None and self._written is not None and after.covers(self._written)
        if self._durable and not is_synced:
            self.kept.sync(self._new_files)
        # After a failed commit its effect is unknown: the next start looks for leftover files.
        replaced, self._replaced_files, self._new_files = self._replaced_files, [], []
        self.execute("COMMIT")
        self._is_begun = False
        if self._replaced is not None:
            self._take_place()
        self._unended -= 1
        self._unneeded_files += replaced
        if self._unsettled_rows >= self._many_rows and (self._settling is None or self._settling.done()):
            self._settled()
            self._begin_to_settle()

    def rollback(self) -> None:
        """Undo the transaction. SQLite may have done so already, for instance when the disk was full."""
        new, self._new_files, self._replaced_files = self._new_files, [], []
        self.kept.delete(new)
        if self._replaced is None:
            self._undo()
        else:
            self._close_connection()
            self._connection, self._replaced = self._replaced, None
            with writing(self._new_path):
                self._disk.delete(str(self._new_path))
        self._is_begun = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A short transaction, without kept files."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._connection is None:  # it could not be opened again
            self._connect()
        elif self._connection.in_transaction:
            self.execute("ROLLBACK")

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each row of parameters, and count the rows."""
        self._unsettled_rows += len(rows)
        super().many(statement, rows)

    # --- rewriting -----------------------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        """Begin a transaction in a new file beside this one, with all that this one has."""
        with writing(self._new_path):
            self._disk.delete(str(self._new_path))
        before = self._open_connection()
        with self._explained():
            after = self._disk.connect(self._new_path, "rwc", *_PRAGMAS_ANEW)
        self._replaced, self._connection = before, after
        try:
            self.execute("BEGIN IMMEDIATE")
            with self._explained():
                tables.create(after)
                tables.copy(before, after)
        except BaseException:
            self.rollback()
            raise

    def _take_place(self) -> None:
        """Make the new file durable, and replace the old one with it."""
        self._unsettled_rows = 0
        self._disconnect()
        try:
            with writing(self.path):
                if self._durable:
                    self._disk.sync(self.path.parent, [self._new_path.name])
                for suffix in ("-wal", "-shm"):  # they are the old one's
                    self._disk.delete(f"{self.path}{suffix}")
                self._disk.replace(self._new_path, self.path)
        finally:
            self._connect()  # to whichever is there

    @property
    def _new_path(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    # --- settling ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Move commits from the write-ahead log into the file. To be called in idle time: it waits for the disk."""
        self._settled()
        if self._unsettled_rows:
            self._begin_to_settle()
            self._settled()

    def _begin_to_settle(self) -> None:
        """Begin to settle on a second connection, so that the next transaction can go on meanwhile."""
        with self._explained():
            self._settler = self._settler or self._disk.connect(self.path, "rw")
        unneeded, self._unneeded_files = self._unneeded_files, []
        self._unsettled_rows = 0
        self._unended += 1
        self._settling = self._aside.submit(self._settle, self._settler, unneeded)

    def _settle(self, settler: Connection, unneeded: Sequence[str]) -> None:
        with self._explained():
            settler.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._delete_durably(unneeded)

    def _settled(self) -> None:
        """Wait until settling is done.

        Raises:
            StoreError, StorageError: it failed. The next start looks for leftover files.
        """
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.result()
            self._unended -= 1

    # --- kept files ----------------------------------------------------------------------------------------------

    def keep(self, new: Iterable[str], replaced: Iterable[str]) -> None:
        """Add files in `kept` to this transaction. Replaced files are deleted when they are no longer needed."""
        self._new_files += new
        self._replaced_files += replaced

    def all_written(self, moment: int) -> None:
        """Note at which moment (`now_written`) all kept files of this transaction were written: a sync of everything
        that began later makes them durable.
        """
        self._written = moment

    def _delete_unneeded_files(self) -> None:
        """Delete files that committed transactions replaced."""
        unneeded, self._unneeded_files = self._unneeded_files, []
        if unneeded:
            self._unended += 1
            self._delete_durably(unneeded)
            self._unended -= 1

    def _delete_leftover_files(self) -> None:
        """Delete files that an earlier process kept uncommitted, replaced but did not delete, or did not finish."""
        if self.kept.is_tidy():
            return
        found = self.kept.names()
        if found:
            needed = {kept_name(name, version) for name, version, *_ in load_roles(self)} | load_page_files(self)
            self._delete_durably([name for name in found if name not in needed])
        self.kept.tidy()

    def _delete_durably(self, names: Sequence[str]) -> None:
        """Delete kept files that the state does not need, once its commits are durable: a power failure might otherwise
        bring back a state that needs them.
        """
        if names and self._durable:
            files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
            with writing(self.path):
                self._disk.sync(self.path.parent, [each.name for each in files if self._disk.exists(each)])
        self.kept.delete(names)
