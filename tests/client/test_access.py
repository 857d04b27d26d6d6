"""`access`: who was allowed to act, since when and by whose grant, what they did, and what is odd."""

from pathlib import Path
from typing import Any

import pytest

from schemas.events import BaseEvent
from tests.client.index import FakeClock, Index
from tests.factory import Make

MAKE = Make(also={"actorid": "admin", "actorkind": "administrator"})
TOKEN = {"kind": "credential", "account": "alice", "credential": "t-1"}


@pytest.fixture
def index(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger where alice owns a project, uses a token, and loses it; and where others do what nobody granted."""
    index = Index.create(tmp_path / "index", "--timestamp-expiry", "60d", "--bin-expiry", "90d", clock=clock)
    alice = Make(MAKE.counter, {"actorid": "alice", "actorcredential": "t-1"})
    days: list[list[BaseEvent]] = [
        [MAKE.access("granted", account="alice", project="one"), MAKE.access("granted", **TOKEN)],
        [alice.file_uploaded("one", "1.0"), alice.file_removed("one", "none.zip")],
        [MAKE.access("noted", **TOKEN, note="leaked"), MAKE.access("revoked", **TOKEN)],
        [alice.having(actorcredential="t-9").file_uploaded("one", "1.1")],
        [MAKE.access("revoked", account="bob", project="one")],
    ]
    for events in days:
        clock.advance(days=1)
        index.append(*events)
        index.publish()
    return index


def of_kind(index: Index, kind: str, *arguments: object) -> list[Any]:
    """The answers of one kind."""
    return [each for each in index.ask_list("access", *arguments) if each["kind"] == kind]


def test_a_project(index: Index) -> None:
    (grant,) = of_kind(index, "grant", "One")
    assert grant["grant"] == {
        "kind": "collaborator",
        "account": "alice",
        "role": "owner",
        "credential": None,
        "project": "one",
    }
    assert (grant["granted"]["event"], grant["granted"]["actor"]["id"], grant["revoked"]) == (2, "admin", None)
    first, second = of_kind(index, "acts", "one")
    assert (first["credential"], first["events"], first["rejected"]) == ("t-1", 2, 1)
    assert (second["credential"], second["types"]) == ("t-9", {"file.uploaded.v1": 1})
    oddities = of_kind(index, "oddity", "one")
    assert [(each["oddity"], each["event"]) for each in oddities] == [
        ("used without a grant", 8),
        ("revoked without a grant", 9),
    ]
    text = index.run("access", "one")
    assert "collaborator as owner to alice for one" in text
    assert "alice with t-1: 2 events (1 file.removed, 1 file.uploaded, 1 rejected), events 4 to 5" in text


def test_a_credential(index: Index) -> None:
    (grant,) = of_kind(index, "grant", "t-1")
    assert (grant["granted"]["event"], grant["revoked"]["event"], grant["certain"]) == (3, 7, True)
    (note,) = of_kind(index, "note", "t-1")
    assert (note["event"], note["data"]["note"]) == (6, "leaked")
    assert of_kind(index, "oddity", "t-1") == []
    assert [each["event"] for each in of_kind(index, "oddity", "t-9")] == [8]


def test_an_actor(index: Index) -> None:
    assert [each["granted"]["event"] for each in of_kind(index, "grant", "alice")] == [2, 3]
    assert [each["event"] for each in of_kind(index, "oddity", "alice")] == [8]
    assert [each["first_event"] for each in of_kind(index, "acts", "admin")] == [2]


def test_at_a_time(index: Index) -> None:
    def held(time: str) -> list[tuple[int, bool]]:
        found = of_kind(index, "grant", "alice", "--at", time)
        return [(each["granted"]["event"], each["certain"]) for each in found]

    index.run("access", "alice", "--at", "2030-12-31", answer=1)
    assert held("2031-01-01T12:00:00Z") == [(2, False), (3, False)]
    assert held("2031-01-02T12:00:00Z") == [(2, True), (3, True)]
    assert held("2031-01-03T12:00:00Z") == [(2, True), (3, False)]
    assert held("2031-01-04T12:00:00Z") == [(2, True)]
    (acts,) = of_kind(index, "acts", "alice", "--at", "2031-01-03T12:00:00Z")
    assert acts["events"] == 2
    assert "(perhaps)" in index.run("access", "t-1", "--at", "2031-01-03T12:00:00Z")


def test_nobody(index: Index) -> None:
    assert "anything that is called nobody" in index.run("access", "nobody", answer=1)
    index.run("access", "alice", "--at", "noon", answer=2)
