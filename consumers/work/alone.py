"""One process at a time: two that write the same copy would spoil it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.disk.files import writing
from schemas.errors import InUseError


@contextmanager
def alone_in(folder: Path, what: str, *, mode: int = 0o755) -> Iterator[None]:
    """Be the only process of this machine that does something in a folder, which is made if need be.

    Raises:
        InUseError: another process does it; `what` says what that is.
        StorageError: the folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(f"another process {what}: wait until it has ended") from error
        yield
    finally:
        os.close(lock)
