"""A world: what is durable, the processes that work on it, and who goes on when."""

import random
from asyncio import Event
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast
from unittest.mock import patch
from zlib import crc32

from msgspec import json
from securesystemslib.signer import SSlibKey

from consumers.context import Context
from consumers.follow.follower import Follower
from consumers.follow.starting import start_follower
from consumers.render.edition import DivergenceError
from consumers.render.sealing import SigningSealer
from consumers.service import run as server
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from ledger.clock import SystemClock
from ledger.logs import Logs
from ledger.state import StateDamagedError
from ledger.state.store import Store
from ledger.state.threads import AtOnce
from projections.roles import authority, keys
from schemas.errors import LedgerError
from tests import factory
from tests.fuzz.told import ToldView
from tests.simulation.client import Client
from tests.simulation.disks import DiskContents, SimDisk
from tests.simulation.invariants import Oracle, stored_by
from tests.simulation.ports import (
    Fate,
    InlineWorkers,
    Records,
    SimClock,
    SimKeyring,
    SimLog,
    SimObserver,
    SimStorage,
    Tree,
)
from tests.simulation.processes import Crash, Fault, Process
from tests.simulation.replay import NOWHERE, TIMESTAMP, replay
from tests.simulation.scenarios import Action, Advance, Append, Forge, Intrude, Restart, Scenario
from tests.simulation.strangers import forgery, voiding

POWER = ("power", "power, links too")
MAX_LIVES = 12
MAX_TURNS = 300_000
IDLE_ROUNDS = (0.25, 6.0)
"""The world is at rest when everyone looked again after these many seconds and nothing changed."""


def _may_pass(error: BaseException) -> bool:
    """Whether a life may end so in which something was made to fail. What a person would have to decide is not so."""
    return isinstance(error, Crash | StateDamagedError) or (isinstance(error, LedgerError) and error.is_retried)


class Duty(NamedTuple):
    """A process, what it does, and the tree that it writes and compares the log with."""

    name: str
    consumer: Literal["signer", "publisher", "both", "once"]
    tree: str = "public"


class Setup(NamedTuple):
    """Which processes there are, and how they take turns."""

    duties: tuple[Duty, ...] = (Duty("a", "both"),)
    turns: int | None = None
    """The seed of who goes on at every port call; None: each goes on until it waits, and actions wait for rest."""
    fate: Fate = "lost"
    has_clients: bool = False
    """Whether clients look at what is served: one that keeps its cache whenever everything is at rest, a new one at the
    end."""


class Point(NamedTuple):
    """A place where a process could have died, and all that goes on from there without it: what was durable, and how
    far the others were.
    """

    process: str
    life: int
    call: int
    when: str
    label: str
    left: tuple[Any, ...]

    @property
    def port(self) -> str:
        """The port that was called."""
        return {"events": "log", "publications": "log", "key": "signer"}.get(name := self.label.partition(".")[0], name)


