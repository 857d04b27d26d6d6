"""What a batch of events becomes in the tables of a catalog."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

from consumers.catalog.ahead import EventBatch
from consumers.catalog.spans import Spans, key_of
from ledger.catalog.tables import FREED, OUTCOMES, REMOVED, THERE, WITHHELD
from ledger.catalog.writing import OpenFile
from projections.index.effects import FileEffect, IncidentEffect, ProjectEffect, ReleaseEffect, TargetEffect, Told
from projections.index.pages import FileFacts
from projections.log.envelopes import Envelope
from projections.log.operations import FileAct, Upload, type_of
from projections.metadata.paths import HTML_PAGE, JSON_PAGE, page_target
from projections.outcomes import Outcome
from projections.text import clean
from schemas import events
from schemas.codec import decode_event

UPLOADED = type_of(events.FileUploaded)
PROJECT_REMOVED = type_of(events.ProjectRemoved)
_FILE_FREED = type_of(events.FileFreed)
_OUTCOMES = {verdict: number for number, verdict in enumerate(OUTCOMES)}
MAX_SUBJECT_CHARACTERS = 512
"""That is the length of the longest target path."""
_FAMILIES = ("project", "release", "file")
"""First parts of the types of events whose subject is a project."""
_ACCESS = {
    type_of(events.AccessGranted): "granted",
    type_of(events.AccessRevoked): "revoked",
    type_of(events.AccessNoted): "noted",
}

Row = Sequence[Any]


def path_hash(path: str) -> int:
    """The first 4 bytes of the SHA-256 of a target path, as a number: bins are ranges of it (TAP 15)."""
    return int.from_bytes(sha256(path.encode()).digest()[:4], "big")


class Judgement(NamedTuple):
    """What became of one record: what folding, or the prefix, says about it."""

    digest: str
    outcome: Outcome
    effects: Sequence[Any] = ()
    filename: str = ""
    remembered: bool = False


class Needs(NamedTuple):
    """What must be known of the catalog before a batch becomes rows. The keys of dictionaries are in the order in which
    they first occur: so their numbers do not depend on where batches end.
    """

    types: dict[str, None]
    actors: dict[tuple[str, str], None]
    credentials: dict[str, None]
    subjects: dict[str, None]
    projects: dict[str, None]
    filenames: dict[str, None]
    whole_projects: dict[str, None]
    states_of: dict[str, None]
    releases_of: dict[str, None]
    paths: dict[str, None]
    incidents: dict[str, None]


class Known(NamedTuple):
    """What is known: ids by name, and intervals that have not ended."""

    types: Mapping[str, int]
    actors: Mapping[tuple[str, str], int]
    credentials: Mapping[str, int]
    subjects: Mapping[str, int]
    projects: Mapping[str, int]
    files: Sequence[OpenFile]
    project_states: Sequence[Row]
    release_states: Sequence[Row]
    artifact_states: Sequence[Row]
    incidents: Sequence[Row]
    next_file: int


class BatchRows(NamedTuple):
    """Rows by table, and intervals that end: the table, the primary key, and the index."""

    rows: dict[str, list[Row]]
    ended: dict[str, list[tuple[tuple[Any, ...], int]]]
    revoked: list[tuple[tuple[str | None, ...], int]]
    next_file: int


def judgements(batch: EventBatch, told: Iterable[Told]) -> dict[int, Judgement]:
    """What became of each record of a batch, by index."""
    found = {each.index: Judgement(each.digest, each.outcome) for each in batch.extension.judged}
    operations = {item.index: item.operation for item in batch.extension.routed}
    for each in told:
        operation = operations[each.index]
        filename = operation.filename if isinstance(operation, Upload | FileAct) else ""
        remembered = bool(operation.id) and each.outcome.verdict != "rejected"
        found[each.index] = Judgement(each.digest, each.outcome, each.effects, filename, remembered)
    return found


@cache
def is_about_project(kind: str) -> bool:
    """Whether the subject of events of a type is a project."""
    return kind.partition(".")[0] in _FAMILIES


def kept_subject(subject: str) -> str:
    """A subject as `subjects` has it. All stay as they are but those of `ledger.created` and `roles.signed`, which may
    be any text: one with a NUL, which PostgreSQL refuses, or too long for its indexes.
    """
    return clean(subject)[:MAX_SUBJECT_CHARACTERS]


def needs(batch: EventBatch, judged: Mapping[int, Judgement], *, has_freed: bool) -> Needs:
    """What must be known before a batch becomes rows.

    Args:
        batch: the batch.
        judged: what became of its records.
        has_freed: whether a file was freed anywhere: then an accepted upload may replace one.
    """
    found = Needs(*({} for _ in Needs._fields))
    for index, envelope in enumerate(batch.envelopes, batch.before.size):
        each = judged[index]
        if envelope is not None:
            found.types[envelope.type] = None
            found.actors[envelope.actorkind, envelope.actorid] = None
            if envelope.actorcredential is not None:
                found.credentials[envelope.actorcredential] = None
            if is_about_project(envelope.type):
                found.projects[envelope.subject] = None
            else:
                found.subjects[kept_subject(envelope.subject)] = None
            has_freed |= envelope.type == _FILE_FREED
            is_new = envelope.type == UPLOADED and each.outcome.verdict == "accepted"
            if each.filename and (has_freed or not is_new):
                found.filenames[each.filename] = None
        for effect in each.effects:
            if not isinstance(effect, FileEffect):
                _need(found, effect, removes=envelope is not None and envelope.type == PROJECT_REMOVED)
    return found


def _need(found: Needs, effect: Any, *, removes: bool) -> None:
    if isinstance(effect, ProjectEffect):
        found.states_of[effect.project] = None
        if removes:
            found.whole_projects[effect.project] = None
    elif isinstance(effect, ReleaseEffect):
        found.releases_of[effect.project] = None
        if effect.removed or effect.withheld:
            found.whole_projects[effect.project] = None
    elif isinstance(effect, TargetEffect):
        found.paths[effect.path] = None
    elif isinstance(effect, IncidentEffect):
        found.incidents[effect.incident] = None


class RowMaker:
    """Makes the rows of one batch."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._next_file = known.next_file
        self._names = {number: name for name, number in known.projects.items()}
        self._projects: Spans[int, tuple[str, str, int]] = Spans()
        self._releases: Spans[tuple[int, str], tuple[str | None, str | None]] = Spans()
        self._files: Spans[int, tuple[int, str | None]] = Spans()
        self._artifacts: Spans[str, tuple[bytes, int, int, int]] = Spans()
        self._incidents: Spans[str, tuple[()]] = Spans()
        self._current: dict[tuple[int, str], int] = {}
        self._of_projects: dict[int, dict[int, str]] = {}
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._revoked: list[tuple[tuple[str | None, ...], int]] = []
        self._load(known)

    def _load(self, known: Known) -> None:
        for each in known.files:
            self._current[each.project, each.filename] = each.file
            self._of_projects.setdefault(each.project, {})[each.file] = each.release
            self._files.load(each.file, each.from_idx, (each.state, each.yanked))
        for project, from_idx, _, *values in known.project_states:
            self._projects.load(project, from_idx, tuple(values))
        for project, key, from_idx, _, *flags in known.release_states:
            self._releases.load((project, key), from_idx, tuple(flags))
        for path, from_idx, _, *facts in known.artifact_states:
            self._artifacts.load(path, from_idx, tuple(facts))
        for name, from_idx, _ in known.incidents:
            self._incidents.load(name, from_idx, ())

    def add(self, index: int, value: bytes | None, envelope: Envelope | None, judged: Judgement) -> None:
        """Add the next record of the batch."""
        project = None if envelope is None or not is_about_project(envelope.type) else envelope.subject
        number = None if project is None else self._known.projects[project]
        for effect in judged.effects:
            self._effect(index, effect, envelope)
        file = self._current.get((number, judged.filename)) if number is not None else None
        if judged.filename and file is None:
            self._row("unknown_files", index, judged.filename)
        self._row("events", *self._event(index, envelope, judged, number, file))
        accepted = judged.outcome.verdict == "accepted"
        is_plain = accepted and envelope is not None and envelope.type == UPLOADED and not judged.remembered
        if value is not None and not is_plain:
            self._row("event_bodies", index, value)
        if accepted and envelope is not None and envelope.type in _ACCESS:
            self._access(index, _ACCESS[envelope.type], value)

    def _event(
        self, index: int, envelope: Envelope | None, judged: Judgement, project: int | None, file: int | None
    ) -> Row:
        known, outcome = self._known, judged.outcome
        what = (_OUTCOMES[outcome.verdict], outcome.code or None, outcome.detail or None, file)
        digest = bytes.fromhex(judged.digest)
        if envelope is None:
            return (index, digest, *(None,) * 8, *what, 0)
        credential = envelope.actorcredential
        return (
            index,
            digest,
            known.types[envelope.type],
            project,
            known.subjects[kept_subject(envelope.subject)] if project is None else None,
            envelope.time,
            known.actors[envelope.actorkind, envelope.actorid],
            None if credential is None else known.credentials[credential],
            envelope.id,
            envelope.incident,
            *what,
            int(judged.remembered),
        )

    def _effect(self, index: int, effect: Any, envelope: Envelope | None) -> None:
        kind = "" if envelope is None else envelope.type
        if isinstance(effect, FileEffect):
            self._file(index, effect, envelope)
        elif isinstance(effect, ProjectEffect):
            number = self._known.projects[effect.project]
            self._projects.set(number, index, (effect.status, effect.reason, int(effect.removed)))
            if kind == PROJECT_REMOVED:
                self._remove(number, None, index, withheld=effect.withheld)
        elif isinstance(effect, ReleaseEffect):
            number = self._known.projects[effect.project]
            flags = effect.yanked, effect.quarantined
            self._releases.set((number, effect.release), index, None if flags == (None, None) else flags)
            if effect.removed or effect.withheld:
                self._remove(number, effect.release, index, withheld=effect.withheld)
        elif isinstance(effect, TargetEffect):
            state = WITHHELD if effect.withheld else REMOVED if effect.removed else THERE
            values = (bytes.fromhex(effect.sha256), effect.length, state, path_hash(effect.path))
            self._artifacts.set(effect.path, index, values)
        elif isinstance(effect, IncidentEffect):
            self._incidents.set(effect.incident, index, () if effect.state == "open" else None)

    def _file(self, index: int, effect: FileEffect, envelope: Envelope | None) -> None:
        facts, number = effect.facts, self._known.projects[effect.project]
        file = self._current.get((number, facts.filename))
        if envelope is not None and envelope.type == UPLOADED:
            if file is not None:  # it was freed
                self._files.set(file, index, None)
                del self._of_projects[number][file]
            file, self._next_file = self._next_file, self._next_file + 1
            self._current[number, facts.filename] = file
            self._of_projects.setdefault(number, {})[file] = facts.release
            self._row("files", *_file_row(file, number, facts, envelope.time, index))
        if file is None:
            raise AssertionError(f"an accepted event is about {facts.filename}, which was never uploaded")
        state = FREED if facts.freed else WITHHELD if facts.withheld else REMOVED if facts.removed else THERE
        self._files.set(file, index, (state, facts.yanked))

    def _remove(self, project: int, release: str | None, index: int, *, withheld: bool) -> None:
        """Remove all files of a project, or of a release, that are there; or withhold them and those removed before."""
        for file, key in self._of_projects.get(project, {}).items():
            found = self._files.get(file)
            if found is None or release not in {None, key}:
                continue
            state, yanked = found
            if state == THERE or (withheld and state == REMOVED):
                self._files.set(file, index, (WITHHELD if withheld else REMOVED, yanked))

    def _access(self, index: int, act: str, value: bytes | None) -> None:
        event: Any = decode_event(value)
        data = event.data  # it was accepted, so it is no rejection
        values = data.kind, data.account, data.role, data.credential, data.project
        self._row("access", index, act, *values, None)
        if act == "revoked":
            self._revoked.append((values, index))

    def _row(self, table: str, *values: Any) -> None:
        self._rows[table].append(values)

    def finish(self) -> BatchRows:
        """All rows."""
        rows, ended = self._rows, dict[str, list[tuple[tuple[Any, ...], int]]]()
        all_spans: Sequence[tuple[str, Spans[Any, Any]]] = (
            ("project_states", self._projects),
            ("release_states", self._releases),
            ("file_states", self._files),
            ("artifact_states", self._artifacts),
            ("incidents", self._incidents),
        )
        for table, spans in all_spans:
            rows[table] = list(spans.finish())
            ended[table] = [((*key_of(key), from_idx), to_idx) for key, from_idx, to_idx in spans.ended]
        return BatchRows(dict(rows), ended, self._revoked, self._next_file)


def _file_row(file: int, project: int, facts: FileFacts, time: str, index: int) -> Row:
    core, provenance = facts.core_metadata_sha256, facts.provenance_sha256
    return (
        file,
        project,
        facts.filename,
        facts.version,
        facts.release,
        facts.length,
        bytes.fromhex(facts.sha256),
        bytes.fromhex(facts.blake2b_256),
        time,
        facts.requires_python,
        None if core is None else bytes.fromhex(core),
        None if provenance is None else bytes.fromhex(provenance),
        int(facts.legacy),
        facts.rank,
        index,
        path_hash(facts.path),
    )


def project_row(number: int, name: str) -> Row:
    """The row of a project."""
    return (number, name, path_hash(page_target(name, JSON_PAGE)), path_hash(page_target(name, HTML_PAGE)))
