"""The proof that a recovery has reached everybody: what publications show, and what clients get of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking
from consumers.incidents.histories import project_history, target_history, terms_of
from consumers.incidents.replaying import Suspected, Touched, touched_by, undue_rights
from ledger.catalog import ceremonies, publication_rows
from ledger.catalog.database import Connection, Database
from ledger.catalog.writing import publication_before
from ledger.storage import ServedFiles
from projections.incidents.planning import unexplained
from projections.incidents.replays import (
    Deviation,
    ProjectReplay,
    replay_project,
    replay_target,
    without,
)
from projections.log.operations import project_key
from projections.log.reading import Routed
from projections.metadata.paths import JSON_PAGE, page_target
from schemas.errors import NegativeAnswerError
from schemas.plans import PlanHead

if TYPE_CHECKING:
    from consumers.incidents.visiting import ClientVisit


Offered = Mapping[str, Mapping[str, str] | None]
"""What clients must be shown of each project: its files by name with their SHA-256; None: it has no page."""


class Confirmation(NamedTuple):
    """What a publication shows against what it should show, and what clients were shown.

    Attributes:
        publication: the publication that was looked at.
        planned_at: the last publication when the plan was made.
        deviations: where it is not the clean state, by project or target, but for the residuals of the plan.
        lower: roles of which a version did not go up since the plan was made.
        visits: what each client was shown.
        wrong: sentences about clients that were shown something else.
    """

    publication: int
    planned_at: int
    deviations: Sequence[tuple[str, Deviation]]
    lower: Sequence[str]
    visits: Sequence["ClientVisit"]
    wrong: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether the recovery is proven."""
        return not (self.deviations or self.lower or self.wrong)


class _Asking(NamedTuple):
    """What clients remember, each by its name, the root that they began with, and the projects that they ask for."""

    first_root: bytes
    memories: dict[str, dict[str, bytes]]
    projects: list[str]


class _Shown(NamedTuple):
    """What the last of some publications deviates in, and what each of them offers, by number."""

    number: int
    deviations: list[tuple[str, Deviation]]
    lower: list[str]
    offered: Mapping[int, Offered]


