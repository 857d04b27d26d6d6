"""Two signers: whichever dies, wherever, and whoever goes on, no version is published with two contents."""

from collections.abc import Callable

import pytest

from projections import publications as chain
from tests import factory
from tests.factory import Make, Team
from tests.simulation.counting import record
from tests.simulation.enumeration import TWO_SIGNERS, explore
from tests.simulation.scenarios import break_in

SAMPLED = [
    pytest.param(name, seed, marks=[pytest.mark.slow] if seed > 200 else [])
    for name in sorted(set(TWO_SIGNERS) - {"in turn"})
    for seed in range(200, 204)
]


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.slow), 1, 2])
def test_every_crash_point_of_two_signers(seed: int, record_property: Callable[[str, object], None]) -> None:
    family = TWO_SIGNERS["in turn"]
    record(record_property, family.name, explore(family, seed, length=2))


@pytest.mark.parametrize(("name", "seed"), SAMPLED)
def test_some_of_all_other_troubles(name: str, seed: int, record_property: Callable[[str, object], None]) -> None:
    family = TWO_SIGNERS[name]
    record(record_property, family.name, explore(family, seed, count=9))


@pytest.mark.parametrize("name", ["in turn", "at once", pytest.param("failure", marks=pytest.mark.slow)])
def test_a_break_in_with_two_signers(name: str, record_property: Callable[[str, object], None]) -> None:
    """No client fails or sees a held event, whatever dies; one publication shows the result."""
    family = TWO_SIGNERS[name]
    chosen = break_in(at_once=family.at_once)
    record(record_property, family.name, explore(family, 1, count=20, chosen=chosen))


def test_a_number_is_not_claimed_again_while_the_keys_stay() -> None:
    """Else two signers with a ceremony between their claims sign one version twice, and both stand on the log."""
    make, team = Make(), Team()
    before = factory.ready_prefix(make, team)
    renewed = factory.ceremony(team, before.authority, team, everything=True)
    after, _ = factory.extend(before, make.roles_signed(renewed))
    assert (factory.authority_of(before).root.version, factory.authority_of(after).root.version) == (1, 2)
    assert before.ledger is not None
    head = chain.first_head(before.ledger)
    claims = [factory.claim(prefix, head, 1) for prefix in (before, after)]
    first, second = (factory.seal_claim(claim, team.online) for claim in claims)
    outcome = chain.judge_claim(second, claims[1], after, head, factory.opened(first))
    assert outcome.code == "number"
