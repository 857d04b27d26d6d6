"""Read access to a folder that somebody else filled: whatever is there, reading is bounded."""

from collections.abc import Iterator
from pathlib import Path

from ledger.disk.files import StorageError
from ledger.disk.reading import digest_of, open_file, walk

MAX_READ_BYTES = 64 * 2**20
"""Longest file that is read into memory, far longer than any metadata."""


class FolderFiles:
    """The files of a folder. Contract: `ledger.storage.ServedFiles`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        """The contents of a file.

        Raises:
            StorageError: it is longer than any such file.
        """
        with open_file(self._root / path) as file:
            if file is None:
                return None
            data = file.read(MAX_READ_BYTES + 1)
        if len(data) > MAX_READ_BYTES:
            raise StorageError(f"{self._root / path} is longer than {MAX_READ_BYTES:,} bytes, as no metadata is")
        return data

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file."""
        return digest_of(self._root / path)

    def paths(self, folder: str = "") -> Iterator[str]:
        """All files, sorted folder by folder."""
        prefix = f"{folder}/" if folder else ""
        return (prefix + path for path in walk(self._root / folder))
