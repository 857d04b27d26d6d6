"""A whole ledger in memory: logs, a signer on a clock that is set, followers, and what they serve."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from securesystemslib.signer import CryptoSigner, SSlibKey
from securesystemslib.signer import Signer as KeySigner

from consumers.follow.follower import Follower
from consumers.follow.observing import Observer
from consumers.follow.starting import start_follower
from consumers.render.outlets import Outlet, PublicOutlet
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.work.workers import Workers
from ledger.keys.keyring import Keyring
from ledger.logs import Log, Logs
from ledger.state.store import JudgedRow, Store
from ledger.storage import Placed
from projections.roles.authority import Authority, Settings
from projections.roles.layout import Layout
from schemas.events import BaseEvent
from tests import factory
from tests.factory import EPOCH_AT, Make, Team, ed25519_signer
from tests.fuzz.logs import RealLogs, StrangeLog
from tests.simulation.ports import InlineWorkers

SMALL = Team(
    root=(ed25519_signer("root 1"),),
    targets=(ed25519_signer("targets 1"),),
    bins=(ed25519_signer("bins 1"),),
    root_threshold=1,
    targets_threshold=1,
    bins_threshold=1,
    layout=Layout(2),
    settings=Settings(ruleset=0, importing=True, project_list_seconds=0),
)
"""Few keys and few bins: quick to sign."""


class MemoryStorage:
    """Storage in memory that refuses what a directory could not hold or should not. Contract: `ledger.storage`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.evidence: dict[str, bytes] = {}
        self._folders: set[str] = set()
        self._staged: dict[str, bytes] = {}

    def stage(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        self._staged[self._checked(path)] = data

    def stager(self) -> None:
        """Everything is staged here."""

    def adopt(self, path: str, length: int, name: str) -> None:
        """Nothing is staged elsewhere."""

    def discard(self) -> None:
        self._staged = {}

    def place(self) -> Placed:
        alarms = [path for path, data in self._staged.items() if self.files.get(path, data) != data]
        self.files.update(self._staged)
        self._staged = {}
        return Placed(sorted(alarms))

    def replace(self, path: str, data: bytes) -> None:
        self.files[self._checked(path)] = data

    def link_all(self, links: Mapping[str, str]) -> None:
        self.files.update({self._checked(path): self.files[source] for path, source in links.items()})

    def delete(self, path: str) -> None:
        self.files.pop(path, None)

    def withhold(self, path: str) -> None:
        if path in self.files:
            self.evidence[path] = self.files.pop(path)

    def bring_back(self, path: str, sha256: str) -> bool:
        if path not in self.files and path in self.evidence:
            self.files[path] = self.evidence.pop(path)
        return path in self.files

    def withheld(self) -> list[str]:
        return sorted(self.evidence)

    def settle(self) -> None:
        """Memory is as durable as it gets."""

    def exclusive(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def digest(self, path: str) -> str | None:
        return sha256(self.files[path]).hexdigest() if path in self.files else None

    def paths(self) -> Iterator[str]:
        return iter(sorted(self.files))

    def _checked(self, path: str) -> str:
        segments = path.split("/")
        assert segments[0] in {"metadata", "targets"}, path
        for segment in segments:
            assert segment not in {"", ".", ".."}, path
            assert len(segment.encode()) <= 250, f"no room for a temporary name: {path}"
            assert segment.isprintable(), path
        folders = {"/".join(segments[:depth]) for depth in range(1, len(segments))}
        assert path not in self._folders, f"{path} is a folder"
        assert not folders & self.files.keys(), f"{path} lies below a file"
        self._folders |= folders
        return path


class OwnKeys(Keyring):
    """Finds the keys that it was given."""

    def __init__(self) -> None:
        super().__init__(None)
        self.own: dict[str, KeySigner] = {}

    def hold(self, signers: Iterable[KeySigner]) -> None:
        self.own.update({signer.public_key.keyid: signer for signer in signers})

    def find(self, keys: Iterable[SSlibKey]) -> list[KeySigner]:
        return [self.own[key.keyid] for key in keys if key.keyid in self.own]


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    moment: datetime = EPOCH_AT

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Followed(NamedTuple):
    """A follower that is open, and what it serves."""

    follower: Follower
    store: Store
    storage: MemoryStorage

    async def judged(self) -> list[JudgedRow]:
        """All records that were not simply accepted, in order."""
        return await self.store.judged_page(["rejected", "no effect"], ("", -1), 10**6)


@asynccontextmanager
async def following(
    logs: Logs,
    folder: Path | None = None,
    storage: MemoryStorage | None = None,
    outlet: Outlet | None = None,
    workers: Workers | None = None,
    *,
    observers: Sequence[Observer] = (),
    renders: bool = True,
) -> AsyncIterator[Followed]:
    """A follower of its own, started; its state is thrown away unless there is a folder for it."""
    storage = storage or MemoryStorage()
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        store = Store(place / "state.sqlite")
        await store.open()
        try:
            await logs.open()
            follower = await start_follower(
                logs,
                store,
                workers or InlineWorkers(),
                outlet or PublicOutlet(storage),
                place / "spill",
                observers=observers,
                renders=renders,
            )
            try:
                yield Followed(follower, store, storage)
            finally:
                await follower.abandon()
        finally:
            await logs.close()
            await store.close()


@dataclass
class World:
    """Two logs and a signer. `team` is who signs; `make` makes events with new ids. What is in the two logs is what
    `real` logs get, if there are any, before anybody reads or appends.
    """

    folder: Path
    team: Team = SMALL
    make: Make = field(default_factory=Make)
    clock: SetClock = field(default_factory=SetClock)
    keyring: OwnKeys = field(default_factory=OwnKeys)
    events: StrangeLog = field(default_factory=lambda: StrangeLog("events"))
    publications: StrangeLog = field(default_factory=lambda: StrangeLog("publications"))
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    schedule: Schedule = field(default_factory=lambda: Schedule(interval_seconds=0, grace_seconds=0))
    real: RealLogs | None = None

    @property
    def logs(self) -> Logs:
        """The logs, for one reader: real ones have connections and a memory of their own."""
        events: Log = self.events
        publications: Log = self.publications
        return self.real.ports(self.events, self.publications) if self.real else Logs(events, publications)

    def begin(self) -> None:
        """The first two records."""
        self.keyring.hold(self.team.online)
        self.append(*factory.beginning(self.make, self.team))

    def append(self, *values: bytes | None) -> None:
        """Append to `events` whatever it is."""
        self.events.values.extend(values)

    def add(self, *made: BaseEvent) -> None:
        """Append events as they should be."""
        self.append(*factory.encode(made))

    def hold_ceremony(self, team: Team, current: Authority | None) -> None:
        """Change the offline roles."""
        self.append(*factory.encode([self.make.roles_signed(factory.ceremony(team, current, self.team))]))
        self.keyring.hold(team.online)
        self.team = team

    @asynccontextmanager
    async def signing(self) -> AsyncIterator["Signing"]:
        """The signer, started on its state; it may be stopped and started again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logs = self.logs
        async with following(logs, self.folder, self.storage) as followed:
            signer = Signer(
                follower=followed.follower,
                publications=logs.publications,
                keyring=self.keyring,
                clock=self.clock,
                schedule=self.schedule,
                workers=InlineWorkers(),
                read_served=self.storage.read,
            )
            yield Signing(self, signer, followed)


class Signing(NamedTuple):
    """A signer at work."""

    world: World
    signer: Signer
    followed: Followed

    @property
    def follower(self) -> Follower:
        return self.followed.follower

    async def publish(self, *made: BaseEvent, seconds: float = 1) -> bool:
        """Append events, let time pass, and publish."""
        self.world.add(*made)
        self.world.clock.advance(seconds)
        return await self.signer.step(now=True)

    @property
    def authority(self) -> Authority:
        """The offline roles at the end of the log, as far as it was read."""
        return factory.authority_of(self.follower.tail.end)


def stolen(team: Team) -> Sequence[CryptoSigner]:
    """What a thief of the online keys holds."""
    return team.online


Tree = Mapping[str, bytes]
