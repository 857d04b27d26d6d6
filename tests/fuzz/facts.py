"""docs/rules.md, section 3 and 4, read once more: the accepted events, and nothing but them, make pages and targets.

Whoever says "accepted" is believed only if the state allows it; shares no code with `projections` and `schemas`, nor,
on purpose, with `tests.property.model`, which judges by itself: what both misread would go unnoticed.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Document = dict[str, Any]


def read(value: bytes) -> Document:
    """An accepted event; its free text may hold surrogates, in whatever form."""
    document: Document = json.loads(value.decode("utf-8", "surrogatepass"), parse_int=_integer)
    return document


def _integer(digits: str) -> int | None:
    """None known to an event has so many digits; Python converts no more than 4,300."""
    return int(digits) if len(digits) < 1000 else None


def cleaned(text: str | None) -> str:
    """Free text as it is shown."""
    text = re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text or "")
    return text if len(text) <= 1000 else text[:999] + "…"


def release_of(version: str) -> Version | str:
    """What all spellings of a version share."""
    try:
        return Version(version)
    except InvalidVersion:
        return version


@dataclass
class File:
    facts: Document
    time: str
    index: int
    rank: int
    imported: bool
    yanked: str | None = None
    removed: bool = False
    withheld: bool = False

    @property
    def path(self) -> str:
        blake = self.facts["hashes"]["blake2b_256"]
        return f"packages/{blake[:2]}/{blake[2:4]}/{blake[4:]}/{self.facts['filename']}"


@dataclass
class Project:
    status: str = "active"
    reason: str = ""
    removed: bool = False
    serial: int = 0
    files: dict[str, File] = field(default_factory=dict)
    spellings: list[str] = field(default_factory=list)
    yanked: dict[Version | str, str] = field(default_factory=dict)
    quarantined: set[Version | str] = field(default_factory=set)

    def spell(self, version: str) -> None:
        """A spelling came, of a file that is not removed; one that is there keeps its place."""
        if version not in self.spellings:
            self.spellings.append(version)

    def remove(self, file: File, *, withhold: bool) -> None:
        """A file went, and with the last one of its spelling the spelling. What is withheld stays so."""
        file.removed, file.withheld = True, file.withheld or withhold
        there = {each.facts["version"] for each in self.files.values() if not each.removed}
        self.spellings = [each for each in self.spellings if each in there]

    def shown_versions(self) -> list[str]:
        """Of the spellings of each release the one that came first."""
        shown: dict[Version | str, str] = {}
        for each in self.spellings:
            shown.setdefault(release_of(each), each)
        return sorted(shown.values())

    def files_of(self, version: str) -> list[File]:
        return [file for file in self.files.values() if release_of(file.facts["version"]) == release_of(version)]

    def listed(self) -> list[File]:
        if self.removed or self.status == "quarantined":
            return []
        return [
            file
            for _, file in sorted(self.files.items())
            if not file.removed and release_of(file.facts["version"]) not in self.quarantined
        ]


class Facts:
    """The state that accepted events made. `publications` are the sizes, content sizes and times of those that
    showed it.
    """

    def __init__(self, accepted: Iterable[tuple[int, bytes]], publications: Iterable[tuple[int, int, str]]) -> None:
        self.publications = list(publications)
        self.roots: list[tuple[int, Document]] = []
        self.projects: dict[str, Project] = {}
        self.targets: dict[str, tuple[int, str]] = {}
        for index, value in accepted:
            document = read(value)
            kind = document["type"].removesuffix(".v1")
            data = document.get("data", {})
            if kind == "roles.signed" and "root" in data["roles"]:
                self.roots.append((index, data["roles"]["root"]["signed"]["x-ledger"]))
            if kind in {"target.added", "target.removed"}:
                self._target(kind, document["subject"], data)
            elif kind.startswith(("project.", "file.", "release.")):
                self._project(index, kind, document, data)

    def _target(self, kind: str, path: str, data: Document) -> None:
        assert not path.startswith(("simple/", "packages/"))
        if kind == "target.added":
            self.targets[path] = data["length"], data["sha256"]
        else:
            assert path in self.targets or data["withhold"], "only what is there is removed"
            self.targets.pop(path, None)

    def _project(self, index: int, kind: str, document: Document, data: Document) -> None:
        name = document["subject"]
        if kind in {"project.created", "file.uploaded"}:
            self.projects.setdefault(name, Project(removed=kind == "project.created"))
        project = self.projects[name]
        project.serial = index
        withholds = kind.endswith(".removed") and data.get("withhold", False)
        assert withholds or project.removed == (kind == "project.created"), "only a project that is gone is created"
        if kind == "project.created":
            project.removed = False
            if project.status != "quarantined":
                project.status, project.reason = "active", ""
        elif kind == "project.removed":
            project.removed = True
            for file in project.files.values():
                project.remove(file, withhold=withholds)
        elif kind == "project.status_changed":
            project.status, project.reason = data["status"], cleaned(data.get("reason"))
        elif kind == "file.uploaded":
            self._upload(name, project, document["time"], data, index)
        elif kind.startswith("file."):
            _about_file(project, project.files[data["filename"]], kind, data)
        else:
            _about_release(project, kind, data)

    def _upload(self, name: str, project: Project, time: str, data: Document, index: int) -> None:
        filename = data["filename"]
        assert filename not in project.files, "a filename is taken for ever"
        assert project.status in {"active", "deprecated"}
        assert release_of(data["version"]) not in project.quarantined
        assert canonicalize_name(filename.replace(" ", "-")).startswith(f"{name}-")
        if not data.get("legacy"):
            stem = filename.removesuffix(".whl").removesuffix(".zip").removesuffix(".tar.gz")
            assert stem != filename
            owner = stem.split("-")[0] if filename.endswith(".whl") else stem.rpartition("-")[0]
            assert canonicalize_name(owner) == name
            assert isinstance(release_of(data["version"]), Version)
        imported = bool(self.roots[-1][1].get("importing"))
        project.files[filename] = File(data, time, index, 1 + index if data.get("legacy") and imported else 0, imported)
        project.spell(data["version"])

    # --- what clients see ----------------------------------------------------------------------------------------

    def existing(self) -> list[str]:
        """The projects that exist."""
        return sorted(name for name, project in self.projects.items() if not project.removed)

    def all_targets(self) -> dict[str, tuple[int, str]]:
        """Length and SHA-256 of every target that is not a page."""
        claims: dict[str, list[tuple[int, int, str]]] = {}
        for project in self.projects.values():
            for file in project.listed():
                claim = file.rank, file.facts["length"], file.facts["hashes"]["sha256"]
                claims.setdefault(file.path, []).append(claim)
        # Of several claims about one path: the file's whose name says whose it is, else the earliest.
        return {path: min(each)[1:] for path, each in claims.items()} | self.targets

    def page(self, name: str) -> Document:
        """The PEP 691 page of a project."""
        project = self.projects[name]
        status = {"status": project.status} | ({"reason": project.reason} if project.reason else {})
        return {
            "meta": {"api-version": "1.4", "_last-serial": project.serial},
            "name": name,
            "project-status": status,
            "versions": project.shown_versions(),
            "files": [{**_entry(project, file), "upload-time": self._time(file)} for file in project.listed()],
        }

    def _time(self, file: File) -> str:
        """What becomes of the time of an upload, in the publications that were made after it."""
        number = next(number for number, (_, shown, _) in enumerate(self.publications) if shown > file.index)
        before, (last, _, latest) = self.publications[max(number - 1, 0)], self.publications[number]
        time = file.time
        if number and not file.imported and _instant(time) < _instant(before[2]):
            time = before[2]
        for size, _, own in self.publications[number + 1 :]:
            if self._time_from(size) != self._time_from(last):
                latest = min(latest, own)
            last = size
        return latest if _instant(time) > _instant(latest) else time

    def _time_from(self, size: int) -> str:
        found = ""
        for index, settings in self.roots:
            if index < size:
                found = settings.get("time_from", found)
        return found


def _instant(time: str) -> datetime:
    return datetime.fromisoformat(time)


def _about_file(project: Project, file: File, kind: str, data: Document) -> None:
    if kind == "file.removed":
        withhold = data.get("withhold", False)
        assert not file.withheld if withhold else not file.removed
        project.remove(file, withhold=withhold)
        return
    assert file.removed == (kind == "file.restored")
    if kind == "file.restored":
        assert data["sha256"] == file.facts["hashes"]["sha256"], "never other bytes"
        file.removed = file.withheld = False
        project.spell(file.facts["version"])
    elif kind == "file.yanked":
        file.yanked = cleaned(data.get("reason"))
    else:
        assert file.yanked is not None
        file.yanked = None


def _about_release(project: Project, kind: str, data: Document) -> None:
    files, release = project.files_of(data["version"]), release_of(data["version"])
    assert files
    if kind == "release.removed":
        for file in files:
            project.remove(file, withhold=data.get("withhold", False))
    elif kind == "release.yanked":
        project.yanked[release] = cleaned(data.get("reason"))
    elif kind == "release.unyanked":
        del project.yanked[release]
    elif kind == "release.quarantined":
        project.quarantined.add(release)
    else:
        project.quarantined.remove(release)


def _entry(project: Project, file: File) -> Document:
    facts = file.facts
    yanked = file.yanked if file.yanked is not None else project.yanked.get(release_of(facts["version"]))
    core = {"sha256": facts["core_metadata_sha256"]} if facts.get("core_metadata_sha256") else False
    url = "../../" + quote(file.path, safe="/+!")
    return {
        "filename": facts["filename"],
        "url": url,
        "hashes": {"sha256": facts["hashes"]["sha256"]},
        "size": facts["length"],
        "upload-time": file.time,
        "requires-python": facts.get("requires_python"),
        "core-metadata": core,
        "data-dist-info-metadata": core,
        "provenance": f"{url}.provenance" if facts.get("provenance_sha256") else None,
        "yanked": False if yanked is None else yanked or True,
    }
