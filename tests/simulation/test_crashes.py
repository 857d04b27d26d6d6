"""One signer: it dies at every port call, is started again, and comes to the same end as a replay of the logs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from projections.log.prefix import Prefix
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from tests import factory
from tests.factory import Make, Team
from tests.simulation.counting import record
from tests.simulation.enumeration import ONE, ONE_SIGNER, Family, dies, explore
from tests.simulation.scenarios import BIN_EXPIRY_SECONDS, Action, Advance, Append, Scenario, Sizes, break_in, scenario
from tests.simulation.world import Setup, World

LENGTH = 3
"""Short scenarios, so that every crash point of many can be enumerated; sampled ones are as long as they come."""
SAMPLED = [
    pytest.param(name, seed, marks=[pytest.mark.slow] if seed > 100 else [])
    for name in sorted(set(ONE_SIGNER) - {"crash"})
    for seed in range(100, 103)
]
LONG = {3, 6, 7}
"""Seeds of scenarios with many crash points."""


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed in LONG else []) for seed in range(1, 8)]
)
def test_every_crash_point_of_one_signer(seed: int, record_property: Callable[[str, object], None]) -> None:
    family = ONE_SIGNER["crash"]
    record(record_property, family.name, explore(family, seed, length=LENGTH))


@pytest.mark.parametrize(("name", "seed"), SAMPLED)
def test_some_of_all_other_troubles(name: str, seed: int, record_property: Callable[[str, object], None]) -> None:
    family = ONE_SIGNER[name]
    record(record_property, family.name, explore(family, seed, count=12))


def test_plain_pages_survive_a_power_failure() -> None:
    family = Family("the power fails, and links are lost", ONE, dies, fates=("power, links too",))
    for seed in (1, 5):
        explore(family, seed, count=15)


# --- holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"layout": Layout(1)},
        {"layout": Layout(2, "other")},
        {"layout": Layout(3)},
        {"online": (factory.ed25519_signer("online 2"),)},
    ],
    ids=["fewer bins", "other names", "more bins", "another key"],
)
def test_what_is_served_stays_fresh_while_a_ceremony_waits_behind_a_hold(change: dict[str, Any]) -> None:
    """It does not expire, although the roles at the end of the log know other bins and keys."""
    World(_held(change), Setup()).run()


@pytest.mark.parametrize("name", ["crash", "apart", pytest.param("failure", marks=pytest.mark.slow)])
def test_a_break_in_with_one_signer(name: str, record_property: Callable[[str, object], None]) -> None:
    """No client fails or sees a held event, whatever dies; one publication shows the result."""
    family = ONE_SIGNER[name]
    record(record_property, family.name, explore(family, 1, count=25, chosen=break_in(at_once=False)))


def _held(change: dict[str, Any]) -> Scenario:
    drawn = scenario(1)
    make = Make()
    team = Team(
        layout=Layout(2),
        settings=Settings(
            ruleset=0,
            bin_expiry_seconds=BIN_EXPIRY_SECONDS,
            snapshot_expiry_seconds=1500,
            timestamp_expiry_seconds=1000,
        ),
    )
    beginning = factory.beginning(make, team)
    prefix, _ = Prefix().extend(beginning)
    upload, hold = make.file_uploaded("demo"), make.signing_held()
    ceremony = make.roles_signed(factory.ceremony(team.but(**change), prefix.authority, team))
    waiting = [Advance(400) for _ in range(2 * BIN_EXPIRY_SECONDS // 400)]
    values = factory.encode([upload, hold, ceremony, make.signing_released(hold.id)])
    appended = [Append((value,)) for value in values]
    actions: tuple[Action, ...] = (Append(tuple(beginning)), *appended[:3], *waiting, *appended[3:])
    return replace(drawn, actions=actions, repeating=True, sizes=Sizes(), project_events=((2, values[0]),))
