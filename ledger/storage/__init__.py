"""Storage of what is served: immutable files, and a few that are replaced atomically.

Methods block; consumers call them in worker threads. Paths are relative, with `/`. The embedded storage is a directory
(`ledger.storage.directory`); an object store has the same operations.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from ledger.disk.files import writing
from ledger.disk.nursery import make_file


class ServedFiles(Protocol):
    """Read access to what is served, under the paths of the public folder."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal, or None."""


class Storage(ServedFiles, Protocol):
    """Where published files are.

    A publication's files are *staged* while it is prepared, and *placed* when its record is known to be the one on the
    log. What is staged is private and may be lost at any time.
    """

    def stage(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Write an immutable file into the private folder. Safe to call from several threads.

        Args:
            path: where it will be.
            data: its bytes.
            copy_of: where a file is that has the same bytes, and that nobody will change: a second name for it may do.
        """

    def stager(self) -> "Stager | None":
        """What other processes stage files with; None: with nothing."""

    def adopt(self, path: str, length: int, source: str) -> None:
        """An immutable file of so many bytes was staged by another process; this is what its stager said."""

    def discard(self) -> None:
        """Forget everything that is staged."""

    def place(self) -> list[str]:
        """Move what is staged into place and make it durable; return the paths that held other bytes.

        An existing file with the same bytes is left alone; one with other bytes is an alarm, and is replaced.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file, atomically and durably."""

    def link_all(self, links: Mapping[str, str]) -> None:
        """Make each of these mutable paths show what an immutable one holds, atomically; durable after `settle`."""

    def delete(self, path: str) -> None:
        """Delete a mutable file, if it exists; durable after `settle`."""

    def settle(self) -> None:
        """Make all links and deletions durable."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else who asks for it changes mutable files meanwhile."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None if there is none."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal, or None if there is none."""

    def paths(self) -> Iterator[str]:
        """All files, sorted."""


class Stager(NamedTuple):
    """Writes files into a staging folder, in any process; whoever deals out the work adopts them. `device` is the file
    system that it is on.
    """

    folder: Path
    device: int

    def put(self, _path: str, data: bytes, copy_of: str | None = None) -> str:
        """Write a file, as `Storage.stage`; gives the path to adopt it by: that of the other, if it can have another
        name where it is to be.
        """
        if copy_of is not None:
            with writing(copy_of):
                if os.stat(copy_of).st_dev == self.device:  # noqa: PTH116  # a hot path
                    return copy_of
        with writing(self.folder):
            return make_file(str(self.folder), data)

    def show(self, _path: str, _source: str) -> None:
        """Nothing is shown before it is in place."""
