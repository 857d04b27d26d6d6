"""The ports of a process: what is durable belongs to the world, the object to one life of one process.

    Records, Log     a log: a list of values
    Disk, SimStore   a state file: the real `Store` and its SQL, over a SQLite database in memory
    SimKept          its kept files: a dict
    Tree, SimStorage what is served: the storage in memory
    Keys, SimKeyring keys that note what they sign
    SimClock         the world's time, a little off

Every call can fail or be the last one of the process, before and after its effect; `Process` decides.
"""

import random
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

from securesystemslib.signer import CryptoSigner, Signature, Signer, SSlibKey

from consumers.work.processes import Processes
from ledger.disk.files import StorageUnavailableError
from ledger.logs import LogUnavailableError
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.state import StateDamagedError
from ledger.state.kept_files import KeptFiles
from ledger.state.store import Store
from ledger.storage import Placed
from ledger.storage.memory import MemoryStorage, MemoryTree
from schemas.errors import InUseError
from tests.simulation.processes import Process

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class InlineWorkers:
    """Workers that run everything at once, in order. Contract: `consumers.work.workers.Workers`."""

    processes: Processes | None = None

    def __init__(self, give_up: Callable[[], None] | None = None) -> None:
        """`give_up` is for threads that wait; nothing here does."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    async def rest(self) -> None:
        pass

    def ahead(self, operation: Coroutine[Any, Any, R]) -> "Later[R]":
        return Later(operation)

    def begin(self, function: Callable[[T], R], items: Sequence[T]) -> "Done[R]":
        return Done([function(item) for item in items])

    def close(self) -> None:
        pass


class Done(Generic[R]):
    """What was begun is done. Contract: `consumers.work.workers.Running`."""

    def __init__(self, results: list[R]) -> None:
        self._results = results

    async def results(self) -> list[R]:
        return self._results

    def stop(self) -> None:
        pass


class Later(Generic[R]):
    """What is begun ahead is done when it is asked for. Contract: `consumers.work.workers.Begun`."""

    def __init__(self, operation: Coroutine[Any, Any, R]) -> None:
        self._operation = operation

    async def result(self) -> R:
        return await self._operation

    async def stop(self) -> None:
        self._operation.close()


# --- logs --------------------------------------------------------------------------------------------------------


class Records(MemoryRecords):
    """What is on a log, and what is still on its way there from a process that died."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.late: list[bytes] = []


class SimLog(MemoryLog):
    """A log. Contract: `ledger.logs.Log`, and a check of what callers owe it."""

    records: Records

    def __init__(self, records: Records, process: Process, read_records: int) -> None:
        super().__init__(records, read_records=read_records)
        self._process = process

    async def open(self) -> None:
        self._enter("open")
        assert not self._is_open
        await super().open()
        self._leave("open")

    async def close(self) -> None:
        self._enter("close")
        await super().close()
        self._leave("close")

    async def append(self, values: Sequence[bytes]) -> list[int]:
        """Each value is an effect of its own: a prefix may be all that remains."""
        assert self._is_open
        indices = []
        for value in values:
            self._enter("append")
            indices.append(len(self.records.values))
            (self.records.late if self._process.is_late else self.records.values).append(value)
            self._leave("append")
        return indices

    async def read(self, start: int) -> list[bytes | None]:
        assert self._is_open
        self._enter("read")
        values = await super().read(start)
        self._leave("read")
        return values

    async def wait(self, start: int, timeout_seconds: float) -> None:
        assert self._is_open
        assert timeout_seconds > 0
        self._enter("wait")
        if len(self.records.values) <= start:
            self._process.wait(lambda: len(self.records.values) > start)
        self._leave("wait")

    async def size(self) -> int:
        self._enter("size")
        size = len(self.records.values)
        self._leave("size")
        return size

    def token(self, index: int) -> int:
        """Never the index itself: nobody shall take one for the other."""
        return 7 * super().token(index) + 3

    def resume(self, index: int, token: int) -> None:
        assert token == 7 * index + 3, "another index's token"
        super().resume(index, index)

    def _enter(self, call: str) -> None:
        self._process.enter(f"{self.name}.{call}", LogUnavailableError)

    def _leave(self, call: str) -> None:
        self._process.leave(f"{self.name}.{call}", LogUnavailableError)


