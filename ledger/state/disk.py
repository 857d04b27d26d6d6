"""What a state does to the disk: the port below the state file and its kept files.

Each call is one effect: a process can end before or after it, and it can fail. What is written is durable only after
`sync`. Errors are the system's (`OSError`) and SQLite's.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ledger.databases import plain
from ledger.disk.files import each, read_file, write_file
from ledger.disk.nursery import make_file
from ledger.disk.syncing import MAX_SINGLE_SYNCS, WORTH_SYNCS, sync_all, sync_file, sync_folder
from schemas.errors import InUseError

UNFINISHED = ".new"
"""The name of a folder's subfolder of files that are being written."""


class Connection(Protocol):
    """A connection to an SQLite file that begins no transaction by itself. `sqlite3.Connection` is one."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Execute one statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> sqlite3.Cursor:
        """Execute one statement for each row of parameters."""

    def close(self) -> None:
        """Close the connection. An open transaction is undone."""


class Lock(NamedTuple):
    """A lock that is held until it is let go, or its process ends."""

    let_go: Callable[[], None]


class Disk(Protocol):
    """A disk. Any thread may call it; calls about one file come one after the other."""

    def lock(self, path: Path) -> Lock:
        """Take a lock, named by a file that is created.

        Raises:
            InUseError: somebody holds it; the message is the number of that process.
        """

    def connect(self, path: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> Connection:
        """Open an SQLite file, or with `rwc` create it."""

    def exists(self, path: Path) -> bool:
        """Whether there is a file or folder."""

    def check(self, path: Path) -> str:
        """Why a path cannot be used as a file that is read and written; empty if it can, or if there is nothing."""

    def replace(self, new: Path, path: Path) -> None:
        """Give a file the name of another one, which is gone then."""

    def create_folder(self, folder: Path) -> None:
        """Create a folder if there is none."""

    def empty_folder(self, folder: Path) -> None:
        """Delete everything in a folder. The folder itself stays: it may be a mount point."""

    def delete_folder(self, folder: Path) -> None:
        """Delete a folder, as far as that is possible."""

    def write_secret(self, path: Path, data: bytes) -> None:
        """Write a new file that only this user can read."""

    def put(self, folder: Path, name: str, data: bytes) -> None:
        """Write a whole file, in place of an existing one. Until it is finished, it is in the folder `UNFINISHED`."""

    def read(self, path: str) -> bytes:
        """Read a whole file."""

    def prefetch(self, paths: Iterable[str]) -> None:
        """Begin to read files that will be needed."""

    def names(self, folder: Path) -> list[str]:
        """The names of what is in a folder; nothing if there is no folder."""

    def delete(self, path: str) -> None:
        """Delete a file if it exists."""

    def sync(self, folder: Path, names: Collection[str]) -> None:
        """Make files of a folder durable, and then the names in it."""


class SystemDisk:
    """The disk as the system has it. Contract: `Disk`."""

    def lock(self, path: Path) -> Lock:
        """Take a lock on a file, in which the number of the process is."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(file, 0)
        except BlockingIOError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            os.close(file)
            raise InUseError(holder or "unknown") from error
        except BaseException:
            os.close(file)
            raise
        with suppress(OSError):  # the process number only improves a message, and a full disk has no room for it
            os.pwrite(file, str(os.getpid()).encode(), 0)
        return Lock(lambda: os.close(file))

    def is_locked(self, path: Path) -> bool:
        """Whether a process holds a lock."""
        try:
            file = os.open(path, os.O_RDONLY)  # whoever may only read asks, too
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def connect(self, path: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> Connection:
        """Open an SQLite file."""
        return plain.connect(path, mode, *pragmas)

    def exists(self, path: Path) -> bool:
        """Whether there is a file or folder."""
        return path.exists()

    def check(self, path: Path) -> str:
        """Why a path cannot be used as a file: SQLite would say no more than that it cannot be opened."""
        if path.exists() and not path.is_file():
            return "is no file: move it away, and the state is rebuilt from the logs"
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return "cannot be read and written by this user"
        return ""

    def replace(self, new: Path, path: Path) -> None:
        """Rename a file."""
        new.replace(path)

    def create_folder(self, folder: Path) -> None:
        """Create a folder and those above it."""
        folder.mkdir(parents=True, exist_ok=True)

    def empty_folder(self, folder: Path) -> None:
        """Delete everything in a folder."""
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108  # a hot path

    def delete_folder(self, folder: Path) -> None:
        """Delete a folder, as far as that is possible."""
        shutil.rmtree(folder, ignore_errors=True)

    def write_secret(self, path: Path, data: bytes) -> None:
        """Write a new file that only this user can read."""
        write_file(str(path), data, is_new=True, mode=0o600)

    def put(self, folder: Path, name: str, data: bytes) -> None:
        """Write a file, buffered, and rename it over an existing one, which may have a second name and stays there."""
        made = make_file(f"{folder}/{UNFINISHED}", data)
        os.rename(made, f"{folder}/{name}")  # noqa: PTH104  # a hot path

    def read(self, path: str) -> bytes:
        """Read a whole file."""
        return read_file(path)

    def prefetch(self, paths: Iterable[str]) -> None:
        """Let the disk begin to read files that are not in the system's cache."""
        for path in paths:
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if not _is_cached(file):
                        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)

    def names(self, folder: Path) -> list[str]:
        """The names of what is in a folder."""
        try:
            return os.listdir(folder)  # noqa: PTH208  # names are all that is wanted
        except FileNotFoundError:
            return []

    def delete(self, path: str) -> None:
        """Delete a file if it exists."""
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # a hot path

    def sync(self, folder: Path, names: Collection[str]) -> None:
        """Make files durable one by one, or many with everything else."""
        if len(names) > MAX_SINGLE_SYNCS:
            sync_all()
        else:
            each(sync_file, [folder / name for name in names], worth=WORTH_SYNCS)
            sync_folder(folder)


def _is_cached(file: int) -> bool:
    """Whether the system has an open file in its cache, as far as its first byte tells: to ask for it to be read takes
    ten times as long as to find that out.
    """
    try:
        return os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:  # it would have to wait, or cannot tell
        return False


SYSTEM_DISK = SystemDisk()
