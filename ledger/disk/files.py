"""Files and folders: written as fast as it goes, made durable, with errors that say which."""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import perf_counter
from typing import TypeVar

from schemas.errors import LedgerError, TemporaryError

MAX_SINGLE_SYNCS = 16
"""To sync more files than these one by one takes longer than to sync the whole file system."""

WORTH_SYNCS = 8
"""So many files are worth to be synced by several threads: the disk is told once to write what it holds for several."""

# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL of <linux/fs.h>, where a long has 8 bytes.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000
_FILES_IN_A_NURSERY = 512
_ATTEMPTS = 5
_FAST_SECONDS = 60e-6
_TRYING_SECONDS = 2e-3

T = TypeVar("T")


class StorageError(LedgerError):
    """A file cannot be written or read; the message says which and why."""


class StorageUnavailableError(StorageError, TemporaryError):
    """It cannot be now: the disk is full or fails, or a server does not answer."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room."""

_PASSING = FULL | {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
"""What the system says when the same may succeed later."""


def may_pass(error: OSError) -> bool:
    """Whether what the system refuses may succeed later."""
    return error.errno in _PASSING


def advice(error: OSError) -> str:
    """What to do where there is no room; nothing to say else."""
    return ": make room, or wait until a sweep has" if error.errno in FULL else ""


def storage_error(path: Path | str, what: str, error: OSError) -> StorageError:
    """What to raise when the system refuses something about a file.

    Args:
        path: which.
        what: what cannot be done, as in "written".
        error: what the system said.
    """
    kind = StorageUnavailableError if may_pass(error) else StorageError
    return kind(f"{path} cannot be {what}: {error.strerror}{advice(error)}")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Say which file it was that could not be written."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, "written", error) from error


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Say which file it was that could not be read."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, "read", error) from error


def within(folder: Path, act: Callable[[], object]) -> None:
    """Do something in a folder, which is only made if it turns out to be missing: nearly always it is there."""
    try:
        act()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        act()


class _Nurseries:
    """The folders in which this process makes files at present, by where they are, and how many more it makes there."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._present: dict[str, tuple[str, int]] = {}
        self._before: dict[str, str] = {}

    def next(self, parent: str) -> str:
        """The folder for the next file."""
        with self._lock:
            folder, left = self._present.get(parent, ("", 0))
            if not left:
                # Not yet the last one: another thread may be about to make a file there.
                before, self._before[parent] = self._before.get(parent, ""), folder
                with suppress(OSError):
                    os.rmdir(before)  # noqa: PTH106
                folder, left = _nursery(parent), _FILES_IN_A_NURSERY
            self._present[parent] = (folder, left - 1)
            return folder

    def forget(self, parent: str, folder: str) -> None:
        """This one is gone."""
        with self._lock:
            if folder and self._present.get(parent, ("", 0))[0] == folder:
                del self._present[parent]


_nurseries = _Nurseries()


def make_file(parent: str, data: bytes) -> str:
    """Write a new file somewhere below a folder, to be moved from there; as fast as it goes. Gives its path.

    ext4 gives out no inode that was freed in the last minutes, and for each file looks at all of those near its folder:
    0.3 ms instead of 0.015 where some thousands were deleted, as by a sweep. So files are made in *nurseries*: folders
    that it is asked to place far from each other (chattr +T); some are tried, and now and then another one is taken.

    Whoever empties `parent` may do so meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    for _ in range(_ATTEMPTS):
        folder = ""
        with suppress(FileNotFoundError):
            folder = _nurseries.next(parent)
            path = new_path(folder)
            write_file(path, data, is_new=True)
            return path
        _nurseries.forget(parent, folder)
    raise FileNotFoundError(errno.ENOENT, "somebody deletes what is made there", parent)


def _nursery(parent: str) -> str:
    """A new folder in which it is fast to make files; if none of those tried is, the fastest."""
    Path(parent).mkdir(parents=True, exist_ok=True)
    _spread(parent)
    best, least, begun = "", float("inf"), perf_counter()
    while True:
        folder = new_path(parent)
        os.mkdir(folder)  # noqa: PTH102
        seconds = min(_try(folder), _try(folder))
        if seconds < least:
            folder, best, least = best, folder, seconds
        if folder:
            os.rmdir(folder)  # noqa: PTH106
        if least < _FAST_SECONDS or perf_counter() - begun > _TRYING_SECONDS:
            return best


def _try(folder: str) -> float:
    """How long it takes to make a file; in seconds."""
    begun = perf_counter()
    os.close(os.open(f"{folder}/0", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    seconds = perf_counter() - begun
    os.unlink(f"{folder}/0")  # noqa: PTH108
    return seconds


def _spread(folder: str) -> None:
    """Ask for folders within this one to be placed far from each other; where that cannot be, they are not."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(file, _GET_FLAGS, struct.pack("l", 0)))
            fcntl.ioctl(file, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHIES))
        finally:
            os.close(file)


def new_path(folder: Path | str) -> str:
    """A path in a folder; several processes and threads may use it."""
    return f"{folder}/{os.getpid()}-{token_hex(8)}"


def read_file(path: str) -> bytes:
    """Read a whole file, which nobody writes to meanwhile, as fast as it goes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def write_file(path: str, data: bytes, *, is_new: bool = False, mode: int = 0o644) -> None:
    """Write a whole file, as fast as it goes: over one that is there, or, if it `is_new`, only if there is none."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else os.O_TRUNC), mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def each(act: Callable[[T], object], items: Sequence[T], *, worth: int, threads: int = 4) -> None:
    """Do something for each item; if there are so many that it is worth it, for several at once: the system does, too.

    Raises what one of them raised; then the others are done, too, or not begun.
    """
    if len(items) < worth:
        for item in items:
            act(item)
        return

    def some(start: int) -> None:
        for item in items[start::threads]:
            act(item)

    with ThreadPoolExecutor(threads) as pool:
        for begun in [pool.submit(some, start) for start in range(threads)]:
            begun.result()


class _Syncs:
    """Counts what `sync_all` did: its calls are numbered as they begin."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.begun = 0
        self.done = 0


_syncs = _Syncs()


def sync_all() -> None:
    """Make everything durable that was written before, on all file systems."""
    with _syncs.lock:
        _syncs.begun += 1
        number = _syncs.begun
    os.sync()
    with _syncs.lock:
        _syncs.done = max(_syncs.done, number)


def now_written() -> int:
    """A mark for everything that was written before now, by any process: see `is_durable`."""
    return _syncs.begun


def is_durable(mark: int) -> bool:
    """Whether this process has synced everything since a mark, to the end."""
    return _syncs.done > mark


def sync_file(path: Path) -> None:
    """Make a file's contents durable."""
    with writing(path), path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
