"""The events that the page of another index asks for, before the last facts of its files are known.

What is the same in the ledger asks for nothing, so a page that was imported asks for nothing a second time. Pure: it
reads neither the source nor the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

from consumers.importing.file_versions import Versions
from consumers.importing.ledger_side import ProjectOfLedger
from ledger.simple.source_pages import SourceFile, SourcePage
from projections.index.names import release_key
from projections.index.pages import FileFacts
from projections.log.operations import type_of
from projections.text import clean
from schemas import events
from schemas.fields import is_event_time

_STATUSES = get_args(events.ProjectStatus)
_QUARANTINED = "quarantined"
_TAKES_FILES = frozenset({"active", "deprecated"})


class DraftAct(NamedTuple):
    """An event that needs no further fact: its type, its `data`, and the file that it is about (empty: none)."""

    type: str
    data: Mapping[str, Any]
    filename: str = ""


@dataclass(slots=True)
class DraftUpload:
    """An upload. `yank` comes right behind it. `legacy` is set where the rules refuse it otherwise."""

    file: SourceFile
    version: str
    uploaded_at: str | None
    yank: DraftAct | None = None
    legacy: bool = False


class Refused(NamedTuple):
    """What is not imported: a file (empty: the project as a whole), the code of a rule (empty: none), and why."""

    filename: str
    code: str
    why: str


@dataclass(slots=True)
class PageDraft:
    """What a page asks for: in the order `before`, `opening`, `uploads`, `closing`, `after`.

    `opening` and `closing` are there if the project takes no files in the ledger, nor in the source any more: it did
    between, since it has new ones.
    `there` are files that both have. `removed_here` are files of the page that were removed from the ledger: they stay
    removed. `missing` are files that the ledger lists and the page does not.
    """

    before: list[DraftAct] = field(default_factory=list)
    opening: DraftAct | None = None
    uploads: list[DraftUpload] = field(default_factory=list)
    closing: DraftAct | None = None
    after: list[DraftAct] = field(default_factory=list)
    there: list[tuple[SourceFile, FileFacts]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    removed_here: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def draft_page(page: SourcePage, project: ProjectOfLedger, *, keep_yanks: bool = False) -> PageDraft:
    """What a page asks of the ledger. With `keep_yanks` no yank is taken back."""
    draft = PageDraft(refused=[Refused(each.filename, "", f"the entry {each.why}") for each in page.unreadable])
    if project.header.removed:
        draft.refused.append(Refused("", "project-removed", f"project {project.name} was removed here"))
        return draft
    if project.header.status == _QUARANTINED != page.status and page.knows_flags:
        # Who quarantined it, and where, cannot be told: a command must not lift what a person may have done here.
        why = (
            f"project {project.name} is quarantined here, and not in the source: see what happened there, then lift it "
        )
        draft.refused.append(Refused("", "project-quarantined", f"{why}(`tuf-ledger status {project.name} active`)"))
        return draft
    _sort_files(page, project, draft)
    if page.knows_flags:
        _draft_yanks(project, draft, keep_yanks=keep_yanks)
    _draft_status(page, project, draft)
    draft.missing = _missing(page, project)
    return draft


def event_time(text: str | None) -> str | None:
    """An upload time as an event has it; None if there is none, or none that an event can have."""
    if text is None or is_event_time(text):
        return text
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        return None
    try:
        written = found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (OverflowError, ValueError):
        return None
    return written if is_event_time(written) else None


def _sort_files(page: SourcePage, project: ProjectOfLedger, draft: PageDraft) -> None:
    """Find out which files are new, the oldest first, and which are there."""
    versions = Versions(project.name, page.versions or ())
    for file in page.files:
        facts = project.files.get(file.filename)
        if facts is None or facts.freed:
            draft.uploads.append(DraftUpload(file, versions.of(file.filename), event_time(file.uploaded_at)))
        elif file.sha256 not in {None, facts.sha256}:
            why = f"{file.filename} has other bytes in the source: its SHA-256 is {file.sha256}, here {facts.sha256}"
            draft.refused.append(Refused(file.filename, "filename-taken", why))
        elif facts.removed:
            draft.removed_here.append(file.filename)
        else:
            draft.there.append((file, facts))
    draft.uploads.sort(key=lambda each: (each.uploaded_at or "", each.file.filename))


def _draft_yanks(project: ProjectOfLedger, draft: PageDraft, *, keep_yanks: bool) -> None:
    """Yank and unyank files (PEP 592). A release's yank, which only a ledger has, goes where one file shows none."""
    wanted = [(file, facts.release) for file, facts in draft.there]
    wanted += [(each.file, release_key(each.version)) for each in draft.uploads]
    not_yanked = {release for file, release in wanted if file.yanked is None and not keep_yanks}
    of_release: dict[str, str | None] = {}
    for name, release in project.header.releases.items():
        of_release[name] = release.yanked
        if release.yanked is not None and name in not_yanked and release.spellings:
            draft.before.append(DraftAct(type_of(events.ReleaseUnyanked), {"version": next(iter(release.spellings))}))
            of_release[name] = None
    for file, facts in draft.there:
        shown = facts.yanked if facts.yanked is not None else of_release.get(facts.release)
        if file.yanked is None and facts.yanked is not None and not keep_yanks:
            act = DraftAct(type_of(events.FileUnyanked), {"filename": file.filename}, file.filename)
            draft.after.append(act)
        elif file.yanked is not None and clean(file.yanked) != shown:
            draft.after.append(_yank(file))
    for each in draft.uploads:
        if each.file.yanked is not None and clean(each.file.yanked) != of_release.get(release_key(each.version)):
            each.yank = _yank(each.file)


def _yank(file: SourceFile) -> DraftAct:
    return DraftAct(
        type_of(events.FileYanked), {"filename": file.filename, "reason": file.yanked or None}, file.filename
    )


def _draft_status(page: SourcePage, project: ProjectOfLedger, draft: PageDraft) -> None:
    """Set the status (PEP 792): before uploads if it lets them in, else behind them."""
    header = project.header
    # Of a folder of files there is nothing but its files: one that cannot be read makes no project.
    if header.status is None and not draft.uploads and (page.knows_flags or not page.unreadable):
        draft.before.append(DraftAct(type_of(events.ProjectCreated), {}))
    if not page.knows_flags:
        return
    if page.status not in _STATUSES:
        why = f"the project has the status {page.status[:40]!r}, which PEP 792 does not know"
        draft.refused.append(Refused("", "", why))
        return
    act = _set_status(page.status, page.status_reason)
    is_closed, closes = header.status not in {None, *_TAKES_FILES}, page.status not in _TAKES_FILES
    if is_closed and closes and draft.uploads:
        draft.opening, draft.closing = _set_status("active", None), act
    elif (header.status or "active", header.reason) != (page.status, clean(page.status_reason)):
        (draft.before if is_closed and not closes else draft.after).append(act)


def _set_status(status: str, reason: str | None) -> DraftAct:
    return DraftAct(type_of(events.ProjectStatusChanged), {"status": status, "reason": reason})


def _missing(page: SourcePage, project: ProjectOfLedger) -> list[str]:
    if page.status == _QUARANTINED:  # its files are hidden
        return []
    listed = {each.filename for each in page.files} | {each.filename for each in page.unreadable}
    lists = project.header.lists
    return sorted(name for name, facts in project.files.items() if name not in listed and lists(facts))
