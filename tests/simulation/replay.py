"""The pure replay: what two logs make, with no key, no fault, no storage and no earlier state.

It uses `Follower`, from an empty state and with sizes of groups as they are by default, and an outlet of its own.
"""

import atexit
import shutil
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from consumers.follow.starting import start_follower
from ledger.logs import Logs
from ledger.state.comparisons import FileRow
from ledger.state.statements import State
from ledger.state.store import Store
from ledger.state.threads import AtOnce
from projections.log.prefix import Prefix
from projections.metadata import repository
from projections.metadata.holders import Withholding
from projections.publications import Head
from projections.roles.documents import Document
from tests.factory import authority_of
from tests.simulation.disks import DiskContents, SimDisk
from tests.simulation.ports import InlineWorkers, Records, SimLog
from tests.simulation.processes import Process, run

TIMESTAMP = "metadata/timestamp.json"
_SHARED_MEMORY = Path("/dev/shm")  # only a faster place for temporary files
NOWHERE = Path(mkdtemp(prefix="tuf-ledger-simulation-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None))
"""Spilled partitions are below; everything else is in memory."""
atexit.register(shutil.rmtree, NOWHERE, ignore_errors=True)

JudgedRows = list[tuple[str, int, str, str, str, str]]


class Replayed(NamedTuple):
    """What came out: all files, plain names too; what was rejected or had no effect; numbers in their order."""

    files: dict[str, bytes]
    judged: JudgedRows
    numbers: list[int]
    head: Head
    publications: list[tuple[int, str, str]]
    """Content size and time of each publication, and the `time_from` of its root."""


class Alone:
    """The world of a process that nothing happens to."""

    def observe(self, process: Process, label: str, when: str) -> None:
        pass

    def wants_to_interleave(self, process: Process) -> bool:
        return False


class Recorder:
    """An outlet that keeps everything in a dict. Contract: `consumers.render.outlets.Outlet`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.numbers: list[int] = []
        self.begin()

    def begin(self) -> None:
        self._files: dict[str, bytes] = {}
        self._pages: dict[str, str | None] = {}

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        assert self._files.get(path, data) == data, f"{path} was put twice, with different bytes"
        self._files[path] = data

    def remote(self) -> None:
        """Everything is put here."""

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """Nothing is put elsewhere."""

    def show(self, path: str, source: str | None) -> None:
        self._pages[path] = source

    def withhold(self, withholdings: Iterable[Withholding]) -> None:
        """No bytes are here."""

    def put_document(self, document: Document) -> None:
        self.put(f"metadata/{document.version}.{document.role}.json", document.file)

    def finish(self, number: int, timestamp: bytes) -> None:
        self.put(f"metadata/{number}.timestamp.json", timestamp)
        for path, data in self._files.items():
            assert self.files.get(path, data) == data, f"{path} was published twice, with different bytes"
            self.files[path] = data
        for path, source in self._pages.items():
            if source is None:
                self.files.pop(path, None)
            else:
                self.files[path] = self.files[source]
        self.files[TIMESTAMP] = timestamp
        self.numbers.append(number)
        self.begin()

    def save(self, state: State, window: Sequence[FileRow] | None) -> None:
        """The state need not know."""


_replayed: dict[tuple[bytes, bool, int], Replayed] = {}


def replay(events: Sequence[bytes | None], publications: Sequence[bytes | None], *, skip: bool) -> Replayed:
    """Replay two logs: every version, or with `skip` only what the last one needs."""
    digest = sha256()
    for values in (events, publications):
        for value in (*values, b"end of log"):
            digest.update(b"null" if value is None else b"%d " % len(value) + value)
    key = digest.digest(), skip, repository.LENGTH_ABOVE_BYTES
    if key not in _replayed:
        if len(_replayed) > 200:
            _replayed.clear()
        _replayed[key] = _replay(events, publications, skip=skip)
    return _replayed[key]


def forget() -> None:
    """Forget what was replayed."""
    _replayed.clear()


def _replay(events: Sequence[bytes | None], publications: Sequence[bytes | None], *, skip: bool) -> Replayed:
    process = Process(Alone(), "replay", 1, None)
    recorder, disk = Recorder(), DiskContents()
    records = Records("events"), Records("publications")
    records[0].values, records[1].values = list(events), list(publications)

    async def main() -> Head:
        logs = Logs(SimLog(records[0], process, 1000), SimLog(records[1], process, 1000))
        store = Store(NOWHERE / "replay.sqlite", disk=SimDisk(disk, process, lambda _: None), new_thread=AtOnce)
        await logs.open()
        await store.open()
        follower = await start_follower(logs, store, InlineWorkers(), recorder, NOWHERE / "replay.spill")
        if skip:
            await follower.skip()
        await follower.catch_up()
        return follower.head

    head = run(main())
    judged, dated = judged_rows(disk), list[tuple[int, str, str]]()
    prefix = Prefix()
    published = disk.state.execute("SELECT size, content_size, time FROM publications ORDER BY number")
    for size, shown, time in published:
        prefix, _ = prefix.extend(events[prefix.size : size])
        dated.append((shown, time, authority_of(prefix).time_from))
    return Replayed(recorder.files, judged, recorder.numbers, head, dated)


def judged_rows(disk: DiskContents) -> JudgedRows:
    """What a follower lists as rejected or without effect, in order."""
    return disk.state.execute("SELECT log, idx, digest, kind, verdict, code FROM judged ORDER BY log, idx").fetchall()
