"""What the log would be without an incident, and the steps that lead there: for all that its suspects touched."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, starmap
from typing import NamedTuple

from consumers.incidents.histories import project_history, target_history, terms_of
from consumers.incidents.known_incidents import KnownIncident
from consumers.incidents.suspects import PAGE
from consumers.work.progress import Report, nobody
from ledger.catalog import event_rows, rights
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import EventRow
from ledger.catalog.rights import AccessRow
from ledger.catalog.tables import OUTCOMES
from projections.incidents.planning import (
    EventMaker,
    ProjectPlan,
    StepDraft,
    TargetPlan,
    plan_project,
    plan_target,
)
from projections.log.operations import type_of
from schemas import events
from schemas.errors import NegativeAnswerError
from schemas.plans import Residual

_GRANTED = type_of(events.AccessGranted)
_REVOKED = type_of(events.AccessRevoked)
_ERASED = type_of(events.OpeningErased)
_TARGETS = frozenset({type_of(events.TargetAdded), type_of(events.TargetRemoved)})
_ACCEPTED = OUTCOMES.index("accepted")


class Suspected(NamedTuple):
    """An incident to replay: its name, the frozen list of suspects, and the measures that were taken about it."""

    name: str
    suspects: frozenset[int]
    measures: frozenset[int]

    @property
    def left_out(self) -> frozenset[int]:
        """The events that the clean state leaves out."""
        return self.suspects | self.measures

    def leaves_out(self, index: int) -> bool:
        """Whether the clean state leaves an event out: without a set of all of them, which may be millions."""
        return index in self.suspects or index in self.measures


def suspected_of(known: KnownIncident) -> Suspected:
    """What there is to replay of an incident.

    Raises:
        NegativeAnswerError: it has no list.
    """
    if known.in_force is None:
        raise NegativeAnswerError(
            f"{known.name} has no list of events: freeze one with `tuf-ledger incident amend {known.name}`"
        )
    runs = known.in_force.events.runs
    return Suspected(known.name, frozenset(chain.from_iterable(starmap(range, runs))), frozenset(known.measures))


class CleanReplay(NamedTuple):
    """What follows from the log about an incident.

    Attributes:
        projects: each project that suspects and measures touched.
        targets: each other target that they touched.
        others: steps about rights that they granted.
        residuals: what no step repairs.
    """

    projects: Sequence[ProjectPlan]
    targets: Sequence[TargetPlan]
    others: Sequence[StepDraft]
    residuals: Sequence[Residual]

    @property
    def steps(self) -> list[StepDraft]:
        """All steps, in order: projects, other targets, rights."""
        found = [step for project in self.projects for step in project.steps]
        found += [step for target in self.targets for step in target.steps]
        return [*found, *self.others]


def replay(
    connection: Connection, suspected: Suspected, size: int, make: EventMaker, report: Report = nobody
) -> CleanReplay:
    """Replay all that suspects and measures touched with and without them, and plan the way back.

    Args:
        connection: a catalog that is filled up to `size`.
        suspected: the incident.
        size: the size of the log.
        make: makes the events of steps.
        report: called with the numbers of replayed and of all projects and targets.
    """
    touched = touched_by(connection, suspected)
    left_out = suspected.left_out
    terms, total = terms_of(connection), len(touched.projects) + len(touched.targets)
    projects, targets = [], []
    for name in touched.projects:
        projects.append(plan_project(project_history(connection, name), left_out, terms, size, make))
        report(len(projects), total)
    for path in touched.targets:
        targets.append(plan_target(path, target_history(connection, path), left_out))
        report(len(projects) + len(targets), total)
    residuals = [residual for project in projects for residual in project.residuals]
    residuals += _not_repaired(connection, touched.others, suspected)
    return CleanReplay(projects, targets, list(undue_rights(connection, suspected, touched)), residuals)


class Touched(NamedTuple):
    """What suspects and measures are about: projects, other targets, and the events about anything else, in order."""

    projects: Sequence[str]
    targets: Sequence[str]
    others: Sequence[EventRow]


def touched_by(connection: Connection, suspected: Suspected) -> Touched:
    """What the clean state can differ in from the log. Measures count: whoever may append can name any incident, and
    a responder may have hidden what no suspect touched.
    """
    projects, targets, others = set[str](), set[str](), list[EventRow]()
    indices = sorted(suspected.left_out)
    for start in range(0, len(indices), PAGE):
        for row in event_rows.load_events(connection, indices[start : start + PAGE]):
            if row.project is not None:
                projects.add(row.project)
            elif row.type in _TARGETS and row.subject is not None:
                targets.add(row.subject)
            else:
                others.append(row)
    return Touched(sorted(projects), sorted(targets), others)


def undue_rights(connection: Connection, suspected: Suspected, touched: Touched) -> Iterator[StepDraft]:
    """What ends the rights that suspects or measures granted, and that nobody would have without them."""
    subjects = {row.idx: row.subject for row in touched.others if row.type == _GRANTED}
    seen = set()
    for grant in rights.access_at(connection, subjects):
        subject, right = subjects[grant.idx], tuple(getattr(grant, name) for name in rights.RIGHT)
        if grant.ended_idx is not None or subject is None or right in seen or _is_due(connection, grant, suspected):
            continue
        seen.add(right)
        data = {name: value for name, value in zip(rights.RIGHT, right, strict=True) if value is not None}
        who = "a suspect" if grant.idx in suspected.suspects else "a measure"
        yield StepDraft(_REVOKED, subject, data, f"event {grant.idx}, {who}, granted it")


def _is_due(connection: Connection, right: AccessRow, suspected: Suspected) -> bool:
    """Whether somebody would have a right without suspects and measures."""
    acts = [each.act for each in rights.rows_of_right(connection, right) if not suspected.leaves_out(each.idx)]
    return next((act == "granted" for act in reversed(acts) if act != "noted"), False)


def _not_repaired(connection: Connection, rows: Iterable[EventRow], suspected: Suspected) -> Iterator[Residual]:
    for row in rows:
        if row.outcome != _ACCEPTED or row.type is None:
            continue
        about = f"{row.type.partition('.')[0]}:{row.subject}"
        if row.type == _REVOKED:
            (right,) = rights.access_at(connection, [row.idx])
            if row.idx not in suspected.suspects and not _is_due(connection, right, suspected):
                continue  # a step of a plan, which ended what a suspect granted
            yield Residual(
                about=about,
                code="revoked",
                detail=f"event {row.idx}, a suspect, ended a right of {row.subject}",
                remedy="ask its owner, and grant it again in the index",
            )
        elif row.type.startswith("incident."):
            yield Residual(
                about=about,
                code="annotated",
                detail=f"event {row.idx}, a suspect, says something about an incident",
                remedy="read `tuf-ledger incident show`; what it says is checked by nobody",
            )
        elif row.type == _ERASED:
            yield Residual(
                about=about,
                code="erased",
                detail=f"event {row.idx}, a suspect, says that private values were erased",
                remedy="look whether the store of openings has lost them; its backup may have them",
            )
