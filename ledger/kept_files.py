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
    make_file,
    read_file,
    sync_all,
    sync_file,
    sync_folder,
    writing,
)
from ledger.state_errors import StateDamagedError

_UNFINISHED = ".new"


class KeptFiles(NamedTuple):
    """A flat folder of files, and the state that they belong to. Methods block; other processes may use it, too."""

    folder: Path
    state: Path

    @property
    def unfinished(self) -> Path:
        """Where files are while they are written."""
        return self.folder / _UNFINISHED

    def put(self, name: str, data: bytes) -> Path:
        """Write a file, buffered. One that has the name was left behind by somebody who did not finish.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.folder / name
        with writing(path):
            made = make_file(self.unfinished, data)
            # In the place of one that was there, which may have another name among what is served, and keeps that.
            os.rename(made, path)  # noqa: PTH104  # a hot path
        return path

    def read(self, name: str, digest: str) -> bytes:
        """The contents of a file that has this SHA-256.

        Raises:
            StateDamagedError: it has another by now, or is gone. A signer would sign what follows from it.
        """
        path = f"{self.folder}/{name}"
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
                file = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)

    def _damaged(self, what: str) -> StateDamagedError:
        return StateDamagedError(
            f"{what}. It may have a second name among what is served: was it changed there? Stop that consumer and "
            f"delete the file {self.state}; it is rebuilt from the logs"
        )

    def names(self) -> list[str]:
        """All files."""
        try:
            found = os.listdir(self.folder)  # noqa: PTH208  # names are all that is wanted
        except FileNotFoundError:
            return []
        return [name for name in found if name != _UNFINISHED]

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, those that are still there."""
        for name in names:
            path = f"{self.folder}/{name}"
            with writing(path), suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  # a hot path

    def sync(self, names: Collection[str]) -> None:
        """Make files, and their names, durable."""
        if len(names) > MAX_SINGLE_SYNCS:
            sync_all()
        elif names:
            each(sync_file, [self.folder / name for name in names], worth=WORTH_SYNCS)
            sync_folder(self.folder)

    def tidy(self) -> None:
        """Nobody writes now: delete what was not finished."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def clear(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
