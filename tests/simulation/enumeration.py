"""Every crash point of a scenario, and the families of trouble that are made of them.

A scenario is run once without a fault, which lists all port calls. Then it is run again for each of them. A process
leaves nothing behind but what is durable. So of the points between which nothing durable changed, and nobody else did
anything, one run stands for all: that of the last of them, at which most was signed.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from tests.simulation.counting import Tally
from tests.simulation.ports import Fate
from tests.simulation.processes import Fault, How
from tests.simulation.scenarios import Scenario, scenario
from tests.simulation.world import Duty, Point, Setup, World

T = TypeVar("T")
CLIENTS_EVERY = 15
"""Clients look at the first run of a seed and at one in so many of the others: they take as long as all the rest."""


class Trial(NamedTuple):
    """What goes wrong in a run, and the points of another that it stands for."""

    faults: tuple[Fault, ...]
    points: Sequence[Point]


def points_of(chosen: Scenario, setup: Setup, *faults: Fault) -> list[Point]:
    """All port calls of a run, each before its effect and after."""
    points: list[Point] = []
    World(chosen, setup, faults, points=points).run()
    return points


# --- what goes wrong ---------------------------------------------------------------------------------------------


def crashes(points: Iterable[Point]) -> list[Trial]:
    """Crashes that stand for all of these points."""
    found: dict[object, list[Point]] = {}
    for point in points:
        found.setdefault((point.process, point.life, point.left), []).append(point)
    return [Trial((crash_at(group[-1]),), group) for group in found.values()]


def crash_at(point: Point) -> Fault:
    """The process dies there."""
    return _fault(point, "before" if point.when == "before" else "after")


def failures(points: Iterable[Point]) -> list[Trial]:
    """Each call fails, without its effect and with it, and the process lives to clean up.

    Or, at an append: the process dies, and the record arrives only when the next life has begun.
    """
    trials = []
    for point in points:
        if point.label != "clock.now":
            trials.append(Trial((_fault(point, "error before" if point.when == "before" else "error after"),), [point]))
        if point.label.endswith(".append") and point.when == "before":
            trials.append(Trial((_fault(point, "late"),), [point]))
    return trials


def _fault(point: Point, how: How) -> Fault:
    return Fault(point.process, point.life, point.call, how)


def sample(items: Sequence[T], count: int | None, seed: object) -> Sequence[T]:
    """So many of them, in their order; None: all."""
    if count is None or len(items) <= count:
        return items
    chosen = random.Random(f"sample {seed}").sample(range(len(items)), count)
    return [items[index] for index in sorted(chosen)]


# --- families ----------------------------------------------------------------------------------------------------

Trials = Callable[[Scenario, Setup, Sequence[Point], int | None], Iterable[Trial]]


def dies(chosen: Scenario, _setup: Setup, points: Sequence[Point], count: int | None) -> Iterable[Trial]:
    """A process dies at a call."""
    return sample(crashes(points), count, chosen.seed)


def dies_again(chosen: Scenario, setup: Setup, points: Sequence[Point], count: int | None) -> Iterable[Trial]:
    """A process dies at a call, and again in its next life."""
    first = sample(crashes(points), None if count is None else 4, chosen.seed)
    for (fault,), _ in first:
        next_life = (fault.process, fault.life + 1)
        after = [point for point in points_of(chosen, setup, fault) if (point.process, point.life) == next_life]
        for trial in sample(crashes(after), None if count is None else count // 4, fault):
            yield Trial((fault, *trial.faults), trial.points)


def fails(chosen: Scenario, _setup: Setup, points: Sequence[Point], count: int | None) -> Iterable[Trial]:
    """A call fails."""
    return sample(failures(points), count, chosen.seed)


class Family(NamedTuple):
    """A kind of trouble: who runs, and what goes wrong. The seed says what becomes of staged files, and who goes on."""

    name: str
    duties: tuple[Duty, ...]
    trials: Trials
    fates: tuple[Fate, ...] = ("lost", "kept", "some")
    at_once: bool = False
    has_thief: bool = False

    def setup(self, seed: int) -> Setup:
        """The setup of a seed."""
        return Setup(self.duties, seed if self.at_once else None, self.fates[seed % len(self.fates)])


ONE = (Duty("a", "both"),)
ONCE = (Duty("a", "once"),)
APART = (Duty("signer", "signer"), Duty("publisher", "publisher"))
TWO = (Duty("signer 1", "signer"), Duty("signer 2", "signer"), Duty("publisher", "publisher"))
TWO_TREES = (Duty("a", "both"), Duty("b", "both", "another tree"))

ONE_SIGNER = {
    "crash": Family("one signer that publishes; it dies at any call", ONE, dies),
    "twice": Family("one signer that publishes; it dies, and dies again in its next life", ONE, dies_again),
    "failure": Family("one signer that publishes; a call fails, or an append arrives late", ONE, fails),
    "power": Family("one signer that publishes; the power fails at any call", ONE, dies, fates=("power",)),
    "thief": Family("one signer that publishes; its key is stolen, and it dies", ONE, dies, has_thief=True),
    "apart": Family("a signer and a publisher; each dies at any call", APART, dies),
    "command": Family("the command `publish`; it dies at any call", ONCE, dies),
}
TWO_SIGNERS = {
    "in turn": Family("two signers and a publisher, in turn; each dies at any call", TWO, dies),
    "at once": Family("two signers and a publisher, at once; each dies at any call", TWO, dies, at_once=True),
    "failure": Family("two signers and a publisher, at once; a call fails", TWO, fails, at_once=True),
    "thief": Family("two signers and a publisher, at once; a key is stolen", TWO, dies, at_once=True, has_thief=True),
    "two trees": Family("two signers that publish, each to its own tree, at once", TWO_TREES, dies, at_once=True),
}


# --- running -----------------------------------------------------------------------------------------------------


def explore(
    family: Family,
    seed: int,
    *,
    length: int | None = None,
    count: int | None = None,
    chosen: Scenario | None = None,
) -> Tally:
    """Run the scenario of a seed, or a chosen one, without a fault, and then with so many of the family's faults (None:
    all).

    Raises:
        AssertionError: something did not hold. A note says which run it was.
    """
    chosen = chosen or scenario(seed, length=length, has_thief=family.has_thief)
    setup, tally, points = family.setup(seed), Tally(), list[Point]()

    def run(faults: tuple[Fault, ...], points: list[Point] | None = None) -> None:
        world = World(chosen, setup._replace(has_clients=tally.runs % CLIENTS_EVERY == 0), faults, points=points)
        try:
            world.run()
        except BaseException as error:
            error.add_note(f"{family.name}: scenario({seed}, {length=}, has_thief={family.has_thief}), {faults}")
            raise
        tally.runs += 1
        tally.visits += world.visits

    run((), points)
    for trial in family.trials(chosen, setup, points, count):
        run(trial.faults)
        tally.points.update(point.port for point in trial.points)
    return tally
