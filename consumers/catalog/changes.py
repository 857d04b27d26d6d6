"""What differs of projects, in the terms of packages: releases added, files removed, yanks, with who did it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from consumers.catalog.differing import FileDifference, Flags, ProjectDifference, ReleaseDifference, exists
from ledger.catalog.event_rows import EventRow
from ledger.catalog.tables import REMOVED, THERE, WITHHELD

Kind = Literal[
    "added",
    "removed",
    "restored",
    "withheld",
    "no longer withheld",
    "freed",
    "no longer freed",
    "came and went",
    "status",
    "yanked",
    "unyanked",
    "quarantined",
    "quarantine ended",
]


class PackageChange(NamedTuple):
    """What changed of a project, a release or some files of a release.

    `version` is None if it is about the project, `files` is empty if it is not about single files. `reason` is the one
    that holds afterwards. `before` and `after` are those of a status. `events` made it so; `by` is one of them.
    """

    kind: Kind
    project: str
    version: str | None
    files: tuple[str, ...]
    reason: str | None
    events: tuple[int, ...]
    by: EventRow | None
    before: str | None = None
    after: str | None = None


def events_of(difference: ProjectDifference) -> set[int]:
    """The indices of all events that `changes_of` must know."""
    found = {difference.event, difference.existence_event, *(each.state_event for each in difference.files)}
    found |= {each.yank_event for each in difference.files}
    found |= {each.file.upload_idx for each in difference.files if each.is_new}
    found |= {event for each in difference.releases for event in (each.yank_event, each.quarantine_event)}
    return {event for event in found if event is not None}


def changes_of(difference: ProjectDifference, events: Mapping[int, EventRow]) -> list[PackageChange]:
    """What differs of a project, in the order: project, releases and files by version.

    Files that the removal of a project removed stand in that change, and not in changes of their own.
    """
    name = difference.name
    whole = difference.existence_event
    found = list(_of_project(difference, events, whole))
    rest: list[PackageChange] = []
    for each in difference.releases:
        rest.extend(_of_release(name, each, events))
    groups: dict[tuple[str, Kind, str | None, tuple[str | None, ...]], list[tuple[FileDifference, int]]] = {}
    for kind, file, reason, event in _of_files(difference.files):
        if event == whole and kind in {"removed", "withheld"}:
            continue
        key = (file.file.version, kind, reason, _who(events.get(event)))
        groups.setdefault(key, []).append((file, event))
    for (version, kind, reason, _), some in groups.items():
        causes = {event for _, event in some}
        if kind == "came and went":
            causes |= {file.file.upload_idx for file, _ in some}
        indices = tuple(sorted(causes))
        files = tuple(file.file.filename for file, _ in some)
        rest.append(PackageChange(kind, name, version, files, reason, indices, events.get(indices[0])))
    return found + sorted(rest, key=lambda each: (each.version or "", each.events))


def _who(event: EventRow | None) -> tuple[str | None, ...]:
    return () if event is None else (event.actor_kind, event.actor, event.credential)


def _of_project(
    difference: ProjectDifference, events: Mapping[int, EventRow], whole: int | None
) -> Iterator[PackageChange]:
    before, after, event, name = difference.before, difference.after, difference.event, difference.name
    if event is None:
        return
    if whole is not None:
        gone = [each for each in difference.files if each.state_event == whole]
        is_added = exists(after)
        files = () if is_added else tuple(each.file.filename for each in gone)
        yield PackageChange("added" if is_added else "removed", name, None, files, None, (whole,), events.get(whole))
    elif (before is None) != (after is None) and not exists(after):
        yield PackageChange("came and went", name, None, (), None, (event,), events.get(event))
    was = ("active", "") if before is None else (before.status, before.reason)
    now = ("active", "") if after is None else (after.status, after.reason)
    if was != now and (exists(after) or whole is None):
        yield PackageChange("status", name, None, (), now[1] or None, (event,), events.get(event), was[0], now[0])


def _of_release(name: str, each: ReleaseDifference, events: Mapping[int, EventRow]) -> Iterator[PackageChange]:
    kinds: tuple[tuple[Callable[[Flags], str | None], int | None, Kind, Kind], ...] = (
        (lambda flags: flags.yanked, each.yank_event, "yanked", "unyanked"),
        (lambda flags: flags.quarantined, each.quarantine_event, "quarantined", "quarantine ended"),
    )
    for flag, event, is_set, is_cleared in kinds:
        if event is not None:
            now = flag(each.after)
            kind = is_cleared if now is None else is_set
            yield PackageChange(kind, name, each.version, (), now or None, (event,), events.get(event))


def _of_files(differences: Iterable[FileDifference]) -> Iterator[tuple[Kind, FileDifference, str | None, int]]:
    for each in differences:
        before, after = each.before, each.after
        if (before and before.state) != (after and after.state):
            yield _file_kind(each), each, None, each.state_event
        if after is not None and after.state == THERE and each.yank_event is not None:
            yanked = after.yanked
            yield "unyanked" if yanked is None else "yanked", each, yanked or None, each.yank_event


def _file_kind(each: FileDifference) -> Kind:
    before, after = (None if state is None else state.state for state in (each.before, each.after))
    if each.is_new:
        return "added" if after == THERE else "removed" if before == THERE else "came and went"
    if after == THERE:
        return "restored"
    if after == WITHHELD:
        return "withheld"
    if after != REMOVED:
        return "freed"
    return "removed" if before == THERE else "no longer withheld" if before == WITHHELD else "no longer freed"
