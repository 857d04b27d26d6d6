"""Two signers: whichever dies, wherever, and whoever goes on, no version gets two contents."""

from collections.abc import Callable

import pytest

from tests.simulation.counting import record
from tests.simulation.enumeration import TWO_SIGNERS, explore

SAMPLED = [(name, seed) for name in sorted(set(TWO_SIGNERS) - {"in turn"}) for seed in range(200, 204)]


@pytest.mark.parametrize("seed", range(3))
def test_every_crash_point_of_two_signers(seed: int, record_property: Callable[[str, object], None]) -> None:
    family = TWO_SIGNERS["in turn"]
    record(record_property, family.name, explore(family, seed, length=2))


@pytest.mark.parametrize(("name", "seed"), SAMPLED)
def test_some_of_all_other_troubles(name: str, seed: int, record_property: Callable[[str, object], None]) -> None:
    family = TWO_SIGNERS[name]
    record(record_property, family.name, explore(family, seed, count=9))
