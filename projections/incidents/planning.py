"""The steps that lead a project from what the index says to what it should say, and what no step can do.

The order of steps is that of docs/design.md, "Incidents": exist again; what must go; lift what refuses uploads;
repeat uploads that were rejected because of suspects, in their order and with their own times; restore; flags of
releases, then of files; the status last. Each draft is folded behind the log. What the rules reject is taken out of it,
and named.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from projections import text
from projections.incidents.replays import (
    Deviation,
    Flip,
    ProjectReplay,
    TargetReplay,
    deviations,
    flips,
    is_same_file,
    replay_project,
    replay_target,
    without,
)
from projections.index.other_aggregates import TargetFacts
from projections.index.pages import FileFacts, Release
from projections.log.operations import FileAct, TargetAct, Upload, project_key, type_of
from projections.log.reading import Routed, read_records
from projections.outcomes import ACCEPTED, Outcome
from projections.roles.authority import Terms
from schemas import canonical, events
from schemas.plans import Residual

_FREED = type_of(events.FileFreed)
_UPLOADED = Upload.type
_REPEATED: Mapping[str, type[events.FileUploaded | events.FileFreed]] = {
    _UPLOADED: events.FileUploaded,
    _FREED: events.FileFreed,
}
_ONLY_LIVE = "no suspect uploaded it, and without suspects it would have been rejected"
_REFUSING = frozenset({"archived", "quarantined"})


class StepDraft(NamedTuple):
    """A step that is not numbered yet: the type, subject and `data` of its event, and why. `time` is that of the upload
    that it repeats (None: when the plan is made).
    """

    type: str
    subject: str
    data: dict[str, Any]
    why: str
    time: str | None = None


EventMaker = Callable[[int, StepDraft], dict[str, Any]]
"""Makes the event of a step from its number and its draft."""


class ProjectPlan(NamedTuple):
    """What there is to do about one project, and what follows from the log about it.

    Attributes:
        name: the project.
        live: what the log says.
        clean: what it should say.
        flips: the events that are left and of which something else becomes without the others.
        steps: what is to be appended, in order.
        residuals: what they leave undone.
    """

    name: str
    live: ProjectReplay
    clean: ProjectReplay
    flips: list[Flip]
    steps: list[StepDraft]
    residuals: list[Residual]

    @property
    def expects(self) -> str:
        """The digest of the last accepted record about the project."""
        return self.live.header.last_digest


class ProjectHistory(NamedTuple):
    """All events about a project, and the records of those that were not simply accepted, by index."""

    name: str
    items: Sequence[Routed]
    records: Mapping[int, bytes]


def plan_project(
    history: ProjectHistory, left_out: Collection[int], terms: Sequence[Terms], size: int, make: EventMaker
) -> ProjectPlan:
    """Plan the recovery of one project.

    Args:
        history: the project's history, up to the end of the log.
        left_out: the indices of suspects, and of measures that were taken about them.
        terms: the settings by which events are judged.
        size: the size of the log: steps are judged as if they came next.
        make: makes their events.
    """
    name = history.name
    live = replay_project(name, history.items, terms)
    clean = replay_project(name, without(history.items, left_out, live.outcomes), terms)
    turned = flips(live.outcomes, clean.outcomes)
    refused: dict[str, Outcome] = {}
    dropped: set[tuple[str, str]] = set()
    while True:
        drafting = _Drafting(history, live, clean, left_out, refused)
        steps = [step for step in drafting.steps() if _key(step) not in dropped]
        after = replay_project(name, [*history.items, *_as_read(steps, size, make)], terms)
        outcomes = [after.outcomes[size + number] for number in range(len(steps))]
        wrong = [(step, outcome) for step, outcome in zip(steps, outcomes, strict=True) if outcome is not ACCEPTED]
        if not wrong:
            break
        for step, outcome in wrong:
            if step.type in {_UPLOADED, _FREED}:
                refused[step.data["filename"]] = outcome
            else:
                dropped.add(_key(step))
    found = list(_residuals(history, drafting, refused, steps, deviations(after, clean)))
    return ProjectPlan(name, live, clean, turned, steps, found)


def _as_read(steps: Sequence[StepDraft], size: int, make: EventMaker) -> list[Routed]:
    values = [canonical.encode(make(number, step)) for number, step in enumerate(steps)]
    reading = read_records(size, values)
    if reading.others:
        raise AssertionError(f"a step does not fit its schema: {reading.others[0].event}")
    return reading.routed


def _key(step: StepDraft) -> tuple[str, str]:
    return step.type, str(step.data.get("filename", step.data.get("version", "")))


class _Drafting:
    """Drafts the steps for one project. `refused` are files that cannot be offered again."""

    def __init__(
        self,
        history: ProjectHistory,
        live: ProjectReplay,
        clean: ProjectReplay,
        left_out: Collection[int],
        refused: Mapping[str, Outcome],
    ) -> None:
        self._name = history.name
        self._history = history
        self._live, self._clean = live, clean
        self._left_out = left_out
        self._refused = refused
        self._versions: dict[str, str] = {}
        for facts in (*live.files.values(), *clean.files.values()):
            self._versions.setdefault(facts.release, facts.version)
        self._repeats = self._find_repeats()
        self.taken: dict[str, FileFacts] = {}

    def steps(self) -> Iterator[StepDraft]:
        """The steps in order."""
        live, clean = self._live.header, self._clean.header
        if clean.status is None:
            if live.exists or live.left:
                yield self._step(events.ProjectRemoved, "only suspects made this project", withhold=True)
            return
        if clean.exists and not live.exists:
            yield self._step(events.ProjectCreated, "a suspect removed the project")
        yield from self._removals()
        if not clean.exists:
            if live.exists:
                yield self._step(events.ProjectRemoved, "its owner removed it")
            return
        yield from self._repetitions()
        yield from self._restorations()
        yield from self._flags()
        yield from self._status()

    def _step(self, kind: type[events.BaseEvent], why: str, /, **data: Any) -> StepDraft:
        said = {name: each for name, each in data.items() if each not in {None, False}}
        return StepDraft(type_of(kind), self._name, said, why)

    # --- what must go --------------------------------------------------------------------------------------------

    def _removals(self) -> Iterator[StepDraft]:
        honest = {
            item.operation.filename
            for item in self._history.items
            if isinstance(item.operation, Upload)
            and item.index not in self._left_out
            and self._live.outcomes[item.index] is ACCEPTED
        }
        for name, live in sorted(self._live.files.items()):
            clean = self._clean.files.get(name)
            if live.freed or (live.removed and live.withheld):
                continue
            if clean is None or not is_same_file(live, clean):
                why = "a suspect took the name"
                if clean is None:
                    why = _ONLY_LIVE if name in honest else "only suspects offered it"
                yield self._step(events.FileRemoved, why, filename=name, withhold=True)
            elif clean.removed and not live.removed and (self._clean.header.exists or clean.withheld):
                yield self._step(events.FileRemoved, "it was removed before", filename=name, withhold=clean.withheld)
            elif clean.withheld:
                yield self._step(events.FileRemoved, "its bytes were withheld before", filename=name, withhold=True)

    # --- what was rejected ---------------------------------------------------------------------------------------

    def _find_repeats(self) -> list[tuple[int, str, str]]:
        """The events to repeat: index, type and filename, in order."""
        if not self._clean.header.exists:
            return []
        last, freed = self._accepted()
        found = []
        for name, clean in self._clean.files.items():
            live = self._live.files.get(name)
            if clean.removed or name in self._refused:
                continue
            if live is not None and not live.freed:
                if is_same_file(live, clean) or name not in freed:
                    continue
                found.append((freed[name], _FREED, name))
            if self._live.outcomes[last[name]] is not ACCEPTED:
                found.append((last[name], _UPLOADED, name))
        return sorted(found)

    def _accepted(self) -> tuple[dict[str, int], dict[str, int]]:
        """By filename, the last upload that should have been accepted, and the last freeing that was not."""
        last: dict[str, int] = {}
        freed: dict[str, int] = {}
        for item in self._history.items:
            index, operation = item.index, item.operation
            if index in self._left_out or self._clean.outcomes[index] is not ACCEPTED:
                continue
            if isinstance(operation, Upload):
                last[operation.filename] = index
                continue
            is_new = self._live.outcomes[index] is not ACCEPTED
            if is_new and isinstance(operation, FileAct) and operation.type == _FREED:
                freed[operation.filename] = index
        return last, freed

    def _repetitions(self) -> Iterator[StepDraft]:
        uploads = [name for _, kind, name in self._repeats if kind == _UPLOADED]
        if not uploads:
            return
        if self._now()[0] in _REFUSING:
            yield self._step(
                events.ProjectStatusChanged, "its status refuses uploads that were rejected", status="active"
            )
        for key in sorted({self._clean.files[name].release for name in uploads}):
            release = self._live.header.releases.get(key)
            if release is not None and release.quarantined is not None:
                yield self._step(
                    events.ReleaseQuarantineCleared,
                    "its quarantine refuses uploads that were rejected",
                    version=self._version(key),
                )
        for index, kind, _ in self._repeats:
            event = msgspec.json.decode(self._history.records[index], type=_REPEATED[kind])
            data = {**msgspec.to_builtins(event.data), "expects": None, "commitments": None}
            data["reason"] = text.clean(data.get("reason")) or None
            data = {key: value for key, value in data.items() if value is not None}
            why = f"event {index} was rejected because of a suspect"
            yield StepDraft(kind, self._name, data, why, event.time if kind == _UPLOADED else None)

    # --- what was taken away -------------------------------------------------------------------------------------

    def _restorations(self) -> Iterator[StepDraft]:
        again = {name for _, kind, name in self._repeats if kind == _UPLOADED}
        for name in sorted(self._clean.files, key=self._place):
            clean, live = self._clean.files[name], self._live.files.get(name)
            if clean.removed or live is None or name in again:
                continue
            if live.freed or not is_same_file(live, clean):
                self.taken[name] = live
            elif live.removed or not self._live.header.exists:
                yield self._step(events.FileRestored, "a suspect removed it", filename=name, sha256=clean.sha256)

    def _place(self, name: str) -> tuple[str, int, str]:
        """Spellings of a release come back in the order in which they came first."""
        facts = self._clean.files[name]
        spellings = list(self._clean.header.releases[facts.release].spellings)
        return facts.release, spellings.index(facts.version) if facts.version in spellings else 0, name

    # --- flags ---------------------------------------------------------------------------------------------------

    def _flags(self) -> Iterator[StepDraft]:
        live, clean = self._live.header.releases, self._clean.header.releases
        again = {self._clean.files[name].release for _, kind, name in self._repeats if kind == _UPLOADED}
        for key in sorted({*live, *clean}):
            before, after = live.get(key), clean.get(key) or Release()
            if before is None and key not in again:
                continue  # nothing is known of it, so no flag can be set, and none is seen
            before = before or Release()
            version = self._version(key)
            if after.yanked != before.yanked:
                if after.yanked is None:
                    yield self._step(events.ReleaseUnyanked, "a suspect yanked it", version=version)
                else:
                    why = "it was yanked before" if before.yanked is None else "it was yanked for another reason"
                    yield self._step(events.ReleaseYanked, why, version=version, reason=after.yanked or None)
            yield from self._quarantine(version, None if key in again else before.quarantined, after.quarantined)
        for name, after_file in sorted(self._clean.files.items()):
            yield from self._own_yank(name, after_file)

    def _quarantine(self, version: str, now: str | None, wanted: str | None) -> Iterator[StepDraft]:
        if now == wanted:
            return
        if now is not None:
            why = "a suspect quarantined it" if wanted is None else "it was quarantined for another reason"
            yield self._step(events.ReleaseQuarantineCleared, why, version=version)
        if wanted is not None:
            yield self._step(
                events.ReleaseQuarantined, "it was quarantined before", version=version, reason=wanted or None
            )

    def _own_yank(self, name: str, clean: FileFacts) -> Iterator[StepDraft]:
        if clean.removed or name in self.taken or name in self._refused:
            return
        live = self._live.files.get(name)
        yanked = live.yanked if live is not None and is_same_file(live, clean) and not live.freed else None
        if clean.yanked == yanked:
            return
        if clean.yanked is None:
            yield self._step(events.FileUnyanked, "a suspect yanked it", filename=name)
        else:
            why = "it was yanked before" if yanked is None else "it was yanked for another reason"
            yield self._step(events.FileYanked, why, filename=name, reason=clean.yanked or None)

    # --- status --------------------------------------------------------------------------------------------------

    def _now(self) -> tuple[str, str]:
        """Status and reason, once the project exists."""
        header = self._live.header
        if header.exists or header.status == "quarantined":
            return header.status or "", header.reason
        return "active", ""

    def _status(self) -> Iterator[StepDraft]:
        now = self._now()
        if now[0] in _REFUSING and any(kind == _UPLOADED for _, kind, _ in self._repeats):
            now = "active", ""
        wanted = self._clean.header.status or "", self._clean.header.reason
        if wanted != now:
            yield self._step(
                events.ProjectStatusChanged, "its status was another one", status=wanted[0], reason=wanted[1] or None
            )

    def _version(self, key: str) -> str:
        """A spelling of a release's version; its key is one, too."""
        return self._versions.get(key, key)


