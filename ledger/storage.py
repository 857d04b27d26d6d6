"""Storage of what is served: immutable files, and a few that are replaced atomically.

Methods block; consumers call them in worker threads. Paths are relative, with `/`. The embedded storage is a directory;
an object store has the same operations.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class StorageError(Exception):
    """A file cannot be written or read; the message says which and why."""


class Storage(Protocol):
    """Where published files are.

    A publication's files are *staged* while it is prepared, and *placed* when its record is known to be the one on the
    log. What is staged is private and may be lost at any time.
    """

    def stage(self, path: str, data: bytes) -> None:
        """Write an immutable file into the private folder. Safe to call from several threads."""

    def discard(self) -> None:
        """Forget everything that is staged."""

    def place(self) -> list[str]:
        """Move what is staged into place and make it durable; return the paths that held other bytes.

        An existing file with the same bytes is left alone; one with other bytes is an alarm, and is replaced.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file, atomically and durably."""

    def link(self, path: str, source: str) -> None:
        """Make a mutable path show what an immutable one holds, atomically."""

    def delete(self, path: str) -> None:
        """Delete a mutable file, if it exists."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None if there is none."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal, or None if there is none."""

    def paths(self) -> Iterator[str]:
        """All files, sorted."""


class DirectoryStorage:
    """Storage in a directory. The staging folder must be on the same file system.

    Without `durable` nothing is synced: for a folder that is thrown away if anything happens.
    """

    def __init__(self, root: Path, staging: Path, *, durable: bool = True) -> None:
        self._root = root
        self._staging = staging
        self._durable = durable
        self._staged: dict[str, Path] = {}
        self._numbers = itertools.count()

    def stage(self, path: str, data: bytes) -> None:
        """Write an immutable file into the staging folder, buffered.

        That folder is flat: to make and remove a folder for each page costs more than to write it.
        """
        staged = self._staging / str(next(self._numbers))
        _write(staged, data)
        self._staged[path] = staged

    def discard(self) -> None:
        """Empty the staging folder."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staged = {}

    def place(self) -> list[str]:
        """Move what is staged into place, and sync once."""
        alarms = []
        for path, source in self._staged.items():
            target = self._root / path
            present = self.digest(path)
            if present is not None and present == _digest(source):
                source.unlink()
                continue
            if present is not None:
                alarms.append(path)
            _rename(source, target)
        self._sync([self._root / path for path in self._staged])
        self._staged = {}
        return alarms

    def replace(self, path: str, data: bytes) -> None:
        """Write beside the file, sync, and rename over it."""
        target = self._root / path
        temporary = target.with_name(f".{target.name}.new")
        _write(temporary, data)
        self._sync([temporary])
        _rename(temporary, target)
        self._sync([target])

    def copy(self, source: Path, path: str, digest: str) -> None:
        """Copy a file from elsewhere, atomically and durably; nothing happens if it is there already.

        Raises:
            StorageError: its SHA-256 is another by now.
        """
        if self.digest(path) == digest:
            return
        target = self._root / path
        temporary = target.with_name(f".{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, temporary)
            if _digest(temporary) != digest:
                temporary.unlink()
                raise StorageError(f"{source} changed while it was read; try again")
            self._sync([temporary])
            temporary.replace(target)
            self._sync([target])
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error

    def link(self, path: str, source: str) -> None:
        """A second name for the same bytes: distribution files and pages are stored once."""
        target = self._root / path
        temporary = target.with_name(f".{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            os.link(self._root / source, temporary)
            temporary.replace(target)
            # Renaming one link to a file over another does nothing, and leaves both.
            temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{target} cannot be linked: {error.strerror}") from error

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        (self._root / path).unlink(missing_ok=True)

    def read(self, path: str) -> bytes | None:
        """The contents of a file."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{self._root / path} cannot be read: {error.strerror}") from error

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file."""
        return _digest(self._root / path)

    def paths(self) -> Iterator[str]:
        """All files, sorted, except temporary ones of `replace` and `link`."""
        return _walk(self._root)

    def _sync(self, files: Iterable[Path]) -> None:
        """Make files and the folders that name them durable.

        One `sync` of the whole file system is cheaper than many of single files, but waits for what others write.
        """
        paths = list(files) if self._durable else []
        if len(paths) > MAX_SINGLE_SYNCS:
            os.sync()
            return
        for path in paths:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for folder in sorted({folder for path in paths for folder in path.parents if self._contains(folder)}):
            _sync_folder(folder)

    def _contains(self, folder: Path) -> bool:
        return folder == self._root or self._root in folder.parents


MAX_SINGLE_SYNCS = 64


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _rename(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}") from error


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(root: Path) -> Iterator[str]:
    """Paths of all files below a folder, relative and sorted; nothing if it does not exist."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            if not (name.startswith(".") and name.endswith(".new")):
                yield (Path(folder) / name).relative_to(root).as_posix()
