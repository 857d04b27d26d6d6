"""What else may belong to an incident, found by looking at every record; shares no code with `consumers.incidents`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tests.fuzz.plain_answers import FACTS, Accepted, first_uses

ABOUT_ITSELF = ("ledger.created", "roles.signed", "signing.")

Key = tuple[str, str, str, int]
"""Reason, what it is about, before or within or after, and depth."""


class PlainLead(NamedTuple):
    """Which events fit, and why."""

    reason: str
    about: str
    when: str
    fits: Callable[[Accepted], bool]
    is_followed: bool


class PlainProposals:
    """Proposals, given all events and those that were accepted."""

    def __init__(
        self, events: Sequence[Accepted], accepted: Sequence[Accepted], suspects: Iterable[int], measures: Iterable[int]
    ) -> None:
        self.events = events
        self.accepted = {each.at: each for each in accepted}
        self.suspects = set(suspects)
        self.first, self.end = min(self.suspects), max(self.suspects) + 1
        self.found: dict[Key, list[int]] = {}
        self.done: set[tuple[str, str, str]] = set()
        seen = self.suspects | set(measures)
        frontier, depth = set(self.suspects), 1
        while frontier:
            followed = set[int]()
            for lead in self.leads(frontier, seen, depth):
                fitting = [each.at for each in events if each.at not in seen and lead.fits(each)]
                if fitting:
                    self.found.setdefault((lead.reason, lead.about, lead.when, depth), []).extend(fitting)
                    followed.update(fitting if lead.is_followed else ())
            frontier = followed
            seen |= followed
            depth += 1

    def leads(self, frontier: set[int], seen: set[int], depth: int) -> list[PlainLead]:
        some = [each for each in self.events if each.at in frontier]
        every = [
            *self.begun(frontier),
            *self.granted(frontier),
            *self.acted(some),
            *self.same_bytes(frontier, seen),
            *(self.first_used(some) if depth == 1 else ()),
        ]
        found = []
        for lead in every:
            key = lead.reason, lead.about, lead.when
            if lead.reason in {"grant", "digest"} or key not in self.done:
                found.append(lead)
            self.done.add(key)
        return found

    def begun(self, frontier: set[int]) -> Iterable[PlainLead]:
        firsts: dict[str, int] = {}
        for each in self.accepted.values():
            if each.document["type"].startswith(("project.", "file.", "release.")):
                firsts.setdefault(each.document["subject"], each.at)
        for name, first in firsts.items():
            if first in frontier:
                yield PlainLead("project", name, "", _about(name, first), is_followed=True)

    def granted(self, frontier: set[int]) -> Iterable[PlainLead]:
        for at in sorted(frontier):
            event = self.accepted.get(at)
            if event is None or event.document["type"] != "access.granted.v1":
                continue
            facts = tuple(event.document["data"].get(fact) for fact in FACTS)
            ends = [
                each.at
                for each in self.accepted.values()
                if each.at > at
                and each.document["type"] == "access.revoked.v1"
                and tuple(each.document["data"].get(fact) for fact in FACTS) == facts
            ]
            yield PlainLead("grant", "", "", _under(event, min(ends, default=10**9)), is_followed=True)

    def acted(self, some: Iterable[Accepted]) -> Iterable[PlainLead]:
        credentials: set[str] = set()
        by_actor: dict[tuple[str, str], set[str]] = {}
        for each in some:
            credential = each.document.get("actorcredential")
            own = by_actor.setdefault((each.document["actorkind"], each.document["actorid"]), set())
            if credential is not None:
                credentials.add(credential)
                own.add(credential)
        for when, first, end in (
            ("before", 0, self.first),
            ("within", self.first, self.end),
            ("after", self.end, 10**9),
        ):
            for name in credentials:
                yield PlainLead("credential", name, when, _with(name, first, end), is_followed=when != "before")
            for (kind, name), own in by_actor.items():
                yield PlainLead("actor", f"{kind}:{name}", when, _by(kind, name, own, first, end), is_followed=False)

    def same_bytes(self, frontier: set[int], seen: set[int]) -> Iterable[PlainLead]:
        brought = {each.at: digest for each in self.accepted.values() if (digest := _digest_of(each)) is not None}
        for digest in {digest for at, digest in brought.items() if at in frontier}:
            same = {at for at, other in brought.items() if other == digest and at not in seen}
            yield PlainLead("digest", digest, "", _one_of(same), is_followed=True)

    def first_used(self, some: Iterable[Accepted]) -> Iterable[PlainLead]:
        suspect = {each.document.get("actorcredential") for each in some}
        by_index = {each.at: each for each in self.events}
        for at in first_uses(self.events, list(self.accepted.values())):
            name = by_index[at].document["actorcredential"]
            if self.first <= at < self.end and name not in suspect:
                yield PlainLead("first-use", name, "", _with(name, at, 10**9), is_followed=False)


def _one_of(indices: set[int]) -> Callable[[Accepted], bool]:
    return lambda event: event.at in indices


def _digest_of(event: Accepted) -> str | None:
    kind, data = event.document["type"], event.document.get("data", {})
    digest: str | None = data.get("sha256") if kind == "target.added.v1" else None
    return data["hashes"]["sha256"] if kind == "file.uploaded.v1" else digest


def _is_about_itself(event: Accepted) -> bool:
    return str(event.document["type"]).startswith(ABOUT_ITSELF)


def _about(project: str, first: int) -> Callable[[Accepted], bool]:
    def fits(event: Accepted) -> bool:
        is_of_project = event.document["type"].startswith(("project.", "file.", "release."))
        return event.at > first and is_of_project and bool(event.document["subject"] == project)

    return fits


def _with(credential: str, first: int, end: int) -> Callable[[Accepted], bool]:
    def fits(event: Accepted) -> bool:
        is_used = event.document.get("actorcredential") == credential
        return first <= event.at < end and is_used and not _is_about_itself(event)

    return fits


def _by(kind: str, name: str, own: set[str], first: int, end: int) -> Callable[[Accepted], bool]:
    def fits(event: Accepted) -> bool:
        document = event.document
        is_theirs = (document["actorkind"], document["actorid"]) == (kind, name)
        is_other = document.get("actorcredential") not in own
        return first <= event.at < end and is_theirs and is_other and not _is_about_itself(event)

    return fits


def _under(grant: Accepted, end: int) -> Callable[[Accepted], bool]:
    data: dict[str, Any] = grant.document["data"]
    account, credential, project = (data.get(name) for name in ("account", "credential", "project"))

    def fits(event: Accepted) -> bool:
        document = event.document
        if not grant.at < event.at < end or _is_about_itself(event):
            return False
        is_of_project = document["type"].startswith(("project.", "file.", "release."))
        if project is not None and not (is_of_project and document["subject"] == project):
            return False
        if credential is not None:
            return bool(document.get("actorcredential") == credential)
        return account is not None and bool(document["actorid"] == account)

    return fits
