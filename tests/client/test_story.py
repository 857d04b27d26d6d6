"""`log --story`: what happened to a project, for people who know pip and nothing else."""

from pathlib import Path

import pytest

from schemas.events import BaseEvent
from tests.client.index import FakeClock, Index
from tests.factory import Make

MAKE = Make(also={"actorid": "alice"})
WHEEL = "one-1.0-py3-none-any.whl"
STORY = """The story of one
Each step has the time from which everybody could see it.

2031-01-02 00:00 UTC  The administrator admin allowed alice as owner (collaborator) to act for the project.
2031-01-02 00:00 UTC  alice uploaded version 1.0: one-1.0.tar.gz and one-1.0-py3-none-any.whl.
2031-01-02 00:00 UTC  alice uploaded version 1.10: one-1.10.tar.gz.
2031-01-03 00:00 UTC  alice yanked version 1.0: pip does not choose it any more, unless somebody asks for exactly that \
(one==1.0). The reason given: “broken”.
2031-01-03 00:00 UTC  alice removed the file one-1.0.tar.gz: pip cannot install it any more. Its bytes were taken off \
the server, too.
2031-01-03 00:00 UTC  alice tried to do this: uploaded one-1.0.tar.gz to one 1.0. The index refused it \
(one-1.0.tar.gz was removed; `file.restored` offers it again). This happened 2 times.
2031-01-04 00:00 UTC  alice (with t-1) brought back the file one-1.0.tar.gz, with the same bytes as before.
2031-01-04 00:00 UTC  alice declared one deprecated: pip still installs it, but its owners advise against using it.
not visible yet       alice removed version 1.10: pip cannot install it any more.

By now pip finds these versions of one: 1.0 and 1.10. Yanked are: 1.0.
"""


@pytest.fixture
def index(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger on which much happens to one project."""
    index = Index.create(tmp_path / "index", "--timestamp-expiry", "60d", "--bin-expiry", "90d", clock=clock)
    admin = Make(MAKE.counter, {"actorid": "admin", "actorkind": "administrator"})
    days: list[list[BaseEvent]] = [
        [
            admin.access("granted", account="alice", project="one"),
            MAKE.file_uploaded("one"),
            MAKE.file_uploaded("one", filename=WHEEL),
            MAKE.file_uploaded("one", "1.10"),
        ],
        [
            MAKE.release_yanked("one", "1.0", "broken"),
            MAKE.file_removed("one", "one-1.0.tar.gz", withhold=True),
            MAKE.file_uploaded("one"),
            MAKE.file_uploaded("one"),
        ],
        [
            MAKE.having(actorcredential="t-1").file_restored("one", "one-1.0.tar.gz"),
            MAKE.file_unyanked("one", WHEEL),
            MAKE.project_status_changed("one", "deprecated"),
        ],
    ]
    for events in days:
        clock.advance(days=1)
        index.append(*events)
        index.publish()
    index.append(MAKE.release_removed("one", "1.10"))
    return index


def test_the_story(index: Index) -> None:
    assert index.run("log", "--story", "One") == STORY


def test_the_story_for_machines(index: Index) -> None:
    *sentences, last = index.ask("log", "--story", "one", "--limit", "2")
    assert [(each["first_event"], each["last_event"], each["publication"]) for each in sentences] == [
        (2, 2, 2),
        (3, 4, 2),
    ]
    assert (last["ok"], last["count"]) == (True, 2)


def test_every_end(index: Index) -> None:
    ends = [
        (MAKE.project_status_changed("one", "quarantined"), "is in quarantine"),
        (MAKE.project_status_changed("one", "active"), "pip finds these versions of one: 1.0. Yanked are: 1.0."),
        (MAKE.project_removed("one"), "does not exist"),
        (MAKE.project_created("one"), "has no file that pip could install"),
    ]
    for event, end in ends:
        index.append(event)
        index.publish()
        assert end in index.run("log", "--story", "one").splitlines()[-1]
    index.append(MAKE.file_yanked("two", "two-1.0.zip"))
    assert "Nothing of two was published" in index.run("log", "--story", "two")


def test_only_what_was_allowed_can_end(index: Index) -> None:
    """A revocation that no grant precedes ends nothing, nor does a second one of the same."""
    admin = Make(MAKE.counter, {"actorid": "admin", "actorkind": "administrator"})
    for account, says in (
        ("mallory", "said that mallory as owner (collaborator) may not act for the project any more. No event before"),
        ("alice", "ended what alice as owner (collaborator) was allowed to do for the project."),
        ("alice", "said that alice as owner (collaborator) may not act for the project any more. No event before"),
    ):
        index.append(admin.access("revoked", account=account, project="one"))
        *_, last = index.ask_list("log", "--story", "one")
        assert last["what"].startswith(f"The administrator admin {says}")


def test_stories_are_about_projects(index: Index) -> None:
    index.run("log", "--story", "none", answer=1)
    index.run("log", "--story", answer=2)
    index.run("log", "--story", "one", "--rejected", answer=2)
