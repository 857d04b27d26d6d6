"""The story of a project, for people who know pip and nothing else: plain sentences, in the order of the log."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, find_events, merged
from consumers.catalog.placing import Place
from consumers.catalog.remaking import Remaking
from consumers.catalog.rows import UPLOADED
from ledger.catalog import content, publication_rows, rights
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted
from projections.log.operations import type_of
from schemas import events

MOST_FILES = 6
MOST_VERSIONS = 12
AT_ONCE = 10_000
"""Number of uploads that one sentence tells of at most."""

_WHO = {"user": "", "trusted-publisher": "the trusted publisher ", "administrator": "the administrator ", "system": ""}


class Sentence(NamedTuple):
    """A sentence of the story, where its events stand, and the indices of the first and the last of them."""

    text: str
    place: Place
    first: int
    last: int


async def tell(asked: Asked, project: str) -> AsyncIterator[Sentence]:
    """The story of a project, up to the end of the log."""
    ending = await asked.database.run(rights.ends_of_grants, project)
    streams = [
        find_events(asked, wanted, oldest_first=True) for wanted in (Wanted(project=project), Wanted(access_to=project))
    ]
    together: list[EventAnswer] = []
    async for each in merged(streams, oldest_first=True):
        if each.verdict == "no effect":
            continue
        if together and not _belong_together(together[-1], each, len(together)):
            yield _sentence(together, ending)
            together = []
        together.append(each)
    if together:
        yield _sentence(together, ending)


def _belong_together(one: EventAnswer, other: EventAnswer, count: int) -> bool:
    """Whether two events are one step of the story: files of one version, or attempts of one kind."""
    same = ("type", "actor_kind", "actor", "credential", "outcome", "code")
    if any(getattr(one.row, name) != getattr(other.row, name) for name in same) or count >= AT_ONCE:
        return False
    if one.place != other.place:
        return False
    return one.verdict == "rejected" or (one.row.type == UPLOADED and one.row.version == other.row.version)


def _sentence(together: Sequence[EventAnswer], ending: Collection[int]) -> Sentence:
    """One step as a sentence. `ending` are the revocations that ended a grant."""
    first, last = together[0], together[-1]
    return Sentence(_text(together, ending), first.place, first.row.idx, last.row.idx)


def _text(together: Sequence[EventAnswer], ending: Collection[int]) -> str:
    first = together[0]
    if first.row.type is None:
        return f"Something was written to the log that nobody can read ({first.what})."
    who = _who(first)
    if first.verdict == "rejected":
        times = "" if len(together) == 1 else f" This happened {len(together):,} times."
        why = first.row.detail or first.row.code
        return f"{who} tried to do this: {first.what}. The index refused it ({why}).{times}"
    if first.row.type == UPLOADED:
        names = [f"{each.row.filename}" for each in together]
        return f"{who} uploaded version {first.row.version}: {_list(names, MOST_FILES, 'files')}."
    data, subject = first.data or {}, first.row.project or first.row.subject or ""
    ends_nothing = first.row.type == _REVOKED and first.row.idx not in ending
    sentence = (_revoked_in_vain if ends_nothing else _TELL[first.row.type])(data, subject)
    reason = data.get("reason") or data.get("note")
    return f"{who} {sentence}" + (f" The reason given: “{reason}”." if reason else "")


def _who(answer: EventAnswer) -> str:
    row = answer.row
    text = f"{_WHO[row.actor_kind or 'user']}{row.actor}" + (f" (with {row.credential})" if row.credential else "")
    return text[0].upper() + text[1:] if row.actor_kind not in {"user", "system"} else text


def _list(names: Sequence[str], most: int, what: str) -> str:
    """`a`, `a and b`, `a, b and 7 more files`."""
    shown = list(names[:most])
    rest = len(names) - len(shown)
    tail = [f"{rest:,} more {what}"] if rest else []
    parts = [*shown, *tail]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


# --- sentences -------------------------------------------------------------------------------------------------------

Data = Mapping[str, Any]
Tell = Callable[[Data, str], str]

_STATUSES = {
    "active": "declared {} active again: it is a project like any other.",
    "archived": "declared {} archived: pip still installs it, but nobody can upload to it any more.",
    "deprecated": "declared {} deprecated: pip still installs it, but its owners advise against using it.",
    "quarantined": "put {} into quarantine: pip does not find any file of it until that is over.",
}


def _withheld(data: Data) -> str:
    return " Its bytes were taken off the server, too." if data.get("withhold") else ""


def _project_removed(data: Data, project: str) -> str:
    return f"removed {project} with all its files: pip does not find it any more.{_withheld(data)}"


def _file_removed(data: Data, _: str) -> str:
    return f"removed the file {data['filename']}: pip cannot install it any more.{_withheld(data)}"


def _release_removed(data: Data, _: str) -> str:
    return f"removed version {data['version']}: pip cannot install it any more.{_withheld(data)}"


def _release_yanked(data: Data, project: str) -> str:
    version = data["version"]
    exactly = f"unless somebody asks for exactly that ({project}=={version})"
    return f"yanked version {version}: pip does not choose it any more, {exactly}."


def _access(what: str) -> Tell:
    def said(data: Data, _: str) -> str:
        whom = data.get("account") or data.get("credential") or "somebody"
        role = f" as {data['role']}" if data.get("role") else ""
        return what.format(f"{whom}{role} ({data['kind']})")

    return said


_REVOKED = type_of(events.AccessRevoked)
_revoked_in_vain = _access("said that {} may not act for the project any more. No event before had allowed just that.")


def _file(text: str) -> Tell:
    return lambda data, _: text.format(data["filename"])


def _version(text: str) -> Tell:
    return lambda data, _: text.format(data["version"])


_KINDS: dict[type[events.BaseEvent], Tell] = {
    events.ProjectCreated: lambda _, project: f"created the project {project}.",
    events.ProjectStatusChanged: lambda data, project: _STATUSES[data["status"]].format(project),
    events.ProjectRemoved: _project_removed,
    events.FileRemoved: _file_removed,
    events.FileRestored: _file("brought back the file {}, with the same bytes as before."),
    events.FileFreed: _file("gave up the name {}: another file may get it, and the bytes that had it never come back."),
    events.FileYanked: _file("yanked the file {}: pip avoids it where it has another choice."),
    events.FileUnyanked: _file("took back the yank of the file {}."),
    events.ReleaseRemoved: _release_removed,
    events.ReleaseYanked: _release_yanked,
    events.ReleaseUnyanked: _version("took back the yank of version {}: pip may choose it again."),
    events.ReleaseQuarantined: _version("put version {} into quarantine: pip does not find it until that is over."),
    events.ReleaseQuarantineCleared: _version("ended the quarantine of version {}."),
    events.AccessGranted: _access("allowed {} to act for the project."),
    events.AccessRevoked: _access("ended what {} was allowed to do for the project."),
    events.AccessNoted: _access("noted something about the access of {}."),
}
_TELL = {type_of(kind): say for kind, say in _KINDS.items()}


# --- the end ---------------------------------------------------------------------------------------------------------


def _newest_last(version: str) -> tuple[bool, Any]:
    try:
        return True, Version(version)
    except InvalidVersion:
        return False, version


def how_it_stands(connection: Connection, project: str) -> str:
    """What pip finds of a project by the last publication."""
    last = publication_rows.last_publication(connection)
    found = None if last is None else content.project_named(connection, project, last.content_size)
    if last is None or found is None:
        return f"Nothing of {project} was published so far."
    if found.removed:
        return f"By now {project} does not exist: pip does not find it."
    if found.status == "quarantined":
        return f"By now {project} is in quarantine: pip does not find any file of it."
    header, files = Remaking(connection).project_at(found, last)
    releases = {key: each for key, each in header.releases.items() if each.quarantined is None}
    listed = [each for each in files if each.release in releases]
    if not listed:
        return f"By now {project} has no file that pip could install."
    shown = {(next(iter(each.spellings)), each.yanked) for each in releases.values()}
    versions = sorted((version for version, _ in shown), key=_newest_last)
    yanked = [version for version in versions if (version, None) not in shown]
    text = f"By now pip finds these versions of {project}: {_list(versions, MOST_VERSIONS, 'versions')}."
    return text + (f" Yanked are: {_list(yanked, MOST_VERSIONS, 'versions')}." if yanked else "")
