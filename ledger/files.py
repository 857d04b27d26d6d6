"""Files and folders: written as fast as it goes, made durable, with errors that say which."""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

MAX_SINGLE_SYNCS = 16
"""To sync more files than these one by one takes longer than to sync the whole file system."""

WORTH_SYNCS = 8
"""So many files are worth to be synced by several threads: the disk is told once to write what it holds for several."""

_AT_ONCE = 4

# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL of <linux/fs.h>, where a long has 8 bytes.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000

T = TypeVar("T")


class StorageError(Exception):
    """A file cannot be written or read; the message says which and why."""


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Say which file it was that could not be written."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def within(folder: Path, act: Callable[[], object]) -> None:
    """Do something in a folder, which is only made if it turns out to be missing: nearly always it is there."""
    try:
        act()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        act()


def spread(folder: Path) -> None:
    """Make a folder, if there is none, whose own folders are placed far from each other where the file system can do
    that (ext4: "top of directory hierarchies", chattr +T).

    ext4 gives out no inode that was freed in the last minutes, and for each file that is made it looks at all of those
    nearby: 0.3 ms instead of 0.015 where some thousands were deleted. So what is made now is made elsewhere than what a
    sweep may have deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # it is only faster so
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(file, _GET_FLAGS, struct.pack("l", 0)))
            fcntl.ioctl(file, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHIES))
        finally:
            os.close(file)


def read_file(path: str) -> bytes:
    """Read a whole file, which nobody writes to meanwhile, as fast as it goes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def write_file(path: str, data: bytes, *, is_new: bool = False) -> None:
    """Write a whole file, as fast as it goes: over one that is there, or, if it `is_new`, only if there is none."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else os.O_TRUNC), 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def each(act: Callable[[T], object], items: Sequence[T], *, worth: int) -> None:
    """Do something for each item; if there are so many that it is worth it, for several at once: the system does, too.

    Raises what one of them raised; then the others are done, too, or not begun.
    """
    if len(items) < worth:
        for item in items:
            act(item)
        return

    def some(start: int) -> None:
        for item in items[start::_AT_ONCE]:
            act(item)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for begun in [threads.submit(some, start) for start in range(_AT_ONCE)]:
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
