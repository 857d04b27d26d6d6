"""Upload times: whatever the events say, pages show times within brackets, and all ways of following show the same."""

import json
from datetime import datetime
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.index.upload_times import Bracket, Dated, UploadTimes, brackets_of, is_later, pack_brackets
from projections.roles.authority import Settings, Terms
from tests import factory
from tests.factory import Make, ed25519_signer
from tests.fuzz.world import SMALL
from tests.property.ledger import Ledger, begin, check
from tests.property.model import Model
from tests.property.test_folding import same_state

FRACTIONS = ["", ".0", ".000000", ".000001", ".5", ".999999", ".50"]
SECONDS = st.integers(0, 30)
TIMED = SMALL.but(settings=Settings(ruleset=0, project_list_seconds=0))


@st.composite
def times(draw: st.DrawFn) -> str:
    """Near the times of publications, and very far from them."""
    far = ["2000-01-01T00:00:00Z", "2999-12-31T23:59:59.999999Z"]
    near = factory.instant(draw(SECONDS)).removesuffix("Z") + draw(st.sampled_from(FRACTIONS)) + "Z"
    return draw(st.sampled_from([near, near, near, *far]))


class Piece(NamedTuple):
    """The records of a publication, and its time."""

    values: list[bytes]
    seconds: int


@st.composite
def pieces(draw: st.DrawFn) -> tuple[list[Piece], dict[int, bool]]:
    """Publications of uploads and of what becomes of them; roots between start new times, and begin and end imports.

    The second result says, by the index of its ceremony, whether a root is importing.
    """
    make, team, seconds = Make(), TIMED, 0
    prefix = factory.ready_prefix(make, team)
    made, importing = [], {}
    for number in range(draw(st.integers(1, 6))):
        values: list[bytes] = []
        for _ in range(draw(st.integers(0, 5))):
            if draw(st.integers(0, 5)) == 0:
                before, choice = team, team.settings
                choice = msgspec.structs.replace(choice, importing=draw(st.booleans()))
                if draw(st.booleans()):
                    seconds = draw(SECONDS)
                    choice = msgspec.structs.replace(choice, time_from=factory.instant(seconds))
                    team = team.but(online=(ed25519_signer(f"online {number} {len(values)}"),))
                team = team.but(settings=choice)
                value = factory.encode([make.roles_signed(factory.ceremony(team, prefix.authority, before))])
                importing[prefix.size] = choice.importing
            else:
                project, filename = draw(st.sampled_from(["a", "b"])), draw(st.sampled_from(["1", "2", "3"]))
                maker = make.having(time=draw(times()))
                file = f"{project}-{filename}.tar.gz"
                events = [
                    maker.file_uploaded(project, filename),
                    maker.file_uploaded(project, filename),
                    maker.file_removed(project, file),
                    maker.file_restored(project, file),
                    maker.project_removed(project),
                    maker.project_created(project),
                ]
                value = factory.encode([draw(st.sampled_from(events))])
            prefix, _ = prefix.extend(value)
            values += value
        seconds += draw(st.integers(0, 6))
        made.append(Piece(values, seconds))
    return made, importing


def begun() -> Ledger:
    return begin(factory.beginning(Make(), TIMED), seconds=0)


@given(pieces(), st.data())
@settings(max_examples=200)
def test_times_on_pages(drawn: tuple[list[Piece], dict[int, bool]], data: st.DataObject) -> None:
    """Step by step, skipped from anywhere to anywhere: what docs/rules.md says."""
    made, importing = drawn
    stepped, model = begun(), Model(importing=False)
    for piece in made:
        start = stepped.prefix.size
        stepped.publish(piece.values, seconds=piece.seconds)
        outcomes = stepped.outcomes
        for index, value in enumerate(piece.values, start):
            if index in importing:
                assert outcomes[index].verdict == "accepted"
                model.importing = importing[index]
            else:
                assert outcomes[index][:2] == model.add(index, value)
        check(stepped, model)
    first, last = sorted(data.draw(st.tuples(st.integers(1, stepped.number), st.integers(1, stepped.number))))
    skipped = stepped.view()
    skipped.follow(first)
    if first < last:
        skipped.follow(last, skips=True)
    skipped.follow(stepped.number)
    same_state(stepped, skipped)


@given(pieces())
def test_no_time_is_later_than_its_publication(drawn: tuple[list[Piece], dict[int, bool]]) -> None:
    """And what was shown once stays as it is, until a new time starts."""
    ledger = begun()
    was: dict[tuple[str, str], str] = {}
    for piece in drawn[0]:
        before = ledger.dated[-1]
        ledger.publish(piece.values, seconds=piece.seconds)
        own = ledger.dated[-1]
        now = {
            (path, file["filename"]): file["upload-time"]
            for path, page in ledger.pages.items()
            for file in json.loads(page).get("files", [])
        }
        assert all(datetime.fromisoformat(time) <= datetime.fromisoformat(own.time) for time in now.values())
        if before.time_from == own.time_from:
            assert {place: was.get(place, time) for place, time in now.items()} == now
        was.update(now)