async def confirm(
    database: Database,
    suspected: Suspected,
    head: PlanHead,
    number: int,
    served: ServedFiles | None,
    *,
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> Confirmation:
    """Compare a publication with the clean state, and let clients look at what is served.

    Three clients look: one that saw the publication that the plan was made from, one that saw the last one before the
    incident, and a new one. What they are shown may be newer than `number`: then that publication is compared.

    Args:
        database: the catalog.
        suspected: the incident.
        head: the head of the plan.
        number: the publication that shows the recovery.
        served: what is served; None: no client looks.
        refresh: brings the catalog up to the ends of the logs, after clients have looked.

    Raises:
        NegativeAnswerError: there is no such publication.
    """
    from consumers.incidents.visiting import visit  # noqa: PLC0415  # python-tuf: only where clients look

    asking = await database.run(_asking, suspected, head)
    visits = []
    wanted = [page_target(name, JSON_PAGE) for name in asking.projects]
    for name, memory in asking.memories.items():
        if served is None:
            break
        visits.append(await asyncio.to_thread(visit, name, served, asking.first_root, memory, wanted))
    if refresh is not None:
        await refresh()
    found = await database.run(_compare, suspected, head, {number, *(each.version for each in visits)})
    wrong = [text for each in visits for text in _judge(each, found.offered, number)]
    return Confirmation(found.number, head.publication, found.deviations, found.lower, visits, wrong)


def _asking(connection: Connection, suspected: Suspected, head: PlanHead) -> _Asking:
    projects = _projects(head, touched_by(connection, suspected))
    return _Asking(_first_root(connection), _memories(connection, suspected, head.publication), projects)


def _projects(head: PlanHead, touched: Touched) -> list[str]:
    return sorted({*head.expects, *touched.projects})


def _compare(connection: Connection, suspected: Suspected, head: PlanHead, numbers: Collection[int]) -> _Shown:
    rows = [publication_rows.load_publication(connection, number) for number in sorted(numbers) if number]
    known = [row for row in rows if row is not None]
    if not known:
        raise NegativeAnswerError("nothing is published yet that could be compared with the clean state")
    left_out, touched = suspected.left_out, touched_by(connection, suspected)
    last, terms = known[-1], terms_of(connection)
    deviations: list[tuple[str, Deviation]] = []
    offered: dict[int, dict[str, Mapping[str, str] | None]] = {row.number: {} for row in known}
    for name in _projects(head, touched):
        history = project_history(connection, name).items
        for row in known:
            items = [each for each in history if each.index < row.content_size]
            live = replay_project(name, items, terms)
            offered[row.number][name] = _listed(live)
            if row is last:
                clean = replay_project(name, without(items, left_out, live.outcomes), terms)
                residuals = [each for each in head.residuals if each.about == project_key(name)]
                deviations += [(name, each) for each in unexplained(live, clean, residuals)]
    for path in sorted({*head.targets, *touched.targets}):
        targets = [each for each in target_history(connection, path) if each.index < last.content_size]
        deviations += [(path, each) for each in _target_deviations(path, targets, left_out)]
    for step in undue_rights(connection, suspected, touched):
        right = " ".join(map(str, step.data.values()))
        deviations.append((step.subject, Deviation("right", right, "existence", "exists", "")))
    return _Shown(last.number, deviations, _not_higher(connection, head.publication, last.number), offered)


def _target_deviations(path: str, items: Sequence[Routed], left_out: Collection[int]) -> Iterator[Deviation]:
    live = replay_target(items)
    clean = replay_target(without(items, left_out, live.outcomes))
    if live.offered != clean.offered:
        now, wanted = (each.sha256 if each else "" for each in (live.offered, clean.offered))
        yield Deviation("target", path, "bytes", now, wanted)


def _listed(replay: ProjectReplay) -> dict[str, str] | None:
    if not replay.header.exists:
        return None
    return {name: facts.sha256 for name, facts in replay.files.items() if replay.header.lists(facts)}


def _not_higher(connection: Connection, before: int, number: int) -> list[str]:
    """The roles that have a lower version than before, and those that are signed each time and did not go up."""
    if before in {0, number}:
        return []
    old, new = publication_rows.versions_at(connection, before), publication_rows.versions_at(connection, number)
    lower = {role for role, version in new.items() if version < old.get(role, 0)}
    lower |= {role for role in (SNAPSHOT, TIMESTAMP) if role in old and new.get(role, 0) <= old[role]}
    return sorted(lower)


def _first_root(connection: Connection) -> bytes:
    found = ceremonies.document_version(connection, "root", 1)
    if found is None:
        raise LookupError("there is no root")
    return found.file


def _memories(connection: Connection, suspected: Suspected, last: int) -> dict[str, dict[str, bytes]]:
    """What each client remembers, by its name."""
    first = min(suspected.suspects, default=0)
    showing = publication_rows.first_showing(connection, first)
    earlier = None if showing is None else publication_before(connection, showing.number)
    seen = {"a client that saw the compromise": last, "a client from before": 0 if earlier is None else earlier.number}
    found = {name: _memory(connection, number) for name, number in seen.items() if number}
    return {**found, "a new client": {}}


def _memory(connection: Connection, number: int) -> dict[str, bytes]:
    remaking = Remaking(connection)
    files = {role: remaking.role_file(role, number) for role in (TIMESTAMP, SNAPSHOT)}
    return {f"{role}.json": file.data for role, file in files.items() if file is not None}


def _judge(each: "ClientVisit", offered: Mapping[int, Offered], number: int) -> list[str]:
    if each.error:
        return [f"{each.client} refuses what is served: {each.error}"]
    if each.version < number:
        return [f"{each.client} is shown publication {each.version}, and not {number} or a later one"]
    if each.version not in offered:
        return [f"{each.client} is shown publication {each.version}, which the log does not have yet"]
    wrong = []
    for project, files in offered[each.version].items():
        page = each.targets.get(page_target(project, JSON_PAGE))
        if (None if page is None else _files_of(page)) != files:
            wrong.append(f"{each.client} is shown other files of {project}")
    return wrong


class _PageFile(msgspec.Struct):
    filename: str
    hashes: dict[str, str]


class _Page(msgspec.Struct):
    files: list[_PageFile]


def _files_of(page: bytes) -> dict[str, str]:
    return {each.filename: each.hashes["sha256"] for each in msgspec.json.decode(page, type=_Page).files}
