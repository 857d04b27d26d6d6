"""Lists of events: one root whatever the runs; read back as docs/rules.md says, whatever stands between the parts."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.incidents import selection
from projections.incidents.selection import (
    Frozen,
    Run,
    Selected,
    count_of,
    lists_of,
    parts_of,
    runs_of,
    selection_of,
)
from projections.log.merkle import EMPTY_ROOT
from schemas.events import MAX_EVENT_BYTES, IncidentSelected, IncidentSelectedData
from tests.factory import Make, digest, encode
from tests.unit.test_merkle import naive_root

SIZE = 40
DIGESTS = [sha256(b"record %d" % number).digest() for number in range(SIZE)]

indices = st.sets(st.integers(0, SIZE - 1))


def select(chosen: Sequence[int]) -> Selected:
    return Selected(runs_of(chosen), len(chosen), selection_of((index, DIGESTS[index]) for index in chosen))


def root_of(runs: Sequence[Run]) -> str:
    return select(members(runs)).selection


def members(runs: Sequence[Run]) -> list[int]:
    return [index for first, end in runs for index in range(first, end)]


def listed(frozen: Sequence[Frozen]) -> list[tuple[int, list[int]]]:
    return [(each.version, members(each.events.runs)) for each in frozen]


# --- runs and roots --------------------------------------------------------------------------------------------------


@given(indices)
def test_the_root_is_that_of_the_definition(chosen: set[int]) -> None:
    ordered = sorted(chosen)
    leaves = [index.to_bytes(8, "big") + DIGESTS[index] for index in ordered]
    found = select(ordered)
    assert found.selection == naive_root(leaves).hex()
    assert members(found.runs) == ordered
    assert found.total == count_of(found.runs)
    assert all(end < first for (_, end), (first, _) in zip(found.runs, found.runs[1:], strict=False)), "runs are whole"


def test_the_root_of_nothing() -> None:
    assert select([]) == Selected((), 0, EMPTY_ROOT)


def test_a_root_that_was_computed_elsewhere() -> None:
    """SHA-256(0x00 ‖ index ‖ digest), as docs/rules.md says it."""
    record = sha256(b"record 7").digest()
    assert select([7]).selection == sha256(b"\x00" + b"\x00\x00\x00\x00\x00\x00\x00\x07" + record).hexdigest()


@given(indices, indices, indices)
def test_runs_are_sets(one: set[int], two: set[int], three: set[int]) -> None:
    runs = [select(sorted(each)).runs for each in (one, two, three)]
    assert selection.together(*runs) == select(sorted(one | two | three)).runs
    assert selection.without(runs[0], runs[1]) == select(sorted(one - two)).runs
    assert selection.common(runs[0], runs[1]) == select(sorted(one & two)).runs


# --- records ---------------------------------------------------------------------------------------------------------


def say(events: Selected, version: int = 1, **more: Any) -> list[IncidentSelectedData]:
    values = {"size": SIZE, "root_hash": digest("root"), "publication": 3, **more}
    return list(parts_of(events, version=version, **values))


@pytest.fixture(autouse=True)
def _many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_RUNS_BYTES", 24)


def at_end(parts: Sequence[IncidentSelectedData]) -> list[selection.Part]:
    """Parts behind what they were made from."""
    return list(enumerate(parts, SIZE))


@given(indices, st.data())
def test_a_list_is_read_back_whatever_stands_between(chosen: set[int], data: st.DataObject) -> None:
    first, *others = say(select(sorted(chosen)))
    ordered = [first, *data.draw(st.permutations(others))]
    foreign = say(select(data.draw(indices.map(sorted))), data.draw(st.integers(1, 3)))
    twice = [each for each in ordered if data.draw(st.booleans())]
    noise = [each for each in foreign if each.selection != first.selection] + twice
    # What is put between is behind part 0, or belongs to another list.
    for each in data.draw(st.permutations(noise)):
        low = 1 if each.selection == first.selection else 0
        ordered.insert(data.draw(st.integers(ordered.index(first) + low, len(ordered))), each)
    found = [frozen for frozen in lists_of(at_end(ordered), root_of) if frozen.version == 1]
    (frozen,) = found
    if not any(each.version == 1 for each in foreign):
        assert frozen.events == select(sorted(chosen))
        assert (frozen.size, frozen.root_hash, frozen.publication) == (SIZE, digest("root"), 3)
    assert frozen.events in {select(sorted(chosen)), select(sorted(members_of(foreign)))}


def members_of(parts: Sequence[IncidentSelectedData]) -> list[int]:
    return [index for each in parts for index in members(each.runs)]


@given(indices.filter(lambda chosen: len(chosen) > 4), st.data())
def test_a_list_without_a_part_is_none(chosen: set[int], data: st.DataObject) -> None:
    parts = say(select(sorted(chosen)))
    del parts[data.draw(st.integers(0, len(parts) - 1))]
    assert lists_of(at_end(parts), root_of) == []


@given(indices, st.data())
def test_a_list_that_was_changed_is_none(chosen: set[int], data: st.DataObject) -> None:
    parts = say(select(sorted(chosen)))
    place = data.draw(st.integers(0, len(parts) - 1))
    part, first = parts[place], parts[0]
    changes: list[tuple[int, dict[str, Any]]] = [
        (0, {"size": None}),
        (0, {"size": SIZE + 1}),  # more than was there
        (0, {"count": first.count + 1}),  # type: ignore[operator]  # part 0 has one
        (0, {"count": None}),
        (place, {"selection": digest("other")}),
        (place, {"selection": None}),
        (place, {"parts": part.parts + 1}),
        (place, {"runs": (*part.runs, (SIZE, SIZE + 1))}),
        (place, {"runs": (*part.runs, (3, 3))}),
        (place, {"part": part.parts}),
    ]
    if part.runs:
        (start, end), *rest = part.runs
        changes += [
            (place, {"runs": tuple(rest)}),
            (place, {"runs": ((start, end), *part.runs)}),
            (place, {"runs": ((end, start), *rest)}),
        ]
    at, change = data.draw(st.sampled_from(changes))
    parts[at] = msgspec.structs.replace(parts[at], **change)
    assert lists_of(at_end(parts), root_of) == []


@given(indices, indices)
def test_the_first_that_is_complete_counts(one: set[int], two: set[int]) -> None:
    """Two responders at once."""
    ours, theirs = say(select(sorted(one))), say(select(sorted(two)))
    first, *others = lists_of(at_end([ours[0], *theirs, *ours[1:]]), root_of)
    assert others == []
    assert members(first.events.runs) == sorted(one if len(ours) == 1 else two)


def test_what_was_interrupted_begins_again() -> None:
    parts = say(select(range(0, SIZE, 3)))
    foreign = msgspec.structs.replace(parts[2], runs=((1, 2),))
    again = [*parts[:1], foreign, *parts[1:2], *parts]
    (frozen,) = lists_of(at_end(again), root_of)
    assert (frozen.first_idx, frozen.last_idx) == (SIZE + 3, SIZE + 2 + len(parts))


def test_a_version_follows_on_the_one_before() -> None:
    """Nobody takes the highest version, and so the last word."""
    lists = [say(select([number]), version) for number, version in ((1, 1), (2, 2**53), (3, 2), (4, 4), (5, 2))]
    parts = [part for each in lists for part in each]
    assert listed(lists_of(at_end(parts), root_of)) == [(1, [1]), (2, [3])]
    bad = [msgspec.structs.replace(each, selection=digest("other")) for each in lists[0]]
    assert lists_of(at_end([*bad, *parts[1:]]), root_of) == []


def test_a_part_0_behind_is_another_list() -> None:
    first, *others = say(select(range(0, SIZE, 3)))
    assert lists_of(at_end([*others, first]), root_of) == []
    assert len(lists_of(at_end([*others, first, *others]), root_of)) == 1


def test_a_million_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part fits into a record, and all of them are read back."""
    monkeypatch.undo()
    count = 1_000_000
    runs = tuple((9_000_000 + 2 * number, 9_000_001 + 2 * number) for number in range(count))
    parts = say(Selected(runs, count, digest("selection")), size=2**40, publication=2**53)
    make = Make()
    records = encode(make.event(IncidentSelected, "i" * 128, part) for part in (parts[0], parts[-1], parts[1]))
    assert all(MAX_EVENT_BYTES - 8_192 < len(records[place]) < MAX_EVENT_BYTES - 1_024 for place in (0, 2))
    (frozen,) = lists_of(list(enumerate(parts, 2**40)), lambda _: digest("selection"))
    assert frozen.events.runs == runs