def shown(time: str, *brackets: Bracket, index: int = 0, importing: bool = False) -> str:
    return UploadTimes(pack_brackets(brackets)).shown(index, time, (Terms(0, importing),))


ONE, TWO = "2030-01-01T00:00:01Z", "2030-01-01T00:00:02Z"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2030-01-01T00:00:01Z", "2030-01-01T00:00:01Z"),
        ("2030-01-01T00:00:01.000000Z", "2030-01-01T00:00:01.000000Z"),
        ("2030-01-01T00:00:01.5Z", "2030-01-01T00:00:01.5Z"),
        ("2030-01-01T00:00:02Z", "2030-01-01T00:00:02Z"),
        ("2030-01-01T00:00:02.0Z", "2030-01-01T00:00:02.0Z"),
        ("2030-01-01T00:00:02.000001Z", TWO),
        ("2030-01-01T00:00:02.5Z", TWO),
        ("2030-01-01T00:00:00.999999Z", ONE),
        ("2030-01-01T00:00:00Z", ONE),
        ("2029-12-31T23:59:59Z", ONE),
        ("2000-01-01T00:00:00Z", ONE),
        ("2999-12-31T23:59:59Z", TWO),
    ],
)
def test_both_ends_belong_to_the_bracket(time: str, expected: str) -> None:
    assert shown(time, Bracket(1, ONE, TWO)) == expected


def test_the_first_publication_has_no_beginning() -> None:
    assert shown("2000-01-01T00:00:00Z", Bracket(1, "", ONE)) == "2000-01-01T00:00:00Z"
    assert shown(TWO, Bracket(1, "", ONE)) == ONE


@pytest.mark.parametrize("time", ["2000-01-01T00:00:00Z", ONE, "2030-01-01T00:00:01.5Z", TWO, "2999-01-01T00:00:00Z"])
def test_an_empty_bracket_gives_its_end(time: str) -> None:
    assert shown(time, Bracket(1, TWO, ONE)) == ONE


def test_while_importing_nothing_is_too_early() -> None:
    for time in ("2000-01-01T00:00:00Z", ONE, "2030-01-01T00:00:01.5Z"):
        assert shown(time, Bracket(1, TWO, TWO), importing=True) == time
    assert shown("2030-01-01T00:00:02.1Z", Bracket(1, TWO, TWO), importing=True) == TWO
    assert shown(TWO, Bracket(1, TWO, ONE), importing=True) == ONE


def test_the_first_publication_that_shows_an_event_decides() -> None:
    """Publications that cover nothing new bracket nothing, and those that come later change nothing."""
    brackets = [
        Bracket(2, "", ONE),
        Bracket(2, ONE, ONE),
        Bracket(4, ONE, TWO),
        Bracket(5, TWO, "2030-01-01T00:00:03Z"),
    ]
    early = "2000-01-01T00:00:00Z"
    assert [shown(early, *brackets, index=index) for index in range(5)] == [early, early, ONE, ONE, TWO]
    both = UploadTimes(pack_brackets(brackets))
    assert [both.shown(index, early, (Terms(0),)) for index in (4, 0, 3, 1)] == [TWO, early, ONE, early]


def test_new_times_lower_what_earlier_publications_show() -> None:
    """However many of them are skipped at once: the least time of those that start a new one after it."""
    a, b, c = (factory.instant(seconds) for seconds in (10, 20, 30))
    brackets, lowered = brackets_of(
        Dated(2, c, ""), [Dated(3, c, ""), Dated(4, b, "x"), Dated(5, c, "x"), Dated(6, a, "y"), Dated(7, c, "y")]
    )
    assert [each.not_after for each in brackets] == [a, a, a, a, c]
    assert [each.not_before for each in brackets] == [c, c, b, c, a]
    assert lowered == a
    assert brackets_of(Dated(2, c, "y"), [Dated(3, c, "y")])[1] == ""
    assert brackets_of(Dated(0, "", ""), [Dated(3, c, "y")])[1] == "", "before the first there is nothing to lower"


def test_a_new_time_lowers_what_is_later_by_a_fraction() -> None:
    ledger, make = begun(), Make()
    times = ["2030-01-01T00:00:01.5Z", "2030-01-01T00:00:01.000000Z", "2030-01-01T00:00:00.5Z"]
    uploads = [make.having(time=time).file_uploaded("a", f"{number}") for number, time in enumerate(times)]
    ledger.publish(factory.encode(uploads), seconds=9)
    team = TIMED.but(
        online=(ed25519_signer("another"),), settings=Settings(ruleset=0, project_list_seconds=0, time_from=ONE)
    )
    ledger.publish(factory.encode([make.roles_signed(factory.ceremony(team, ledger.authority, TIMED))]), seconds=1)
    files = json.loads(ledger.pages["simple/a/index.json"])["files"]
    assert [file["upload-time"] for file in files] == [ONE, *times[1:]]


@given(times(), st.integers(0, 30))
def test_times_are_compared_as_instants(time: str, seconds: int) -> None:
    bound = factory.instant(seconds)
    assert is_later(time, bound) == (datetime.fromisoformat(time) > datetime.fromisoformat(bound))
