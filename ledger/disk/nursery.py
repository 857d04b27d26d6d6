"""Nurseries: folders in which files are made fast, to be moved from there to where they belong."""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import perf_counter

from ledger.disk.files import new_path, write_file

# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL of <linux/fs.h>, where a long has 8 bytes.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000
_FILES_IN_A_NURSERY = 512
_ATTEMPTS = 5
_FAST_SECONDS = 60e-6
_TRYING_SECONDS = 2e-3


class _Nurseries:
    """The folders in which this process creates files at present, by parent, with the number of files left for each."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._present: dict[str, tuple[str, int]] = {}
        self._before: dict[str, str] = {}

    def next(self, parent: str) -> str:
        """The folder for the next file."""
        with self._lock:
            folder, left = self._present.get(parent, ("", 0))
            if not left:
                # Not the last folder yet: another thread may be about to create a file there.
                before, self._before[parent] = self._before.get(parent, ""), folder
                with suppress(OSError):
                    os.rmdir(before)  # noqa: PTH106
                folder, left = _nursery(parent), _FILES_IN_A_NURSERY
            self._present[parent] = (folder, left - 1)
            return folder

    def forget(self, parent: str, folder: str) -> None:
        """Forget a folder that is gone."""
        with self._lock:
            if folder and self._present.get(parent, ("", 0))[0] == folder:
                del self._present[parent]


_nurseries = _Nurseries()


def make_file(parent: str, data: bytes) -> str:
    """Write a new file somewhere below a folder, to be moved from there; return its path. Fast.

    ext4 does not reuse an inode that was freed in the last minutes, and for each new file it searches all such inodes
    near its folder: 0.3 ms instead of 0.015 ms after some thousand deletions, as by a sweep. So files are created in
    *nurseries*: folders that ext4 is asked to place far from each other (chattr +T). Some folders are tried, and now
    and then another one is taken.

    Another process may empty `parent` meanwhile.

    Raises:
        OSError: the file cannot be written.
    """
    for _ in range(_ATTEMPTS):
        folder = ""
        with suppress(FileNotFoundError):
            folder = _nurseries.next(parent)
            path = new_path(folder)
            write_file(path, data, is_new=True)
            return path
        _nurseries.forget(parent, folder)
    raise FileNotFoundError(errno.ENOENT, "another process deletes new files there", parent)


def _nursery(parent: str) -> str:
    """Create a folder in which creating files is fast; if no tried folder is fast enough, the fastest of them."""
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
    """Measure how long creating a file takes, in seconds."""
    begun = perf_counter()
    os.close(os.open(f"{folder}/0", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    seconds = perf_counter() - begun
    os.unlink(f"{folder}/0")  # noqa: PTH108
    return seconds


def _spread(folder: str) -> None:
    """Ask the file system to place the folders in this one far from each other. Ignored if it cannot."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(file, _GET_FLAGS, struct.pack("l", 0)))
            fcntl.ioctl(file, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHIES))
        finally:
            os.close(file)
