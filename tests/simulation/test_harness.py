"""The simulation finds mistakes: each is planted into code that is otherwise as it is, and something must not hold.

And what it says of itself is true: all ports can fail on both sides of their effects, and one run stands for others.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumers.follow.observing import Observers
from consumers.follow.served import ServedAheadError, check_not_ahead
from consumers.render.edition import DivergenceError
from consumers.render.outlets import PublicOutlet
from consumers.sign.signer import Signer
from ledger.disk.syncing import sync_all
from ledger.logs import LogUnavailableError
from ledger.state import StateDamagedError
from ledger.state.file import StateFile
from ledger.state.kept_files import KeptFiles
from ledger.storage import Placed
from projections.log.prefix import Prefix
from projections.metadata.paths import TIMESTAMP
from projections.publications import OpenClaim
from schemas.codec import decode_publication_record
from schemas.publications import Claim, Record
from tests.simulation import replay
from tests.simulation.enumeration import (
    ONE_SIGNER,
    TWO_SIGNERS,
    Family,
    crash_at,
    crashes,
    explore,
    failures,
    points_of,
    sample,
)
from tests.simulation.ports import Records, SimLog, SimStorage
from tests.simulation.processes import Crash, Fault, How, Process, run
from tests.simulation.scenarios import scenario
from tests.simulation.world import Setup, World, patched


@pytest.fixture(autouse=True)
def _forget_replays() -> Iterator[None]:
    """What was replayed by code with a mistake is not for other tests."""
    replay.forget()
    yield
    replay.forget()


# --- planted mistakes --------------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """Code in place of other code, a family of trouble in which it shows, and what is said of it."""

    changes: dict[str, Any]
    family: Family
    message: str
    error: type[Exception] | tuple[type[Exception], ...] = AssertionError


_append = Signer._append
_start = Observers.start
_close = StateFile.close
_commit = StateFile.commit
_create = KeptFiles.create
_finish = PublicOutlet.finish
_place = SimStorage.place
_sync = SimStorage.sync
_take_place = StateFile._take_place


async def _append_and_believe(signer: Any, value: bytes) -> None:
    """A claim counts as the first one without being read back."""
    record = decode_publication_record(value)
    if not isinstance(record, Record) or not isinstance(record.signed, Claim):
        await _append(signer, value)
        return
    await signer._publications.append([value])
    reader = signer._follower.reader
    reader.state = reader.state._replace(open_claim=OpenClaim(record.signed, sha256(value).hexdigest()))


async def _read_log_then_served(signer: Any) -> Prefix:
    end: Prefix = await signer._follower.catch_up_to_end()
    if not signer._checked_served:
        for _ in range(30):
            signer._clock.now()  # it is slow: others may go on at each call
        timestamp = signer._read_served(TIMESTAMP)
        await check_not_ahead(timestamp, signer._follower, above=0, lost=0)
        signer._checked_served = True
    return end


async def _find_nothing(*_: object) -> None:
    pass


def _timestamp_first(outlet: Any, number: int, timestamp: bytes) -> None:
    outlet._storage.replace(TIMESTAMP, timestamp)
    _finish(outlet, number, timestamp)


def _roots_last(outlet: Any, number: int, timestamp: bytes) -> None:
    roots = dict(outlet._edition.roots)
    if number > 1:
        outlet._edition.roots.clear()
    _finish(outlet, number, timestamp)
    for version, root in roots.items():
        outlet._storage.replace(f"metadata/{version}.root.json", root)


def _sync_timestamps(storage: Any, paths: set[str]) -> None:
    if paths == {TIMESTAMP}:
        _sync(storage, paths)


def _place_and_claim(storage: Any) -> Placed:
    """A storage says that it has synced everything, and has not."""
    return _place(storage)._replace(synced=sync_all())


def _commit_and_delete(state: Any, *, after: Any = None) -> None:
    """What a commit replaces is deleted before it is durable."""
    _commit(state, after=after)
    unneeded, state._unneeded_files = state._unneeded_files, []
    state.kept.delete(unneeded)


def _take_place_unsynced(state: Any) -> None:
    """A new file replaces the state before it is durable."""
    is_durable, state._durable = state._durable, False
    try:
        _take_place(state)
    finally:
        state._durable = is_durable


def _tidy(state: Any) -> None:
    """Nobody looks for files that are left over."""
    state.kept.tidy()


def _end_cleanly(state: Any) -> None:
    """However it ends, the next start is told that nothing is left over."""
    state._unended = 0
    _close(state)


def _create_unsynced(kept: Any, *, durable: bool) -> KeptFiles:
    """A state exists before its key is durable."""
    return _create(kept, durable=not durable)


async def _start_and_forget(observers: Any, head: Any, state: Path) -> None:
    """A follower does not remember what its observer keeps."""
    await _start(observers, head, state)
    observers._kept = [None for _ in observers._kept]


MISTAKES = {
    "a signer signs before it reads its claim back": Mistake(
        {"consumers.sign.signer.Signer._append": _append_and_believe}, TWO_SIGNERS["at once"], "was signed twice"
    ),
    "a signer reads what is served after the log, and looks at nothing that came meanwhile": Mistake(
        {
            "consumers.sign.signer.Signer._catch_up": _read_log_then_served,
            "consumers.follow.examining._find_coming": _find_nothing,
        },
        TWO_SIGNERS["at once"],
        "the log's last publication is number|other plain pages",
        (ServedAheadError, AssertionError),  # whichever comes first
    ),
    "a signer does not complete the claim that it left open": Mistake(
        {"consumers.sign.signer.Signer._may_complete": lambda *_: False},
        ONE_SIGNER["crash"],
        "not served|nothing is served",
    ),
    "a publisher shows the timestamp first": Mistake(
        {"consumers.render.outlets.PublicOutlet.finish": _timestamp_first},
        ONE_SIGNER["crash"],
        "is reachable, and missing",
    ),
    "a publisher shows roots last": Mistake(
        {"consumers.render.outlets.PublicOutlet.finish": _roots_last},
        ONE_SIGNER["crash"],
        "timestamp .* was signed by 0/1",
    ),
    "a publisher lowers the timestamp": Mistake(
        {"consumers.render.outlets.served_version": lambda _: 0}, ONE_SIGNER["power"], "the served timestamp went back"
    ),
    "a storage claims to have synced what a state keeps": Mistake(
        {"tests.simulation.ports.SimStorage.place": _place_and_claim},
        ONE_SIGNER["power"],
        "has other bytes than were written",
        StateDamagedError,
    ),
    "a storage loses unsynced files": Mistake(
        {"tests.simulation.ports.SimStorage.sync": _sync_timestamps}, ONE_SIGNER["power"], "is reachable, and missing"
    ),
    "a state deletes what a power failure may bring back": Mistake(
        {"ledger.state.file.StateFile.commit": _commit_and_delete},
        ONE_SIGNER["power"],
        "cannot be read: No such file|has other bytes than were written",
        StateDamagedError,
    ),
    "a state names files that are not on the disk": Mistake(
        {"ledger.state.kept_files.KeptFiles.sync": lambda *_: None},
        ONE_SIGNER["power"],
        "cannot be read: No such file|has other bytes than were written",
        StateDamagedError,
    ),
    "a state takes its place before it is durable": Mistake(
        {"ledger.state.file.StateFile._take_place": _take_place_unsynced},
        ONE_SIGNER["power"],
        "is not what its events make|was signed twice|is damaged|has other bytes",
        (AssertionError, DivergenceError, StateDamagedError),  # whichever comes first
    ),
    "a state exists before its key is durable": Mistake(
        {"ledger.state.kept_files.KeptFiles.create": _create_unsynced},
        ONE_SIGNER["power"],
        "is missing or cut off",
        StateDamagedError,
    ),
    "a state does not look for what a crash left over": Mistake(
        {"ledger.state.file.StateFile._delete_leftover_files": _tidy},
        ONE_SIGNER["crash"],
        "kept files are left over",
    ),
    "a state calls every end clean": Mistake(
        {"ledger.state.file.StateFile.close": _end_cleanly},
        ONE_SIGNER["failure"],
        "kept files are left over",
    ),
    "an observer is told again what it keeps": Mistake(
        {"consumers.follow.observing.Observers.start": _start_and_forget}, ONE_SIGNER["crash"], "is told again"
    ),
    "a state keeps what was not published": Mistake(
        {"ledger.state.file.StateFile.rollback": StateFile.commit},
        TWO_SIGNERS["at once"],
        "lists other records than a replay|is not what its events make|has other bytes|kept files are left over",
        (AssertionError, DivergenceError, StateDamagedError),  # whichever comes first
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_found(mistake: Mistake) -> None:
    with patched(mistake.changes), pytest.raises(mistake.error, match=mistake.message):
        _explore(mistake.family, range(300, 340))


def _explore(family: Family, seeds: Iterable[int]) -> None:
    for seed in seeds:
        explore(family, seed, count=5)


# --- what it says of itself --------------------------------------------------------------------------------------

SMALL = scenario(300, length=1)


def test_every_port_can_fail_on_both_sides_of_its_effect() -> None:
    points = points_of(scenario(301), Setup())
    ports = ("log", "state", "disk", "storage", "clock", "signer", "observer")
    assert {(point.port, point.when) for point in points} == set(product(ports, ("before", "after")))
    assert {trial.faults[0].how for trial in failures(points)} == {"error before", "error after", "late"}
    assert sum(len(trial.points) for trial in crashes(points)) == len(points)


@pytest.mark.parametrize(
    ("how", "error", "on_the_log", "on_its_way"),
    [
        ("before", Crash, [], []),
        ("after", Crash, [b"record"], []),
        ("error before", LogUnavailableError, [], []),
        ("error after", LogUnavailableError, [b"record"], []),
        ("late", Crash, [], [b"record"]),
    ],
)
def test_what_an_append_leaves(
    how: How, error: type[BaseException], on_the_log: list[bytes], on_its_way: list[bytes]
) -> None:
    records = Records("events")
    log = SimLog(records, Process(replay.Alone(), "writer", 1, Fault("writer", 1, 2, how)), 10)
    run(log.open())
    with pytest.raises(error):
        run(log.append([b"record"]))
    assert (records.values, records.late) == (on_the_log, on_its_way)


def test_one_run_stands_for_all_of_its_crash_points() -> None:
    trials = [trial for trial in crashes(points_of(SMALL, Setup())) if len(trial.points) > 1]
    for trial in sample(trials, 20, "merged"):
        assert _end(*trial.faults) == _end(crash_at(trial.points[0]))


def test_the_same_seeds_give_the_same_run() -> None:
    for setup in (Setup(), TWO_SIGNERS["at once"].setup(7)):
        assert points_of(SMALL, setup) == points_of(SMALL, setup)


def _end(*faults: Fault) -> tuple[Any, ...]:
    world = World(SMALL, Setup(), faults)
    world.run()
    return world.events.values, world.publications.values, [tree.files for tree in world.trees.values()]
