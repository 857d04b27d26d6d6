"""The kept files of a state: large rendered values, each in its own file.

A published file is kept as it is: the public folder gets a second name for it instead of a copy. Files are never
changed. The state stores a *mark* of each file: its AES-GMAC (NIST SP 800-38D), with a key that only the state's user
can read. Nobody else can write a file with the mark of another, and checking a mark takes a fifteenth of the time of
SHA-256.
"""

import os
import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.disk.files import each, may_pass, read_file, storage_error, write_file, writing
from ledger.disk.nursery import make_file
from ledger.disk.syncing import MAX_SINGLE_SYNCS, WORTH_SYNCS, sync_all, sync_file, sync_folder
from ledger.state import StateDamagedError

_UNFINISHED, _KEY = ".new", ".key"
_KEY_BYTES, _NONCE_BYTES = 16, 12
_CHANGED = "The file may have a second name in the public folder: was it changed there?"

# One key serves for less than 2^32 marks, each with a random nonce: a thousand million publications of a bin and more.
_cipher = lru_cache(maxsize=8)(AESGCM)


def _is_cached(file: int) -> bool:
    """Whether the system has an open file in its cache, as far as its first byte tells: to ask for it to be read takes
    ten times as long as to find that out.
    """
    try:
        return os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:  # it would have to wait, or cannot tell
        return False


class KeptFiles(NamedTuple):
    """A flat folder of files, the state that they belong to, and the key of their marks. Methods block; other processes
    may use it, too.
    """

    folder: Path
    state: Path
    key: bytes = b""

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
            key = path.read_bytes()
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
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear()
            write_file(str(path), os.urandom(_KEY_BYTES), is_new=True, mode=0o600)
            if durable:  # after a power failure, no state may exist without its key
                sync_file(path)
                sync_folder(self.folder)
        return self.opened()

    def _clear(self) -> None:
        """Delete everything in the folder. The folder itself stays: it may be a mount point."""
        for entry in list(os.scandir(self.folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108  # a hot path

    def mark(self, data: bytes) -> bytes:
        """The mark by which a file is checked later: a nonce and the tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _cipher(self.key).encrypt(nonce, b"", data)

    @property
    def unfinished(self) -> Path:
        """The folder of files that are being written."""
        return self.folder / _UNFINISHED

    def put(self, name: str, data: bytes) -> str:
        """Write a file, buffered; return its path. An existing file of that name is left over from an unfinished run.

        Raises:
            StorageError: the file cannot be written.
        """
        path = f"{self.folder}/{name}"
        with writing(path):
            made = make_file(f"{self.folder}/{_UNFINISHED}", data)
            # Renamed over an existing file, which may have a second name in the public folder and must stay there.
            os.rename(made, path)  # noqa: PTH104  # a hot path
        return path

    def read(self, name: str, mark: bytes) -> bytes:
        """The contents of a file, checked against its mark.

        Raises:
            StateDamagedError: the file is gone or does not fit the mark. A signer would sign metadata made from it.
            StorageUnavailableError: the disk cannot be read now.
        """
        path = f"{self.folder}/{name}"
        try:
            data = read_file(path)
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
        for name in names:
            with suppress(OSError):
                file = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if not _is_cached(file):
                        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)

    def _damaged(self, what: str, why: str) -> StateDamagedError:
        return StateDamagedError(
            f"{what}. {why} Stop its consumer and delete the file {self.state}; it is rebuilt from the logs"
        )

    def names(self) -> list[str]:
        """The names of all files."""
        try:
            found = os.listdir(self.folder)  # noqa: PTH208  # names are all that is wanted
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(self.folder, "read", error) from error
        return [name for name in found if name not in {_UNFINISHED, _KEY}]

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, if they exist."""
        for name in names:
            path = f"{self.folder}/{name}"
            with writing(path), suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  # a hot path

    def sync(self, names: Collection[str]) -> None:
        """Make files and their names durable."""
        if len(names) > MAX_SINGLE_SYNCS:
            sync_all()
        elif names:
            each(sync_file, [self.folder / name for name in names], worth=WORTH_SYNCS)
            sync_folder(self.folder)

    def is_tidy(self) -> bool:
        """Whether no file was put since `tidy`."""
        return not self.unfinished.exists()

    def tidy(self) -> None:
        """Delete unfinished files. To be called when nobody writes and no file is left over."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
