"""What `log` selects by times, and by what thieves do: late files, uploads without provenance, first uses."""

from pathlib import Path

import pytest

from schemas.events import BaseEvent
from tests.client.index import FakeClock, Index
from tests.factory import Make, digest

MAKE = Make()


@pytest.fixture
def index(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger on which a token is granted on the first day, and used on the second, the tenth and the last day."""
    index = Index.create(tmp_path / "index", "--timestamp-expiry", "60d", "--bin-expiry", "90d", clock=clock)
    granted = MAKE.access("granted", kind="credential", account="alice", credential="t-1")
    first = MAKE.having(actorid="alice", actorcredential="t-1")
    stolen = MAKE.having(actorid="alice", actorcredential="t-2")
    days: list[list[BaseEvent]] = [
        [granted],
        [first.file_uploaded("one", "1.0", provenance_sha256=digest("provenance"))],
        [first.file_uploaded("one", "1.0", filename="one-1.0-py3-none-any.whl"), first.file_uploaded("one", "1.1")],
        [stolen.file_uploaded("one", "1.0", filename="one-1.0-1-py3-none-any.whl")],
    ]
    for wait, events in zip((1, 1, 8, 30), days, strict=True):
        clock.advance(days=wait)
        index.append(*events)
        index.publish()
    return index


def indices(index: Index, *arguments: object) -> list[int]:
    """The events that `log` shows, the oldest first."""
    return [each["event"] for each in index.ask_list("log", "--oldest-first", *arguments)]


def test_late_files(index: Index) -> None:
    assert indices(index, "--late-files", "0") == [4, 6]
    assert indices(index, "--late-files", "8") == [4, 6]
    assert indices(index, "--late-files", "8.5") == [6]
    assert indices(index, "--late-files", "39") == []


def test_uploads_without_provenance(index: Index) -> None:
    assert indices(index, "--unattested") == [5]


def test_first_uses_without_a_grant(index: Index) -> None:
    assert indices(index, "--first-use") == [6]
    assert indices(index, "--first-use", "--credential", "t-1") == []


def test_times_are_those_of_publications(index: Index) -> None:
    """Whatever an event says itself."""
    assert indices(index, "--since", "2031-01-11") == [4, 5, 6]
    assert indices(index, "--since", "2031-01-11T00:00:01Z") == [6]
    assert indices(index, "--until", "2031-01-03") == [0, 1, 2, 3, 4, 5]
    assert indices(index, "--until", "2031-01-02T23:59:59Z") == [0, 1, 2, 3]
    assert indices(index, "--since", "2031-01-04", "--until", "2031-01-05") == [4, 5]
    (event,) = index.ask_list("log", "--since", "2031-02-01")
    assert event["outside"] is True
    listed = index.ask_list("log", "--publications", "--since", "2031-01-11", "--until", "2031-01-12")
    assert [each["time"] for each in listed] == ["2031-01-11T00:00:00Z"]
    index.run("log", "--since", "yesterday", answer=2)
