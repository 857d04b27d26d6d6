"""Storage in memory, for tests, simulation and experiments. It ends with the process."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from threading import RLock
from time import time

from ledger.disk.files import StorageError, StorageUnavailableError, reading
from ledger.storage import Entry, Placed

MAX_NAME_BYTES = 255

_OTHERS = "other/"
"""Where the second file of one path is, in the evidence."""


class MemoryTree:
    """What is served from one place: `files`, and what was taken out of there: `evidence`. Several `MemoryStorage`
    objects may share it.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.evidence: dict[str, bytes] = {}
        self.put_at: dict[str, float] = {}
        self.lock = RLock()
        self._folders: set[str] = set()

    def set(self, path: str, data: bytes | None) -> None:
        """Serve these bytes at a path, or nothing.

        Raises:
            StorageError: a directory could not hold this path.
        """
        if data is None:
            self.files.pop(path, None)
            return
        if path not in self.files:
            self._check(path)
        self.files[path] = data
        self.put_at[path] = time()

    def _check(self, path: str) -> None:
        parts = path.split("/")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if (
            any(part in {"", ".", ".."} or len(part.encode()) > MAX_NAME_BYTES for part in parts)
            or not path.isprintable()
            or path in self._folders
            or not folders.isdisjoint(self.files)
        ):
            raise StorageError(f"{path!r} cannot be written: no directory could hold that name")
        self._folders |= folders


class MemoryStorage:
    """Storage in memory. Contract: `ledger.storage.Storage`.

    Every change of what is served is one call of `change`, and is durable after a call of `sync`: a simulation makes
    them fail there.

    Args:
        tree: what is served; by default a new one.
    """

    def __init__(self, tree: MemoryTree | None = None) -> None:
        self.tree = tree or MemoryTree()
        self.staged: dict[str, bytes] = {}

    def change(self, call: str, path: str, data: bytes | None) -> None:
        """Change what is served at a path; `call` is the reason."""
        self.tree.set(path, data)

    def sync(self, paths: set[str]) -> None:
        """Make changes of these paths durable. Memory is as durable as it gets."""

    @property
    def evidence(self) -> "MemoryEvidence":
        """The evidence."""
        return MemoryEvidence(self)

    def read(self, path: str, *, last: int | None = None) -> bytes | None:
        """The contents of a file, or its end."""
        data = self.tree.files.get(path)
        return data if data is None or last is None else data[max(0, len(data) - last) :]

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file."""
        data = self.read(path)
        return None if data is None else sha256(data).hexdigest()

    def paths(self, folder: str = "") -> Iterator[str]:
        """All files, sorted."""
        prefix = f"{folder}/" if folder else ""
        return iter(sorted(path for path in self.tree.files if path.startswith(prefix)))

    def entry(self, path: str) -> Entry | None:
        """When a file was put, and its length."""
        data = self.tree.files.get(path)
        return None if data is None else Entry(self.tree.put_at[path], len(data))

    def put(self, path: str, data: bytes, _copy_of: str | None = None) -> None:
        """Keep an immutable file, to be placed."""
        self.staged[path] = data

    def remote(self) -> None:
        """Everything is put here."""

    def adopt(self, path: str, length: int, token: str) -> None:
        """Nothing is put elsewhere.

        Raises:
            StorageError: always.
        """
        raise StorageError(f"{path} was not put here: nobody else can write to this memory")

    def place(self) -> Placed:
        """Serve what was put, file by file."""
        replaced, paths = [], sorted(self.staged)
        for path in paths:
            data = self.staged[path]
            if self.tree.files.get(path, data) != data:
                replaced.append(path)
            self.change("place", path, data)
            del self.staged[path]
        self.sync(set(paths))
        return Placed(replaced)

    def discard(self) -> None:
        """Forget what was put."""
        self.staged.clear()

    def put_file(self, source: Path, sha256_: str, *paths: str) -> None:
        """Read a file of this machine."""
        if self.digest(paths[0]) != sha256_:
            with reading(source):
                data = source.read_bytes()
            if sha256(data).hexdigest() != sha256_:
                raise StorageUnavailableError(f"{source} changed while it was read; try again")
            self.replace(paths[0], data)
        self.show(dict.fromkeys(paths[1:], paths[0]))

    def replace(self, path: str, data: bytes) -> None:
        """Serve a file, over any that is served there."""
        self.change("replace", path, data)
        self.sync({path})

    def show(self, sources: Mapping[str, str | None]) -> None:
        """Serve at each path what is served at another one."""
        for path, source in sources.items():
            data = None if source is None else self.tree.files.get(source)
            if source is not None and data is None:
                raise StorageError(f"{path} cannot be written: {source} is not there")
            self.change("delete" if source is None else "link", path, data)
        self.sync(set(sources))

    def delete(self, path: str) -> None:
        """Delete a file, if there is one."""
        self.change("delete", path, None)

    def lock(self) -> AbstractContextManager[object]:
        """Lock out other threads."""
        return self.tree.lock


class MemoryEvidence:
    """What was taken out of what is served. Contract: `ledger.storage.Evidence`."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._served, self._here = storage.tree.files, storage.tree.evidence

    def take(self, path: str) -> None:
        """Copy a served file here, then stop serving it."""
        data = self._served.get(path)
        if data is not None:
            is_second = self._here.get(path, data) != data
            self._here[f"{_OTHERS}{sha256(data).hexdigest()}/{path}" if is_second else path] = data
            self._storage.change("withhold", path, None)
        self._storage.sync({path})

    def give_back(self, path: str, sha256_: str) -> bool:
        """Serve a file again, then forget it here."""
        data, served = self._here.get(path), self._served.get(path)
        if data is not None and served is None and sha256_ in {"", sha256(data).hexdigest()}:
            self._storage.change("bring back", path, data)
            served = data
        if data is not None and served == data:
            self._here.pop(path, None)
        self._storage.sync({path})
        return served is not None

    def has(self, path: str) -> bool:
        """Whether a file is here."""
        return path in self._here

    def paths(self) -> list[str]:
        """The paths of all files."""
        return sorted(path for path in self._here if not path.startswith(_OTHERS))
