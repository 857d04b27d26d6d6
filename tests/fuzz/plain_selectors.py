"""Which events selectors choose, by a look at every record; shares no code with `consumers`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fuzz.plain_answers import Accepted, PlainTimes, first_uses, late_files, unattested

ABOUT_ITSELF = {"ledger.created.v1", "roles.signed.v1", "signing.held.v1", "signing.released.v1"}
ABOUT_PROJECTS = ("project.", "file.", "release.")


@dataclass
class PlainLog:
    """A log as it is looked at: all events, those that were accepted, and the times of publications.

    `first_shown` has the online keys in force at the first publication that shows an event, by index.
    """

    events: Sequence[Accepted]
    accepted: Sequence[Accepted]
    times: PlainTimes
    first_shown: dict[int, set[str]]
    incident: str
    opened: int

    def select(self, texts: Sequence[str]) -> list[int]:
        """The events that selectors choose."""
        wanted: dict[str, list[str]] = {}
        unwanted = []
        for text in texts:
            kind, _, value = text.removeprefix("not ").partition("=")
            if text.startswith("not "):
                unwanted.append((kind, value))
            else:
                wanted.setdefault(kind, []).append(value)
        strict = wanted.pop("strict", None) is not None
        found = [each.at for each in self.events if not self._is_never(each)]
        for kind, values in wanted.items():
            kept = {index for value in values for index in self._fitting(kind, value, strict=strict)}
            found = [index for index in found if index in kept]
        for kind, value in unwanted:
            lost = set(self._fitting(kind, value, strict=False))
            found = [index for index in found if index not in lost]
        return found

    def _is_never(self, event: Accepted) -> bool:
        document = event.document
        is_own = document.get("incident") == self.incident and event.at >= self.opened
        return document["type"] in ABOUT_ITSELF or is_own

    def _fitting(self, kind: str, value: str, *, strict: bool) -> Sequence[int]:
        """The events that fit one selector."""
        if kind == "unattested":
            return unattested(self.accepted)
        if kind == "first-use":
            return first_uses(self.events, self.accepted)
        if kind == "late-files":
            return late_files(self.accepted, self.times, float(value))
        if kind == "sha256":
            return self._about_bytes(value)
        fits: dict[str, Callable[[int, dict[str, Any]], bool]] = {
            "since": lambda at, _: self._is_since(at, value, strict=strict),
            "until": lambda at, _: self._is_until(at, value, strict=strict),
            "events": lambda at, _: int(value.partition("..")[0]) <= at <= int(value.rpartition("..")[2]),
            "actor": lambda _, each: value in {each["actorid"], f"{each['actorkind']}:{each['actorid']}"},
            "publisher": lambda _, each: (each["actorkind"], each["actorid"]) == ("trusted-publisher", value),
            "credential": lambda _, each: each.get("actorcredential") == value,
            "project": lambda _, each: each["type"].startswith(ABOUT_PROJECTS) and each["subject"] == value,
            "key": lambda at, _: value in self.first_shown.get(at, ()),
        }
        return [each.at for each in self.events if fits[kind](each.at, each.document)]

    def _is_since(self, at: int, time: str, *, strict: bool) -> bool:
        before, after = self.times.bracket(at)
        return before >= time if strict else not after or after >= time

    def _is_until(self, at: int, time: str, *, strict: bool) -> bool:
        before, after = self.times.bracket(at)
        return bool(after) and after <= time if strict else before <= time

    def _about_bytes(self, sha256: str) -> list[int]:
        """The events about files with these bytes, and those after which another target has or had them."""
        accepted, found = {each.at for each in self.accepted}, []
        files: dict[tuple[str, str], str] = {}
        targets: dict[str, str] = {}
        for at, document in self.events:
            kind, data = document["type"], document.get("data", {})
            if kind.startswith("file."):
                key = document["subject"], data["filename"]
                if kind == "file.uploaded.v1" and at in accepted:
                    files[key] = data["hashes"]["sha256"]
                if files.get(key) == sha256:
                    found.append(at)
            elif kind.startswith("target.") and at in accepted:
                if kind == "target.added.v1":
                    targets[document["subject"]] = data["sha256"]
                if targets[document["subject"]] == sha256:
                    found.append(at)
        return found
