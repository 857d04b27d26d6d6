"""What would become of events if they were appended now, as far as this machine knows.

The rules are those that judge every event (docs/rules.md, 3): the events are folded on the furthest state, which is not
changed. If one is refused, the records behind the state are read first, since they may be what it needs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from consumers.context import Context
from consumers.produce.appending import NewEvent
from consumers.reading.end import prefix_at_end
from consumers.reading.slices import read_slice
from consumers.state import records
from consumers.state.furthest import open_events, open_furthest
from ledger.state import StoreError
from ledger.state.picking import Furthest
from ledger.state.statements import State
from projections.index.chunks import Aggregate
from projections.index.distributions import rows_read_by
from projections.index.fold import fold_events
from projections.index.upload_times import OWN_TIMES
from projections.log.operations import PROJECT_KEYS
from projections.log.prefix import Prefix
from projections.log.reading import Routed, read_records
from projections.outcomes import ACCEPTED, Outcome

_ADVICE = {
    "equivalent-filename": (
        "A release has one source distribution, and one wheel for each build number and tag. Give the file another "
        "version or build number"
    ),
    "file-removed": "Its name stays taken: restore it first (`tuf-ledger restore {file}`)",
    "filename-taken": "A filename is never used again: give the file another version or build number",
    "no-project": "Is the name right? `tuf-ledger find NAME` looks for names",
    "no-release": "`tuf-ledger status {project}` shows its releases",
    "no-file": "`tuf-ledger status {project}` shows its files",
    "project-archived": "`tuf-ledger status {project} active` takes files again",
    "project-quarantined": "`tuf-ledger status {project} active` takes files again",
    "project-removed": "`tuf-ledger restore {project}` brings it back, without its files",
}


class Refusal(NamedTuple):
    """Something that is not appended: its label for people, its names for machines, the code (docs/rules.md; empty: it
    is none of the rules), and why, with what to do about it.
    """

    label: str
    names: Mapping[str, Any]
    code: str
    why: str


async def foresee(context: Context, events: Sequence[NewEvent]) -> list[Outcome]:
    """The outcome of each event, if it was appended after the ones before it.

    An event counts as accepted if nothing here knows better: it is about no project, this machine has no state, or none
    that can be used.

    Raises:
        LogError, NotALedgerError, UpgradeNeededError: the records behind the state cannot be read.
    """
    try:
        async with open_furthest(context) as furthest:
            if furthest is None:
                return [ACCEPTED] * len(events)
            prefix = await furthest.store.run(records.load_prefix, furthest.position.prefix)
            outcomes = await _fold(furthest, prefix, events, [])
            if all(each.verdict != "rejected" for each in outcomes):
                return outcomes
            end = await prefix_at_end(context)
            keys = {item.key for item in _routed(events, end.size)}
            waiting = [item async for item in _unread(context, furthest.position.content_size, end.size, keys)]
            return await _fold(furthest, end, events, waiting)
    except StoreError:
        return [ACCEPTED] * len(events)


def refused(event: NewEvent, outcome: Outcome) -> Refusal | None:
    """What to say about an event that would be rejected; None for all others."""
    if outcome.verdict != "rejected":
        return None
    advice = _ADVICE.get(outcome.code, "").format(**{"project": "NAME", "file": "FILE", **event.names})
    why = f"{outcome.detail or outcome.code}. {advice}" if advice else outcome.detail or outcome.code
    return Refusal(event.label, event.names, outcome.code, why)


def _routed(events: Sequence[NewEvent], start: int) -> list[Routed]:
    return routed_values([each.value for each in events], start)


def routed_values(values: Sequence[bytes], start: int) -> list[Routed]:
    """What records that begin at this index ask of projects."""
    found = read_records(start, values).routed
    return [item for item in found if item.key.startswith(PROJECT_KEYS)]


async def _fold(furthest: Furthest, prefix: Prefix, events: Sequence[NewEvent], waiting: list[Routed]) -> list[Outcome]:
    """The outcomes of events behind those that wait, by the roots in a prefix."""
    if prefix.authority is None:
        return [ACCEPTED] * len(events)
    start = prefix.size
    items = [*waiting, *_routed(events, start)]
    states, seen = await furthest.store.run(load_judges, items)
    folded = fold_events(states, seen, items, html=False, terms=prefix.authority.terms, times=OWN_TIMES, renders=False)
    found = {judged.index: judged.outcome for judged in folded.judged}
    return [found.get(start + number, ACCEPTED) for number in range(len(events))]


def load_judges(
    state: State, items: Sequence[Routed], more_keys: Sequence[str] = ()
) -> tuple[dict[str, Aggregate], dict[tuple[str, str], str]]:
    """What `fold_events` needs to judge these: stored aggregates, also those of `more_keys`, and remembered ids."""
    keys = sorted({*(item.key for item in items), *more_keys})
    return records.load_facts(state, [*keys, *rows_read_by(items)]), records.load_seen(state, items)


async def _unread(context: Context, start: int, end: int, keys: set[str]) -> AsyncIterator[Routed]:
    """The events about some aggregates in a part of the log."""
    async with open_events(context) as log:
        while start < end and (values := await read_slice(log, start)):
            for item in read_records(start, values).routed:
                if item.key in keys and item.index < end:
                    yield item
            start += len(values)
