"""A whole ledger in memory: logs, a signer on a clock that is set, followers, and what they serve."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from securesystemslib.signer import CryptoSigner, SSlibKey
from securesystemslib.signer import Signer as KeySigner

from consumers.context import Context
from consumers.follow.follower import Follower
from consumers.follow.observing import Observer
from consumers.follow.starting import start_follower
from consumers.render.outlets import Outlet, PublicOutlet
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.work.workers import Workers
from ledger.keys.keyring import Keyring
from ledger.logs import Log, Logs
from ledger.state.store import Store
from ledger.state.verdicts import JudgedRow, load_judged_after
from ledger.storage.memory import MemoryStorage
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
        return await self.store.run(load_judged_after, ["rejected", "no effect"], ("", -1), 10**6)


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
                limits=Context.limits,
            )
            try:
                yield Followed(follower, store, storage)
            finally:
                await follower.abandon()
            assert all(path.startswith(("metadata/", "targets/")) for path in storage.tree.files)
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