# --- what no step can do -----------------------------------------------------------------------------------------

_FREEABLE = "root holders can sign a list that frees the name (`tuf-ledger ceremony --freeable`); or upload it anew"
_LEGACY = "it is a legacy name, and importing has ended: its owner uploads it under a name that tools make today"
_REMEDIES = {
    "filename-taken": f"{_FREEABLE} as another version or with another build tag",
    "file-freed": "its bytes were freed and never come back; its owner uploads a new version",
    "equivalent-filename": f"{_FREEABLE} as another version",
    "bad-version": _LEGACY,
    "foreign-filename": _LEGACY,
    "not-freeable": "root holders sign a list that names the file (`tuf-ledger ceremony --freeable`)",
    "spelling": "remove and restore the files of the other spelling, if it matters",
    "upload-time": "none is needed: the bytes are the same, and cooldowns count from the earlier upload",
    "uploaded-again": "tell its users: cooldowns start anew",
}


def _residuals(
    history: ProjectHistory,
    drafting: _Drafting,
    refused: Mapping[str, Outcome],
    steps: Sequence[StepDraft],
    left: Sequence[Deviation],
) -> Iterator[Residual]:
    about = project_key(history.name)

    def residual(name: str, code: str, detail: str) -> Residual:
        remedy = _REMEDIES.get(code, "see docs/incident-response.md")
        return Residual(about=about, name=name, code=code, detail=detail, remedy=remedy)

    named = set()
    for name, outcome in sorted(refused.items()):
        named.add(("file", name))
        yield residual(name, outcome.code, f"{name} cannot be offered again: {outcome.detail or outcome.code}")
    for name, facts in sorted(drafting.taken.items()):
        if ("file", name) not in named:
            named.add(("file", name))
            code = "file-freed" if facts.freed else "filename-taken"
            yield residual(name, code, f"the name {name} belongs to other facts (SHA-256 {facts.sha256})")
    for step in steps:
        if step.type == _UPLOADED:
            name = step.data["filename"]
            yield residual(name, "uploaded-again", f"{name} gets a new upload time, and a new rank among its like")
    for each in left:
        if (each.what, each.name) in named:
            continue
        if each.aspect in {"spelling", "upload-time"}:
            detail = f"{each.name}: {each.aspect} is {each.live or 'none'}, and should be {each.clean or 'none'}"
            yield residual(each.name, each.aspect, detail)
        else:
            yield residual(each.name, "differs", f"{each.what} {each.name}: {each.aspect} stays {each.live or 'none'}")


