"""The emergency brake: events beyond a hold are not published, and what is published stays fresh."""

import pytest

from tests import factory
from tests.client.attacker import Attacker
from tests.client.index import FakeClock, Index
from tests.factory import Make


def test_a_hold_and_its_release(index: Index) -> None:
    make = Make()
    index.upload("one")
    before = index.publish_and_check()
    hold = make.signing_held(reason="somebody's token was stolen")
    index.append(hold)
    index.upload("two")
    assert index.publish() == before.number
    seen = index.publish_and_check("--renew")
    assert (seen.size, seen.projects) == (before.size, before.projects)
    index.append(make.signing_released(hold.id))
    assert list(index.publish_and_check().projects) == ["one", "two"]
    assert index.ask_list("rejected", "--all") == []


def test_a_held_service_renews_what_it_has_published(
    tmp_path_factory: pytest.TempPathFactory, clock: FakeClock
) -> None:
    index = Index.create(tmp_path_factory.mktemp("held") / "index", clock=clock)
    index.upload("one")
    before = index.publish_and_check()
    index.append(Make().signing_held())
    index.upload("two")
    for _ in range(20):
        clock.advance(hours=12)
        index.publish()
        assert index.check()._replace(number=0) == before._replace(number=0)


def test_a_hold_at_an_earlier_size_stops_where_the_log_is_published(index: Index) -> None:
    make = Make()
    index.upload("one")
    before = index.publish_and_check()
    index.append(make.signing_held(size=1))
    index.upload("two")
    assert index.publish_and_check("--renew").projects == before.projects


def test_the_lowest_of_several_holds_counts(index: Index) -> None:
    make = Make()
    first = make.signing_held()
    index.append(first)
    index.upload("one")
    second = make.signing_held()
    index.append(second)
    index.upload("two")
    index.publish()
    assert index.check().projects == {}
    index.append(make.signing_released(first.id))
    assert list(index.publish_and_check().projects) == ["one"]
    index.append(make.signing_released(second.id))
    assert list(index.publish_and_check().projects) == ["one", "two"]


def test_an_open_claim_beyond_a_hold_is_voided(index: Index) -> None:
    """A signer claimed and died, then came the hold: nobody completes that claim."""
    make = Make()
    index.upload("one")
    claimed = Attacker(index).claim()  # as the signer would have
    hold = make.signing_held(size=2)
    index.append(hold)
    seen = index.publish_and_check()
    assert seen.number > claimed.signed.number
    assert seen.projects == {}
    index.append(make.signing_released(hold.id))
    assert list(index.publish_and_check().projects) == ["one"]


def test_info_shows_a_hold(index: Index) -> None:
    hold = Make().signing_held()
    index.append(hold)
    index.upload("one")
    index.publish("--renew")
    assert index.info()["held_at"] == 2
    assert "held" in index.run("info")


def test_an_event_that_is_held_is_not_answered(index: Index) -> None:
    index.append(Make().signing_held())
    event = factory.encode([Make().project_created("held")])[0]
    output = index.run("append", "--wait", "--wait-seconds", "0.2", stdin=event, answer=75)
    assert "that signing is not held" in output
