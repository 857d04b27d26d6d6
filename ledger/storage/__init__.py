"""Storage of served files: immutable files, and a few that are replaced atomically.

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
from ledger.disk.syncing import Synced


class ServedFiles(Protocol):
    """Read access to served files, under the paths of the public folder."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal, or None."""


class Storage(ServedFiles, Protocol):
    """Read and write access to published files.

    A publication's files are *staged* while it is prepared, and *placed* when its record was read back from the log.
    Staged files are private and may be lost at any time.
    """

    def stage(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Write an immutable file into the private folder. Safe to call from several threads.

        Args:
            path: the path at which the file will be placed.
            data: the file's bytes.
            copy_of: the path of a file with the same bytes that never changes: it may get a second name instead.
        """

    def stager(self) -> "Stager | None":
        """The stager for other processes; None if they cannot stage files."""

    def adopt(self, path: str, length: int, source: str) -> None:
        """Adopt an immutable file of this length that another process staged; `source` is from its stager."""

    def discard(self) -> None:
        """Forget all staged files."""

    def place(self) -> "Placed":
        """Move staged files into place and make them durable.

        An existing file with the same bytes stays. An existing file with other bytes is replaced, and is an alarm.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file, atomically and durably."""

    def link_all(self, links: Mapping[str, str]) -> None:
        """Make each of these mutable paths a name of an immutable file, atomically; durable after `settle`."""

    def delete(self, path: str) -> None:
        """Delete a mutable file, if it exists; durable after `settle`."""

    def withhold(self, path: str) -> None:
        """Move a file, if there is one, out of what is served to where evidence is kept; durable."""

    def bring_back(self, path: str, sha256: str) -> bool:
        """Move a file with this SHA-256 (empty: any) back to where it was served; durable.

        Returns:
            Whether there is a file at that path now. One that is served already stays as it is.
        """

    def withheld(self) -> list[str]:
        """The paths that the files in the evidence were served at."""

    def settle(self) -> None:
        """Make all links and deletions durable."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other callers of `exclusive` from changing mutable files meanwhile."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None if there is none."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal, or None if there is none."""

    def paths(self) -> Iterator[str]:
        """All files, sorted."""


class Placed(NamedTuple):
    """The result of placing: the paths that held other bytes, sorted, and what was synced besides the files themselves
    (None: nothing).
    """

    replaced: list[str]
    synced: Synced | None = None


class Stager(NamedTuple):
    """Writes files into a staging folder, in any process; the main process adopts them. `device` is the folder's file
    system.
    """

    folder: Path
    device: int

    def put(self, _path: str, data: bytes, copy_of: str | None = None) -> str:
        """Write a file, as `Storage.stage`; return the path to adopt it by: that of the copy, if a second name is
        possible.
        """
        if copy_of is not None:
            with writing(copy_of):
                if os.stat(copy_of).st_dev == self.device:  # noqa: PTH116  # a hot path
                    return copy_of
        with writing(self.folder):
            return make_file(str(self.folder), data)

    def show(self, _path: str, _source: str) -> None:
        """Do nothing: files are shown only after they are placed."""
