"""A ledger in memory: the product's signer publishes what is appended, over logs, state and storage in memory."""

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import orjson
from msgspec import convert
from securesystemslib.signer import Signer as KeySigner
from securesystemslib.signer import SSlibKey

from consumers.follow.starting import start_follower
from consumers.render.outlets import PublicOutlet
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.state import records
from ledger.keys.keyring import Keyring
from ledger.logs import Logs
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.state.statements import State
from ledger.state.store import Store
from ledger.state.threads import AtOnce
from ledger.state.verdicts import load_judged_after
from ledger.state.withheld import withheld_after
from ledger.storage.memory import MemoryStorage, MemoryTree
from projections.index.chunks import Aggregate
from projections.index.upload_times import Dated
from projections.log.prefix import Prefix
from projections.metadata.paths import metadata_path
from projections.metadata.repository import bin_targets, signs_all_bins
from projections.outcomes import ACCEPTED, Outcome
from projections.roles.authority import Authority
from schemas.codec import decode_publication_record
from schemas.publications import Publication, Record
from tests import factory
from tests.fuzz.world import SetClock
from tests.property.model import Model, target_of
from tests.simulation.disks import DiskContents, SimDisk
from tests.simulation.ports import InlineWorkers
from tests.simulation.processes import Process, run
from tests.simulation.replay import NOWHERE, Alone

LIST_PATHS = {"simple/index.json", "simple/index.html"}
MANY = 10**6


class AllKeys(Keyring):
    """Finds every key that the factory has made."""

    def __init__(self) -> None:
        super().__init__(None)

    def find(self, keys: Iterable[SSlibKey]) -> list[KeySigner]:
        return [factory.MADE[key.keyid] for key in keys]


class Durable(NamedTuple):
    """What outlives a process: the logs, the disk of its state, and what it serves."""

    events: MemoryRecords
    publications: MemoryRecords
    disk: DiskContents
    tree: MemoryTree

    def copy(self) -> "Durable":
        """The same, to go on from there."""
        copied = Durable(MemoryRecords("events"), MemoryRecords("publications"), self.disk.copy(), MemoryTree())
        copied.events.append(*self.events.values)
        copied.publications.append(*self.publications.values)
        for path, data in self.tree.files.items():
            copied.tree.set(path, data)
        return copied


