"""Syncing: what was written is made durable, file by file or all at once."""

import os
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from ledger.disk.files import writing

MAX_SINGLE_SYNCS = 16
"""Syncing more files than these one by one takes longer than syncing the whole file system."""

WORTH_SYNCS = 8
"""Number of files from which several threads sync: one flush of the disk's cache then serves several files."""


class Synced(NamedTuple):
    """The proof of a sync of all file systems of this machine: what was written before it began is durable.

    `begun` is a moment of `now_written`.
    """

    begun: int

    def covers(self, written: int) -> bool:
        """Whether what was written up to this moment is durable. In doubt it is not."""
        return written < self.begun


def now_written() -> int:
    """The present moment, for `Synced.covers`: it stands for everything that was written before by any process."""
    return monotonic_ns()


def sync_all() -> Synced:
    """Make everything written before durable, on all file systems."""
    begun = now_written()
    os.sync()
    return Synced(begun)


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
