"""What differs between two sizes of a ledger, each with the event that made it so.

A difference is net: what came and went in between leaves none, but for uploads, which are told. Everything can be read
backwards: `reversed` exchanges before and after, and the events are then those that are undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgspec

from consumers.catalog.remaking import ListedTarget, is_hidden, listed_files
from consumers.catalog.rows import path_hash
from ledger.catalog import changed, content
from ledger.catalog.ceremonies import documents_up_to
from ledger.catalog.changed import FileStateRow, FlagsRow, Sizes, StateRow, TargetRow
from ledger.catalog.content import FileRow, ProjectRow
from ledger.catalog.database import Connection
from ledger.catalog.tables import THERE
from projections.metadata.facts import Fact, FactChange, facts_of
from projections.metadata.paths import HTML_PAGE, JSON_PAGE, package_target, page_target


class Flags(NamedTuple):
    """The flags of a release: the reason for each that is set."""

    yanked: str | None = None
    quarantined: str | None = None


class StandingOfFile(NamedTuple):
    """The state of a file (see `ledger.catalog.tables`), and the reason of its own yank."""

    state: int
    yanked: str | None


class FileDifference(NamedTuple):
    """A file whose state differs. None: it was not uploaded yet, or its freed name has other bytes. `is_new`: it was
    uploaded in between. The events are the last that changed each.
    """

    file: FileRow
    before: StandingOfFile | None
    after: StandingOfFile | None
    is_new: bool
    state_event: int
    yank_event: int | None


class ReleaseDifference(NamedTuple):
    """A release whose flags differ. `version` is as the files spell it, or else normalised."""

    key: str
    version: str
    before: Flags
    after: Flags
    yank_event: int | None
    quarantine_event: int | None


class ProjectDifference(NamedTuple):
    """A project that differs. `before` and `after` are None where it was never there. `event` is the last one that
    changed its state, `existence_event` the last one that created or removed it, `serial` the last accepted one.
    """

    id: int
    name: str
    before: ProjectRow | None
    after: ProjectRow | None
    event: int | None
    existence_event: int | None
    serial: int
    releases: Sequence[ReleaseDifference]
    files: Sequence[FileDifference]

    def reversed(self) -> "ProjectDifference":
        """The same, read backwards."""
        return self._replace(
            before=self.after,
            after=self.before,
            releases=[each._replace(before=each.after, after=each.before) for each in self.releases],
            files=[each._replace(before=each.after, after=each.before) for each in self.files],
        )


class TargetDifference(NamedTuple):
    """A target that differs. None: it is not listed. A page that is listed has no digest here. `events` made it so."""

    path: str
    before: ListedTarget | None
    after: ListedTarget | None
    events: tuple[int, ...]

    def reversed(self) -> "TargetDifference":
        """The same, read backwards."""
        return self._replace(before=self.after, after=self.before)


class Pages(NamedTuple):
    """Whether pages in HTML are made at the first size and at the second, and the ceremony that changed it."""

    before: bool
    after: bool
    event: int | None = None


def exists(project: ProjectRow | None) -> bool:
    """Whether a project is there."""
    return project is not None and not project.removed


# --- projects --------------------------------------------------------------------------------------------------------


def project_differences(connection: Connection, numbers: Sequence[int], between: Sizes) -> list[ProjectDifference]:
    """What differs of some projects, in their order; projects about which no event was accepted are left out."""
    serials = changed.last_events(connection, numbers, between)
    some = [number for number in numbers if number in serials]
    names = content.projects_numbered(connection, some, between.b)
    states = changed.project_intervals(connection, some, between)
    flags = changed.release_intervals(connection, some, between)
    rows = changed.file_intervals(connection, some, between)
    changed_ones = [each for each in chain(*flags.values()) if each.from_idx >= between.a or each.to_idx < between.b]
    spelled = content.spellings(connection, {(each.project, each.key) for each in changed_ones})
    found = []
    for number in some:
        name, files = names[number].name, rows.get(number, [])
        rows_of_states = states.get(number, ())
        before, after, event = _project_states(number, name, rows_of_states, between)
        found.append(
            ProjectDifference(
                number,
                name,
                before,
                after,
                event,
                _existence_event(rows_of_states, between),
                serials[number],
                _releases(flags.get(number, ()), spelled, between),
                [each for each in (_file(some, between) for some in files) if each is not None],
            )
        )
    return found


def _holds(from_idx: int, to_idx: int, size: int) -> bool:
    return from_idx < size <= to_idx


def _project_states(
    number: int, name: str, rows: Sequence[StateRow], between: Sizes
) -> tuple[ProjectRow | None, ProjectRow | None, int | None]:
    ends: list[ProjectRow | None] = []
    for size in between:
        held = [row for row in rows if _holds(row.from_idx, row.to_idx, size)]
        ends.extend(ProjectRow(number, name, row.status, row.reason, row.removed) for row in held)
        ends.extend([None] * (not held))
    before, after = ends
    return before, after, None if before == after else rows[-1].from_idx


def _existence_event(rows: Sequence[StateRow], between: Sizes) -> int | None:
    """The last event that created or removed a project; None if none did, or it is there at the end as before."""
    steps = [(row.from_idx if row.from_idx >= between.a else -1, not row.removed) for row in rows]
    return _last_change(steps if steps and steps[0][0] < 0 else [(-1, False), *steps])


def _releases(
    rows: Sequence[FlagsRow], spelled: Mapping[tuple[int, str], str], between: Sizes
) -> list[ReleaseDifference]:
    by_key: dict[str, list[FlagsRow]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    found = []
    for key, some in by_key.items():
        steps = _steps(some, between)
        before, after = steps[0][1], steps[-1][1]
        if before != after:
            yank = _last_change([(index, flags.yanked) for index, flags in steps])
            quarantine = _last_change([(index, flags.quarantined) for index, flags in steps])
            version = spelled.get((some[0].project, key), key)
            found.append(ReleaseDifference(key, version, before, after, yank, quarantine))
    return found


def _steps(rows: Sequence[FlagsRow], between: Sizes) -> list[tuple[int, Flags]]:
    """The flags at the first size, and from each event on that changed them."""
    steps = [(-1, Flags())]
    for row in rows:
        if steps[-1][0] < row.from_idx and row.from_idx >= between.a:
            steps.append((row.from_idx, Flags(row.yanked, row.quarantined)))
        else:
            steps[-1] = (steps[-1][0], Flags(row.yanked, row.quarantined))
        if row.to_idx < between.b:
            steps.append((row.to_idx, Flags()))
    return steps


def _last_change(steps: Sequence[tuple[int, Any]]) -> int | None:
    """The event that made a value what it is at the end; None if it is the same as at the beginning."""
    if steps[0][1] == steps[-1][1]:
        return None
    found = -1
    for (_, value), (index, following) in pairwise(steps):
        if value != following:
            found = index
    return found


def _file(rows: Sequence[FileStateRow], between: Sizes) -> FileDifference | None:
    """What differs of a file, given its intervals; None if nothing does."""
    first, last = rows[0], rows[-1]
    was_there = _holds(first.file.since, first.to_idx, between.a)
    steps: list[tuple[int, StandingOfFile | None]] = [] if was_there else [(-1, None)]
    steps += [(row.file.since, StandingOfFile(row.file.state, row.file.yanked)) for row in rows]
    if last.to_idx < between.b:  # its name was freed, and used again
        steps.append((last.to_idx, None))
    if steps[0][1] == steps[-1][1]:
        return None
    state = _last_change([(index, each and each.state) for index, each in steps])
    yank = _last_change([(index, each and each.yanked) for index, each in steps])
    event = last.file.since if state is None else state
    return FileDifference(last.file, steps[0][1], steps[-1][1], not was_there, event, yank)


# --- targets ---------------------------------------------------------------------------------------------------------


def file_targets(
    connection: Connection, differences: Sequence[ProjectDifference], between: Sizes
) -> dict[int, list[TargetDifference]]:
    """The distribution files of some projects that bins list otherwise, by project."""
    candidates: dict[int, dict[str, set[int]]] = {}
    for each in differences:
        candidates[each.id] = _candidates(connection, each, between)
    hashes = sorted({path_hash(path) for paths in candidates.values() for path in paths})
    before, after = (listed_files(connection, content.files_hashed(connection, hashes, size), size) for size in between)
    return {
        number: [
            TargetDifference(path, before.get(path), after.get(path), tuple(sorted(causes)))
            for path, causes in sorted(paths.items())
            if before.get(path) != after.get(path)
        ]
        for number, paths in candidates.items()
    }


def path_of(file: FileRow) -> str:
    """The target path of a distribution file."""
    return package_target(file.blake2b_256.hex(), file.filename)


def _candidates(connection: Connection, of: ProjectDifference, between: Sizes) -> dict[str, set[int]]:
    """The paths that may be listed otherwise, with the events that may have made it so."""
    found: dict[str, set[int]] = {}
    for each in of.files:
        found.setdefault(path_of(each.file), set()).add(each.state_event)
    # All files of a project that is new are new themselves.
    hides = of.before is not None and (of.after is None or is_hidden(of.before) != is_hidden(of.after))
    quarantined = {
        each.key: each.quarantine_event
        for each in of.releases
        if each.quarantine_event is not None and (each.before.quarantined is None) != (each.after.quarantined is None)
    }
    changed_themselves = set(found)
    for size in between if hides or quarantined else ():
        for file in content.files_of(connection, of.id, size):
            path = path_of(file)
            events = {of.event if hides else None, quarantined.get(file.release)} - {None}
            if events and path not in changed_themselves:
                found.setdefault(path, set()).update(each for each in events if each is not None)
    return found


def page_targets(of: ProjectDifference, pages: Pages) -> list[TargetDifference]:
    """The pages of a project that differ: all that are there, since a page names the last event."""
    page = ListedTarget("", 0, "")
    found = []
    for name, was_made, is_made in ((JSON_PAGE, True, True), (HTML_PAGE, pages.before, pages.after)):
        before = page if was_made and exists(of.before) else None
        after = page if is_made and exists(of.after) else None
        if before or after:
            found.append(TargetDifference(page_target(of.name, name), before, after, (of.serial,)))
    return found


def other_targets(connection: Connection, paths: Iterable[str], between: Sizes) -> list[TargetDifference]:
    """What differs of targets that are neither pages nor distribution files."""
    found = []
    for rows in changed.target_intervals(connection, paths, between):
        before, after = (_target_at(rows, size) for size in between)
        if before != after:
            event = rows[-1].from_idx
            found.append(TargetDifference(rows[0].path, before, after, (event,)))
    return found


def _target_at(rows: Sequence[TargetRow], size: int) -> ListedTarget | None:
    for row in rows:
        if _holds(row.from_idx, row.to_idx, size):
            return ListedTarget(row.path, row.length, row.sha256.hex()) if row.state == THERE else None
    return None


# --- offline roles ---------------------------------------------------------------------------------------------------


def role_differences(connection: Connection, between: Sizes, *, role: str = "") -> list[FactChange]:
    """The facts of offline roles (or of one of them) that differ, each with the ceremony that made it so."""
    before: dict[tuple[str, Fact], Any] = {}
    current: dict[tuple[str, Fact], Any] = {}
    since: dict[tuple[str, Fact], int] = {}
    for each in documents_up_to(connection, between.b):
        if role and each.role != role:
            continue
        signed = msgspec.json.decode(each.file)["signed"]
        new: Mapping[tuple[str, Fact], Any] = {
            (each.role, fact): value for fact, value in facts_of(each.role, signed).items()
        }
        old = {key: value for key, value in current.items() if key[0] == each.role}
        since.update({key: each.idx for key in old.keys() | new.keys() if old.get(key) != new.get(key)})
        for key in old.keys() - new.keys():
            del current[key]
        current.update(new)
        if each.idx < between.a:
            before = dict(current)
    return [
        FactChange(key[1], before.get(key), current.get(key), since[key])
        for key in sorted(before.keys() | current.keys())
        if before.get(key) != current.get(key)
    ]


def html_pages(connection: Connection, between: Sizes) -> Pages:
    """Whether pages in HTML are made at two sizes of the offline roles."""
    before, current, event = False, False, None
    for each in documents_up_to(connection, between.b):
        if each.role == "root":
            is_made = bool(msgspec.json.decode(each.file)["signed"]["x-ledger"].get("html_pages", False))
            if is_made != current:
                event = each.idx
            current = is_made
            if each.idx < between.a:
                before = is_made
    return Pages(before, current, event if before != current else None)