class View:
    """What a follower makes of two logs: its state, and what it serves."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.storage = MemoryStorage(durable.tree)
        self.logs = Logs(MemoryLog(durable.events), MemoryLog(durable.publications))
        disk = SimDisk(durable.disk, Process(Alone(), "view", 1, None), lambda _: None)
        self._store = Store(NOWHERE / "state.sqlite", disk=disk, new_thread=AtOnce)
        run(self.logs.open())
        run(self._store.open())
        outlet = PublicOutlet(self.storage)
        self.follower = run(start_follower(self.logs, self._store, InlineWorkers(), outlet, NOWHERE / "spill"))

    def follow(self, up_to: int, *, skips: bool = False) -> None:
        """Apply publications up to a number: each by itself, or all at once."""
        if skips:
            assert run(self.follower.skip(lambda claim: claim.number <= up_to))
        while self.follower.head.number < up_to:
            assert run(self.follower.step(lambda claim: claim.number <= up_to))

    def close(self) -> None:
        """Close the state."""
        run(self._store.close())

    @property
    def number(self) -> int:
        """The number of the last publication."""
        return self.follower.head.number

    @property
    def prefix(self) -> Prefix:
        """What the events say that it covers."""
        return self.follower.base

    @property
    def authority(self) -> Authority:
        """The offline roles in force."""
        return factory.authority_of(self.prefix)

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """What became of each event."""
        rows = run(self._store.run(load_judged_after, ["no effect", "rejected"], ("", -1), MANY))
        judged = {row.record: convert(row[4:], Outcome) for row in rows if row.log == "events"}
        return {index: judged.get(index, ACCEPTED) for index in range(self.prefix.size)}

    @property
    def ceremonies(self) -> set[int]:
        """The indices of accepted ceremonies."""
        return {index for (index,) in self._rows("SELECT DISTINCT idx FROM ceremonies")}

    @property
    def pages(self) -> dict[str, bytes]:
        """The plain pages, by the paths of their targets."""
        served = ((path.removeprefix("targets/"), data) for path, data in self.storage.tree.files.items())
        return {path: data for path, data in served if path.endswith(("/index.json", "/index.html"))}

    @property
    def withheld(self) -> set[str]:
        """The served paths that are withheld."""
        return set(run(self._store.run(withheld_after, "", MANY)))

    @property
    def seen(self) -> set[tuple[str, str, str]]:
        """Keys of aggregates, ids of events, and their digests."""
        return set(self._rows("SELECT key, id, digest FROM seen"))

    @property
    def aggregates(self) -> dict[str, Aggregate]:
        """What the state has of projects, targets and all else that is folded."""
        keys = [key for (key,) in self._rows("SELECT key FROM aggregates ORDER BY key")]
        return run(self._store.run(records.load_aggregates, keys)).states

    def bin_targets(self, name: str) -> bytes:
        """The rendered entries of a bin, in its last file."""
        entry = self.follower.table.entries.get(name)
        return b"" if entry is None else bin_targets(self.served(metadata_path(name, entry.version))).copy()

    def served(self, path: str) -> bytes:
        """A file that is served."""
        return self.storage.tree.files[path]

    def _rows(self, statement: str) -> list[Any]:
        return run(self._store.run(State.rows, statement))


class Ledger(View):
    """Two logs, and the state of who signs. `begin` makes one."""

    def __init__(self, durable: Durable, dated: Sequence[Dated] = (), *, above: int = 0) -> None:
        super().__init__(durable)
        self.dated = list(dated)
        self._clock = SetClock()
        schedule = Schedule(interval_seconds=0, grace_seconds=0)
        schedule.above = above
        self._signer = Signer(
            follower=self.follower,
            publications=self.logs.publications,
            keyring=AllKeys(),
            clock=self._clock,
            schedule=schedule,
            workers=InlineWorkers(),
            read_served=None,
        )

    def view(self) -> View:
        """What another follower makes of the logs. It has not read them yet."""
        return View(self.durable._replace(disk=DiskContents(), tree=MemoryTree()))

    def publish(self, values: Sequence[bytes | None], *, seconds: int | None = None) -> set[str]:
        """Publish these records. What was signed before is signed again where it differs, and nowhere else.

        Returns:
            The names of the bins that are signed. If there are no records, nothing is published.
        """
        before, bins = self.prefix.authority, {name: self.bin_targets(name) for name in self.follower.table.entries}
        self.durable.events.append(*values)
        self._clock.moment = factory.EPOCH_AT + timedelta(
            seconds=(self.number + 1) * 1000 if seconds is None else seconds
        )
        if not run(self._signer.step(now=True)):
            return set()
        record = decode_publication_record(self.durable.publications.values[-1])
        assert isinstance(record, Record)
        assert isinstance(record.signed, Publication)
        self.dated.append(Dated(self.prefix.size, self.follower.head.time, self.authority.time_from))
        signed = {name for name, *_ in record.signed.roles}
        if signs_all_bins(before, self.authority):
            assert signed == set(map(self.authority.layout.name, range(self.authority.layout.count)))
        else:
            assert all(self.bin_targets(name) != bins.get(name, b"") for name in signed)
        return signed


@cache
def _begun(values: tuple[bytes | None, ...], seconds: int | None, above: int) -> Ledger:
    durable = Durable(MemoryRecords("events"), MemoryRecords("publications"), DiskContents(), MemoryTree())
    durable.events.append(*values)
    ledger = Ledger(durable, above=above)
    ledger.publish((), seconds=seconds)
    ledger.close()
    return ledger


def begin(values: Sequence[bytes | None], *, seconds: int | None = None, above: int = 0) -> Ledger:
    """A ledger whose first publication covers these records. One that begins like another is a copy: that is faster.

    Args:
        values: the records.
        seconds: the time of the publication; by default its number in thousands of seconds.
        above: the number above which it is.
    """
    first = _begun(tuple(values), seconds, above)
    return Ledger(first.durable.copy(), first.dated)


def targets_of(view: View) -> dict[str, tuple[int, str]]:
    """Length and SHA-256 of every target, each found in the bin where clients look for it."""
    layout = view.authority.layout
    targets = {}
    for index in range(layout.count):
        members = orjson.loads(b"{" + view.bin_targets(layout.name(index)) + b"}")
        assert list(members) == sorted(members)
        for path, target in members.items():
            assert layout.index_of_target(path) == index
            assert set(target) == {"length", "hashes"}
            targets[path] = target["length"], target["hashes"]["sha256"]
    return targets


def check(ledger: Ledger, model: Model) -> None:
    """The ledger shows what the model says."""
    model.publications = list(ledger.dated)
    served = ledger.pages
    pages = {path: page for path, page in served.items() if path.endswith("/index.json") and path not in LIST_PATHS}
    assert pages == model.json_pages()
    names = [project["name"] for project in json.loads(served["simple/index.json"])["projects"]]
    assert names == model.existing()
    expected = model.file_targets()
    expected |= {path: target_of(page) for path, page in served.items()}
    assert targets_of(ledger) == expected
    assert ledger.withheld == model.withheld()
