"""A small disk that can be filled to the last page: a file system of its own, in memory."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE_BYTES = 4096
SIZE_BYTES = 24 * 2**20


class SmallDisk:
    """A folder on a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, *, left_bytes: int = 0) -> None:
        """Leave room for so many bytes, in whole pages."""
        file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(file, bytes(PAGE_BYTES))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            os.truncate(file, max(0, os.fstat(file).st_size - left_bytes))
        finally:
            os.close(file)

    def make_room(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, size_bytes: int = SIZE_BYTES) -> Iterator[SmallDisk]:
    """A small disk at a new folder. Where none may be mounted, the test is skipped."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tuf-ledger-test", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
