"""docs/rules.md read naively: dicts, no chunks, no batches, nothing rendered before it is asked for.

It shares no code with `projections` or `schemas`, so that a mistake has to be made twice to go unnoticed. Nor with
`tests.fuzz.facts`, on purpose: this one is given well-formed events and says what becomes of each, that one is told by
the ledger which records count, whatever they are made of, and says whether that can be.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Verdict = tuple[str, str]
ACCEPTED: Verdict = ("accepted", "")
Document = dict[str, Any]
Release = Version | str
"""All spellings of a version are one release; what is no version has one spelling."""


def no_effect(code: str) -> Verdict:
    return "no effect", code


def rejected(code: str) -> Verdict:
    return "rejected", code


def cleaned(text: str | None) -> str:
    text = re.sub("[\x00-\x1f\x7f-\x9f]", "\ufffd", text or "")
    return text if len(text) <= 1000 else text[:999] + "…"


def release_of(version: str) -> Release:
    try:
        return Version(version)
    except InvalidVersion:
        return version


@dataclass
class File:
    facts: Document
    time: str
    index: int
    is_imported: bool
    yanked: str | None = None
    removed: bool = False
    freed: bool = False
    is_legacy: bool = False
    withheld: bool = False

    @property
    def served(self) -> list[str]:
        """Where its bytes are served, and what is served beside them."""
        folder, _, name = self.path.rpartition("/")
        names = [name, f"{self.facts['hashes']['sha256']}.{name}", f"{name}.metadata", f"{name}.provenance"]
        return [f"targets/{folder}/{each}" for each in names]

    @property
    def path(self) -> str:
        digest = self.facts["hashes"]["blake2b_256"]
        return "/".join(["packages", digest[:2], digest[2:4], digest[4:], self.facts["filename"]])


@dataclass
class Project:
    status: str = "active"
    reason: str = ""
    removed: bool = False
    serial: int = 0
    last: str = ""
    files: dict[str, File] = field(default_factory=dict)
    freed: list[File] = field(default_factory=list)
    """Those whose names were used again."""
    spellings: list[str] = field(default_factory=list)
    """Of the files that are not removed, in the order in which they came."""
    yanked_releases: dict[Release, str] = field(default_factory=dict)
    quarantined_releases: set[Release] = field(default_factory=set)

    def follow_spellings(self) -> None:
        """What came goes to the end; what went loses its place."""
        there = [file.facts["version"] for file in self.files.values() if not file.removed]
        kept = [version for version in self.spellings if version in there]
        self.spellings = kept + sorted(set(there) - set(kept))

    def known(self) -> list[File]:
        """All files that there ever were."""
        return [*self.freed, *self.files.values()]

    def files_of(self, version: str) -> list[File]:
        return [file for file in self.known() if release_of(file.facts["version"]) == release_of(version)]

    def listed(self) -> list[File]:
        if self.removed or self.status == "quarantined":
            return []
        return [
            file
            for _, file in sorted(self.files.items())
            if not file.removed and release_of(file.facts["version"]) not in self.quarantined_releases
        ]

    def yank_of(self, file: File) -> str | None:
        return file.yanked if file.yanked is not None else self.yanked_releases.get(release_of(file.facts["version"]))


@dataclass
class Target:
    length: int
    sha256: str
    removed: bool = False


class Model:
    """The facts after some events about projects and targets; others need none of this. `importing` is the setting in
    the root that is in force; `freeable` has the proofs of the files that this root allows to be freed. `publications`
    are the size, the time and the root's `time_from` of each publication.
    """

    def __init__(
        self, *, importing: bool = True, freeable: Mapping[tuple[str, str, str], Document] | None = None
    ) -> None:
        self.importing = importing
        self.publications: list[tuple[int, str, str]] = []
        self.freeable = freeable or {}
        self.projects: dict[str, Project] = {}
        self.targets: dict[str, Target] = {}
        self.withheld_targets: set[tuple[str, str]] = set()
        self.seen: dict[tuple[str, str, str], bytes] = {}

    def add(self, index: int, value: bytes) -> Verdict:
        """Judge a well-formed event, and apply it."""
        document = json.loads(value)
        kind = document["type"].removesuffix(".v1")
        if kind == "file.uploaded" and "expects" not in document["data"]:
            return self._about_project(index, kind, document, value)
        about = "target" if kind.startswith("target.") else "project"
        key = about, document["subject"], document["id"]
        if key in self.seen:
            return no_effect("repeated") if self.seen[key] == value else rejected("id-conflict")
        verdict = (
            self._about_target(kind, document)
            if about == "target"
            else self._about_project(index, kind, document, value)
        )
        if verdict[0] != "rejected":
            self.seen[key] = value
        return verdict

    def _about_target(self, kind: str, document: Document) -> Verdict:
        path, data = document["subject"], document.get("data", {})
        if path.split("/")[0] in {"simple", "packages"} and "/" in path:
            return rejected("reserved-path")
        target = self.targets.get(path)
        if kind == "target.added":
            added = Target(data["length"], data["sha256"])
            if target == added:
                return no_effect("same")
            self.targets[path] = added
            self.withheld_targets.discard((path, added.sha256))
            return ACCEPTED
        if target is None:
            return rejected("no-target")
        if target.removed and not data.get("withhold"):
            return no_effect("already-removed")
        if (path, target.sha256) in self.withheld_targets:
            return no_effect("already-withheld")
        target.removed = True
        if data.get("withhold"):
            self.withheld_targets.add((path, target.sha256))
        return ACCEPTED

    def _about_project(self, index: int, kind: str, document: Document, value: bytes) -> Verdict:
        project = self.projects.get(document["subject"])
        last = "0" * 64 if project is None else project.last
        if document.get("data", {}).get("expects", last) != last:
            return rejected("expects")
        verdict = self._judge(index, kind, document)
        if verdict == ACCEPTED:
            project = self.projects[document["subject"]]
            project.serial, project.last = index, sha256(value).hexdigest()
            project.follow_spellings()
        return verdict

    def _judge(self, index: int, kind: str, document: Document) -> Verdict:
        name, data = document["subject"], document.get("data", {})
        project = self.projects.get(name)
        if project is None:
            if kind not in {"project.created", "file.uploaded"}:
                return rejected("no-project")
            project = Project()
            verdict = ACCEPTED if kind == "project.created" else self._upload(index, name, project, document)
            if verdict == ACCEPTED:
                self.projects[name] = project
        elif project.removed and not (data.get("withhold") and kind.endswith(".removed")):
            verdict = self._removed_project(project, kind)
        elif kind == "project.created":
            verdict = no_effect("exists")
        elif kind == "project.removed":
            verdict = ACCEPTED
            if project.removed and all(file.withheld for file in project.files.values()):
                verdict = no_effect("already-withheld")
            _remove(project.files.values(), data)
            project.removed = True
        elif kind == "project.status_changed":
            now = data["status"], cleaned(data.get("reason"))
            verdict = no_effect("same") if now == (project.status, project.reason) else ACCEPTED
            project.status, project.reason = now
        elif kind == "file.uploaded":
            verdict = self._upload(index, name, project, document)
        elif kind.startswith("file."):
            verdict = self._about_file(name, project, kind, data)
        else:
            verdict = self._about_release(project, kind, data)
        return verdict

    def _removed_project(self, project: Project, kind: str) -> Verdict:
        if kind == "project.removed":
            return no_effect("already-removed")
        if kind != "project.created":
            return rejected("project-removed")
        project.removed = False
        if project.status != "quarantined":
            project.status, project.reason = "active", ""
        return ACCEPTED

    def _upload(self, index: int, name: str, project: Project, document: Document) -> Verdict:
        facts = {key: value for key, value in document["data"].items() if key not in {"commitments", "expects"}}
        known = project.files.get(facts["filename"])
        if known is not None and known.freed:
            known = None
        legacy = facts.get("legacy", False) and (self.importing if known is None else known.is_legacy)
        code = wrong_filename(name, facts["filename"], facts["version"], legacy=legacy)
        if code:
            return rejected(code)
        twins = [
            file
            for file in project.known()
            if facts["filename"] == file.facts["filename"]
            or one_distribution(name, facts["filename"], file.facts["filename"])
        ]
        if any(file.freed and file.facts["hashes"]["sha256"] == facts["hashes"]["sha256"] for file in twins):
            return rejected("file-freed")
        if known is not None:
            if known.facts != facts:
                return rejected("filename-taken")
            return rejected("file-removed") if known.removed else no_effect("already-uploaded")
        if not legacy and not all(file.freed for file in twins):
            return rejected("equivalent-filename")
        if project.status in {"archived", "quarantined"}:
            return rejected(f"project-{project.status}")
        if release_of(facts["version"]) in project.quarantined_releases:
            return rejected("release-quarantined")
        if facts["filename"] in project.files:
            project.freed.append(project.files.pop(facts["filename"]))
        project.files[facts["filename"]] = File(facts, document["time"], index, self.importing, is_legacy=legacy)
        return ACCEPTED

    def _free(self, name: str, file: File, data: Document) -> Verdict:
        if file.facts["hashes"]["sha256"] != data["sha256"]:
            return rejected("other-bytes")
        if file.freed:
            return no_effect("already-freed")
        if not file.removed:
            return rejected("not-removed")
        if self.freeable.get((data["sha256"], name, data["filename"])) != data["proof"]:
            return rejected("not-freeable")
        file.withheld = file.freed = True
        return ACCEPTED

    def _about_file(self, name: str, project: Project, kind: str, data: Document) -> Verdict:
        file = project.files.get(data["filename"])
        if file is None:
            return rejected("no-file")
        if kind == "file.freed":
            return self._free(name, file, data)
        return rejected("file-freed") if file.freed else self._change_file(file, kind, data)

    def _change_file(self, file: File, kind: str, data: Document) -> Verdict:
        if kind == "file.removed":
            if file.removed and not data.get("withhold"):
                return no_effect("already-removed")
            if file.withheld:
                return no_effect("already-withheld")
            _remove([file], data)
        elif kind == "file.restored":
            if file.facts["hashes"]["sha256"] != data["sha256"]:
                return rejected("other-bytes")
            if not file.removed:
                return no_effect("not-removed")
            file.removed = file.withheld = False
        elif file.removed:
            return rejected("file-removed")
        elif kind == "file.yanked":
            reason = cleaned(data.get("reason"))
            if file.yanked == reason:
                return no_effect("same")
            file.yanked = reason
        else:
            if file.yanked is None:
                return no_effect("not-yanked")
            file.yanked = None
        return ACCEPTED

    def _about_release(self, project: Project, kind: str, data: Document) -> Verdict:
        release, reason = release_of(data["version"]), cleaned(data.get("reason"))
        files = project.files_of(data["version"])
        if not files:
            return rejected("no-release")
        if kind == "release.removed":
            if all(file.removed for file in files) and not data.get("withhold"):
                return no_effect("already-removed")
            if all(file.withheld for file in files):
                return no_effect("already-withheld")
            _remove(files, data)
        elif kind == "release.yanked":
            if project.yanked_releases.get(release) == reason:
                return no_effect("same")
            project.yanked_releases[release] = reason
        elif kind == "release.unyanked":
            if release not in project.yanked_releases:
                return no_effect("not-yanked")
            del project.yanked_releases[release]
        elif kind == "release.quarantined":
            if release in project.quarantined_releases:
                return no_effect("same")
            project.quarantined_releases.add(release)
        else:
            if release not in project.quarantined_releases:
                return no_effect("not-quarantined")
            project.quarantined_releases.remove(release)
        return ACCEPTED

    # --- what clients see ----------------------------------------------------------------------------------------

    def existing(self) -> list[str]:
        """The projects that exist, sorted."""
        return sorted(name for name, project in self.projects.items() if not project.removed)

    def json_pages(self) -> dict[str, bytes]:
        """The page of every project that exists, by target path."""
        return {f"simple/{name}/index.json": json_bytes(self._page(name)) for name in self.existing()}

    def file_targets(self) -> dict[str, tuple[int, str]]:
        """Length and SHA-256 of every target that is not a page."""
        listed = [file for project in self.projects.values() for file in project.listed()]
        targets = {}
        # Who is written last is believed: first uploads after later ones, and what is not legacy after what is.
        for file in sorted(listed, key=lambda each: each.index, reverse=True):
            if file.is_legacy:
                targets[file.path] = file.facts["length"], file.facts["hashes"]["sha256"]
        for file in listed:
            if not file.is_legacy:
                targets[file.path] = file.facts["length"], file.facts["hashes"]["sha256"]
        targets |= {path: (target.length, target.sha256) for path, target in self.targets.items() if not target.removed}
        return targets

    def withheld(self) -> set[str]:
        """The served paths that are withheld."""
        files = [file for project in self.projects.values() for file in project.known()]
        held = {path for file in files if not file.withheld for path in file.served}
        withheld = {path for file in files if file.withheld for path in file.served}
        for path, digest in self.withheld_targets:
            folder, slash, name = path.rpartition("/")
            withheld.add(f"targets/{folder}{slash}{digest}.{name}")
        return withheld - held

    def _page(self, name: str) -> Document:
        project = self.projects[name]
        page = _page(name, project)
        for entry in page["files"]:
            entry["upload-time"] = self._upload_time(project.files[entry["filename"]])
        return page

    def _upload_time(self, file: File) -> str:
        earliest, latest = "", ""
        time_from = None
        for size, time, root_time_from in self.publications:
            if latest and root_time_from != time_from:
                latest = min(latest, time)
            if not latest and file.index < size:
                latest = time
                earliest = min(earliest, latest)
            elif not latest:
                earliest = time
            time_from = root_time_from
        if moment(file.time) > moment(latest):
            return latest
        if earliest and not file.is_imported and moment(file.time) < moment(earliest):
            return min(earliest, latest)
        return file.time


def moment(time: str) -> datetime:
    return datetime.fromisoformat(time)


def _remove(files: Iterable[File], data: Document) -> None:
    for file in files:
        file.removed = True
        file.withheld = file.withheld or bool(data.get("withhold"))


def _page(name: str, project: Project) -> Document:
    status = {"status": project.status}
    if project.reason:
        status["reason"] = project.reason
    shown: dict[Release, str] = {}
    for version in project.spellings:
        shown.setdefault(release_of(version), version)
    return {
        "meta": {"api-version": "1.4", "_last-serial": project.serial},
        "name": name,
        "project-status": status,
        "versions": sorted(shown.values()),
        "files": [_entry(file, project.yank_of(file)) for file in project.listed()],
    }


def _entry(file: File, yanked: str | None) -> Document:
    facts = file.facts
    core_metadata = facts.get("core_metadata_sha256")
    url = "../../" + quote(file.path, safe="/+!")
    return {
        "filename": facts["filename"],
        "url": url,
        "hashes": {"sha256": facts["hashes"]["sha256"]},
        "size": facts["length"],
        "upload-time": file.time,
        "requires-python": facts.get("requires_python"),
        "core-metadata": {"sha256": core_metadata} if core_metadata else False,
        "data-dist-info-metadata": {"sha256": core_metadata} if core_metadata else False,
        "provenance": f"{url}.provenance" if facts.get("provenance_sha256") else None,
        "yanked": False if yanked is None else (yanked or True),
    }


def wrong_filename(project: str, filename: str, version: str, *, legacy: bool) -> str:
    """The code of what is wrong with a file's name or version, if anything."""
    if filename.endswith((".metadata", ".provenance")):
        return "foreign-filename"
    if legacy:
        return "" if canonicalize_name(filename.replace(" ", "-")).startswith(f"{project}-") else "foreign-filename"
    if re.search("[^A-Za-z0-9._+!-]", filename) or filename[0] in ".+!-":
        return "foreign-filename"
    if filename.endswith(".whl"):
        parts = filename.removesuffix(".whl").split("-")
        if len(parts) not in {5, 6}:
            return "foreign-filename"
        name, in_name = parts[0], parts[1]
    elif filename.endswith((".tar.gz", ".zip")):
        name, _, in_name = filename.removesuffix(".zip").removesuffix(".tar.gz").rpartition("-")
    else:
        return "foreign-filename"
    if canonicalize_name(name) != project:
        return "foreign-filename"
    try:
        if Version(version) != Version(in_name):
            return "bad-version"
    except InvalidVersion:
        return "bad-version"
    return "bad-version" if re.fullmatch(r"[^-]+-[^-]+-[^0-9-][^-]*(-[^-]*){3}\.whl", filename) else ""