# --- the state store ---------------------------------------------------------------------------------------------


class Disk:
    """A state file. Statements take effect at once; what was not committed is undone when its process dies."""

    def __init__(self, *, keeps_images: bool = False) -> None:
        self.writes = 0
        self.owner: Process | None = None
        self.kept: dict[str, bytes] = {}
        self._unsynced: set[str] = set()
        self._keeps_images = keeps_images
        self.erase()

    def erase(self) -> None:
        self.connection = _database()
        self._images: deque[sqlite3.Connection] = deque(maxlen=3)
        self.written()

    def written(self) -> None:
        """Something is durable now that was not."""
        self.writes += 1
        if self._keeps_images:
            self._images.append(_copy(self.connection))

    def synced(self) -> None:
        """What was committed is durable."""
        while len(self._images) > 1:
            self._images.popleft()

    def keep(self, name: str, data: bytes | None) -> None:
        """Write a kept file, or delete it."""
        self.writes += 1
        if data is None:
            self.kept.pop(name, None)
            self._unsynced.discard(name)
        else:
            self.kept[name] = data
            self._unsynced.add(name)

    def sync_kept(self, names: Iterable[str]) -> None:
        """Kept files are durable."""
        self._unsynced.difference_update(names)

    def execute(self, statement: str, rows: Sequence[Any]) -> list[Any]:
        """Run a statement for every row of parameters."""
        if len(rows) == 1:
            return self.connection.execute(statement, rows[0]).fetchall()
        self.connection.executemany(statement, rows)
        return []

    def note_write(self, before: int) -> None:
        """Count what is durable now and was not before a statement."""
        if not self.connection.in_transaction and self.connection.total_changes != before:
            self.written()

    def crash(self) -> None:
        self.owner = None
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def lose_commits(self, chance: random.Random) -> None:
        """The power fails: the last commits may be lost, never their order; and kept files that were not synced."""
        self.crash()
        for name in sorted(self._unsynced):
            self.kept[name] = b""
        for _ in range(chance.randint(0, len(self._images) - 1)):
            self._images.pop()
        self.connection = _copy(self._images[-1])

    def close(self) -> None:
        self.connection.close()


def _database() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def _copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    copied = _database()
    connection.backup(copied)
    return copied


class SimKept:
    """Kept files on a disk. Contract: `ledger.state.kept_files.KeptFiles`."""

    def __init__(self, state: Path, disk: Disk, process: Process) -> None:
        self.folder = state.with_suffix(".kept")
        self.state = state
        self._disk = disk
        self._process = process
        self.key = b"held by the disk"

    def opened(self) -> "SimKept":
        return self

    def create(self, *, durable: bool) -> "SimKept":
        self.delete(list(self._disk.kept))
        return self

    def is_tidy(self) -> bool:
        return False

    def tidy(self) -> None:
        pass

    def mark(self, data: bytes) -> bytes:
        return sha256(data).digest()

    def put(self, name: str, data: bytes) -> str:
        self._enter("put")
        self._disk.keep(name, data)
        self._leave("put")
        return f"{self.folder}/{name}"

    def read(self, name: str, mark: bytes) -> bytes:
        self._enter("read")
        data = self._disk.kept.get(name)
        if data is None or self.mark(data) != mark:
            raise StateDamagedError(f"{name} is missing or damaged")
        self._leave("read")
        return data

    def prefetch(self, names: Iterable[str]) -> None:
        pass

    def names(self) -> list[str]:
        self._enter("names")
        return list(self._disk.kept)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._enter("delete")
            self._disk.keep(name, None)
            self._leave("delete")

    def sync(self, names: Collection[str]) -> None:
        self._enter("sync")
        self._disk.sync_kept(names)
        self._leave("sync")

    def _enter(self, call: str) -> None:
        self._process.enter(f"kept.{call}", StorageUnavailableError)

    def _leave(self, call: str) -> None:
        self._process.leave(f"kept.{call}", StorageUnavailableError)


