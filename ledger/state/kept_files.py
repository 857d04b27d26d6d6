"""The kept files of a state: large rendered values, each in its own file.

A published file is kept as it is: the public folder gets a second name for it instead of a copy. Files are never
changed. The state stores a *mark* of each file: its AES-GMAC (NIST SP 800-38D), with a key that only the state's user
can read. Nobody else can write a file with the mark of another, and checking a mark takes a fifteenth of the time of
SHA-256.
"""

import os
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.disk.files import may_pass, storage_error, writing
from ledger.state import StateDamagedError
from ledger.state.disk import SYSTEM_DISK, UNFINISHED, Disk

_KEY = ".key"
_KEY_BYTES, _NONCE_BYTES = 16, 12
_CHANGED = "The file may have a second name in the public folder: was it changed there?"

# One key serves for less than 2^32 marks, each with a random nonce: a thousand million publications of a bin and more.
_cipher = lru_cache(maxsize=8)(AESGCM)


class KeptFiles(NamedTuple):
    """A flat folder of files, the state that they belong to, and the key of their marks. Methods block; other processes
    may use it, too.
    """

    folder: Path
    state: Path
    key: bytes = b""
    disk: Disk = SYSTEM_DISK

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"KeptFiles({self.folder})"

    def opened(self) -> "KeptFiles":
        """The same, with the key loaded.

        Raises:
            StateDamagedError: the key is gone, so no file can be checked.
            StorageError: the key cannot be read.
        """
        path = self.folder / _KEY
        try:
            key = self.disk.read(str(path))
        except FileNotFoundError:
            key = b""
        except OSError as error:
            raise storage_error(path, "read", error) from error
        if len(key) != _KEY_BYTES:
            raise self._damaged(f"{path} is missing or cut off", "Was the folder copied without this file?")
        return self._replace(key=key)

    def create(self, *, durable: bool) -> "KeptFiles":
        """Create an empty folder with a new key."""
        path = self.folder / _KEY
        with writing(path):
            self.disk.create_folder(self.folder)
            self.disk.empty_folder(self.folder)
            self.disk.write_secret(path, os.urandom(_KEY_BYTES))
            if durable:  # after a power failure, no state may exist without its key
                self.disk.sync(self.folder, [_KEY])
        return self.opened()

    def mark(self, data: bytes) -> bytes:
        """The mark by which a file is checked later: a nonce and the tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _cipher(self.key).encrypt(nonce, b"", data)

    @property
    def unfinished(self) -> Path:
        """The folder of files that are being written."""
        return self.folder / UNFINISHED

    def put(self, name: str, data: bytes) -> str:
        """Write a file, buffered; return its path. An existing file of that name is left over from an unfinished run.

        Raises:
            StorageError: the file cannot be written.
        """
        path = f"{self.folder}/{name}"
        with writing(path):
            self.disk.put(self.folder, name, data)
        return path

    def read(self, name: str, mark: bytes) -> bytes:
        """The contents of a file, checked against its mark.

        Raises:
            StateDamagedError: the file is gone or does not fit the mark. A signer would sign metadata made from it.
            StorageUnavailableError: the disk cannot be read now.
        """
        path = f"{self.folder}/{name}"
        try:
            data = self.disk.read(path)
        except OSError as error:
            if may_pass(error):
                raise storage_error(path, "read", error) from error
            raise self._damaged(f"{path} cannot be read: {error.strerror}", _CHANGED) from error
        try:
            _cipher(self.key).decrypt(mark[:_NONCE_BYTES], mark[_NONCE_BYTES:], data)
        except (InvalidTag, ValueError):  # or there is no mark
            raise self._damaged(f"{path} has other bytes than were written there", _CHANGED) from None
        return data

    def prefetch(self, names: Iterable[str]) -> None:
        """Let the disk begin to read files that will be needed and are not in the system's cache."""
        self.disk.prefetch(f"{self.folder}/{name}" for name in names)

    def _damaged(self, what: str, why: str) -> StateDamagedError:
        return StateDamagedError(
            f"{what}. {why} Stop its consumer and delete the file {self.state}; it is rebuilt from the logs"
        )

    def names(self) -> list[str]:
        """The names of all files."""
        try:
            found = self.disk.names(self.folder)
        except OSError as error:
            raise storage_error(self.folder, "read", error) from error
        return [name for name in found if name not in {UNFINISHED, _KEY}]

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, if they exist."""
        for name in names:
            path = f"{self.folder}/{name}"
            with writing(path):
                self.disk.delete(path)

    def sync(self, names: Collection[str]) -> None:
        """Make files and their names durable."""
        if names:
            with writing(self.folder):
                self.disk.sync(self.folder, names)

    def is_tidy(self) -> bool:
        """Whether no file was put since `tidy`."""
        return not self.disk.exists(self.unfinished)

    def tidy(self) -> None:
        """Delete unfinished files. To be called when nobody writes and no file is left over."""
        self.disk.delete_folder(self.unfinished)