def one_distribution(project: str, first: str, second: str) -> bool:
    """Whether installers take two files of a project for each other."""
    one, other = distribution(project, first), distribution(project, second)
    if one is None or other is None or one[0] != other[0]:
        return False
    return all(mine & others for mine, others in zip(one[1], other[1], strict=True))


def distribution(project: str, filename: str) -> tuple[tuple[Any, ...], list[set[str]]] | None:
    """The release, kind and build tag of a file by its name, and a wheel's tags: those of python, abi and platform."""
    match = re.match(re.sub("-", "[-_.]+", project) + "[-_.]", filename, re.IGNORECASE)
    if match is None:
        return None
    rest = filename[match.end() :]
    build: tuple[Any, ...] = ()
    tags: list[set[str]] = []
    if rest.endswith(".whl"):
        version, *parts = rest.removesuffix(".whl").split("-")
        if len(parts) not in {3, 4}:
            return None
        if len(parts) == 4:
            number = re.match("[0-9]+", parts[0])
            if number is None:
                return None
            build = int(number[0]), parts[0][number.end() :]
        tags = [set(part.lower().split(".")) for part in parts[-3:]]
    else:
        ending = re.search(r"\.(tar\.gz|zip|tar\.bz2|tgz|tar\.xz|tar\.Z|tar)$", rest)
        if ending is None:
            return None
        version = rest[: ending.start()]
    try:
        return (Version(version), bool(tags), build), tags
    except InvalidVersion:
        return None


def json_bytes(document: Document) -> bytes:
    """Compact JSON with sorted members, by the standard library."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def target_of(page: bytes) -> tuple[int, str]:
    """Length and SHA-256 of a page."""
    return len(page), sha256(page).hexdigest()
