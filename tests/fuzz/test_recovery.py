"""Random histories, random suspects: the plan leads to the clean state, or says what it cannot do."""

from random import Random

import pytest

from projections.outcomes import ACCEPTED
from tests.incidents.converging import accepted, outcomes, plan, unexplained
from tests.incidents.random_histories import random_upload, random_world

QUICK = 500
MANY = 20_000


def check(seed: int) -> None:
    """One history, with its plan appended once, twice, in two halves with a crash, and beside an honest upload."""
    random = Random(seed)
    world, suspects = random_world(random, random.randrange(3, 60))
    planned = plan(world, suspects)
    values, size = [record.value for record in planned.records], len(world.values)
    assert not [each for each in planned.plan.head.residuals if each.code == "differs"]
    once = world.and_then(values)
    assert accepted(once, planned.records, size) == []
    assert unexplained(once, suspects, planned) == []

    cut = random.randint(0, len(values))
    again = world.and_then([*values[:cut], *values])
    assert unexplained(again, suspects, planned) == []
    known = outcomes(again)
    assert all(known[size + at] is ACCEPTED for at in range(cut))
    assert {known[size + cut + at][:2] for at in range(cut)} <= {("no effect", "repeated")}

    upload = random_upload(random)
    beside = world.and_then([*values[:cut], upload, *values[cut:]])
    known = outcomes(beside)
    here = known[size + cut] is ACCEPTED
    for at, record in enumerate(planned.records[cut:], size + cut + 1):
        # What comes in between is never overwritten: the rest of the steps about this project are refused.
        expected = ("rejected", "expects") if here and record.key == "project:a" else ("accepted", "")
        assert known[at][:2] == expected


@pytest.mark.parametrize("part", range(10))
def test_plans_converge(part: int) -> None:
    for seed in range(part * QUICK // 10, (part + 1) * QUICK // 10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_many_plans_converge(part: int) -> None:
    for seed in range(QUICK + part * MANY // 20, QUICK + (part + 1) * MANY // 20):
        check(seed)
