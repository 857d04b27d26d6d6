"""Files and folders: written fast, with errors that say which one it was and whether it may pass."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from schemas.errors import LedgerError, TemporaryError

T = TypeVar("T")


class StorageError(LedgerError):
    """A file cannot be written or read; the message says which and why."""


class StorageUnavailableError(StorageError, TemporaryError):
    """A file cannot be written or read now: the disk is full or fails, or a server does not answer."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The system's error numbers for a full disk."""

_PASSING = FULL | {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
"""The system's error numbers for temporary failures."""


def may_pass(error: OSError) -> bool:
    """Whether the same operation may succeed later."""
    return error.errno in _PASSING


def advice(error: OSError) -> str:
    """Advice for a full disk; empty for other errors."""
    return ": make room, or wait for a sweep" if error.errno in FULL else ""


def storage_error(path: Path | str, what: str, error: OSError) -> StorageError:
    """The error to raise for a system error about a file.

    Args:
        path: the file.
        what: the operation that failed, as in "written".
        error: the system's error.
    """
    kind = StorageUnavailableError if may_pass(error) else StorageError
    why = error.strerror
    if error.errno == errno.ENOENT and what == "written":
        why = "its folder is missing, so make that first"
    if error.errno in {errno.EACCES, errno.EPERM} and isinstance(error.filename, str):
        # Files are staged elsewhere before they are in place: a folder there may be another user's.
        folder = Path(error.filename).parent
        why = why if folder == Path(path).parent else f"{why} in {folder}: check its owner"
    return kind(f"{path} cannot be {what}: {why}{advice(error)}")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn system errors into a `StorageError` that names the file to be written."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, "written", error) from error


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn system errors into a `StorageError` that names the file to be read."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, "read", error) from error


def within(folder: Path, act: Callable[[], object]) -> None:
    """Do something in a folder. The folder is created only if it turns out to be missing, which is rare."""
    try:
        act()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        act()


def new_path(folder: Path | str) -> str:
    """A new path in a folder, unique among processes and threads."""
    return f"{folder}/{os.getpid()}-{token_hex(8)}"


def read_file(path: str) -> bytes:
    """Read a whole file that does not change meanwhile. Fast."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def write_file(path: str, data: bytes, *, is_new: bool = False, mode: int = 0o644) -> None:
    """Write a whole file, over an existing one; with `is_new`, only if none exists. Fast."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else os.O_TRUNC), mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def each(act: Callable[[T], object], items: Sequence[T], *, worth: int, threads: int = 4) -> None:
    """Do something for each item; from `worth` items on, in several threads, which the system serves in parallel.

    Raises an error of one item; the other items are then done or not begun.
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
