"""What the log would be without an incident, and the steps that lead there: for all that its suspects touched."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, starmap
from typing import Any, NamedTuple

import msgspec

from consumers.incidents.histories import project_history, target_history, terms_of
from consumers.incidents.known_incidents import KnownIncident
from consumers.work.progress import Report, nobody
from ledger.catalog import event_rows, rights
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import EventRow
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
_RIGHT = ("kind", "account", "role", "credential", "project")
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
        projects: each project that suspects touched.
        targets: each other target that they touched.
        others: steps about rights that suspects granted.
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
    """Replay all that suspects touched with and without them, and plan the way back.

    Args:
        connection: a catalog that is filled up to `size`.
        suspected: the incident.
        size: the size of the log.
        make: makes the events of steps.
        report: called with the numbers of replayed and of all projects and targets.
    """
    rows = event_rows.load_events(connection, suspected.suspects)
    names = sorted({row.project for row in rows if row.project is not None})
    paths = sorted({row.subject for row in rows if row.type in _TARGETS and row.subject is not None})
    terms, total = terms_of(connection), len(names) + len(paths)
    projects, targets = [], []
    for name in names:
        projects.append(plan_project(project_history(connection, name), suspected.left_out, terms, size, make))
        report(len(projects), total)
    for path in paths:
        targets.append(plan_target(path, target_history(connection, path), suspected.left_out))
        report(len(projects) + len(targets), total)
    others = list(_revocations(connection, rows))
    residuals = [residual for project in projects for residual in project.residuals]
    residuals += _not_repaired(rows)
    return CleanReplay(projects, targets, others, residuals)


def _revocations(connection: Connection, rows: Iterable[EventRow]) -> Iterator[StepDraft]:
    """What ends the rights that suspects granted and that nobody has ended."""
    granted = [row for row in rows if row.type == _GRANTED and row.outcome == _ACCEPTED]
    ended = rights.ended_grants(connection, [row.idx for row in granted])
    bodies = event_rows.load_bodies(connection, [row.idx for row in granted])
    for row in granted:
        if row.idx in ended or row.subject is None:
            continue
        data: dict[str, Any] = msgspec.json.decode(bodies[row.idx])["data"]
        right = {name: data[name] for name in _RIGHT if name in data}
        yield StepDraft(_REVOKED, row.subject, right, f"event {row.idx}, a suspect, granted it")


def _not_repaired(rows: Iterable[EventRow]) -> Iterator[Residual]:
    for row in rows:
        if row.outcome != _ACCEPTED or row.type is None:
            continue
        about = f"{row.type.partition('.')[0]}:{row.subject}"
        if row.type == _REVOKED:
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
