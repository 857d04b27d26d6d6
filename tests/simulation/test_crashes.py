"""One signer: it dies at every port call, is started again, and comes to the same end as a replay of the logs."""

from collections.abc import Callable

import pytest

from tests.simulation.counting import record
from tests.simulation.enumeration import ONE_SIGNER, explore

LENGTH = 3
"""Short scenarios, so that every crash point of many can be enumerated; sampled ones are as long as they come."""
SAMPLED = [(name, seed) for name in sorted(set(ONE_SIGNER) - {"crash"}) for seed in range(100, 103)]


@pytest.mark.parametrize("seed", range(8))
def test_every_crash_point_of_one_signer(seed: int, record_property: Callable[[str, object], None]) -> None:
    family = ONE_SIGNER["crash"]
    record(record_property, family.name, explore(family, seed, length=LENGTH))


@pytest.mark.parametrize(("name", "seed"), SAMPLED)
def test_some_of_all_other_troubles(name: str, seed: int, record_property: Callable[[str, object], None]) -> None:
    family = ONE_SIGNER[name]
    record(record_property, family.name, explore(family, seed, count=12))
