"""Folding a batch of events into aggregates: the first of a publication's two rounds.

The rounds are pure functions. The caller does the I/O between them. `fold_events` takes events and the stored
aggregates that they are about. It returns changes to store, pages to write, and changes of targets. In the second
round, `projections.metadata.bins.fold_bin` takes the changes of targets, grouped by bin. Aggregates do not depend on
each other, so a batch may be cut anywhere, as long as the events of one aggregate stay together and in order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from projections.index.chunks import Aggregate, Change
from projections.index.distributions import TakenRows
from projections.index.effects import Told
from projections.index.other_aggregates import OtherAggregate
from projections.index.pages import FILES_PER_CHUNK
from projections.index.project import Project
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes
from projections.log.operations import PROJECT_KEYS, FactAct, TargetAct, Upload
from projections.log.prefix import judge_id
from projections.log.reading import Routed
from projections.metadata.targets import Page, TargetChange
from projections.outcomes import ACCEPTED, Judged, Outcome
from projections.roles.authority import Terms


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """An event's id, remembered within its aggregate with the digest of its record."""

    key: str
    id: str
    digest: str


class Folded(msgspec.Struct):
    """The result of folding events. `judged` leaves out events that were simply accepted; `told` has all, if it was
    asked for.
    """

    changes: list[Change] = []
    seen: list[Seen] = []
    judged: list[Judged] = []
    pages: list[Page] = []
    targets: list[TargetChange] = []
    listings: list[Listing] = []
    told: list[Told] = []


def fold_events(
    states: Mapping[str, Aggregate],
    seen: Mapping[tuple[str, str], str],
    routed: Iterable[Routed],
    *,
    html: bool,
    terms: Sequence[Terms],
    times: UploadTimes,
    render_anew: bool = False,
    renders: bool = True,
    tells: bool = False,
    files_per_chunk: int = FILES_PER_CHUNK,
) -> Folded:
    """Fold events into the aggregates that they are about.

    Args:
        states: the stored aggregates by key, with the rows of `rows_read_by`; a missing one was never stored.
        seen: digests of remembered events by aggregate key and id, at least for the ids in `routed`.
        routed: the events in the order of the log, for aggregates in `states` or any other.
        html: whether pages are rendered as HTML too (root's setting).
        terms: the settings by which events are judged, of all roots up to the last of them.
        times: the upload times of the events. If a new time has begun, every project in `states` is looked at.
        render_anew: render every project in `states`, even one without events, because `html` has changed.
        renders: whether to render pages and entries of bins. Outcomes do not depend on it.
        tells: whether to tell what each event did.
        files_per_chunk: how many files a chunk of a project has at most.
    """
    of_keys: dict[str, list[Routed]] = {}
    if render_anew or times.new_time:
        of_keys = {key: [] for key in states if key.startswith(PROJECT_KEYS)}
    for item in routed:
        of_keys.setdefault(item.key, []).append(item)
    folded = Folded()
    for key in sorted(of_keys):
        memory = _Memory(key, seen)
        state = states.get(key, Aggregate(key))
        if key.startswith(PROJECT_KEYS):
            name = key.removeprefix(PROJECT_KEYS)
            taken = TakenRows(name, states)
            project = Project(
                state,
                name,
                taken,
                html=html,
                terms=terms,
                times=times,
                renders=renders,
                files_per_chunk=files_per_chunk,
            )
            _fold_project(project, taken, of_keys[key], memory, folded, render_anew=render_anew, tells=tells)
        else:
            _fold_facts(state, of_keys[key], memory, folded, tells=tells)
        folded.seen.extend(memory.new)
    return folded


class _Memory:
    """The remembered ids of one aggregate."""

    def __init__(self, key: str, seen: Mapping[tuple[str, str], str]) -> None:
        self._key = key
        self._stored = seen
        self._added: dict[str, str] = {}
        self.new: list[Seen] = []

    def judge(self, name: str, digest: str, apply: Callable[[], Outcome]) -> Outcome:
        """Judge an event that is remembered by its id, `name`. The event is applied if the id is new."""
        known = self._added.get(name) or self._stored.get((self._key, name))
        repeated = judge_id(known, digest)
        if repeated:
            return repeated
        outcome = apply()
        if outcome.verdict != "rejected":
            self._added[name] = digest
            self.new.append(Seen(self._key, name, digest))
        return outcome


def _fold_project(
    project: Project,
    taken: TakenRows,
    items: list[Routed],
    memory: _Memory,
    folded: Folded,
    *,
    render_anew: bool,
    tells: bool,
) -> None:
    for item in items:
        index, operation = item.index, item.operation
        if isinstance(operation, TargetAct | FactAct):
            raise TypeError(f"{operation.type} is not about a project")
        is_new = tells and project.was_never_there
        if operation.id:
            outcome = memory.judge(operation.id, item.digest, partial(project.apply, index, item.digest, operation))
        else:
            outcome = project.apply(index, item.digest, operation)
        if outcome is not ACCEPTED:
            folded.judged.append(Judged(index, item.digest, operation.type, outcome))
        if tells:
            effects = project.effects(operation, is_new=is_new) if outcome is ACCEPTED else ()
            folded.told.append(Told(index, item.digest, item.key, operation.type, outcome, effects))
    if render_anew:
        project.render_anew()
    change, pages, targets = project.finish()
    folded.changes.append(change)
    folded.changes.extend(taken.finish())
    folded.pages.extend(pages)
    folded.targets.extend(targets)
    folded.listings.extend(project.listings)


def _fold_facts(state: Aggregate, items: list[Routed], memory: _Memory, folded: Folded, *, tells: bool) -> None:
    facts = OtherAggregate(state.header)
    for item in items:
        operation = item.operation
        if isinstance(operation, Upload):
            raise TypeError(f"an upload is about a project, not about {item.key}")
        outcome = memory.judge(operation.id, item.digest, partial(facts.apply, operation))
        if outcome is not ACCEPTED:
            folded.judged.append(Judged(item.index, item.digest, operation.type, outcome))
        if tells:
            effects = facts.effects(item.key, operation) if outcome is ACCEPTED else ()
            folded.told.append(Told(item.index, item.digest, item.key, operation.type, outcome, effects))
    if facts.header != state.header:
        folded.changes.append(Change(state.key, facts.header))
    folded.targets.extend(facts.targets)
