"""The list of events that belong to an incident: as runs, under one Merkle root, and as `incident.selected` records.

The list is frozen, not the question that found it. Whoever reads the records computes the root again, from the digests
of the records that the list names: docs/rules.md, section 5.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from projections.log.merkle import Tree, leaf_hash
from schemas.events import MAX_EVENT_BYTES, IncidentSelectedData

Run = tuple[int, int]
"""Consecutive indices of events: from the first (inclusive) to the last (exclusive)."""

MAX_RUNS_BYTES = MAX_EVENT_BYTES - 4_096
"""How long the runs of one record may be as JSON: what else stands in an event is shorter than the rest."""

Part = tuple[int, IncidentSelectedData]
"""An accepted `incident.selected` event: its index, and its data."""


class Selected(NamedTuple):
    """Selected events: their indices as sorted runs, how many they are, and the Merkle root."""

    runs: tuple[Run, ...]
    total: int
    selection: str


def selection_of(events: Iterable[tuple[int, bytes]]) -> str:
    """The Merkle root over events in the order of the log, each given by its index and the digest of its record."""
    return Tree().append(leaf_hash(index.to_bytes(8, "big") + digest) for index, digest in events).root_hash()


# --- runs ------------------------------------------------------------------------------------------------------------


def runs_of(indices: Iterable[int]) -> tuple[Run, ...]:
    """The runs of ascending indices."""
    found: list[Run] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = found[-1][0], index + 1
        else:
            found.append((index, index + 1))
    return tuple(found)


def count_of(runs: Iterable[Run]) -> int:
    """How many indices runs have."""
    return sum(end - first for first, end in runs)


def together(*lists: Iterable[Run]) -> tuple[Run, ...]:
    """The indices that are in any of some lists, as sorted runs."""
    found: list[Run] = []
    for first, end in sorted(run for runs in lists for run in runs):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((first, end))
    return tuple(found)


def without(runs: Sequence[Run], others: Sequence[Run]) -> tuple[Run, ...]:
    """The indices of one list that are not in another one, as sorted runs."""
    found: list[Run] = []
    place = 0
    for first, end in runs:
        start = first
        while place < len(others) and others[place][1] <= start:
            place += 1
        following = place
        while following < len(others) and others[following][0] < end:
            if start < others[following][0]:
                found.append((start, others[following][0]))
            start = max(start, others[following][1])
            following += 1
        if start < end:
            found.append((start, end))
    return tuple(found)


def common(runs: Sequence[Run], others: Sequence[Run]) -> tuple[Run, ...]:
    """The indices that are in both of two lists, as sorted runs."""
    return without(runs, without(runs, others))


# --- records ---------------------------------------------------------------------------------------------------------


class Frozen(NamedTuple):
    """A list of events as it stands on the log.

    Attributes:
        version: counts the lists of the incident.
        events: what was selected.
        size: the number of records that it was made from.
        root_hash: their Merkle root, as the records say.
        publication: the last publication then; None: there was none.
        first_idx: the event with its first part.
        last_idx: the event that made it complete.
    """

    version: int
    events: Selected
    size: int
    root_hash: str | None
    publication: int | None
    first_idx: int
    last_idx: int


def parts_of(
    events: Selected, *, version: int, size: int, root_hash: str, publication: int | None
) -> Iterator[IncidentSelectedData]:
    """The data of the records that say a list, in their order. Each fits into one record.

    Args:
        events: the list.
        version: counts the lists of the incident, from 1.
        size: the number of records that the list was made from, which are all that were there.
        root_hash: the Merkle root of these records.
        publication: the last publication; None: there is none.
    """
    first, *others = _split(events.runs)
    parts = 1 + len(others)
    yield IncidentSelectedData(
        version=version,
        part=0,
        parts=parts,
        runs=first,
        selection=events.selection,
        size=size,
        root_hash=root_hash,
        count=events.total,
        publication=publication,
    )
    for part, runs in enumerate(others, 1):
        yield IncidentSelectedData(version=version, part=part, parts=parts, runs=runs, selection=events.selection)


def _split(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    split: list[list[Run]] = [[]]
    room = MAX_RUNS_BYTES
    for first, end in runs:
        length = len(f"[{first},{end}],")
        if length > room:
            split.append([])
            room = MAX_RUNS_BYTES
        split[-1].append((first, end))
        room -= length
    return [tuple(each) for each in split]


def lists_of(parts: Iterable[Part], root_of: Callable[[Sequence[Run]], str]) -> list[Frozen]:
    """The lists of an incident, by version: the last one is in force.

    Version 1 is the first one, and each other version follows on the one before it. Of several lists of one version
    that are valid, the one that was complete first counts. So nobody ends an incident by taking the highest version.

    Args:
        parts: all accepted `incident.selected` events of the incident, in the order of the log.
        root_of: the Merkle root over the records with these indices, as `selection_of` makes it. It is asked only for
            lists that are complete and well-formed, and that name records which are on the log.
    """
    complete: dict[int, list[Frozen]] = {}
    for attempts in _by_list(parts).values():
        for frozen in _complete(attempts):
            complete.setdefault(frozen.version, []).append(frozen)
    found: list[Frozen] = []
    while some := complete.get(len(found) + 1):
        some.sort(key=lambda each: each.last_idx)
        valid = next((each for each in some if root_of(each.events.runs) == each.events.selection), None)
        if valid is None:
            break
        found.append(valid)
    return found


def _by_list(parts: Iterable[Part]) -> dict[tuple[int, int, str], list[Part]]:
    """The records by the list that each says it is a part of."""
    found: dict[tuple[int, int, str], list[Part]] = {}
    for index, data in parts:
        if data.selection is not None and data.part < data.parts:
            found.setdefault((data.version, data.parts, data.selection), []).append((index, data))
    return found


def _complete(parts: Sequence[Part]) -> Iterator[Frozen]:
    """The lists that a part 0 and the parts behind it make, in whatever order these are: one for each part 0.

    So what somebody put before a part 0 does no harm, and who was interrupted begins again with part 0.
    """
    for place, (index, data) in enumerate(parts):
        if data.part != 0:
            continue
        found = {0: (index, data)}
        for each in parts[place + 1 :]:
            found.setdefault(each[1].part, each)
        if len(found) == data.parts:
            frozen = _frozen([found[part] for part in range(data.parts)])
            if frozen is not None:
                yield frozen


def _frozen(parts: Sequence[Part]) -> Frozen | None:
    """The list that all its parts say; None: they say no list of records that were there."""
    index, data = parts[0]
    runs = [run for _, each in parts for run in each.runs]
    if data.size is None or data.size > index or data.selection is None:
        return None
    at = 0
    for first, end in runs:
        if not at <= first < end <= data.size:
            return None
        at = end
    if count_of(runs) != data.count:
        return None
    events = Selected(together(runs), data.count, data.selection)
    last = max(each for each, _ in parts)
    return Frozen(data.version, events, data.size, data.root_hash, data.publication, index, last)