class World:
    """One run of a scenario. `points` collects every port call if it is given."""

    def __init__(
        self, scenario: Scenario, setup: Setup, faults: Sequence[Fault] = (), *, points: list[Point] | None = None
    ) -> None:
        self.scenario = scenario
        self.setup = setup
        self.events = Records("events")
        self.publications = Records("publications")
        self.oracle = Oracle(self.events, self.publications, repeating=scenario.repeating)
        self.trees = {duty.tree: Tree(self.oracle.changed) for duty in setup.duties}
        self.disks = {duty.name: DiskContents(keeps_images=setup.fate in POWER) for duty in setup.duties}
        self.told = {duty.name: ToldView() for duty in setup.duties}
        self.exits: Counter[str] = Counter()
        self.lives: Counter[str] = Counter()
        self.taken = 0
        self.visits = 0
        self._clients: dict[str, Client] = {}
        self._now = factory.EPOCH_AT
        self._faults = {(fault.process, fault.life): fault for fault in faults}
        self._points = points
        self._turns = random.Random(f"turns {setup.turns}")
        self._processes: dict[str, Process] = {}
        self._stops: dict[str, Event] = {}
        self._current: Process | None = None
        self._count = 0
        self._asleep: dict[str, int] = {}
        self._round = 0
        self._seen: tuple[Any, ...] = ()
        self._stopping = False
        self._forgetful: set[str] = set()
        self._forged: bytes | None = None
        self._voided = False
        self._halted: list[Duty] = []

    # --- running -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the scenario to its end, and check what must hold there."""
        try:
            with patched(
                {"projections.metadata.repository.LENGTH_ABOVE_BYTES": self.scenario.sizes.length_above, **_ONCE}
            ):
                self._run()
        finally:
            for process in self._processes.values():
                process.kill()
            for client in self._clients.values():
                client.close()

    def _run(self) -> None:
        with patched(self._replacements()):
            self._act()  # followers do not start on an empty log
            for duty in self.setup.duties:
                self._begin(duty)
            while not self._stopping:
                self._come_to_the_end()
                self._stop_all()
        self.oracle.at_end(self.trees, self.disks, self.scenario.project_events)
        self.oracle.check_told(self.told)
        if self.setup.has_clients:
            newcomer = Client()
            self._visit(newcomer)
            newcomer.close()

    def _come_to_the_end(self) -> None:
        for _ in range(MAX_TURNS):
            if not self._turn():
                return
        raise AssertionError("the world does not come to rest")

    def _turn(self) -> bool:
        """Let one process go on, or something happen. False: everything is over."""
        if self.setup.turns is not None and self._turns.random() < 0.02:
            self._deliver()
            self._act()
        runnable = [process for process in self._processes.values() if process.is_runnable]
        if runnable:
            awake = [process for process in runnable if self._asleep.get(process.name, 0) <= self._count]
            self._count += 1
            self._go_on(self._turns.choice(awake or runnable) if self.setup.turns is not None else runnable[0])
            return True
        return self._come_to_rest()

    def _come_to_rest(self) -> bool:
        """Everybody waits: let time pass; when that changes nothing, take the next action."""
        if self._deliver():
            return True
        progress = self._progress()
        if progress != self._seen:
            self._seen, self._round = progress, 0
        if self._round < len(IDLE_ROUNDS):
            self._now += timedelta(seconds=IDLE_ROUNDS[self._round])
            self._round += 1
        else:
            if not self._halted:
                self.oracle.at_rest(self.trees.values(), self._now)
                self._visit()
            if not self._act():
                return False
        for process in self._processes.values():
            process.wake()
        return True

    def _stop_all(self) -> None:
        """Stop everybody cleanly. Whoever dies meanwhile is started again, and has to come to the end anew."""
        self._stopping, self._round = True, 0
        for stop in self._stops.values():
            stop.set()
        for process in list(self._processes.values()):
            while not process.is_over:
                process.wake()
                self._go_on(process)

    def _go_on(self, process: Process) -> None:
        self._current = process
        process.go_on()
        if self.oracle.violation is not None:
            raise self.oracle.violation  # code under test may have caught it
        if process.is_over:
            self._ended(process)

    def _visit(self, newcomer: Client | None = None) -> None:
        if not self.setup.has_clients:
            return
        for name, tree in self.trees.items():
            if TIMESTAMP in tree.files:
                client = newcomer or self._clients.setdefault(name, Client())
                client.visit(tree.files, self._now)
                self.visits += 1

    # --- actions -------------------------------------------------------------------------------------------------

    def _act(self) -> bool:
        if self.taken == len(self.scenario.actions):
            return False
        action = self.scenario.actions[self.taken]
        self.taken += 1
        self._round = 0
        self._take(action)
        return True

    def _take(self, action: Action) -> None:
        if isinstance(action, Append):
            for path, data in stored_by(action.values):
                for tree in self.trees.values():
                    tree.store(path, data)
            self.events.values.extend(action.values)
        elif isinstance(action, Intrude):
            self.publications.values.append(action.make(self.events.values, self.publications.values))
        elif isinstance(action, Advance):
            self._now += timedelta(seconds=action.seconds)
        elif isinstance(action, Restart):
            duty = self.setup.duties[action.index % len(self.setup.duties)]
            self._stops[duty.name].set()
            if action.forgets:
                self._forgetful.add(duty.name)
        elif isinstance(action, Forge):
            self._forge()
        else:
            self._voided = True
            self.events.values.append(
                voiding(self.events.values, self._forged, action.team, action.make)
                if self._forged
                else b"nothing to void"
            )
            for duty in self._halted:
                self._begin(duty)
            self._halted.clear()

    def _forge(self) -> None:
        head = replay(self.events.values, self.publications.values, skip=False).head
        forged = forgery(self.events.values, head, self.scenario.keys)
        if forged is not None:
            self.publications.values.extend(forged)
            self._forged = forged[1]

    def _deliver(self) -> bool:
        """What was on its way from a process that died arrives."""
        for records in (self.events, self.publications):
            if records.late:
                records.values.append(records.late.pop(0))
                return True
        return False

    # --- processes -----------------------------------------------------------------------------------------------

    def _begin(self, duty: Duty) -> None:
        self.lives[duty.name] += 1
        life = self.lives[duty.name]
        assert life <= MAX_LIVES, f"{duty.name} does not stay alive: {self.exits}"
        process = Process(self, duty.name, life, self._faults.get((duty.name, life)))
        stop = self._stops[duty.name] = Event()
        self._processes[duty.name] = process
        context = cast("Context", _Context(self, duty, process))
        scenario = self.scenario
        schedule = Schedule(interval_seconds=scenario.interval_seconds, grace_seconds=scenario.grace_seconds)
        if duty.consumer == "once":
            process.start(lambda: self._publish_again_and_again(context, process, stop))
        elif duty.consumer == "publisher":
            process.start(lambda: server.run_publisher(context, stop))
        else:
            both = duty.consumer == "both"
            process.start(lambda: server.run_signer(context, schedule, stop, publishes=both))

    @staticmethod
    async def _publish_again_and_again(context: Context, process: Process, stop: Event) -> None:
        """What `tuf-ledger publish` does, again whenever time has passed."""
        while not stop.is_set():
            await publish_once(context, Schedule(interval_seconds=0, grace_seconds=0))
            process.wait(lambda: False)

    def _ended(self, process: Process) -> None:
        """A process ended: start it again, if it died as planned, was asked to, or met what passes."""
        duty = next(duty for duty in self.setup.duties if duty.name == process.name)
        error, process.error = process.error, None
        process.alive = False
        self.disks[duty.name].crash()
        self._settle_staging(process)
        if isinstance(error, Crash) and self.setup.fate in POWER:
            chance = random.Random(f"power {self.scenario.seed} {process} {process.calls}")
            self.disks[duty.name].lose_unsynced(chance)
            self.trees[duty.tree].lose_unsynced(chance, links_too=self.setup.fate == "power, links too")
            self.oracle.survived(self.trees[duty.tree])
        if duty.name in self._forgetful:
            self._forgetful.discard(duty.name)
            self.disks[duty.name].erase()
        if error is None and self._stopping:
            return
        self._stopping = False
        self.exits[type(error).__name__] += 1
        halted = isinstance(error, DivergenceError) and self._forged is not None
        if halted and not self._voided:
            self._halted.append(duty)
            return
        if error is not None and not halted and not (process.faulted and _may_pass(error)):
            raise error
        self._begin(duty)

    def _settle_staging(self, process: Process) -> None:
        for tree in self.trees.values():
            staged = tree.staged.get(process.name, {})
            if self.setup.fate == "lost" or self.setup.fate in POWER:
                staged.clear()
            elif self.setup.fate == "some":
                chance = random.Random(f"{self.scenario.seed} {process}")
                for path in [path for path in sorted(staged) if chance.random() < 0.5]:
                    del staged[path]

    # --- what processes ask the world ----------------------------------------------------------------------------

    def now(self) -> datetime:
        """The true time."""
        return self._now

    def observe(self, process: Process, label: str, when: str) -> None:
        if self._points is not None:
            others = [(each.name, each.life, each.calls) for each in self._processes.values() if each is not process]
            self._points.append(
                Point(process.name, process.life, process.calls, when, label, (*self._durable(), *others))
            )

    def wants_to_interleave(self, process: Process) -> bool:
        """At every other call, say; and now and then a process is left alone for long."""
        if self.setup.turns is None:
            return False
        chance = self._turns.random()
        if chance < 0.01:
            self._asleep[process.name] = self._count + self._turns.randint(1, 400)
        return chance < 0.5

    def _progress(self) -> tuple[int, ...]:
        return (
            self.taken,
            self.lives.total(),
            len(self.events.values),
            len(self.publications.values),
            *(tree.writes for tree in self.trees.values()),
        )

    def _durable(self) -> tuple[Any, ...]:
        """What changes whenever anything durable does."""
        staged = [len(files) for tree in self.trees.values() for files in tree.staged.values()]
        return (
            self._now,
            *self._progress(),
            len(self.publications.late),
            *(disk.writes for disk in self.disks.values()),
            *(len(view.told) for view in self.told.values()),
            *(staged if self.setup.fate in {"kept", "some"} else ()),
        )

    def _replacements(self) -> dict[str, Any]:
        """The modules under test with this world's clock and threads."""
        return {
            "consumers.service.opening.ThreadWorkers": InlineWorkers,
            "consumers.service.opening.start_follower": self._start_follower,
            "consumers.service.publishing.SystemClock": self._clock,
            "consumers.sign.signer.monotonic": self._monotonic,
            "consumers.sign.signer.SigningSealer": self._sealer,
            "consumers.render.rounds.serial.token_hex": lambda _: "",
            "consumers.render.rounds.serial.hash": lambda key: crc32(key.encode()),
        }

    async def _start_follower(self, *arguments: Any, **options: Any) -> Follower:
        """Every follower has an observer."""
        observers = [SimObserver(self.told, self._running())]
        return await start_follower(*arguments, **{**options, "observers": observers})

    def _monotonic(self) -> float:
        return (self._now - factory.EPOCH_AT).total_seconds()

    def _clock(self) -> SystemClock:
        process = self._running()
        skew = timedelta(seconds=random.Random(f"skew {self.scenario.seed} {process.name}").choice([0, 0, -20, 20]))
        return cast("SystemClock", SimClock(self.now, skew, process))

    def _sealer(self, *arguments: Any) -> SigningSealer:
        return _NotingSealer(self._running(), *arguments)

    def _running(self) -> Process:
        if self._current is None:
            raise Crash("nobody runs")
        return self._current


