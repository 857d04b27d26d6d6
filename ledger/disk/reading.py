"""Reading what others may have put into a folder: only regular files count, and nothing is waited for."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ledger.disk.files import storage_error

_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader | None]:
    """An open file; None if it does not exist. Folders, pipes and devices do not count: only files are served."""
    try:
        file = _open(path)
        if file is None:
            yield None
            return
        with file:
            yield file
    except OSError as error:
        raise storage_error(path, "read", error) from error


def open_below(root: Path, path: str) -> BufferedReader | None:
    """An open file below a folder, for strangers; None if there is none. The caller closes it.

    A link that leads out of the folder does not count.

    Raises:
        StorageError: it cannot be read.
    """
    top = os.path.realpath(root)
    found = os.path.realpath(f"{top}/{path}")
    if not found.startswith(f"{top}/"):
        return None
    try:
        return _open(found)
    except OSError as error:
        raise storage_error(found, "read", error) from error


def _open(path: Path | str) -> BufferedReader | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe must not wait
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file in hexadecimal; None if it does not exist."""
    with open_file(path) as file:
        return None if file is None else hashlib.file_digest(file, "sha256").hexdigest()


def walk(root: Path) -> Iterator[str]:
    """Relative paths of everything below a folder except folders, sorted; none if the folder does not exist.

    Links to folders are followed, as a server does. A link to a folder that is walked anyway is listed itself.

    Raises:
        StorageError: a folder cannot be read.
    """
    top = root.resolve()
    followed: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        for name in sorted(folders):
            path = f"{folder}/{name}"
            if os.path.islink(path):  # noqa: PTH114  # a hot path: an index has a folder for each project
                to = Path(path).resolve()
                if to in followed or to.is_relative_to(top):
                    folders.remove(name)
                    files.append(name)
                followed.add(to)
        folders.sort()
        if files:
            below = Path(folder).relative_to(root).as_posix()
            prefix = "" if below == "." else f"{below}/"
            yield from (prefix + name for name in sorted(files))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise storage_error(error.filename, "read", error) from error
