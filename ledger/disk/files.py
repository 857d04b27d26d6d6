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
    return ": make room, or wait for a sweep" if error.errno in FULL else ""


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
