"""Storage of served files: the port that consumers know.

    ServedFiles   reads what is served: a folder, or a server that nobody trusts
    Storage       reads and writes what is served
    Evidence      what was taken out of it

Adapters are `ledger.storage.directory` (a folder of this machine) and `ledger.storage.memory` (which ends with the
process). Only `consumers.context` knows which one a ledger has. docs/design.md ("An object store") says which call
becomes which request where there is no file system.

Paths are relative, with `/`, and made by `projections.metadata.paths`: they name nothing outside, each part has at most
255 bytes, and none is the folder of another. Methods block; several threads may call them.

Raises:
    StorageUnavailableError: a file cannot be written or read now.
    StorageError: a file cannot be written or read; the message names it.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from ledger.disk.syncing import Synced


class ServedFiles(Protocol):
    """Read access to served files."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file; None if there is none."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hexadecimal; None if there is none."""

    def paths(self, folder: str = "") -> Iterator[str] | None:
        """All files, or those below a folder, each once; None if nobody can list them, as on a web server."""


class Storage(ServedFiles, Protocol):
    """Read and write access to served files. One object serves one edition at a time.

    The immutable files of an edition are *put* while it is rendered, and *placed* together when its record was read
    back from the log. What is put and not placed is private, and may be lost at any time. All other changes take place
    at once, file by file: nobody ever reads half a file.
    """

    @property
    def evidence(self) -> "Evidence":
        """Where withheld files are."""

    def read(self, path: str, *, last: int | None = None) -> bytes | None:
        """The contents of a file, or its last `last` bytes; None if there is none."""

    def paths(self, folder: str = "") -> Iterator[str]:
        """All files, or those below a folder, each once."""

    def entry(self, path: str) -> "Entry | None":
        """What is known of a file without reading it; None if there is none."""

    # --- the immutable files of an edition ---------------------------------------------------------------------------

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Put an immutable file, to be placed.

        Args:
            path: where it will be served.
            data: its bytes.
            copy_of: a file of this machine that has these bytes and never changes. An adapter may use it instead.
        """

    def remote(self) -> "RemoteStorage | None":
        """Lets other processes put files, which are then adopted here; None: all files must be put here."""

    def adopt(self, path: str, length: int, token: str) -> None:
        """Count an immutable file of this length, for which another process has this token, to what is to be placed."""

    def place(self) -> "Placed":
        """Make everything served that was put, and durable.

        A file that is served with the same bytes stays, but counts as put now. One that is served with other bytes is
        replaced, and is an alarm.
        """

    def discard(self) -> None:
        """Forget what was put and not placed, by this object or by one before that died."""

    # --- other files -------------------------------------------------------------------------------------------------

    def put_file(self, source: Path, sha256: str, *paths: str) -> None:
        """Serve a file of this machine under all of these paths; durable. Nothing is copied that is there already.

        Raises:
            StorageUnavailableError: the source has another SHA-256 by now.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Serve a file, over any that is served there; durable."""

    def show(self, sources: Mapping[str, str | None]) -> None:
        """Serve at each of these paths what is served at another one now (None: nothing), over any file; durable.

        What a path shows does not change with its source. Other processes may see some changes before others.

        Raises:
            StorageError: a source is not there.
        """

    def delete(self, path: str) -> None:
        """Delete a file, if there is one. It may come back when the power fails."""

    def lock(self) -> AbstractContextManager[object]:
        """Let nobody else hold this lock: publishers and sweeps of the same files wait for each other."""


class Evidence(Protocol):
    """Files that were taken out of what is served, under the paths that they had there. All changes are durable.

    Nothing is lost, whenever a move is interrupted: then a file is in one of the two places or in both, and moving it
    again completes that.
    """

    def take(self, path: str) -> None:
        """Move a served file here, if there is one. A second file of one path is kept beside the first."""

    def give_back(self, path: str, sha256: str) -> bool:
        """Move a file with this SHA-256 (empty: any) back to where it was served. What is served already stays.

        Returns:
            Whether there is a file at that path now.
        """

    def has(self, path: str) -> bool:
        """Whether a file is here that was served at this path."""

    def paths(self) -> list[str]:
        """The paths at which the files here were served."""


class RemoteStorage(Protocol):
    """Puts files from another process, to which it was sent."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> str:
        """As `Storage.put`; return the token for `Storage.adopt`."""


class Placed(NamedTuple):
    """The result of placing: the paths at which other bytes were served, sorted, and what was synced besides the files
    themselves (None: nothing).
    """

    replaced: list[str]
    synced: Synced | None = None


class Entry(NamedTuple):
    """A served file: when it was put or placed last, in seconds since the epoch, and how many bytes are free when it is
    deleted (0 if they have another name).
    """

    put_at: float
    bytes: int
