"""The factory itself: the same arguments give the same bytes, and its defaults are accepted."""

from projections.log.prefix import Prefix
from projections.roles.authority import Settings
from schemas.codec import EVENT_TYPES, encode_event
from tests import factory
from tests.factory import Make, Team
from tests.property.ledger import begin


def test_events_and_ceremonies_repeat() -> None:
    assert factory.ceremony(Team()) == factory.ceremony(Team())
    files = factory.ceremony(Team())
    root_sha256 = factory.file_digest(files["root"])
    first, second = ([encode_event(event) for event in Make().one_of_each(root_sha256, files)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) == len(EVENT_TYPES)


def test_one_of_each_is_accepted() -> None:
    files = factory.ceremony(
        Team(settings=Settings(ruleset=0, freeable=(factory.freeable_root([factory.FREED_FILE]),)))
    )
    values = factory.encode(Make().one_of_each(factory.file_digest(files["root"]), files))
    for count in (1, len(values)):  # all at once, and each by itself
        ledger = begin(values[:2])
        for start in range(2, len(values), count):
            ledger.publish(values[start : start + count])
        assert {outcome.verdict for outcome in ledger.outcomes.values()} == {"accepted"}
        assert len(ledger.outcomes) == len(values)


def test_a_ready_prefix_has_a_root() -> None:
    prefix = factory.ready_prefix(Make(), Team())
    assert prefix.size == 2
    assert factory.authority_of(prefix).root.version == 1
    assert prefix == Prefix().extend(factory.beginning(Make(), Team()))[0]


def test_ids_and_times_go_up() -> None:
    make = Make()
    made = [make.project_created("a"), make.having(actorid="x").project_created("b"), make.project_created("c")]
    assert [event.id for event in made] == ["event-000001", "event-000002", "event-000003"]
    assert [event.time[-3:] for event in made] == ["01Z", "02Z", "03Z"]
    assert made[1].actorid == "x"
