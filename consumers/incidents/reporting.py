"""The report of an incident, as plain values: a function of the log, the publications, and the list of suspects.

Nobody's clock is in it. The same log size, publication and list give the same bytes again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.filling import load_authority, read_ledger
from consumers.catalog.keys import KeySpan, spans_of
from consumers.catalog.rows import UPLOADED, path_hash
from consumers.catalog.standing import path_of
from consumers.catalog.words import describe_access
from consumers.context import Context
from consumers.incidents.assuming import Assumption, assumptions
from consumers.incidents.exposure import Exposure, Moment, TargetBytes, expose
from consumers.incidents.known_incidents import KnownIncident
from consumers.incidents.losing import KeyBound, bound_of_key
from consumers.incidents.proposing import Proposals, propose
from consumers.incidents.replaying import CleanReplay, replay, suspected_of
from consumers.prove.subtrees import subtree_roots
from consumers.state.furthest import open_events
from consumers.work.progress import Report as Progress
from consumers.work.progress import nobody
from ledger.catalog import FOREVER, event_rows, leads, publication_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import EventRow
from ledger.catalog.states import UploadRow
from ledger.catalog.tables import OUTCOMES
from projections.incidents.applying import Making
from projections.incidents.planning import ProjectPlan, StepDraft, TargetPlan
from projections.incidents.replays import Flip, deviations
from projections.incidents.selection import Selected, runs_of
from projections.log.operations import type_of
from projections.log.proofs import Subtree, freeable_leaf, tree_root
from projections.metadata.paths import HTML_PAGE, companion_path, hashed_path, page_target, plain_path
from projections.outcomes import Outcome
from schemas.events import FileRestored, TargetAdded
from schemas.plans import Residual

MOST_TOLD = 1_000
"""Events that are told one by one; all are counted."""

_RESTORED, _ADDED = type_of(FileRestored), type_of(TargetAdded)
_ACCEPTED = OUTCOMES.index("accepted")


class ToldEvent(msgspec.Struct, frozen=True):
    """An event: what it says, who said so, where it stands, and what became of it.

    `time` is its own time, a claim; `outside` says whether it lies outside of the times of the publication that showed
    it first (after `not_before`, until `not_after`; empty where there is none).
    """

    event: int
    digest: str
    type: str
    what: str
    verdict: str
    code: str | None
    project: str | None
    actor_kind: str | None
    actor: str | None
    credential: str | None
    time: str | None
    outside: bool
    standing: str
    publication: int | None
    not_before: str
    not_after: str


class Acted(msgspec.Struct, frozen=True):
    """Who made suspects: how many, with which credential, and how many other events are theirs.

    `before`, `within` and `after` count other events with the credential (without one: of the actor), before the first
    suspect, between the first and the last, and after the last.
    """

    actor_kind: str
    actor: str
    credential: str | None
    suspects: int
    before: int
    within: int
    after: int


class ToldFlip(msgspec.Struct, frozen=True):
    """An event of which something else would have become without the suspects."""

    event: ToldEvent
    live: str
    clean: str


class ToldDeviation(msgspec.Struct, frozen=True):
    """What the index says otherwise than it should: see `projections.incidents.replays.Deviation`."""

    what: str
    name: str
    aspect: str
    live: str
    clean: str


class ReplayDifference(msgspec.Struct, frozen=True):
    """What suspects made of a project or another target, and how many steps of a plan undo it."""

    kind: str
    name: str
    flips: tuple[ToldFlip, ...]
    flip_count: int
    deviations: tuple[ToldDeviation, ...]
    steps: int


class ToldKey(msgspec.Struct, frozen=True):
    """An online key: whether it is in force, since which event until which, and what its loss means."""

    keyid: str
    in_force: bool
    spans: tuple[KeySpan, ...]
    bound: KeyBound


class ToldRoot(msgspec.Struct, frozen=True):
    """A root that came between the first suspect and the last."""

    event: int
    version: int


class Purge(msgspec.Struct, frozen=True):
    """What to purge from caches and to search download logs for.

    Attributes:
        target: the target path.
        project: the project of a distribution file.
        served: the paths below which its bytes, and what is beside it, are served.
        pages: the plain names of pages that linked to it: caches may keep old ones.
        digests: of its bytes, its core metadata and its provenance, with their names.
        shared: somebody else's file has the same path, so that its bytes may be wanted.
    """

    target: str
    project: str | None
    served: tuple[str, ...]
    pages: tuple[str, ...]
    digests: dict[str, str]
    shared: bool


class Burnt(msgspec.Struct, frozen=True):
    """A filename that only suspects used: no other bytes can have it, unless root allows it to be freed.

    `wanted`: somebody else's upload of this name was rejected.
    """

    project: str
    file: str
    sha256: str
    wanted: bool


class ReportHead(msgspec.Struct, frozen=True):
    """What a report is about, and what it was made from.

    Attributes:
        incident: the name.
        title: what it is about.
        ledger: the ledger's identity.
        origin: its name.
        size: the size of the log.
        root_hash: its Merkle root.
        publication: the last publication; None: there is none.
        held_from: from which event on nothing is shown until a hold ends.
        version: the version of the list of suspects.
        selection: the Merkle root over it.
        count: how many suspects there are.
    """

    incident: str
    title: str
    ledger: str
    origin: str
    size: int
    root_hash: str
    publication: Moment | None
    held_from: int | None
    version: int
    selection: str
    count: int


class IncidentReport(msgspec.Struct, frozen=True):
    """All that there is to say about an incident.

    Attributes:
        head: what it is about.
        first: the first publication that shows a suspect.
        last: the last publication that is the first to show one.
        suspects: the first suspects, in order.
        verdicts: how many suspects have each verdict.
        projects: the projects that suspects are about.
        measures: what was done about it so far.
        acted: who made the suspects.
        proposals: what else may belong to it.
        told: events that proposals name.
        exposures: whom each file or target that suspects brought (or brought back) reached.
        differences: what the index says against what it should say; None: it was not replayed.
        revocations: the rights that suspects granted and that a plan ends, in words.
        residuals: what no step undoes.
        keys: the online keys of that time, and of now.
        roots: the roots that came in between.
        assumptions: what each loss would mean.
        purge: what to purge, and to search logs for.
        burnt: the filenames that are burnt.
        freeable: the Merkle root of the list of these files, which root holders would sign; empty without any.
    """

    head: ReportHead
    first: Moment | None
    last: Moment | None
    suspects: tuple[ToldEvent, ...]
    verdicts: dict[str, int]
    projects: tuple[str, ...]
    measures: tuple[ToldEvent, ...]
    acted: tuple[Acted, ...]
    proposals: Proposals
    told: tuple[ToldEvent, ...]
    exposures: tuple[Exposure, ...]
    differences: tuple[ReplayDifference, ...]
    revocations: tuple[str, ...]
    residuals: tuple[Residual, ...]
    keys: tuple[ToldKey, ...]
    roots: tuple[ToldRoot, ...]
    assumptions: tuple[Assumption, ...]
    purge: tuple[Purge, ...]
    burnt: tuple[Burnt, ...]
    freeable: str

    @property
    def frozen_until(self) -> str | None:
        """Until when a client behind a frozen mirror could be shown anything that suspects brought."""
        found = [window.frozen.until for each in self.exposures for window in each.windows if window.frozen is not None]
        return max(found, default=None)


class ReportSubject(NamedTuple):
    """What a report is to be about.

    Attributes:
        name: the incident.
        opened_idx: the event that opened it.
        title: what it is about.
        version: the version of its list.
        events: the list in force.
        root_hash: the Merkle root of all records that the catalog has.
    """

    name: str
    opened_idx: int
    title: str
    version: int
    events: Selected
    root_hash: str


async def load_report(
    context: Context, asked: Asked, known: KnownIncident, progress: Progress = nobody
) -> IncidentReport:
    """The report of an incident.

    Args:
        context: the ledger.
        asked: its catalog.
        known: the incident.
        progress: called with the numbers of replayed and of all projects and targets.

    Raises:
        NegativeAnswerError: the incident has no list.
        LogError, CatalogError: see `subtree_roots`.
    """
    async with open_events(context) as log:
        (root_hash,) = await subtree_roots(asked, log, [Subtree(0, asked.size)])
    return await asked.database.run(_load, asked, known, root_hash, progress)


def _load(
    connection: Connection, asked: Asked, known: KnownIncident, root_hash: str, progress: Progress
) -> IncidentReport:
    suspected, frozen = suspected_of(known), known.in_force
    if frozen is None:
        raise AssertionError("what is suspected of an incident is its list in force")
    # No step is ever appended, so it does not matter which ids and times they have.
    making = Making("report", known.name, known.openings[0].row.time or "", "report")
    replayed = replay(connection, suspected, asked.size, making.event, progress)
    opened_idx = known.own.opened_idx
    subject = ReportSubject(known.name, opened_idx, known.title, frozen.version, frozen.events, root_hash)
    return make_report(connection, asked, subject, replayed)


def make_report(connection: Connection, asked: Asked, subject: ReportSubject, replayed: CleanReplay) -> IncidentReport:
    """The report of an incident.

    Args:
        connection: a catalog, in one transaction.
        asked: the same catalog.
        subject: the incident.
        replayed: what follows from the log about it.
    """
    return _Reporting(connection, asked, subject, replayed).report()


class _Reporting:
    """Gathers what a report says, in one transaction."""

    def __init__(self, connection: Connection, asked: Asked, subject: ReportSubject, replayed: CleanReplay) -> None:
        self._connection = connection
        self._asked = asked
        self._subject = subject
        self._replayed = replayed
        self._runs = subject.events.runs
        indices = (index for start, end in self._runs for index in range(start, end))
        self._rows = event_rows.load_events(connection, indices)

    def report(self) -> IncidentReport:
        connection, asked = self._connection, self._asked
        own = event_rows.measures_of(connection, self._subject.name, 0, asked.size)
        found = propose(connection, asked, self._runs, runs_of(own))
        uploads = self._uploads()
        exposures = expose(connection, asked, [*uploads, *self._targets()])
        first, last = self._bracket()
        keys = self._keys(exposures)
        frozen = [each.frozen.until for of in exposures for each in of.windows if each.frozen is not None]
        authority = load_authority(connection, FOREVER) if writing.load_documents(connection) else None
        bounds = [each.bound for each in keys]
        burnt = tuple(self._burnt(uploads))
        return IncidentReport(
            head=self._head(),
            first=first,
            last=last,
            suspects=self._told(self._rows[:MOST_TOLD]),
            verdicts={
                verdict: count
                for at, verdict in enumerate(OUTCOMES)
                if (count := sum(row.outcome == at for row in self._rows))
            },
            projects=tuple(sorted({row.project for row in self._rows if row.project is not None})),
            measures=self._measures(own),
            acted=tuple(self._acted(found)),
            proposals=found,
            told=self._load(sorted(_named_by(found))),
            exposures=tuple(exposures),
            differences=tuple(self._differences()),
            revocations=tuple(_right(each) for each in self._replayed.others),
            residuals=tuple(self._replayed.residuals),
            keys=keys,
            roots=tuple(
                ToldRoot(each.last, int(each.about.partition("@")[2]))
                for each in found.proposals
                if each.reason == "root"
            ),
            assumptions=() if authority is None else assumptions(authority, bounds, max(frozen, default=None)),
            purge=tuple(self._purge(uploads, exposures)),
            burnt=burnt,
            freeable=tree_root([freeable_leaf(each.sha256, each.project, each.file) for each in burnt])
            if burnt
            else "",
        )

    def _head(self) -> ReportHead:
        subject, asked = self._subject, self._asked
        ledger = read_ledger(writing.load_position(self._connection))
        return ReportHead(
            subject.name,
            subject.title,
            ledger.digest,
            ledger.origin,
            asked.size,
            subject.root_hash,
            self._moment(asked.number) if asked.number else None,
            asked.held_from,
            subject.version,
            subject.events.selection,
            subject.events.total,
        )

    def _moment(self, number: int) -> Moment:
        row = publication_rows.load_publication(self._connection, number)
        if row is None:
            raise AssertionError(f"there is no publication {number}")
        return Moment(row.number, row.time, row.effective_time)

    # --- events ----------------------------------------------------------------------------------------------

    def _told(self, rows: Sequence[EventRow]) -> tuple[ToldEvent, ...]:
        return tuple(_told_event(each) for each in answers(self._connection, self._asked, rows))

    def _load(self, indices: Sequence[int]) -> tuple[ToldEvent, ...]:
        return self._told(event_rows.load_events(self._connection, indices))

    def _measures(self, own: Sequence[int]) -> tuple[ToldEvent, ...]:
        """What was done about the incident, but for records about itself."""
        rows = event_rows.load_events(self._connection, own)
        return self._told([row for row in rows if not (row.type or "").startswith("incident.")][:MOST_TOLD])

    def _bracket(self) -> tuple[Moment | None, Moment | None]:
        """The publications that are the first to show the first and the last suspect that any shows."""
        if not self._runs:
            return None, None
        first = publication_rows.first_showing(self._connection, self._runs[0][0])
        last = publication_rows.first_showing(self._connection, self._runs[-1][1] - 1)
        if last is None and first is not None:
            last = publication_rows.last_publication(self._connection)
        moments = [None if row is None else Moment(row.number, row.time, row.effective_time) for row in (first, last)]
        return moments[0], moments[1]

    def _acted(self, found: Proposals) -> Iterator[Acted]:
        counts: dict[tuple[str, str, str], int] = {
            (each.reason, each.about, each.when): each.count for each in found.proposals if each.depth == 1
        }
        for who in leads.who_acted(self._connection, self._runs):
            name = f"{who.kind}:{who.name}" if who.credential is None else who.credential
            reason = "actor" if who.credential is None else "credential"
            times = [counts.get((reason, name, when), 0) for when in ("before", "within", "after")]
            yield Acted(who.kind, who.name, who.credential, who.events, *times)

    # --- files and other targets -----------------------------------------------------------------------------

    def _uploads(self) -> list[UploadRow]:
        """The files that suspects uploaded or restored."""
        numbers = {
            row.file
            for row in self._rows
            if row.outcome == _ACCEPTED and row.file is not None and row.type in {UPLOADED, _RESTORED}
        }
        return states.uploads_numbered(self._connection, numbers)

    def _targets(self) -> list[TargetBytes]:
        """The other targets that suspects added."""
        found: dict[TargetBytes, None] = {}
        for row in self._rows:
            if row.outcome == _ACCEPTED and row.type == _ADDED and row.subject is not None:
                for state in states.states_of_artifact(self._connection, row.subject):
                    if state.from_idx == row.idx:
                        found[TargetBytes(row.subject, state.sha256, state.length)] = None
        return list(found)

    def _purge(self, uploads: Sequence[UploadRow], exposures: Iterable[Exposure]) -> Iterator[Purge]:
        rows = {each.upload_idx: each for each in uploads}
        suspects = {row.idx for row in self._rows}
        for each in exposures:
            served = [plain_path(each.path), hashed_path(each.path, each.sha256)]
            digests, is_shared = {"sha256": each.sha256}, False
            pages: tuple[str, ...] = ()
            if each.project is not None:
                row = rows[each.event]
                digests["blake2b_256"] = row.blake2b_256.hex()
                if row.core_metadata_sha256 is not None:
                    digests["metadata"] = row.core_metadata_sha256.hex()
                if row.provenance_sha256 is not None:
                    digests["provenance"] = row.provenance_sha256.hex()
                served += [companion_path(each.path, "metadata"), companion_path(each.path, "provenance")]
                pages = plain_path(page_target(each.project)), plain_path(page_target(each.project, HTML_PAGE))
                same = states.uploads_hashed(self._connection, path_hash(each.path))
                is_shared = any(path_of(other) == each.path and other.upload_idx not in suspects for other in same)
            yield Purge(each.path, each.project, tuple(served), pages, digests, is_shared)

    def _burnt(self, uploads: Iterable[UploadRow]) -> Iterator[Burnt]:
        """The names that suspects took and that the clean state does not have with these bytes."""
        plans = {each.name: each for each in self._replayed.projects}
        numbers = {each.project for each in uploads}
        names = states.project_names(self._connection, numbers)
        for each in sorted(uploads, key=lambda row: (names[row.project], row.filename, row.upload_idx)):
            plan = plans[names[each.project]]
            live, clean = plan.live.files.get(each.filename), plan.clean.files.get(each.filename)
            is_taken = live is not None and live.sha256 == each.sha256.hex() and not live.freed
            if is_taken and (clean is None or clean.sha256 != each.sha256.hex()):
                yield Burnt(names[each.project], each.filename, each.sha256.hex(), wanted=clean is not None)

    # --- what the index should say ---------------------------------------------------------------------------

    def _differences(self) -> Iterator[ReplayDifference]:
        for project in self._replayed.projects:
            found = [
                ToldDeviation(each.what, each.name, each.aspect, each.live, each.clean)
                for each in deviations(project.live, project.clean)
            ]
            if found or project.flips:
                yield self._difference("project", project.name, project, found)
        for target in self._replayed.targets:
            live, clean = target.live.offered, target.clean.offered
            now, wanted = live.sha256 if live else "", clean.sha256 if clean else ""
            found = [ToldDeviation("target", target.path, "bytes", now, wanted)] if now != wanted else []
            if found or target.flips:
                yield self._difference("target", target.path, target, found)

    def _difference(
        self, kind: str, name: str, plan: ProjectPlan | TargetPlan, found: Sequence[ToldDeviation]
    ) -> ReplayDifference:
        flips: list[Flip] = plan.flips[:MOST_TOLD]
        events = {each.event: each for each in self._load([flip.event for flip in flips])}
        told = tuple(ToldFlip(events[each.event], _outcome(each.live), _outcome(each.clean)) for each in flips)
        return ReplayDifference(kind, name, told, len(plan.flips), tuple(found), len(plan.steps))

    # --- keys ------------------------------------------------------------------------------------------------

    def _keys(self, exposures: Iterable[Exposure]) -> tuple[ToldKey, ...]:
        """The online keys that signed what suspects brought, and those in force now."""
        online: set[str] = set()
        if writing.load_documents(self._connection):
            online.update(load_authority(self._connection, FOREVER).online.keyids)
        signed = {key.keyid for each in exposures for window in each.windows for key in window.lost}
        return tuple(
            ToldKey(
                keyid, keyid in online, tuple(spans_of(self._connection, keyid)), bound_of_key(self._connection, keyid)
            )
            for keyid in sorted(online | signed)
        )


def _named_by(found: Proposals) -> set[int]:
    return {index for each in found.proposals if each.reason != "publications" for index in each.first}


def _told_event(answer: EventAnswer) -> ToldEvent:
    row, place = answer.row, answer.place
    return ToldEvent(
        row.idx,
        row.digest.hex(),
        row.type or "",
        answer.what,
        answer.verdict,
        row.code,
        row.project,
        row.actor_kind,
        row.actor,
        row.credential,
        row.time,
        answer.is_outside,
        place.status,
        place.publication,
        place.not_before,
        place.not_after,
    )


def _right(step: StepDraft) -> str:
    """A right that a step ends, in words."""
    names = ("kind", "account", "role", "credential", "project")
    return f"{describe_access('revoke', {name: step.data.get(name) for name in names})} ({step.why})"


def _outcome(outcome: Outcome) -> str:
    return f"{outcome.verdict}, {outcome.code}" if outcome.code else outcome.verdict
