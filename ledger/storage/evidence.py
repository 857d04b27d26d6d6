"""Evidence in a folder beside the one that is served.

A file keeps its path, below the folder. If the folder has another file of that path already, the later one is put below
`other/SHA256`. Nothing is ever deleted but a file that the folder has already.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ledger.disk.files import new_path, writing
from ledger.disk.reading import digest_of, walk
from ledger.disk.syncing import sync_file, sync_folder

_OTHERS = "other/"
"""Where a second file of one path is, below the folder."""


class FolderEvidence:
    """The files that are withheld from one public folder. Contract: `ledger.storage.Evidence`.

    Args:
        folder: where they are; created when there is one, for this user alone.
        public: what is served.
        durable: whether to sync what is moved.
    """

    def __init__(self, folder: Path, public: Path, *, durable: bool) -> None:
        self._folder = folder
        self._public = public
        self._durable = durable

    def take(self, path: str) -> None:
        """Move a served file here, if there is one."""
        source, target = self._public / path, self._folder / path
        with writing(target):
            if not os.path.lexists(source):
                return
            if os.path.lexists(target):
                digest = digest_of(source)
                if digest == digest_of(target):
                    source.unlink()
                    self._sync(source.parent)
                    return
                target = self._folder / f"{_OTHERS}{digest}" / path
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._move(source, target)

    def give_back(self, path: str, sha256: str) -> bool:
        """Move a file back to where it was served; return whether a file is served there now.

        A file that is served already stays, and one with another SHA-256 stays here (empty: any is right).
        """
        source, target = self._folder / path, self._public / path
        with writing(target):
            if os.path.lexists(target):
                if os.path.lexists(source) and digest_of(source) == digest_of(target):
                    source.unlink()
                    self._sync(source.parent)
                return True
            if not os.path.lexists(source) or (sha256 and digest_of(source) != sha256):
                return False
            self._move(source, target)
        return True

    def has(self, path: str) -> bool:
        """Whether the folder has a file that was served at this path."""
        return os.path.lexists(self._folder / path)

    def paths(self) -> list[str]:
        """The paths of all files in the folder."""
        return [path for path in walk(self._folder) if not path.startswith(_OTHERS)]

    def _move(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._rename(source, target)
        except FileNotFoundError:
            return  # another publisher was faster
        self._sync(target.parent, source.parent)

    def _rename(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, target)  # to another file system
            source.unlink(missing_ok=True)

    def _copy(self, source: Path, target: Path) -> None:
        temporary = Path(new_path(target.parent))
        try:
            shutil.copy2(source, temporary)
            if self._durable:
                sync_file(temporary)
            temporary.rename(target)
            self._sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _sync(self, *folders: Path) -> None:
        """Make the names in folders durable, and the names of these folders."""
        if not self._durable:
            return
        tops = {self._folder.parent, self._public}
        for each in dict.fromkeys(above for folder in folders for above in _up_to(folder, tops)):
            sync_folder(each)


def _up_to(folder: Path, tops: set[Path]) -> Iterator[Path]:
    """A folder and those above it, up to one of these."""
    yield folder
    while folder not in tops and folder != folder.parent:
        folder = folder.parent
        yield folder


class NoEvidence:
    """Takes nothing: for a folder from which nothing is withheld. Contract: `ledger.storage.Evidence`."""

    def __init__(self, public: Path) -> None:
        self._public = public

    def take(self, path: str) -> None:
        """Leave the file where it is."""

    def give_back(self, path: str, _sha256: str) -> bool:
        """Nothing was taken: whether the file is served."""
        return os.path.lexists(self._public / path)

    def has(self, _path: str) -> bool:
        """Nothing is here."""
        return False

    def paths(self) -> list[str]:
        """Nothing is here."""
        return []
