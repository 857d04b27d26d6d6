"""An observer that folds what it is told as plainly as can be, and knows what every page must show from that alone."""

import json
from copy import copy
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Any

import msgspec

from consumers.follow.observing import KeptPublication, PublicationTold
from ledger.state.verdicts import JudgedRow
from projections.index.effects import (
    FileEffect,
    ProjectEffect,
    ReleaseEffect,
    RolesEffect,
    RoleVersion,
    TargetEffect,
    Told,
)
from projections.index.pages import FileFacts
from projections.index.upload_times import is_later
from schemas.codec import AUTHORITY_TYPES, EVENT_TYPES

Document = dict[str, Any]


@dataclass
class ToldView:
    """What was told so far."""

    last: PublicationTold | None = None
    told: dict[int, Told] = field(default_factory=dict)
    projects: dict[str, ProjectEffect] = field(default_factory=dict)
    releases: dict[tuple[str, str], ReleaseEffect] = field(default_factory=dict)
    files: dict[tuple[str, str], FileFacts] = field(default_factory=dict)
    freed: set[str] = field(default_factory=set)
    order: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    serials: dict[str, int] = field(default_factory=dict)
    targets: dict[str, TargetEffect] = field(default_factory=dict)
    roles: dict[str, RoleVersion] = field(default_factory=dict)
    envelopes: dict[int, tuple[str, str] | None] = field(default_factory=dict)

    def copy(self) -> "ToldView":
        """A view of its own."""
        return replace(
            self,
            **{
                each.name: copy(getattr(self, each.name)) for each in fields(self) if each.name not in {"last", "order"}
            },
            order={key: list(order) for key, order in self.order.items()},
        )

    async def kept(self) -> KeptPublication | None:
        return None if self.last is None else KeptPublication(self.last.number, self.last.digest)

    async def tell(self, publication: PublicationTold) -> None:
        before = self.last
        assert before is None or publication.number > before.number, "a publication is told again"
        assert publication.covered_before == (0 if before is None else before.size)
        assert publication.shown_before == (0 if before is None else before.content_size)
        self.last = publication
        if publication.new_time:
            self._lower(publication.new_time)
        index = -1
        async for batch in publication.events.with_envelopes():
            for told, envelope in batch:
                assert told.index > index, "in the order of the log"
                index = told.index
                assert told.index not in self.told, "once"
                self.told[told.index] = told
                self.envelopes[told.index] = None if envelope is None else (envelope.type, envelope.subject)
                is_prefixs = not told.key
                low = publication.covered_before if is_prefixs else publication.shown_before
                assert low <= told.index < (publication.size if is_prefixs else publication.content_size)
                self._apply(told)
        for version in publication.roles:
            self._set_role(version)

    def _set_role(self, version: RoleVersion) -> None:
        known = self.roles.get(version.role)
        assert known is None or known.version < version.version, "a version is told once"
        self.roles[version.role] = version

    def _lower(self, new_time: str) -> None:
        for key, facts in self.files.items():
            if is_later(facts.uploaded_at, new_time):
                self.files[key] = msgspec.structs.replace(facts, uploaded_at=new_time)

    def _apply(self, told: Told) -> None:
        assert not told.effects or told.outcome.verdict == "accepted"
        if told.outcome.verdict == "accepted" and told.key.startswith("project:"):
            self.serials[told.key.removeprefix("project:")] = told.index
        for effect in told.effects:
            match effect:
                case ProjectEffect():
                    self.projects[effect.project] = effect
                    if effect.removed:
                        self._remove(effect.project, None, withheld=effect.withheld)
                case ReleaseEffect():
                    self.releases[effect.project, effect.release] = effect
                    if effect.removed:
                        self._remove(effect.project, effect.release, withheld=effect.withheld)
                case FileEffect():
                    self._put(effect.project, effect.facts)
                case TargetEffect():
                    self.targets[effect.path] = effect
                case RolesEffect():
                    for version in effect.versions:
                        self._set_role(version)

    def _remove(self, project: str, release: str | None, *, withheld: bool) -> None:
        for (name, _), facts in list(self.files.items()):
            if name == project and release in {None, facts.release} and (withheld or not facts.removed):
                self._put(project, msgspec.structs.replace(facts, removed=True, withheld=facts.withheld or withheld))

    def _put(self, project: str, facts: FileFacts) -> None:
        before = self.files.get((project, facts.filename))
        was_there = before is not None and not before.removed
        spellings = self.order.setdefault((project, facts.release), [])
        self.files[project, facts.filename] = facts
        if facts.freed:
            self.freed.add(facts.path)
        if facts.removed or was_there:
            self.order[project, facts.release] = [each for each in spellings if self._is_spelled(project, each, facts)]
        elif facts.version not in spellings:
            spellings.append(facts.version)

    def _is_spelled(self, project: str, version: str, of: FileFacts) -> bool:
        return any(
            name == project and facts.version == version and facts.release == of.release and not facts.removed
            for (name, _), facts in self.files.items()
        )

    # --- what follows --------------------------------------------------------------------------------------------

    def page(self, project: str) -> Document | None:
        """What the page of a project must show; None if there must be none."""
        state = self.projects.get(project)
        if state is None or state.removed:
            return None
        files = {}
        for (name, filename), facts in self.files.items():
            release = self.releases.get((project, facts.release))
            is_quarantined = state.status == "quarantined" or (release is not None and release.quarantined is not None)
            if name != project or facts.removed or is_quarantined:
                continue
            yanked = facts.yanked if facts.yanked is not None or release is None else release.yanked
            files[filename] = {
                "sha256": facts.sha256,
                "size": facts.length,
                "upload-time": facts.uploaded_at,
                "requires-python": facts.requires_python,
                "yanked": yanked or yanked is not None,
            }
        status = {"status": state.status} | ({"reason": state.reason} if state.reason else {})
        versions = sorted(order[0] for (name, _), order in self.order.items() if name == project and order)
        return {"files": files, "status": status, "versions": versions, "serial": self.serials[project]}

    def check(self, files: dict[str, bytes], judged: list[JudgedRow], retired: set[str]) -> None:
        """Compare with what a follower serves, its list of records that were not accepted, and its retired bins."""
        last = self.last
        if last is None:
            assert not any(path.startswith("targets/") for path in files)
            return
        self._check_told(last, judged)
        for project in {*self.projects, *(name for name, _ in self.files)}:
            data = files.get(f"targets/simple/{project}/index.json")
            assert self.page(project) == (None if data is None else _read(data)), project
        for role, version in self.roles.items():
            if role in retired:
                continue  # whoever skips its last version serves no file of it
            path = "metadata/timestamp.json" if role == "timestamp" else f"metadata/{version.version}.{role}.json"
            assert sha256(files[path]).hexdigest() == version.sha256, path
            signatures = json.loads(files[path])["signatures"]
            assert {each["keyid"]: each["sig"] for each in signatures if each["sig"]} == version.signatures

    def _check_told(self, last: PublicationTold, judged: list[JudgedRow]) -> None:
        for index in range(last.size):
            told = self.told.get(index)
            if told is None:
                assert index >= last.content_size, "what is shown is told"
                continue
            envelope = self.envelopes[index]
            if envelope is None:
                assert told.outcome.verdict == "rejected"
            else:
                assert envelope[0] == told.type
                assert told.type in EVENT_TYPES
                assert bool(told.key) == (told.type not in AUTHORITY_TYPES) or told.outcome.code == "no-root"
        assert not any(index >= last.size for index in self.told)
        listed = {(row.record, row.digest, row.verdict, row.code) for row in judged if row.log == "events"}
        said = {(each.index, each.digest, *each.outcome[:2]) for each in self.told.values()}
        assert {each for each in said if each[2] != "accepted"} == listed


def _read(data: bytes) -> Document:
    page = json.loads(data)
    members = ("size", "upload-time", "requires-python", "yanked")
    return {
        "files": {
            each["filename"]: {"sha256": each["hashes"]["sha256"], **{name: each[name] for name in members}}
            for each in page["files"]
        },
        "status": page["project-status"],
        "versions": page["versions"],
        "serial": page["meta"]["_last-serial"],
    }
