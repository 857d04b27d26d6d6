"""What a catalog is asked, answered from the records alone, one after the other; shares no code with `consumers`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tests.fuzz.facts import cleaned, read, release_of

Document = dict[str, Any]


class Accepted(NamedTuple):
    """An accepted event: its index, and what it says."""

    at: int
    document: Document


def accepted_events(values: Sequence[bytes | None], indices: Iterable[int]) -> list[Accepted]:
    """The events that were accepted, given the indices of these."""
    return [Accepted(index, read(values[index] or b"")) for index in indices]


@dataclass
class Aspect:
    """A value and the index of the event that last changed it."""

    value: str | None = None
    since: int | None = None

    def set(self, index: int, value: str | None) -> None:
        if value != self.value:
            self.value, self.since = value, index


@dataclass
class PlainFile:
    """A file, as events made it."""

    project: str
    filename: str
    version: str
    upload: int
    state: Aspect
    yanked: Aspect = field(default_factory=Aspect)


class PlainIndex:
    """All files that events made, the oldest first, with flags of releases and projects."""

    def __init__(self, accepted: Iterable[Accepted]) -> None:
        self.files: list[PlainFile] = []
        self.yanked: dict[tuple[str, Any], Aspect] = {}
        self.quarantined: dict[tuple[str, Any], Aspect] = {}
        self.frozen: dict[str, Aspect] = {}
        for event in accepted:
            kind = event.document["type"].removesuffix(".v1")
            if kind.startswith(("project.", "file.", "release.")):
                self._apply(event.at, kind, event.document["subject"], event.document.get("data", {}))

    def _apply(self, index: int, kind: str, project: str, data: Document) -> None:
        release = (project, release_of(data["version"])) if "version" in data else (project, None)
        reason = cleaned(data.get("reason"))
        if kind == "project.status_changed":
            frozen = self.frozen.setdefault(project, Aspect())
            frozen.set(index, reason if data["status"] == "quarantined" else None)
        elif kind == "project.created":
            pass
        elif kind == "project.removed":
            self._remove(index, [each for each in self.files if each.project == project], data)
        elif kind == "release.removed":
            self._remove(index, [each for each in self.files if self._release(each) == release], data)
        elif kind in {"release.yanked", "release.unyanked"}:
            self.yanked.setdefault(release, Aspect()).set(index, reason if kind == "release.yanked" else None)
        elif kind in {"release.quarantined", "release.quarantine_cleared"}:
            flag = self.quarantined.setdefault(release, Aspect())
            flag.set(index, reason if kind == "release.quarantined" else None)
        elif kind == "file.uploaded":
            file = PlainFile(project, data["filename"], data["version"], index, Aspect("listed", index))
            self.files.append(file)
        else:
            *_, file = [each for each in self.files if (each.project, each.filename) == (project, data["filename"])]
            if kind == "file.removed":
                self._remove(index, [file], data)
            elif kind in {"file.restored", "file.freed"}:
                file.state.set(index, "listed" if kind == "file.restored" else "freed")
            else:
                file.yanked.set(index, reason if kind == "file.yanked" else None)

    def _remove(self, index: int, files: Iterable[PlainFile], data: Document) -> None:
        withhold = data.get("withhold", False)
        for file in files:
            if file.state.value == "listed" or (withhold and file.state.value == "removed"):
                file.state.set(index, "withheld" if withhold else "removed")

    def _release(self, file: PlainFile) -> tuple[str, Any]:
        return file.project, release_of(file.version)

    def causes(self, file: PlainFile) -> list[int]:
        """The events that made a file what it is."""
        flags = [
            self.yanked.get(self._release(file), Aspect()),
            self.quarantined.get(self._release(file), Aspect()),
            self.frozen.get(file.project, Aspect()),
        ]
        found = {file.upload}
        for aspect in (file.state, file.yanked, *flags):
            if aspect.since is not None and (aspect.since > file.upload or aspect.value is not None):
                found.add(aspect.since)
        return sorted(found)

    def is_hidden(self, file: PlainFile) -> bool:
        """Whether a quarantine hides a file."""
        flags = self.quarantined.get(self._release(file)), self.frozen.get(file.project)
        return any(each is not None and each.value is not None for each in flags)

    def state(self, file: PlainFile) -> str:
        """How a file stands."""
        return "hidden" if file.state.value == "listed" and self.is_hidden(file) else f"{file.state.value}"

    def shown_yank(self, file: PlainFile) -> str | None:
        """The reason of a yank that is shown: the file's own, or that of its release."""
        release = self.yanked.get(self._release(file), Aspect())
        return file.yanked.value if file.yanked.value is not None else release.value

    def listed(self) -> set[int]:
        """The uploads of all files that are listed."""
        return {each.upload for each in self.files if self.state(each) == "listed"}


class PlainTimes:
    """Brackets of events by effective times, given number, size and time of each publication in order."""

    def __init__(self, publications: Sequence[tuple[int, int, str]]) -> None:
        self.sizes = [size for _, size, _ in publications]
        times = [time for _, _, time in publications]
        self.effective = [min(times[place:]) for place in range(len(times))]

    def bracket(self, index: int) -> tuple[str, str]:
        """Between which times an event came; empty: that is not known."""
        before = [time for size, time in zip(self.sizes, self.effective, strict=True) if size <= index]
        after = [time for size, time in zip(self.sizes, self.effective, strict=True) if size > index]
        return (before[-1] if before else ""), (after[0] if after else "")

    def came(self, index: int) -> str:
        """The time from which an event counts."""
        before, after = self.bracket(index)
        return after or before


