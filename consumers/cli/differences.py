"""Differences between two sides of a ledger, in words and as JSON. The words are not yet escaped for any medium."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from consumers.catalog.changes import PackageChange, changes_of
from consumers.catalog.comparison import Comparison, ProjectPage, RolesDifference
from consumers.catalog.differing import TargetDifference
from consumers.catalog.foreign import role_differences
from consumers.cli.shared import plural
from consumers.reading.trees import MetadataTree
from ledger.catalog.event_rows import EventRow
from projections.metadata.facts import FactChange

ROLES, PROJECTS, TARGETS = "Keys and settings", "Projects", "Targets"
"""The sections of a comparison, in their order."""

_MARKS = {
    "added": "+",
    "restored": "+",
    "removed": "-",
    "withheld": "-",
    "freed": "-",
    "came and went": "±",
}
_VERBS = {
    "restored": "restored",
    "withheld": "withheld",
    "no longer withheld": "no longer withheld",
    "freed": "name freed:",
    "no longer freed": "name no longer freed:",
    "came and went": "came and went:",
    "yanked": "yanked",
    "unyanked": "unyanked",
    "quarantined": "quarantined",
    "quarantine ended": "quarantine ended:",
}


MOST_CAUSES = 12
"""Number of causes of one difference that are named to people."""

_LONGEST = 300
"""Number of characters of a value that are shown to people."""


class Said(NamedTuple):
    """A difference in words.

    Attributes:
        section: where it belongs.
        mark: `+` for what came, `-` for what went, `~` for what changed, `±` for what came and went.
        text: what differs.
        by: who did it; empty if nobody is known.
        events: the events that made it so.
        facts: the same for machines.
    """

    section: str
    mark: str
    text: str
    by: str
    events: tuple[int, ...]
    facts: dict[str, Any]

    @property
    def cause(self) -> str:
        """Who did it, and the events: `alice, token alice-1, event 10`."""
        return ", ".join(each for each in (self.by, numbered(self.events)) if each)


class Counts:
    """How many differences there are of each kind."""

    def __init__(self) -> None:
        self.roles = self.changes = 0
        self.projects: set[str] = set()
        self.targets = {"+": 0, "-": 0, "~": 0}

    def add(self, said: Said) -> None:
        """Count a difference."""
        if "target" in said.facts:
            self.targets[said.mark] += 1
        elif "project" in said.facts:
            self.changes += 1
            self.projects.add(said.facts["project"])
        else:
            self.roles += 1

    @property
    def differs(self) -> bool:
        """Whether anything differs."""
        return bool(self.roles or self.changes or sum(self.targets.values()))

    def facts(self) -> dict[str, Any]:
        """The counts for machines."""
        added, removed, changed = self.targets.values()
        targets = {"added": added, "removed": removed, "changed": changed}
        return {"settings": self.roles, "projects": len(self.projects), "changes": self.changes, **targets}

    def __str__(self) -> str:
        if not self.differs:
            return "Nothing differs"
        added, removed, changed = self.targets.values()
        first = f"{plural(self.roles, 'change')}"
        if self.changes:
            first = f"{plural(self.changes, 'change')} of {plural(len(self.projects), 'project')}, {self.roles:,}"
        return f"{first} of keys and settings; targets: {added:,} added, {removed:,} removed, {changed:,} changed"


def numbered(events: Sequence[int]) -> str:
    """Events by their indices: `event 10`, `events 10-14, 17`."""
    if not events:
        return ""
    runs: list[list[int]] = []
    for each in events:
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in runs]
    if len(texts) > MOST_CAUSES:
        texts = [*texts[:MOST_CAUSES], f"… ({len(events):,} of them)"]
    return f"{'event' if len(events) == 1 else 'events'} {', '.join(texts)}"


def who(event: EventRow | None) -> str:
    """Who said an event, with which credential: `alice, token alice-1`."""
    if event is None or event.actor is None:
        return ""
    kind = "" if event.actor_kind == "user" else f" ({event.actor_kind})"
    return f"{event.actor}{kind}" + ("" if event.credential is None else f", {event.credential}")


async def said_of(comparison: Comparison, *, is_by_project: bool = False) -> AsyncIterator[Said]:
    """All that differs: offline roles, then projects in the terms of packages, then targets.

    Args:
        comparison: the two sides.
        is_by_project: the targets of each project come with it. So everything is read once.
    """
    if comparison.is_of_bin:
        bin_ = await comparison.bin_targets()
        for target in bin_.targets:
            yield said_of_target(target, bin_.events)
        return
    for each in said_of_roles(await comparison.roles()):
        yield each
    if comparison.before.role:
        return
    for changes, targets in [(True, True)] if is_by_project else [(True, False), (False, True)]:
        async for page in comparison.projects(targets=targets):
            for said in _said_of_page(page, changes=changes):
                yield said
    async for said in said_of_others(comparison):
        yield said


def _said_of_page(page: ProjectPage, *, changes: bool) -> Iterator[Said]:
    """What differs of some projects: the changes, if these are wanted, and the targets, if the page has them."""
    for difference in page.projects:
        if changes:
            for change in changes_of(difference, page.events):
                yield said_of_change(change)
        for target in page.targets.get(difference.id, ()):
            yield said_of_target(target, page.events)


async def said_of_others(comparison: Comparison) -> AsyncIterator[Said]:
    """The targets that differ, but for those of the projects that differ."""
    async for page in comparison.others():
        for target in page.targets:
            yield said_of_target(target, page.events)
    for target in await comparison.lists():
        yield said_of_target(target, {})
    async for renewed in comparison.renewed_pages():
        for target in renewed:
            yield said_of_target(target, {})


def said_of_trees(before: MetadataTree, after: MetadataTree) -> Iterator[Said]:
    """All that differs between the metadata of two repositories, in a section for each role."""
    for role in role_differences(before, after):
        section = f"Role {role.role}"
        for said in said_of_roles(RolesDifference(role.facts, {})):
            yield said._replace(section=section)
        for target in role.targets:
            said = said_of_target(target, {})
            yield said._replace(section=section, facts={**said.facts, "role": role.role})


# --- offline roles ---------------------------------------------------------------------------------------------------


def said_of_roles(roles: RolesDifference) -> list[Said]:
    """Facts about offline roles; those that are the same for several roles are said once."""
    groups: dict[tuple[Any, ...], list[FactChange]] = {}
    for each in roles.changes:
        own = each.fact.role if each.fact.what in {"version", "expires"} else ""
        key = (each.fact.what, each.fact.name, own, repr(each.before), repr(each.after), each.event)
        groups.setdefault(key, []).append(each)
    return [_said_of_fact(some, roles.events) for some in groups.values()]


def _said_of_fact(some: Sequence[FactChange], events: Mapping[int, EventRow]) -> Said:
    first = some[0]
    roles = [each.fact.role for each in some]
    _, what, name = first.fact
    of = ", ".join(roles)
    mark = "+" if first.before is None else "-" if first.after is None else "~"
    if what == "key":
        key = first.before if first.after is None else first.after
        text = f"key {name} of {of} ({key})"
        if first.before is not None and first.after is not None:
            text = f"key {name} of {of}: {first.before} → {first.after}"
    else:
        label = {"setting": f"{name} of {of}", "threshold": f"threshold of {of}", "delegates": f"{of} delegates to"}
        text = f"{label.get(what, f'{of} {what}')}: {_change(first.before, first.after)}"
    facts: dict[str, Any] = {"change": what, "roles": roles, "before": first.before, "after": first.after}
    facts |= {"keyid": name} if what == "key" else {"setting": name} if what == "setting" else {}
    indices = () if first.event is None else (first.event,)
    cause = events.get(first.event) if first.event is not None else None
    return Said(ROLES, mark, text, who(cause), indices, facts | _cause_facts(indices, cause))


def _change(before: Any, after: Any) -> str:
    if before is None:
        return _value(after)
    return f"{_value(before)} → {'none' if after is None else _value(after)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "nothing"
    text = f"{value:,}" if isinstance(value, int) else f"{value}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


# --- projects --------------------------------------------------------------------------------------------------------


def said_of_change(change: PackageChange) -> Said:
    """A change of a project, a release, or files of a release."""
    name = change.project if change.version is None else f"{change.project} {change.version}"
    mark = _MARKS.get(change.kind, "~")
    count = f" ({plural(len(change.files), 'file')})" if change.files else ""
    if change.kind == "status":
        text = f"{name} was marked {change.after}, before it was {change.before}"
    elif change.kind in {"added", "removed"}:
        what = "project " if change.version is None else ""
        text = f"{what}{name}{count}"
    else:
        text = f"{_VERBS[change.kind]} {name}{count}"
    if change.reason:
        text = f"{text}: {change.reason}"
    facts: dict[str, Any] = {"change": change.kind, "project": change.project}
    optional = {
        "version": change.version,
        "files": list(change.files) or None,
        "reason": change.reason,
        "before": change.before,
        "after": change.after,
    }
    facts |= {key: value for key, value in optional.items() if value is not None}
    return Said(PROJECTS, mark, text, who(change.by), change.events, facts | _cause_facts(change.events, change.by))


# --- targets ---------------------------------------------------------------------------------------------------------


def said_of_target(target: TargetDifference, events: Mapping[int, EventRow]) -> Said:
    """A target that differs."""
    before, after = target.before, target.after
    mark, change = ("+", "added") if before is None else ("-", "removed") if after is None else ("~", "changed")
    text = target.path
    sizes = [f"{each.length:,} bytes" for each in (before, after) if each is not None and each.sha256]
    if sizes:
        text = f"{text} ({' → '.join(sizes)})"
    facts: dict[str, Any] = {"change": change, "target": target.path}
    for name, each in (("before", before), ("after", after)):
        if each is not None and each.sha256:
            facts[name] = {"length": each.length, "sha256": each.sha256}
    cause = events.get(target.events[-1]) if target.events else None
    return Said(TARGETS, mark, text, who(cause), target.events, facts | _cause_facts(target.events, cause))


def _cause_facts(events: Sequence[int], cause: EventRow | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"events": list(events)}
    if cause is not None and cause.actor is not None:
        facts["actor"] = {"kind": cause.actor_kind, "id": cause.actor}
        if cause.credential is not None:
            facts["credential"] = cause.credential
    return facts
