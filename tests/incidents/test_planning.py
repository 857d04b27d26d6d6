"""Plans for histories whose answer is known, one rule of planning each."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from projections.incidents.planning import unexplained as still_unexplained
from projections.incidents.replays import deviations
from projections.roles.authority import Terms
from schemas import events
from schemas.codec import decode_event
from schemas.events import Hashes
from tests.factory import Make, digest, encode
from tests.incidents.converging import Planned, World, accepted, plan, unexplained
from tests.incidents.random_histories import FREEABLE_ROOT
from tests.property.histories import freed


def planned(suspects: set[int], *made: events.BaseEvent | bytes) -> Planned:
    """The plan for a log of these events, from index 1 on. It is appended, and it converges."""
    values = [each if isinstance(each, bytes) else encode([each])[0] for each in made]
    world = World([b"{}", *values], (Terms(0, importing=True, freeable=(FREEABLE_ROOT,)),))
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


def test_bytes_that_replaced_a_target_are_withheld(make: Make) -> None:
    found = planned({2}, make.target_added("x", "honest"), make.target_added("x", "evil"))
    assert [(step.type, step.data.get("withhold")) for step in found.targets[0].steps] == [
        ("target.removed.v1", True),
        ("target.added.v1", None),
    ]


def test_an_older_target_that_came_back_is_not_withheld(make: Make) -> None:
    first, second = make.target_added("x", "first"), make.target_added("x", "second")
    found = planned({3}, first, second, make.target_added("x", "first"))
    assert [step.type for step in found.targets[0].steps] == ["target.added.v1"]


def test_what_was_withheld_is_withheld_again(make: Make) -> None:
    removed = make.target_removed("x", withhold=True)
    found = planned({3, 4}, make.target_added("x"), removed, make.target_added("x"), make.target_removed("x"))
    assert [(step.type, step.data) for step in found.targets[0].steps] == [("target.removed.v1", {"withhold": True})]


def steps_of(found: Planned) -> list[tuple[str, Any]]:
    """What each step does to which file, release or status."""
    names = ("filename", "version", "status")
    return [
        (step.type.removesuffix(".v1"), next((step.data[name] for name in names if name in step.data), None))
        for step in found.projects[0].steps
    ]


def test_what_an_owner_withheld_is_withheld_again(make: Make) -> None:
    uploaded, removed = make.file_uploaded("a", "1"), make.file_removed("a", "a-1.tar.gz", withhold=True)
    found = planned(
        {3, 4}, uploaded, removed, make.file_restored("a", "a-1.tar.gz"), make.file_removed("a", "a-1.tar.gz")
    )
    assert [(step.type, step.data) for step in found.projects[0].steps] == [
        ("file.removed.v1", {"filename": "a-1.tar.gz", "withhold": True})
    ]


def test_flags_of_releases_that_only_suspects_made_are_taken_away(make: Make) -> None:
    """Else the next upload of that release, by its owner, is hidden or yanked."""
    other = make.file_uploaded("a", "1")
    evil = [make.file_uploaded("a", "2"), make.release_yanked("a", "2"), make.release_quarantined("a", "2")]
    assert steps_of(planned({2, 3, 4}, other, *evil)) == [
        ("file.removed", "a-2.tar.gz"),
        ("release.unyanked", "2"),
        ("release.quarantine_cleared", "2"),
    ]


def test_spellings_come_back_in_their_order(make: Make) -> None:
    """A page shows the spelling of a version that came first."""
    first = make.file_uploaded("a", "1.0.0", filename="a-1.0.0-py3-none-any.whl")
    second = make.file_uploaded("a", "1", filename="a-1-cp39-cp39-win32.whl")
    found = planned({3}, first, second, make.release_removed("a", "1"))
    assert steps_of(found) == [
        ("file.restored", "a-1.0.0-py3-none-any.whl"),
        ("file.restored", "a-1-cp39-cp39-win32.whl"),
    ]
    assert not found.plan.head.residuals


def test_what_an_honest_producer_expected_of_a_suspect_is_fulfilled(make: Make) -> None:
    """Else one suspect would refuse all that came after it."""
    evil = encode([make.file_uploaded("a", "1")])[0]
    honest = make.file_uploaded("a", "2", expects=sha256(evil).hexdigest())
    assert steps_of(planned({1}, evil, honest)) == [("file.removed", "a-1.tar.gz")]


def test_what_no_suspect_refused_stays_refused(make: Make) -> None:
    first = encode([make.file_uploaded("a", "1")])[0]
    late = make.file_uploaded("a", "3", expects=sha256(first).hexdigest())
    evil = make.file_uploaded("a", "4")
    assert steps_of(planned({4}, first, make.file_uploaded("a", "2"), late, evil)) == [("file.removed", "a-4.tar.gz")]


def test_what_a_suspect_came_before_is_repeated(make: Make) -> None:
    first = encode([make.file_uploaded("a", "1")])[0]
    evil = make.file_uploaded("a", "4")
    honest = [make.file_uploaded("a", each, expects=sha256(first).hexdigest()) for each in ("3", "2")]
    found = planned({2}, first, evil, *honest)
    assert steps_of(found) == [("file.removed", "a-4.tar.gz"), ("file.uploaded", "a-3.tar.gz")]
    assert [(each.code, each.name) for each in found.plan.head.residuals] == [("uploaded-again", "a-3.tar.gz")]
    assert [(flip.event, flip.live.code, flip.clean.code) for flip in found.projects[0].flips] == [(3, "expects", "")]


def test_uploads_are_repeated_in_their_order(make: Make) -> None:
    """Of two spellings of a version, a page shows the one that came first."""
    archived = make.project_status_changed("a", "archived", "gone")
    second = make.file_uploaded("a", "2.0", filename="a-2.0-py3-none-any.whl")
    third = make.file_uploaded("a", "2", filename="a-2-cp39-cp39-win32.whl")
    found = planned({2}, make.file_uploaded("a", "1"), archived, second, third)
    assert steps_of(found) == [
        ("project.status_changed", "active"),
        ("file.uploaded", "a-2.0-py3-none-any.whl"),
        ("file.uploaded", "a-2-cp39-cp39-win32.whl"),
    ]


def test_every_aspect_is_compared(make: Make) -> None:
    """Live against clean: each difference that a client can see, by itself."""
    uploads = [make.file_uploaded("a", "1"), make.file_uploaded("a", "2")]
    changes: dict[str, events.BaseEvent] = {
        "status": make.project_status_changed("a", "deprecated", "old"),
        "yank": make.file_yanked("a", "a-1.tar.gz", "bad"),
        "quarantine": make.release_quarantined("a", "1", "bad"),
        "existence": make.project_removed("a"),
        "bytes": make.file_removed("a", "a-1.tar.gz"),
    }
    for aspect, change in changes.items():
        found = planned({3}, *uploads, change).projects[0]
        assert aspect in {each.aspect for each in deviations(found.live, found.clean)}, aspect
    found = planned({3}, *uploads, make.release_yanked("a", "1", "bad")).projects[0]
    assert [(each.what, each.live) for each in deviations(found.live, found.clean)] == [("release", "set: bad")]


def test_a_quarantine_that_refused_uploads_is_lifted_first(make: Make) -> None:
    wheel = make.file_uploaded("a", "1", filename="a-1-py3-none-any.whl")
    found = planned({2}, make.file_uploaded("a", "1"), make.release_quarantined("a", "1"), wheel)
    assert steps_of(found) == [("release.quarantine_cleared", "1"), ("file.uploaded", "a-1-py3-none-any.whl")]
    assert [each.code for each in found.plan.head.residuals] == ["uploaded-again"]


def test_a_name_that_could_not_be_freed_is_freed(make: Make) -> None:
    old, new = (Hashes(sha256=digest(each), blake2b_256=digest(each)) for each in ("a-1.0.zip", "other"))
    found = planned(
        {3},
        make.file_uploaded("a", "1", filename="a-1.zip", hashes=old),
        make.file_removed("a", "a-1.zip"),
        make.file_restored("a", "a-1.zip", old.sha256),
        freed(make, "a", "a-1.zip", old.sha256),
        make.file_uploaded("a", "1", filename="a-1.zip", hashes=new),
    )
    assert [name for name, _ in steps_of(found)] == ["file.removed", "file.freed", "file.uploaded"]


def test_a_taken_name_explains_no_other_bytes(make: Make) -> None:
    evil = make.file_uploaded("a", "1", hashes=Hashes(sha256=digest("evil"), blake2b_256=digest("evil")))
    project = planned({1}, evil, make.file_uploaded("a", "1")).projects[0]
    assert [each.code for each in project.residuals] == ["filename-taken"]
    assert [(each.name, each.live) for each in still_unexplained(project.live, project.clean, project.residuals)] == [
        ("a-1.tar.gz", digest("evil"))
    ]


def test_an_upload_that_a_suspect_made_possible_is_not_called_theirs(make: Make) -> None:
    """It goes, and whoever reads the plan must see that it is somebody else's: the line can be deleted."""
    quarantined = make.project_status_changed("a", "quarantined", "look")
    lifted, honest = make.project_status_changed("a", "active"), make.file_uploaded("a", "2")
    found = planned({3, 5}, make.file_uploaded("a", "1"), quarantined, lifted, honest, make.file_uploaded("a", "3"))
    assert [step.why for step in found.projects[0].steps[:2]] == [
        "no suspect uploaded it, and without suspects it would have been rejected",
        "only suspects offered it",
    ]
