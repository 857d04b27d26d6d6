"""The files of a state: large values that were rendered whole, each in a file of its own.

A value that is published as a file stays that file: whoever serves it gives it a second name instead of writing it
again. Files are never changed; who keeps them remembers their digests.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ledger.files import (
    MAX_SINGLE_SYNCS,
    WORTH_SYNCS,
    each,
    read_file,
    spread,
    sync_all,
    sync_file,
    sync_folder,
    write_file,
    writing,
)
from ledger.state_errors import StateDamagedError

SHELVES = 32
"""Into so many folders files go in turns, by the publication that their names begin with (`ledger.files.spread`)."""


class KeptFiles(NamedTuple):
    """A folder of files, and the state that they belong to. Names begin with a number. Methods block; other processes
    may use it, too.
    """

    folder: Path
    state: Path

    def put(self, name: str, data: bytes) -> Path:
        """Write a file, buffered. One that has the name was left behind by somebody who did not finish.

        Raises:
            StorageError: it cannot be written.
        """
        path = self._path(name)
        with writing(path):
            try:
                write_file(path, data, is_new=True)
            except FileNotFoundError:
                spread(self.folder)
                Path(path).parent.mkdir(exist_ok=True)
                write_file(path, data, is_new=True)
            except FileExistsError:  # not written over: it may have another name among what is served
                os.unlink(path)  # noqa: PTH108  # as the rest
                write_file(path, data, is_new=True)
        return Path(path)

    def read(self, name: str, digest: str) -> bytes:
        """The contents of a file that has this SHA-256.

        Raises:
            StateDamagedError: it has another by now, or is gone. A signer would sign what follows from it.
        """
        path = self._path(name)
        try:
            data = read_file(path)
        except OSError as error:
            raise self._damaged(f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise self._damaged(f"{path} is not what was written there")
        return data

    def prefetch(self, names: Iterable[str]) -> None:
        """Let the disk begin to read files that will be read, those that the system does not have in its cache."""
        for name in names:
            with suppress(OSError):
                file = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)

    def _path(self, name: str) -> str:
        return f"{self.folder}/{int(name.partition('.')[0]) % SHELVES:02}/{name}"

    def _damaged(self, what: str) -> StateDamagedError:
        return StateDamagedError(
            f"{what}. It may have a second name among what is served: was it changed there? Stop that consumer and "
            f"delete the file {self.state}; it is rebuilt from the logs"
        )

    def names(self) -> list[str]:
        """All files; not what is no kept file, or not where it belongs."""
        try:
            shelves = [entry.path for entry in os.scandir(self.folder) if entry.is_dir()]
        except FileNotFoundError:
            return []
        found = [(shelf, name) for shelf in shelves for name in os.listdir(shelf)]  # noqa: PTH208  # names will do
        return [name for shelf, name in found if _has_number(name) and self._path(name) == f"{shelf}/{name}"]

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, those that are still there."""
        for name in names:
            path = self._path(name)
            with writing(path), suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  # a hot path

    def sync(self, names: Collection[str]) -> None:
        """Make files, and their names, durable."""
        if len(names) > MAX_SINGLE_SYNCS:
            sync_all()
        elif names:
            paths = [Path(self._path(name)) for name in names]
            each(sync_file, paths, worth=WORTH_SYNCS)
            for folder in sorted({self.folder, *(path.parent for path in paths)}):
                sync_folder(folder)

    def clear(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _has_number(name: str) -> bool:
    number = name.partition(".")[0]
    return number.isascii() and number.isdecimal()