def first_uses(events: Iterable[Accepted], accepted: Iterable[Accepted]) -> list[int]:
    """The first events of credentials that no grant precedes."""
    granted = [
        (each.at, each.document["data"].get("credential"))
        for each in accepted
        if each.document["type"] == "access.granted.v1"
    ]
    seen: set[str] = set()
    found = []
    for each in events:
        credential = each.document.get("actorcredential")
        if credential is None or credential in seen:
            continue
        seen.add(credential)
        if not any(index < each.at and name == credential for index, name in granted):
            found.append(each.at)
    return found


FACTS = ("kind", "account", "role", "credential", "project")


@dataclass
class PlainAccess:
    """Who was granted what, and what no grant explains: of one name, up to an index (exclusive)."""

    grants: dict[int, int | None] = field(default_factory=dict)
    """The revocations that ended grants, by the grants."""
    unexplained: list[int] = field(default_factory=list)
    acts: dict[tuple[str, str | None], int] = field(default_factory=dict)
    """Numbers of events by actor and credential."""


def access_of(name: str, events: Iterable[Accepted], accepted: Sequence[Accepted], end: int) -> PlainAccess:
    """The access of an actor or credential, or to a project, of a name."""
    found, lasting = PlainAccess(), list[tuple[int, tuple[Any, ...]]]()
    for each in accepted:
        kind, data = each.document["type"], each.document.get("data", {})
        if not kind.startswith("access.") or name not in {
            data.get("project"),
            data.get("account"),
            data.get("credential"),
        }:
            continue
        facts = tuple(data.get(fact) for fact in FACTS)
        if kind == "access.granted.v1" and each.at < end:
            lasting.append((each.at, facts))
            found.grants[each.at] = None
        elif kind == "access.revoked.v1":
            ended = [at for at, same in lasting if same == facts]
            lasting = [grant for grant in lasting if grant[1] != facts]
            found.grants |= dict.fromkeys(ended, each.at)
            if not ended and each.at < end:
                found.unexplained.append(each.at)
    for each in events:
        document = each.document
        actor, credential = document["actorid"], document.get("actorcredential")
        is_about = document["type"].startswith(("project.", "file.", "release.")) and document["subject"] == name
        if each.at < end and (is_about or name in {actor, credential}):
            found.acts[actor, credential] = found.acts.get((actor, credential), 0) + 1
    used = {credential for _, credential in found.acts}
    for at in first_uses(events, accepted):
        if at < end and next(each for each in events if each.at == at).document.get("actorcredential") in used:
            found.unexplained.append(at)
    return found


def uploads(accepted: Iterable[Accepted]) -> list[tuple[int, tuple[str, Any], bool]]:
    """Accepted uploads: the index, the release, and whether there is the digest of a provenance."""
    return [
        (
            each.at,
            (each.document["subject"], release_of(each.document["data"]["version"])),
            each.document["data"].get("provenance_sha256") is not None,
        )
        for each in accepted
        if each.document["type"] == "file.uploaded.v1"
    ]


def unattested(accepted: Iterable[Accepted]) -> list[int]:
    """Uploads without a provenance, where an earlier release of the project had one."""
    found = uploads(accepted)
    return [
        index
        for place, (index, release, attested) in enumerate(found)
        if not attested
        and any(proven and other[0] == release[0] and other != release for _, other, proven in found[:place])
    ]


def late_files(accepted: Iterable[Accepted], times: PlainTimes, days: float) -> list[int]:
    """Uploads to a release so long after its first one."""
    firsts: dict[tuple[str, Any], int] = {}
    found = []
    for index, release, _ in uploads(accepted):
        first = firsts.setdefault(release, index)
        before, after = times.came(first), times.came(index)
        if first != index and before and after:
            waited = datetime.fromisoformat(after) - datetime.fromisoformat(before)
            if waited >= timedelta(days=days):
                found.append(index)
    return found


def of_releases(events: Iterable[Accepted], accepted: Iterable[Accepted]) -> dict[tuple[str, Any], list[int]]:
    """The events about each release: those that name its version, and those about a file that it had by then."""
    uploaded = {index for index, _, _ in uploads(accepted)}
    files: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, Any], list[int]] = {}
    for each in events:
        project, data = each.document["subject"], each.document.get("data", {})
        if not each.document["type"].startswith(("project.", "file.", "release.")):
            continue
        if each.at in uploaded:
            files[project, data["filename"]] = data["version"]
        versions = data.get("version"), files.get((project, data.get("filename", "")))
        for release in {(project, release_of(version)) for version in versions if version is not None}:
            found.setdefault(release, []).append(each.at)
    return found


def runs(flags: Sequence[tuple[int, bool]]) -> list[tuple[int, int | None]]:
    """Where numbers with a flag begin and end; None: the last number has it."""
    found: list[tuple[int, int | None]] = []
    is_on, before = False, 0
    for number, flag in flags:
        if flag and not is_on:
            found.append((number, None))
        elif not flag and is_on:
            found[-1] = (found[-1][0], before)
        is_on, before = flag, number
    return found
