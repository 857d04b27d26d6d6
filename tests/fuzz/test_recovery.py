"""Random histories, random suspects: the plan leads to the clean state, or says what it cannot do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.roles.authority import Terms
from tests import factory
from tests.incidents.converging import World, accepted, outcomes, plan, unexplained
from tests.property.histories import FREEABLE, freeing_histories, histories, narrow_histories

FREEABLE_ROOT = factory.freeable_root(FREEABLE)
IMPORTING = (Terms(0, importing=True, freeable=(FREEABLE_ROOT,)),)
AFTER = (Terms(0, importing=True, freeable=(FREEABLE_ROOT,)), Terms(12, freeable=(FREEABLE_ROOT,)))


@st.composite
def incidents(draw: st.DrawFn) -> tuple[World, set[int]]:
    """A log, and the indices of suspects."""
    values = draw(st.one_of(histories(), narrow_histories(), freeing_histories()))
    world = World([b"{}", *values], draw(st.sampled_from([IMPORTING, AFTER])))
    part = draw(st.sampled_from([2, 4, 10]))
    suspects = {index for index in range(1, len(values) + 1) if draw(st.integers(0, part)) == 0}
    return world, suspects


@given(incidents(), st.data())
@settings(max_examples=500)
def test_plans_converge(incident: tuple[World, set[int]], data: st.DataObject) -> None:
    world, suspects = incident
    planned = plan(world, suspects)
    values, size = [record.value for record in planned.records], len(world.values)
    assert not [each for each in planned.plan.head.residuals if each.code == "differs"]
    once = world.and_then(values)
    assert accepted(once, planned.records, size) == []
    assert unexplained(once, suspects, planned) == []
    cut = data.draw(st.integers(0, len(values)))
    again = world.and_then([*values[:cut], *values])
    assert unexplained(again, suspects, planned) == []
    known = outcomes(again)
    assert {known[size + at].verdict for at in range(cut)} <= {"accepted"}
    assert {known[size + cut + at][:2] for at in range(cut)} <= {("no effect", "repeated")}
