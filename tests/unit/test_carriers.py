"""How a batch is shared out: nothing is lost, and what is about one aggregate stays together and in order."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from consumers.limits import LIMITS
from consumers.reading.runs import Stamp
from consumers.render import carriers, tasks
from consumers.render.carriers import Sent
from consumers.render.edition import Choice
from consumers.render.outlets import Nowhere
from consumers.render.tasks import Batch, FoldResult, ToKeep, pack_targets, unpack_targets, write_targets
from projections.log.operations import ProjectAct
from projections.log.reading import Routed
from projections.metadata.targets import TargetChange
from projections.roles.layout import Layout

LAYOUT = Layout(6)
PARTITIONS = 4


def routed(keys: list[int]) -> list[Routed]:
    act = ProjectAct("project.created.v1", "id")
    return [Routed(f"project:{key}", index, "", act) for index, key in enumerate(keys)]


def changes(first: int, last: int) -> list[TargetChange]:
    return [TargetChange(f"packages/{number}", b"entry") for number in range(first, last)]


def folded(task: int, name: str, targets: dict[int, bytes]) -> FoldResult:
    return FoldResult(task, name, targets, ToKeep(), [], 0, [], [], [])


@given(st.lists(st.integers(0, 40), max_size=600), st.dictionaries(st.integers(0, 40), st.integers(0, 10**6)))
def test_events_are_shared_out(keys: list[int], sizes: dict[int, int]) -> None:
    events = routed(keys)
    dealt = carriers._dealt(events, {f"project:{key}": size for key, size in sizes.items()})
    assert all(dealt), "no task has nothing to do"
    assert len(dealt) <= carriers._MOST_TASKS
    assert sorted((item for some in dealt for item in some), key=lambda item: item.index) == events
    for key in {item.key for item in events}:
        (whose,) = [some for some in dealt if any(item.key == key for item in some)]
        assert [item for item in whose if item.key == key] == [item for item in events if item.key == key]


def test_the_longest_page_is_begun_first_and_has_a_share_of_its_own() -> None:
    events = routed([*range(100), 7])
    first, *others = carriers._dealt(events, {"project:55": 100_000, "project:3": 2_000})
    assert [item.key for item in first] == ["project:55"]
    assert max(map(len, others)) - min(map(len, others)) <= 3


@given(st.sets(st.integers(0, 63)), st.integers(0, 100))
def test_bins_are_those_with_a_stamp_and_those_that_change(stamped: set[int], count: int) -> None:
    stamp = Stamp(7, "2027-01-01T00:00:00Z")
    choice = Choice(LAYOUT, dict.fromkeys(stamped, stamp), stamp)
    carrier = Sent(choice, PARTITIONS, [], {}, LIMITS)
    batch = Batch(
        Path("unused"), choice, html=False, terms=(), times=Path("unused"), sink=Nowhere(), bin_partitions=PARTITIONS
    )
    some = changes(0, count)
    carrier.take(folded(0, "", pack_targets(choice, some[::2])))
    carrier.add(batch, some[1::2])
    dealt = carrier.bins_of_tasks(batch)
    expected = stamped.union(LAYOUT.index_of_target(change.path) for change in some)
    assert [index for some in dealt for index in some] == sorted(expected)


def test_what_is_much_goes_on_through_files_with_all_that_was_sent_before(tmp_path: Path) -> None:
    choice = Choice(LAYOUT, {})
    batch = Batch(tmp_path, choice, html=False, terms=(), times=tmp_path, sink=Nowhere(), bin_partitions=PARTITIONS)
    carrier = Sent(choice, PARTITIONS, [], {}, LIMITS)
    carrier.take(folded(0, "", pack_targets(choice, changes(0, 50))))
    carrier.take(folded(1, write_targets(batch, "1", changes(50, 100)), {}))
    carrier.add(batch, changes(100, 120))
    assert len(carrier.bins_of_tasks(batch)) == PARTITIONS
    found = [
        change
        for partition in range(PARTITIONS)
        for change in tasks._targets.read(
            [tmp_path / "targets" / name for name in carrier._files._names], partition, partition + 1
        )
    ]
    assert sorted(change.path for change in found) == sorted(change.path for change in changes(0, 120))


def test_targets_that_are_sent_are_the_same_when_they_arrive() -> None:
    packed = pack_targets(Choice(LAYOUT, {}), changes(0, 30))
    assert set(packed) == {LAYOUT.index_of_target(change.path) for change in changes(0, 30)}
    assert sorted(change.path for change in unpack_targets(packed.values())) == sorted(
        change.path for change in changes(0, 30)
    )