class SimStore(Store):
    """The real store, each statement a port call. Only how it reaches SQLite is replaced."""

    def __init__(self, path: Path, disk: Disk, process: Process, committed: Callable[[Disk], None]) -> None:
        super().__init__(path)
        self._disk = disk
        self._process = process
        self._committed = committed
        self.kept = cast("KeptFiles", SimKept(path, disk, process))

    async def close(self) -> None:
        self._process.enter("store.close", StateDamagedError)
        self._disk.crash()
        self._process.leave("store.close", StateDamagedError)

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def _sync(self) -> None:
        self._process.enter("store.sync", StorageUnavailableError)
        self._disk.synced()
        self._process.leave("store.sync", StorageUnavailableError)

    def _acquire_lock(self) -> None:
        owner = self._disk.owner
        if owner is not None and owner.alive:
            raise InUseError(f"{self.path} is in use by process {owner}")
        self._disk.owner = self._process

    async def _connect(self) -> None:
        self._process.enter("store.connect", StateDamagedError)
        self._process.leave("store.connect", StateDamagedError)

    async def _disconnect(self) -> None:
        if self._disk.connection.in_transaction:
            self._disk.connection.execute("ROLLBACK")

    async def _begin_anew(self) -> None:
        """The simulated disk has one file: what is begun anew is begun in it."""

    async def _begin_to_settle(self) -> None:
        """Nothing runs beside a simulated process."""
        await self._settle()

    async def _settle(self) -> None:
        self._unsettled_rows = 0
        await self._run("PRAGMA wal_checkpoint(PASSIVE)", ())
        await self._delete_unneeded_files()

    async def _replace(self) -> None:
        self._process.enter("store.erase", StateDamagedError)
        self._disk.erase()
        self._process.leave("store.erase", StateDamagedError)
        await super()._replace()

    async def _run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        rows = parameters if isinstance(parameters, list) else [parameters]
        label = f"store.{statement[:24]}"
        self._process.enter(label, StateDamagedError)
        assert self._disk.owner is self._process, "another process has this file by now"
        before = self._disk.connection.total_changes
        try:
            found = self._disk.execute(statement, rows)
        except sqlite3.Error as error:
            raise StateDamagedError(str(error)) from error
        if statement == "COMMIT":
            self._disk.written()
            self._committed(self._disk)
        else:
            self._disk.note_write(before)
        self._process.leave(label, StateDamagedError)
        return found


# --- what is served ----------------------------------------------------------------------------------------------

Fate = Literal["lost", "kept", "some", "power", "power, links too"]
"""What becomes of staged files when their process dies. When the power fails, state that was committed and files that
were not synced may go with them; links and deletions, which are never synced, only if it says so."""


class Tree(MemoryTree):
    """What is served from one place. `changed` is told every change of a path: before, after (None: no file)."""

    def __init__(self, changed: Callable[["Tree", str, bytes | None, bytes | None], None]) -> None:
        super().__init__()
        self.stored: dict[str, bytes] = {}
        self.staged: dict[str, dict[str, bytes]] = {}
        self.alarms: list[str] = []
        self.writes = 0
        self.unsynced: list[tuple[str, bytes | None, str]] = []
        self._changed = changed

    def change(self, call: str, path: str, data: bytes | None) -> None:
        """A change that a power failure may undo."""
        before = self.files.get(path)
        if before == data:
            return
        self.unsynced.append((path, before, call))
        self.writes += 1
        self.set(path, data)
        self._changed(self, path, before, data)

    def store(self, path: str, data: bytes) -> None:
        """The index stores a file, which is durable, unless it is withheld."""
        self.stored[path] = data
        if path not in self.evidence and path not in self.files:
            self.set(path, data)

    def lose_unsynced(self, chance: random.Random, *, links_too: bool) -> None:
        """The power fails: some of the last changes are undone."""
        for _ in range(chance.randint(0, len(self.unsynced))):
            path, before, call = self.unsynced.pop()
            if call in {"link", "delete"} and not links_too:
                continue
            if call == "bring back":
                self.evidence[path] = self.files[path]
            self.set(path, before)
        self.unsynced.clear()