_really_verify = keys.verify
_verified: dict[tuple[str, str, bytes], bool] = {}


def _verify(key: SSlibKey, signature: str, payload: bytes) -> bool:
    """Whether a signature is valid: found out once for all runs."""
    question = key.keyid, signature, payload
    if question not in _verified:
        _verified[question] = _really_verify(key, signature, payload)
    return _verified[question]


_really_judge = authority.judge_ceremony
_judged: dict[tuple[Any, ...], Any] = {}


def _judge_ceremony(current: authority.Authority | None, root_sha256: str, documents: Any, size: int) -> Any:
    """What becomes of a ceremony: found out once for all runs."""
    before = None if current is None else (*(each.file for each in current.documents), *current.voids)
    question = before, root_sha256, json.encode(documents), size
    if question not in _judged:
        _judged[question] = _really_judge(current, root_sha256, documents, size)
    return _judged[question]


_ONCE = {"projections.roles.keys.verify": _verify, "projections.log.prefix.judge_ceremony": _judge_ceremony}


@contextmanager
def patched(replacements: Mapping[str, Any]) -> Iterator[None]:
    """With these names replaced."""
    with ExitStack() as stack:
        for name, value in replacements.items():
            stack.enter_context(patch(name, value))
        yield


class _NotingSealer(SigningSealer):
    """Lets keys know which role they sign: a bin's payload does not say which bin it is."""

    def __init__(self, process: Process, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._process = process

    def signatures(self, name: str, payload: bytes) -> dict[str, str]:
        self._process.sealing = name
        return super().signatures(name, payload)


class _Context:
    """What a consumer is given, over the ports of one process. Contract: `consumers.context.Context`."""

    def __init__(self, world: World, duty: Duty, process: Process) -> None:
        self._world = world
        self._duty = duty
        self._process = process
        self.state = NOWHERE / f"{id(world)}" / duty.name
        self.config = SimpleNamespace(signer=SimpleNamespace(served=""))
        self.limits = world.scenario.sizes.limits

    def logs(self) -> Logs:
        size = self._world.scenario.sizes.read_records
        return Logs(
            SimLog(self._world.events, self._process, size), SimLog(self._world.publications, self._process, size)
        )

    def store(self, name: str) -> Store:
        disk = SimDisk(self._world.disks[self._duty.name], self._process, self._world.oracle.committed)
        return Store(
            self.state / f"{name}.sqlite", disk=disk, new_thread=AtOnce, many_rows=self._world.scenario.sizes.many_rows
        )

    def storage(self, _name: str) -> SimStorage:
        return SimStorage(self._world.trees[self._duty.tree], self._duty.name, self._process)

    def served(self, _setting: str) -> SimStorage:
        return self.storage("served")

    def give_up(self) -> None:
        """Nothing is fetched."""

    def keyring(self) -> SimKeyring:
        return SimKeyring(self._world.scenario.keys, self._process, self._world.oracle.signed)
