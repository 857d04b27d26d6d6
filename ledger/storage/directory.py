"""Storage in a directory of this machine.

Staging, second names of one file, and syncs are this adapter's own: consumers put, place, show and replace.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread

from ledger.disk.files import (
    StorageError,
    StorageUnavailableError,
    each,
    new_path,
    storage_error,
    within,
    write_file,
    writing,
)
from ledger.disk.reading import digest_of, open_file, walk
from ledger.disk.syncing import MAX_SINGLE_SYNCS, WORTH_SYNCS, Synced, sync_all, sync_file, sync_folder
from ledger.storage import Entry, Placed
from ledger.storage.evidence import FolderEvidence, NoEvidence
from ledger.storage.staging import Stager


class DirectoryStorage:
    """Storage in a directory. Contract: `ledger.storage.Storage`. The staging folder must be on the same file system.

    Incomplete files are in the staging folder too, so below the root there are only served files, with names of any
    length that the file system allows. Without `durable`, nothing is synced: for a folder that is thrown away after a
    failure. `evidence` is the folder for what is withheld; without one, nothing is moved.
    """

    def __init__(self, root: Path, staging: Path, *, durable: bool = True, evidence: Path | None = None) -> None:
        self._root = root
        self._staging = staging
        self._durable = durable
        self._staged: dict[str, str] = {}
        self._stager: Stager | None = None
        self._early = _EarlySync()
        self._evidence = evidence

    @property
    def evidence(self) -> FolderEvidence | NoEvidence:
        """The evidence folder."""
        if self._evidence is None:
            return NoEvidence(self._root)
        return FolderEvidence(self._evidence, self._root, durable=self._durable)

    # --- the immutable files of an edition ---------------------------------------------------------------------------

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Write an immutable file into the staging folder, buffered."""
        self._staged[path] = self.remote().put(path, data, copy_of)
        self._wrote(len(data))

    def remote(self) -> Stager:
        """The stager, for this process and others."""
        if self._stager is None:
            with writing(self._staging):
                self._staging.mkdir(parents=True, exist_ok=True)
                self._stager = Stager(self._staging, self._staging.stat().st_dev)
        return self._stager

    def adopt(self, path: str, length: int, token: str) -> None:
        """Adopt a file that another process staged."""
        self._staged[path] = token
        self._wrote(length)

    def discard(self) -> None:
        """Empty the staging folder."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staged = {}

    def place(self) -> Placed:
        """Move staged files into place, and sync once."""
        there: list[str] = []

        def put(path: str) -> None:
            if not self._put_new(path):
                there.append(path)

        each(put, list(self._staged), worth=_WORTH_THREADS)
        replaced = self._put_again(there)
        synced = self._sync([f"{self._root}/{path}" for path in self._staged])
        self._staged = {}
        self._early.begin()
        return Placed(replaced, synced)

    def _put_new(self, path: str) -> bool:
        """Place a staged file if its path is free; return whether it was. Called from several threads."""
        source, target = self._staged[path], f"{self._root}/{path}"
        if self._is_ours(source):
            if os.path.lexists(target):
                return False
            _rename(source, target)
            return True
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except OSError:  # there is no folder yet, or one file system is two, for links
            self._move(source, target)
        return True

    def _put_again(self, paths: Sequence[str]) -> list[str]:
        """Place staged files over existing ones with other bytes; return the paths of these.

        After the loss of a state, all files are written anew and compared: so several are read from the disk at once.
        """
        alarms: list[str] = []

        def put(path: str) -> None:
            source, target = self._staged[path], f"{self._root}/{path}"
            found = digest_of(Path(target))
            if found is None or found != digest_of(Path(source)):
                alarms.append(path)
                self._move(source, target)
                return
            # The file is needed again, however old it is: a sweep that is about to delete it checks this time.
            with writing(target):
                os.utime(target)
                if self._is_ours(source):
                    os.unlink(source)  # noqa: PTH108  # a hot path

        each(put, paths, worth=2, threads=_COMPARED_AT_ONCE)
        return sorted(alarms)

    def replace(self, path: str, data: bytes) -> None:
        """Write elsewhere, sync, and rename over it."""
        target = f"{self._root}/{path}"
        temporary = new_path(self._staging)  # not in a nursery, which would be left behind
        with writing(target):
            within(self._staging, lambda: write_file(temporary, data, is_new=True))
        self._sync([temporary])
        _rename(temporary, target)
        self._sync([target])

    def put_file(self, source: Path, sha256: str, *paths: str) -> None:
        """Copy a file from elsewhere, and give it its other names."""
        target, *others = (f"{self._root}/{path}" for path in paths)
        named = []
        if digest_of(Path(target)) != sha256:
            with self._temporary(target) as temporary:
                shutil.copyfile(source, temporary)
                if digest_of(temporary) != sha256:
                    raise StorageUnavailableError(f"{source} changed while it was copied; try again")
                if self._durable:
                    sync_file(temporary)
                _rename(str(temporary), target)
            named.append(target)
        for other in others:
            if not _is_same(target, other):
                self._name(target, other)
                named.append(other)
        self._sync_folders({_folder_of(each) for each in named})

    def show(self, sources: Mapping[str, str | None]) -> None:
        """Give files second names, and delete others."""
        shown = [(path, source) for path, source in sources.items() if source is not None]
        names = [(f"{self._root}/{source}", f"{self._root}/{path}") for path, source in shown]
        each(lambda name: self._name(*name), names, worth=_WORTH_THREADS)
        for path, source in sources.items():
            if source is None:
                self.delete(path)
        self._sync_folders({_folder_of(f"{self._root}/{path}") for path in sources})

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        file = f"{self._root}/{path}"
        try:
            os.unlink(file)  # noqa: PTH108  # a hot path
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise storage_error(file, "deleted", error) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other processes."""
        with writing(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self, path: str, *, last: int | None = None) -> bytes | None:
        """The contents of a file, or its last `last` bytes."""
        with open_file(self._root / path) as file:
            if file is None:
                return None
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file."""
        return digest_of(self._root / path)

    def paths(self, folder: str = "") -> Iterator[str]:
        """All files, sorted folder by folder, including those in linked folders."""
        prefix = f"{folder}/" if folder else ""
        return (prefix + path for path in walk(self._root / folder))

    def entry(self, path: str) -> Entry | None:
        """What the file system knows of a file."""
        file = f"{self._root}/{path}"
        try:
            status = os.stat(file)  # noqa: PTH116  # a hot path
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(file, "read", error) from error
        if not stat.S_ISREG(status.st_mode):
            return None
        return Entry(status.st_mtime, status.st_size if status.st_nlink == 1 else 0)

    def _move(self, source: str, target: str) -> None:
        """Move a staged file into place, over any existing file; a kept file gets a second name. Called from several
        threads.
        """
        if not self._is_ours(source):
            try:
                self._name(source, target)
            except StorageError:  # one file system can be two, for links
                with writing(target):
                    source = self.remote().put("", Path(source).read_bytes())
            else:
                return
        _rename(source, target)

    def _is_ours(self, source: str) -> bool:
        """Whether a file is in the staging folder, and not a kept file."""
        return source.startswith(f"{self._staging}/")

    def _name(self, source: str, target: str) -> None:
        """Give a file a second name, over any existing file. Called from several threads."""
        temporary = new_path(self._staging)
        with writing(target):
            within(self._staging, lambda: os.link(source, temporary))
            try:
                _rename(temporary, target)
            finally:
                # Renaming one name of a file over another name of it does nothing, so both would stay.
                with suppress(FileNotFoundError):
                    os.unlink(temporary)  # noqa: PTH108  # a hot path

    def _wrote(self, count: int) -> None:
        """Note that `count` bytes were staged."""
        if self._durable:
            self._early.wrote(count)

    @contextmanager
    def _temporary(self, target: str) -> Iterator[Path]:
        """A new path in the staging folder for a file that will be moved to a target; deleted at the end."""
        temporary = Path(new_path(self._staging))
        with writing(target):
            within(temporary.parent, lambda: os.stat(self._staging))  # noqa: PTH116  # a hot path
            try:
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _sync(self, files: Collection[str]) -> Synced | None:
        """Make files and the folders that name them durable; return what was synced besides.

        One `sync` of the whole file system is cheaper than many of single files, but waits for what others write.
        """
        if not self._durable:
            return None
        if len(files) > MAX_SINGLE_SYNCS:
            return sync_all()
        paths = [Path(file) for file in files]
        each(sync_file, paths, worth=WORTH_SYNCS)
        self._sync_folders({str(path.parent) for path in paths})
        return None

    def _sync_folders(self, folders: Collection[str]) -> None:
        """Sync folders, if they still exist, and their parents up to the root."""
        if not self._durable:
            return
        named: set[Path] = set()
        if len(folders) <= MAX_SINGLE_SYNCS:
            below = [folder for folder in map(Path, folders) if folder.exists()]
            named = {folder for each in below for folder in (each, *each.parents) if self._contains(folder)}
        if max(len(folders), len(named)) > MAX_SINGLE_SYNCS:
            sync_all()
            return
        each(sync_folder, sorted(named), worth=WORTH_SYNCS)

    def _contains(self, folder: Path) -> bool:
        return folder == self._root or self._root in folder.parents


_WORTH_THREADS = 256
"""Number of files from which several threads move or link: the system does so in different folders in parallel."""

_COMPARED_AT_ONCE = 8

_FIRST_SYNC_BYTES = 16 * 2**20
_EARLY_SYNC_BYTES = 64 * 2**20


class _EarlySync:
    """Lets the disk begin while files are still being staged: else it would be idle first, and waited for then. After
    the first ones, and then not so often: who makes files meanwhile is held up.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._left = _FIRST_SYNC_BYTES
        self._thread: Thread | None = None

    def wrote(self, count: int) -> None:
        """So many bytes were written. Safe to call from several threads."""
        with self._lock:
            self._left -= count
            if self._left > 0 or (self._thread is not None and self._thread.is_alive()):
                return
            self._left = _EARLY_SYNC_BYTES
            self._thread = Thread(target=sync_all, name="early-sync", daemon=True)
            self._thread.start()

    def begin(self) -> None:
        """What is written from now on are the first ones."""
        with self._lock:
            self._left = _FIRST_SYNC_BYTES


def _rename(source: str, target: str) -> None:
    try:
        os.replace(source, target)  # noqa: PTH105  # a hot path
    except FileNotFoundError:
        path = Path(target)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)  # noqa: PTH105
    except OSError as error:
        raise storage_error(target, "written", error) from error


def _folder_of(file: str) -> str:
    return file.rpartition("/")[0]


def _is_same(file: str, other: str) -> bool:
    """Whether these are names of one file."""
    try:
        return Path(other).samefile(file)
    except OSError:
        return False
