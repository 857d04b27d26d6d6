"""The ports of a process: what is durable belongs to the world, the object to one life of one process.

    Records, Log     a log: a list of values
    Tree, SimStorage what is served: the storage in memory
    Keys, SimKeyring keys that note what they sign
    SimClock         the world's time, a little off

What a state does to the disk is in `tests.simulation.disks`. Every call can fail or be the last one of the process,
before and after its effect; `Process` decides.
"""

import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from securesystemslib.signer import CryptoSigner, Signature, Signer, SSlibKey

from consumers.follow.observing import KeptPublication, PublicationTold
from consumers.work.processes import Processes
from ledger.disk.files import StorageUnavailableError
from ledger.logs import LogUnavailableError
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.storage import Placed
from ledger.storage.memory import MemoryStorage, MemoryTree
from schemas.errors import TemporaryError
from tests.fuzz.told import ToldView
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
        self.late: list[bytes | None] = []


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

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
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


class SimObserver:
    """An observer that keeps what it is told, in memory that outlives the process. Contract: `Observer`.

    Args:
        views: what observers keep, by the names of processes.
        process: the process.
    """

    def __init__(self, views: dict[str, ToldView], process: Process) -> None:
        self._views = views
        self._process = process

    async def kept(self) -> KeptPublication | None:
        return await self._views[self._process.name].kept()

    async def tell(self, publication: PublicationTold) -> None:
        view = self._views[self._process.name].copy()
        await view.tell(publication)
        self._process.enter("observer.tell", TemporaryError)
        self._views[self._process.name] = view
        self._process.leave("observer.tell", TemporaryError)