_EXPLAINS: Mapping[str, tuple[str, ...]] = {
    "spelling": ("spelling",),
    "upload-time": ("upload-time",),
    "uploaded-again": (),
    "differs": (),
}
_OF_FILES = ("bytes",)


def unexplained(live: ProjectReplay, clean: ProjectReplay, residuals: Sequence[Residual]) -> list[Deviation]:
    """Where two replays of a project differ, and none of its residuals says so.

    A residual can say why a file is not offered. That other bytes are offered under its name, no residual explains.
    """
    said = {(each.name, aspect) for each in residuals for aspect in _EXPLAINS.get(each.code, _OF_FILES)}
    return [
        each
        for each in deviations(live, clean)
        if (each.name, each.aspect) not in said or (each.aspect in _OF_FILES and each.live)
    ]


# --- other targets -----------------------------------------------------------------------------------------------


class TargetPlan(NamedTuple):
    """What there is to do about one other target; nothing is left undone."""

    path: str
    live: TargetReplay
    clean: TargetReplay
    flips: list[Flip]
    steps: list[StepDraft]


def plan_target(path: str, items: Sequence[Routed], left_out: Collection[int]) -> TargetPlan:
    """Plan the recovery of a target that is neither a page nor a distribution file."""
    live = replay_target(items)
    clean = replay_target(without(items, left_out, live.outcomes))
    wanted = clean.offered
    honest = {
        item.operation.sha256
        for item in items
        if isinstance(item.operation, TargetAct) and clean.outcomes.get(item.index) is ACCEPTED
    }
    steps = []
    if live.facts is not None and _bytes(live.facts) != _bytes(wanted):
        is_known = live.facts.sha256 in honest
        was_withheld = clean.facts is not None and clean.facts.withheld and _bytes(clean.facts) == _bytes(live.facts)
        why = "it was removed before" if is_known else "only suspects offered it"
        if not live.facts.withheld and (was_withheld or not is_known):
            steps.append(StepDraft(type_of(events.TargetRemoved), path, {"withhold": True}, why))
        elif live.offered is not None and wanted is None:
            steps.append(StepDraft(type_of(events.TargetRemoved), path, {}, why))
    if wanted is not None and _bytes(live.offered) != _bytes(wanted):
        data = {"length": wanted.length, "sha256": wanted.sha256}
        steps.append(StepDraft(type_of(events.TargetAdded), path, data, "a suspect replaced or removed it"))
    return TargetPlan(path, live, clean, flips(live.outcomes, clean.outcomes), steps)


def _bytes(facts: TargetFacts | None) -> tuple[str, int] | None:
    return None if facts is None else (facts.sha256, facts.length)
