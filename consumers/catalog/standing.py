"""How files stand, and since when: what each event about a file, its release and its project has made of it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from ledger.catalog import FOREVER, states
from ledger.catalog.database import Connection
from ledger.catalog.states import FileState, ProjectState, ReleaseState, UploadRow
from ledger.catalog.tables import FREED, REMOVED, THERE, WITHHELD
from projections.metadata.paths import package_target

STATES = {THERE: "listed", REMOVED: "removed", WITHHELD: "withheld", FREED: "freed"}
QUARANTINED = "quarantined"
HIDDEN = "hidden"
"""The state of a file that is there, and that its release's or its project's quarantine hides."""

Interval = tuple[int, int]
"""Indices of events, from one (inclusive) to another (exclusive)."""


class FileStanding(NamedTuple):
    """A file, how it stands at the end of the log, and why.

    Attributes:
        upload: its facts.
        state: `listed`, `hidden`, `removed`, `withheld` or `freed`.
        yanked: the reason that is shown; None: it is not yanked.
        causes: the indices of the events that made it what it is, in order; the first one is its upload.
        listed: when it was listed.
    """

    upload: UploadRow
    state: str
    yanked: str | None
    causes: Sequence[int]
    listed: Sequence[Interval]

    @property
    def path(self) -> str:
        """The target path."""
        return path_of(self.upload)


def path_of(upload: UploadRow) -> str:
    """The target path of a file."""
    return package_target(upload.blake2b_256.hex(), upload.filename)


def standings(connection: Connection, project: int, uploads: Sequence[UploadRow]) -> list[FileStanding]:
    """How some files of a project stand, in the order given."""
    of_project = states.states_of_project(connection, project)
    of_releases = defaultdict[str, list[ReleaseState]](list)
    for each in states.states_of_releases(connection, project, {each.release for each in uploads}):
        of_releases[each.release].append(each)
    of_files = states.states_of_files(connection, [each.id for each in uploads])
    return [_standing(each, of_files[each.id], of_releases[each.release], of_project) for each in uploads]


def _standing(
    upload: UploadRow, own: Sequence[FileState], release: Sequence[ReleaseState], project: Sequence[ProjectState]
) -> FileStanding:
    first, last = upload.upload_idx, own[-1]
    own_end = [*own[:-1], last._replace(to_idx=FOREVER)]  # a freed name may be another file's by now
    yanked = _last_change((each.from_idx, each.to_idx, each.yanked) for each in release)
    hidden = _last_change((each.from_idx, each.to_idx, each.quarantined) for each in release)
    frozen = _last_change(
        (each.from_idx, each.to_idx, each.reason if each.status == QUARANTINED else None) for each in project
    )
    changes: list[_Change[Any]] = [
        _last_change((each.from_idx, each.to_idx, each.state) for each in own_end),
        _last_change((each.from_idx, each.to_idx, each.yanked) for each in own_end),
        yanked,
        hidden,
        frozen,
    ]
    # A flag from before the upload is a cause while it lasts; that it was taken away before is none.
    causes = {
        each.since for each in changes if each.since is not None and (each.since > first or each.value is not None)
    }
    state = STATES[last.state]
    if last.state == THERE and (hidden.value is not None or frozen.value is not None):
        state = HIDDEN
    shown = last.yanked if last.yanked is not None else yanked.value
    return FileStanding(upload, state, shown, sorted(causes | {first}), _listed(own, release, project))


V = TypeVar("V")


class _Change(NamedTuple, Generic[V]):
    """The index at which a value last changed (None: it never did), and the value since."""

    since: int | None
    value: V | None


def _last_change(spans: Iterable[tuple[int, int, V | None]]) -> _Change[V]:
    """The last change of a value, given the spans of its values in order. It is None before, between and after."""
    last: _Change[V] = _Change(None, None)
    end = 0
    for from_idx, to_idx, value in spans:
        if from_idx > end and last.value is not None:
            last = _Change(end, None)
        if value != last.value:
            last = _Change(from_idx, value)
        end = to_idx
    return last if end == FOREVER or last.value is None else _Change(end, None)


def _listed(
    own: Sequence[FileState], release: Sequence[ReleaseState], project: Sequence[ProjectState]
) -> list[Interval]:
    found = merged((each.from_idx, each.to_idx) for each in own if each.state == THERE)
    found = without(found, merged((each.from_idx, each.to_idx) for each in release if each.quarantined is not None))
    hidden = ((each.from_idx, each.to_idx) for each in project if each.removed or each.status == QUARANTINED)
    return without(found, merged(hidden))


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals, given in order, with those that touch made one."""
    found: list[Interval] = []
    for start, end in intervals:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def without(intervals: Iterable[Interval], others: Sequence[Interval]) -> list[Interval]:
    """What is left of intervals where others are taken out."""
    found = []
    for start, end in intervals:
        at = start
        for first, last in others:
            if last <= at or first >= end:
                continue
            if first > at:
                found.append((at, first))
            at = max(at, last)
        if at < end:
            found.append((at, end))
    return found
