"""Plans for histories whose answer is known, one rule of planning each."""

from typing import Any

import msgspec
import pytest

from projections.roles.authority import Terms
from schemas import events
from schemas.codec import decode_event
from tests.factory import Make, encode
from tests.incidents.converging import Planned, World, accepted, plan, unexplained


def planned(suspects: set[int], *made: events.BaseEvent | bytes) -> Planned:
    """The plan for a log of these events, from index 1 on. It is appended, and it converges."""
    values = [each if isinstance(each, bytes) else encode([each])[0] for each in made]
    world = World([b"{}", *values], (Terms(0, importing=True),))
    found = plan(world, suspects)
    after = world.and_then([record.value for record in found.records])
    assert accepted(after, found.records, len(world.values)) == []
    assert unexplained(after, suspects, found) == []
    return found


@pytest.fixture
def make() -> Make:
    return Make()


def test_the_longest_event_is_repeated(make: Make) -> None:
    """What its data has besides facts is not repeated: else the repetition might be too long for a record."""
    honest = msgspec.json.decode(encode([make.file_uploaded("a", "2")])[0])
    honest["data"]["more"] = "x" * 64_900
    value = msgspec.json.encode(honest)
    assert isinstance(decode_event(value), events.FileUploaded)
    found = planned({2}, make.file_uploaded("a", "1"), make.project_status_changed("a", "archived"), value)
    steps: list[dict[str, Any]] = [step.event for step in found.plan.steps]
    assert steps[-1]["data"].keys() == {"filename", "version", "length", "hashes"}
    assert steps[-1]["time"] == honest["time"]
