"""Every crash point of a scenario.

A scenario is run once without a fault, which lists all port calls. Then it is run again for each of them. A process
leaves nothing behind but what is durable, so of the points between which nothing durable changed one run stands for
all: that of the last of them, at which most was signed.
"""

import random
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation.processes import Fault, How
from tests.simulation.scenarios import Scenario
from tests.simulation.world import Point, Setup, World


def points_of(scenario: Scenario, setup: Setup, faults: Sequence[Fault] = ()) -> list[Point]:
    """All port calls of a run."""
    points: list[Point] = []
    World(scenario, setup, faults, points=points).run()
    return points


def crashes(points: Iterable[Point], *, merge: bool = True) -> list[Fault]:
    """A crash at each of these points; with `merge`, one for all between which nothing durable changed."""
    found: dict[object, Fault] = {}
    for point in points:
        how: How = "before" if point.when == "before" else "after"
        key = (point.process, point.durable) if merge else point
        found[key] = Fault(point.process, point.life, point.call, how)
    return list(found.values())


def late_appends(points: Iterable[Point]) -> list[Fault]:
    """A crash at each append, which has its effect only when the next life has begun."""
    return [
        Fault(point.process, point.life, point.call, "late")
        for point in points
        if point.when == "before" and point.label.endswith(".append")
    ]


def failures(points: Iterable[Point]) -> list[Fault]:
    """Each call fails, without its effect and with it; the process lives to clean up."""
    return [
        Fault(point.process, point.life, point.call, "error before" if point.when == "before" else "error after")
        for point in points
        if point.label != "clock.now"
    ]


def sample(faults: Sequence[Fault], count: int, seed: object) -> list[Fault]:
    """Some of them, in their order."""
    if len(faults) <= count:
        return list(faults)
    chosen = random.Random(f"sample {seed}").sample(range(len(faults)), count)
    return [faults[index] for index in sorted(chosen)]


def run_each(scenario: Scenario, setup: Setup, faults: Iterable[Fault | tuple[Fault, ...]]) -> Iterator[World]:
    """Run a scenario once for each of these faults, or groups of them."""
    for each in faults:
        group = (each,) if isinstance(each, Fault) else each
        world = World(scenario, setup, group)
        try:
            world.run()
        except BaseException as error:
            error.add_note(f"scenario {scenario.seed}, {setup}, {group}")
            raise
        yield world
