"""Syncing: what was written is made durable, file by file or all at once."""

import os
from pathlib import Path
from threading import Lock

from ledger.disk.files import writing

MAX_SINGLE_SYNCS = 16
"""To sync more files than these one by one takes longer than to sync the whole file system."""

WORTH_SYNCS = 8
"""So many files are worth to be synced by several threads: the disk is told once to write what it holds for several."""


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