class SimStorage(MemoryStorage):
    """The storage in memory, each of whose changes is a port call. What was put survives its process, or does not."""

    tree: Tree

    def __init__(self, tree: Tree, staging: str, process: Process) -> None:
        super().__init__(tree)
        self.staged = tree.staged.setdefault(staging, {})
        self._process = process

    def change(self, call: str, path: str, data: bytes | None) -> None:
        self._enter(call)
        self.tree.change(call, path, data)
        self._leave(call)

    def sync(self, paths: set[str]) -> None:
        self._enter("sync")
        self.tree.unsynced = [each for each in self.tree.unsynced if each[0] not in paths]
        self._leave("sync")

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        self._enter("put")
        super().put(path, data, copy_of)
        self._leave("put")

    def discard(self) -> None:
        self._enter("discard")
        super().discard()
        self._leave("discard")

    def place(self) -> Placed:
        placed = super().place()
        self.tree.alarms.extend(placed.replaced)
        return placed

    def read(self, path: str, *, last: int | None = None) -> bytes | None:
        self._enter("read")
        data = super().read(path, last=last)
        self._leave("read")
        return data

    def lock(self) -> AbstractContextManager[object]:
        """None: others may be on a machine that does not know it."""
        return nullcontext()

    def _enter(self, call: str) -> None:
        self._process.enter(f"storage.{call}", StorageUnavailableError)

    def _leave(self, call: str) -> None:
        self._process.leave(f"storage.{call}", StorageUnavailableError)


# --- keys and clock ----------------------------------------------------------------------------------------------

Signed = Callable[[Process, str, bytes], None]


class SimSigner(Signer):
    """A key that tells the world what it signed."""

    def __init__(self, signer: CryptoSigner, process: Process, signed: Signed) -> None:
        self._signer = signer
        self._process = process
        self._signed = signed

    @property
    def public_key(self) -> SSlibKey:
        return self._signer.public_key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Any, secrets_handler: Any = None) -> "SimSigner":
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        self._process.enter("key.sign", ConnectionError)
        self._signed(self._process, self.public_key.keyid, payload)
        signature = _sign(self._signer, payload)
        self._process.leave("key.sign", ConnectionError)
        return signature


_signatures: dict[tuple[str, bytes], Signature] = {}


def _sign(signer: CryptoSigner, payload: bytes) -> Signature:
    """A signature. Those that repeat are made once."""
    key = signer.public_key
    if key.keytype != "ed25519":
        return signer.sign(payload)
    known = _signatures.get((key.keyid, payload))
    if known is None:
        known = _signatures[key.keyid, payload] = signer.sign(payload)
    return known


class SimKeyring:
    """Finds signers for keys. Contract: `ledger.keys.keyring.Keyring`."""

    def __init__(self, held: Iterable[CryptoSigner], process: Process, signed: Signed) -> None:
        self._held = {signer.public_key.keyid: signer for signer in held}
        self._process = process
        self._signed = signed

    def find(self, keys: Iterable[SSlibKey]) -> list[Signer]:
        held = (self._held.get(key.keyid) for key in keys)
        return [SimSigner(signer, self._process, self._signed) for signer in held if signer is not None]


class SimClock:
    """The world's time, a little off. Contract: `ledger.clock.Clock`."""

    def __init__(self, now: Callable[[], datetime], skew: timedelta, process: Process) -> None:
        self._now = now
        self._skew = skew
        self._process = process

    def now(self) -> datetime:
        self._process.enter("clock.now")
        self._process.leave("clock.now")
        return self._now() + self._skew
