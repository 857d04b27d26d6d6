"""Syncing: what was written is made durable, file by file or all at once."""

import os
from pathlib import Path
from threading import Lock

from ledger.disk.files import writing

MAX_SINGLE_SYNCS = 16
"""Syncing more files than these one by one takes longer than syncing the whole file system."""

WORTH_SYNCS = 8
"""Number of files from which several threads sync: one flush of the disk's cache then serves several files."""


class _Syncs:
    """Counts the calls of `sync_all`, numbered as they begin."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.begun = 0
        self.done = 0


_syncs = _Syncs()


def sync_all() -> None:
    """Make everything written before durable, on all file systems."""
    with _syncs.lock:
        _syncs.begun += 1
        number = _syncs.begun
    os.sync()
    with _syncs.lock:
        _syncs.done = max(_syncs.done, number)


def now_written() -> int:
    """A mark for `is_durable`, which stands for everything written before now by any process."""
    return _syncs.begun


def is_durable(mark: int) -> bool:
    """Whether this process has completed a sync of everything since a mark."""
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
