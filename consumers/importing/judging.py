"""Which events of a draft the rules accept, and which uploads need `legacy`."""

from datetime import datetime
from typing import Any

from consumers.importing.drafting import DraftAct, DraftUpload, PageDraft, Refused
from consumers.importing.gathering import BytesRead, FileDigests
from consumers.importing.ledger_side import LedgerSide, ProjectOfLedger
from consumers.produce.appending import NewEvent, make_event
from projections.log.operations import type_of
from projections.outcomes import Outcome
from schemas.errors import NegativeAnswerError
from schemas.events import FileUploaded

_NEEDS_LEGACY = frozenset({"foreign-filename", "bad-version", "equivalent-filename"})
"""The codes of rules that say nothing against an upload for which `legacy` counts (docs/rules.md, section 3)."""

_UNKNOWN = "0" * 64
"""Stands for a digest that is not known yet: no rule reads it."""


class Maker:
    """Makes the events of an import.

    Args:
        now: the time of the import, for what has none.
        acting: who acts, as `make_event` takes it.
    """

    def __init__(self, now: datetime, acting: dict[str, Any]) -> None:
        self._now = now
        self._acting = acting

    def upload(self, project: str, each: DraftUpload, found: FileDigests) -> NewEvent:
        """The event of an upload.

        Raises:
            NegativeAnswerError: what the page says does not fit the schema.
        """
        data = {
            "filename": each.file.filename,
            "version": each.version,
            "length": found.bytes.length,
            "hashes": {"sha256": found.bytes.sha256, "blake2b_256": found.bytes.blake2b_256},
            "requires_python": each.file.requires_python or None,
            "core_metadata_sha256": found.core_metadata_sha256,
            "provenance_sha256": found.provenance_sha256,
            "legacy": True if each.legacy else None,
        }
        return self._make(type_of(FileUploaded), project, data, each.file.filename, each.uploaded_at)

    def act(self, project: str, each: DraftAct) -> NewEvent:
        """Another event.

        Raises:
            NegativeAnswerError: what the page says does not fit the schema.
        """
        return self._make(each.type, project, each.data, each.filename)

    def _make(self, kind: str, project: str, data: Any, filename: str, time: str | None = None) -> NewEvent:
        value = make_event(kind, project, data, now=self._now, time=time, **self._acting)
        names = {"project": project, "file": filename} if filename else {"project": project}
        return NewEvent(value, kind, filename or project, names)


async def judge_draft(side: LedgerSide, project: ProjectOfLedger, draft: PageDraft, maker: Maker) -> None:
    """Leave in a draft what the rules accept; what they reject is refused there.

    An upload that is rejected for its name alone is tried as `legacy`. That can make others of its distribution need
    it, too, so all are judged again until nothing changes.
    """
    _drop_unmakeable(project, draft, maker)
    while True:
        judged = await _judge(side, project, draft, maker)
        older = [each for each, outcome in judged if isinstance(each, DraftUpload) and _is_older(each, outcome)]
        if side.authority.settings.importing and older:
            for each in older:
                each.legacy = True
        elif not _opens_for_nothing(draft, judged):
            break
    _leave_accepted(draft, judged)


async def _judge(
    side: LedgerSide, project: ProjectOfLedger, draft: PageDraft, maker: Maker
) -> list[tuple[DraftAct | DraftUpload, Outcome]]:
    drafted: list[DraftAct | DraftUpload] = list(draft.before)
    drafted += [] if draft.opening is None else [draft.opening]
    for upload in draft.uploads:
        drafted += [upload] if upload.yank is None else [upload, upload.yank]
    drafted += [] if draft.closing is None else [draft.closing]
    drafted += draft.after
    events = [_event(project.name, each, maker) for each in drafted]
    return list(zip(drafted, await side.judge(project, [event.value for event in events]), strict=True))


def _opens_for_nothing(draft: PageDraft, judged: list[tuple[DraftAct | DraftUpload, Outcome]]) -> bool:
    """Whether a project would be opened, and no upload be accepted: then it stays closed, and the draft says so."""
    accepted = [each for each, outcome in judged if outcome.verdict == "accepted"]
    if draft.closing is None or any(isinstance(each, DraftUpload) for each in accepted):
        return False
    draft.after.append(draft.closing)
    draft.opening = draft.closing = None
    return True


def _is_older(each: DraftUpload, outcome: Outcome) -> bool:
    return outcome.verdict == "rejected" and outcome.code in _NEEDS_LEGACY and not each.legacy


def _leave_accepted(draft: PageDraft, judged: list[tuple[DraftAct | DraftUpload, Outcome]]) -> None:
    kept = {id(each) for each, outcome in judged if outcome.verdict == "accepted"}
    refused = {each.file.filename for each in draft.uploads if id(each) not in kept}
    for each, outcome in judged:
        if outcome.verdict != "rejected":
            continue
        if isinstance(each, DraftAct):
            if each.filename not in refused:  # else it is the yank of a file that is refused itself
                draft.refused.append(Refused(each.filename, outcome.code, outcome.detail or outcome.code))
            continue
        why = outcome.detail or outcome.code
        if _is_older(each, outcome):
            why += ": an older form of name, which is allowed while root says `importing`"
        draft.refused.append(Refused(each.file.filename, outcome.code, why))
    draft.before = [each for each in draft.before if id(each) in kept]
    draft.after = [each for each in draft.after if id(each) in kept]
    draft.uploads = [each for each in draft.uploads if id(each) in kept]
    for upload in draft.uploads:
        if upload.yank is not None and id(upload.yank) not in kept:
            upload.yank = None


def _event(project: str, each: DraftAct | DraftUpload, maker: Maker) -> NewEvent:
    if isinstance(each, DraftAct):
        return maker.act(project, each)
    said = BytesRead(each.file.size or 0, each.file.sha256 or _UNKNOWN, each.file.blake2b_256 or _UNKNOWN)
    return maker.upload(project, each, FileDigests(bytes=said))


def _drop_unmakeable(project: ProjectOfLedger, draft: PageDraft, maker: Maker) -> None:
    """Refuse what fits no schema, such as a filename with a slash."""
    for drafted in (draft.before, draft.uploads, draft.after):
        kept: list[Any] = []
        for each in drafted:
            try:
                _event(project.name, each, maker)
                if isinstance(each, DraftUpload) and each.yank is not None:
                    maker.act(project.name, each.yank)
            except NegativeAnswerError as error:
                filename = each.file.filename if isinstance(each, DraftUpload) else each.filename
                draft.refused.append(Refused(filename, "invalid", str(error)))
            else:
                kept.append(each)
        drafted[:] = kept
