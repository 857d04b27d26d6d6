"""Files and folders: written as fast as it goes, made durable, with errors that say which."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

MAX_SINGLE_SYNCS = 64
"""To sync more files than these one by one takes longer than to sync the whole file system."""


class StorageError(Exception):
    """A file cannot be written or read; the message says which and why."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
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
