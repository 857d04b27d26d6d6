"""Histories replayed with and without some of their events: what the index says, and what it should say.

Acceptance is local to a project or a target (docs/rules.md, 3 and 4). So leaving events out changes nothing but the
projects and targets that they are about, and these are folded again from their first event. Times are those that events
say: the brackets of publications are not needed to compare two replays of one log, since the same upload has the same
bracket in both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from projections.index.chunks import Change
from projections.index.fold import fold_events
from projections.index.other_aggregates import TargetFacts, read_target
from projections.index.pages import FileFacts, ProjectHeader, read_facts
from projections.index.upload_times import OWN_TIMES
from projections.log.operations import FactAct, TargetAct, project_key
from projections.log.reading import Routed
from projections.outcomes import Outcome
from projections.roles.authority import Terms

_header = msgspec.msgpack.Decoder(ProjectHeader).decode


class ProjectReplay(NamedTuple):
    """A project after some events: its header, all its files by name, and what became of each event, by index."""

    header: ProjectHeader
    files: dict[str, FileFacts]
    outcomes: dict[int, Outcome]


class TargetReplay(NamedTuple):
    """Another target after some events: its facts (None: there never was one), and what became of each event."""

    facts: TargetFacts | None
    outcomes: dict[int, Outcome]

    @property
    def offered(self) -> TargetFacts | None:
        """The facts, if the target is there."""
        return None if self.facts is None or self.facts.removed else self.facts


class Flip(NamedTuple):
    """An event of which something else becomes where suspects are left out."""

    event: int
    live: Outcome
    clean: Outcome


class Deviation(NamedTuple):
    """Where two replays of a project differ.

    `what` is `project`, `file` or `release`. `name` is the file's name or the release's version; the project has none.
    `aspect` is what of it: `existence`, `status`, `bytes`, `facts`, `upload-time`, `yank`, `quarantine` or `spelling`.
    `live` and `clean` are the two values in words; empty means that there is none.
    """

    what: str
    name: str
    aspect: str
    live: str
    clean: str


def replay_project(name: str, items: Iterable[Routed], terms: Sequence[Terms]) -> ProjectReplay:
    """Fold all events about a project, in order."""
    folded = fold_events(
        {}, {}, items, html=False, terms=terms, times=OWN_TIMES, renders=False, tells=True, files_per_chunk=_ALL
    )
    outcomes = {told.index: told.outcome for told in folded.told}
    change = next((each for each in folded.changes if each.key == project_key(name)), Change("", None))
    header = _header(change.header) if change.header else ProjectHeader()
    files = {facts.filename: facts for chunk in change.put for facts in read_facts(chunk)}
    return ProjectReplay(header, files, outcomes)


_ALL = 1 << 30
"""One chunk for all files: nothing is stored."""


def replay_target(items: Iterable[Routed]) -> TargetReplay:
    """Fold all events about one other target, in order."""
    folded = fold_events({}, {}, items, html=False, terms=(), times=OWN_TIMES, renders=False, tells=True)
    header = folded.changes[0].header if folded.changes else None
    return TargetReplay(read_target(header) if header else None, {told.index: told.outcome for told in folded.told})


def without(items: Iterable[Routed], left_out: Collection[int], live: Mapping[int, Outcome]) -> list[Routed]:
    """The events that are left, as they are to be folded without the others.

    An event can expect the one before it (`data.expects`). Where that was fulfilled on the log, it counts as fulfilled
    here: else one suspect would refuse all that an honest producer did after it. Where it was not, it is judged again,
    since the event that came between may be a suspect.

    Args:
        items: all events about a project or a target, in order.
        left_out: the indices of those to leave out.
        live: what became of each on the log.
    """
    return [_unbound(item, live) for item in items if item.index not in left_out]


def _unbound(item: Routed, live: Mapping[int, Outcome]) -> Routed:
    operation = item.operation
    if isinstance(operation, TargetAct | FactAct) or not operation.expects or live[item.index].code == "expects":
        return item
    return msgspec.structs.replace(item, operation=msgspec.structs.replace(operation, expects=""))


def flips(live: dict[int, Outcome], clean: dict[int, Outcome]) -> list[Flip]:
    """The events that are in both replays, and of which something else becomes, in order."""
    return [
        Flip(index, live[index], outcome) for index, outcome in sorted(clean.items()) if live[index][:2] != outcome[:2]
    ]


def is_same_file(one: FileFacts, other: FileFacts) -> bool:
    """Whether two files have the same facts, whatever became of them, and whenever they were uploaded."""
    return _facts(one) == _facts(other)


def _facts(facts: FileFacts) -> tuple[object, ...]:
    return (
        facts.sha256,
        facts.blake2b_256,
        facts.length,
        facts.version,
        facts.requires_python,
        facts.core_metadata_sha256,
        facts.provenance_sha256,
    )


def deviations(live: ProjectReplay, clean: ProjectReplay) -> list[Deviation]:
    """Where what the index says of a project differs from what it should say: first the project, then its releases,
    then its files, by name. The serial of its last event does not count, nor what is not there in either.
    """
    one, other = live.header, clean.header
    found = [Deviation("project", "", "existence", _exists(one), _exists(other))]
    if one.exists and other.exists:
        found.append(Deviation("project", "", "status", _status(one), _status(other)))
    before, after = _offered(live), _offered(clean)
    keys = {facts.release for facts in before.values()} & {facts.release for facts in after.values()}
    for key in sorted(keys):
        first, second = one.releases[key], other.releases[key]
        spelling, wanted = next(iter(first.spellings)), next(iter(second.spellings))
        found.append(Deviation("release", wanted, "yank", _flag(first.yanked), _flag(second.yanked)))
        found.append(Deviation("release", wanted, "quarantine", _flag(first.quarantined), _flag(second.quarantined)))
        found.append(Deviation("release", wanted, "spelling", spelling, wanted))
    for name in sorted({*before, *after}):
        found += _file_differences(name, before.get(name), after.get(name))
    return [each for each in found if each.live != each.clean]


def _file_differences(name: str, live: FileFacts | None, clean: FileFacts | None) -> list[Deviation]:
    if live is None or clean is None or live.sha256 != clean.sha256:
        return [Deviation("file", name, "bytes", live.sha256 if live else "", clean.sha256 if clean else "")]
    if not is_same_file(live, clean):
        return [Deviation("file", name, "facts", f"{_facts(live)}", f"{_facts(clean)}")]
    return [
        Deviation("file", name, "upload-time", live.uploaded_at, clean.uploaded_at),
        Deviation("file", name, "yank", _flag(live.yanked), _flag(clean.yanked)),
    ]


def _offered(replay: ProjectReplay) -> dict[str, FileFacts]:
    if not replay.header.exists:
        return {}
    return {name: facts for name, facts in replay.files.items() if not facts.removed}


def _exists(header: ProjectHeader) -> str:
    return "exists" if header.exists else ""


def _status(header: ProjectHeader) -> str:
    return f"{header.status}: {header.reason}" if header.reason else f"{header.status}"


def _flag(reason: str | None) -> str:
    return "" if reason is None else f"set: {reason}" if reason else "set"
