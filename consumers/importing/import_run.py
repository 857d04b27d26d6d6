"""An import: all projects of a source, a few at a time, and what became of each."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumers.importing.drafting import DraftAct, DraftUpload, PageDraft, Refused, draft_page
from consumers.importing.gathering import Gathering, needs_bytes
from consumers.importing.judging import Maker, judge_draft
from consumers.importing.ledger_side import LedgerSide, ProjectOfLedger
from consumers.produce.appending import NewEvent
from consumers.produce.foreseeing import Refusal
from consumers.work.progress import Report, nobody
from ledger.disk.files import StorageError
from ledger.distributions.distribution import DistributionError
from ledger.simple.package_sources import PackageSource, PackageSourceError
from ledger.simple.source_pages import SourcePageError
from projections.index.names import normalise
from projections.log.operations import type_of
from schemas import events
from schemas.errors import LedgerError, NegativeAnswerError, TemporaryError

FILES_AT_ONCE = 100
"""The most files whose facts are gathered before their events are appended."""
MOST_NAMED = 10_000
"""The most refusals, and the most missing files, that are named; all are counted."""
FAILURES_IN_A_ROW = 20
"""So many failures in a row that may pass end an import: the source is away, or the disk is full."""

_OF_ONE = (NegativeAnswerError, DistributionError, PackageSourceError, SourcePageError, StorageError)
"""What concerns one project or file alone. What the log says ends an import."""

UPLOAD_TIME = "upload-time"


class FileOfProject(NamedTuple):
    """A file, or (empty) the project as a whole."""

    project: str
    filename: str = ""


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do.

    `events` counts events by type. `uploads` are the new files, of which so many are `legacy`. `bytes` were downloaded,
    or would be, beside `unknown_lengths` files of unknown length. `unlearnt` counts files by the fact that the source
    does not say. `missing` is what the ledger lists and the source does not, of which so much was `removed`.
    `removed_here` counts files that the source lists and that stay removed. `failed` counts refusals that may pass.
    `other_hosts` counts pages by the host that the source sent on to.
    """

    projects: int = 0
    events: Counter[str] = field(default_factory=Counter)
    legacy: int = 0
    bytes: int = 0
    unknown_lengths: int = 0
    unlearnt: Counter[str] = field(default_factory=Counter)
    refused_count: int = 0
    refused: list[Refusal] = field(default_factory=list)
    missing_count: int = 0
    missing: list[FileOfProject] = field(default_factory=list)
    removed_here: int = 0
    failed: int = 0
    other_hosts: Counter[str] = field(default_factory=Counter)

    @property
    def uploads(self) -> int:
        """How many files are new."""
        return self.events[type_of(events.FileUploaded)]

    def refuse(self, project: str, each: Refused) -> None:
        """Name what is refused."""
        self.refused_count += 1
        if len(self.refused) < MOST_NAMED:
            names = {"project": project, "file": each.filename} if each.filename else {"project": project}
            self.refused.append(Refusal(each.filename or project, names, each.code, each.why))

    def miss(self, project: str, filename: str = "") -> None:
        """Name what is missing in the source."""
        self.missing_count += 1
        if len(self.missing) < MOST_NAMED:
            self.missing.append(FileOfProject(project, filename))


class ImportOptions(NamedTuple):
    """How to import: whether only to say what would be done, whether to remove what the source does not list, how many
    projects at a time, and whether yanks stay that the source does not show.
    """

    dry_run: bool = False
    remove_missing: bool = False
    at_once: int = 8
    keep_yanks: bool = False


class ImportRun:
    """One import. It can be ended at any moment, and done again: what is on the log is not appended twice.

    Args:
        source: the index that is imported.
        side: the ledger.
        gathering: learns what pages do not say.
        maker: makes the events.
        options: see there.

    Raises:
        TemporaryError: the source is away.
        LogError: the log cannot be appended to.
        PackageSourceError, StorageError, SourcePageError: the list of projects cannot be read.
    """

    def __init__(
        self, source: PackageSource, side: LedgerSide, gathering: Gathering, maker: Maker, options: ImportOptions
    ) -> None:
        self._source = source
        self._side = side
        self._gathering = gathering
        self._maker = maker
        self._options = options
        self._failures = 0
        self._lists = False
        self._reads_pages = False
        self.report = ImportReport()

    async def run(self, projects: Sequence[str], report: Report = nobody) -> ImportReport:
        """Import projects; without any, all that the source lists. `report` is called after each."""
        names = sorted({normalise(each) for each in projects})
        if not names:
            names, self._lists = await self._source.projects(), True
        if not names:
            raise NegativeAnswerError(f"{self._source.name} lists no project")
        left = iter(names)
        tasks = [
            asyncio.create_task(self._work(left, len(names), report))
            for _ in range(min(self._options.at_once, len(names)))
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._lists:
            await self._find_missing(set(names))
        return self.report

    async def _work(self, left: Iterator[str], total: int, report: Report) -> None:
        for name in left:
            try:
                await self._import(name)
                self._failures = 0
            except _OF_ONE as error:
                self._fail(name, "", error)
            self.report.projects += 1
            report(self.report.projects, total)

    def _fail(self, project: str, filename: str, error: LedgerError) -> None:
        if isinstance(error, TemporaryError):
            self.report.failed += 1
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW:
                raise error
        self.report.refuse(project, Refused(filename, "", str(error)))

    async def _import(self, name: str) -> None:
        """Import one project."""
        page = await self._source.page(name)
        project = await self._side.project(name)
        if page is None:
            if not project.header.exists:
                raise NegativeAnswerError(f"the source has no project {name}")
            if self._lists:
                raise NegativeAnswerError(
                    f"the source lists {name}, and has no page of it: nothing is removed for that"
                )
            await self._miss_project(name)
            return
        self._reads_pages = True
        if page.answered_by:
            self.report.other_hosts[page.answered_by] += 1
        draft = await asyncio.to_thread(draft_page, page, project, keep_yanks=self._options.keep_yanks)
        await judge_draft(self._side, project, draft, self._maker)
        for each in draft.refused:
            self.report.refuse(name, each)
        self.report.removed_here += len(draft.removed_here)
        for filename in draft.missing:
            self.report.miss(name, filename)
        if self._options.dry_run:
            await self._count(draft)
        else:
            await self._append(project, draft)

    async def _count(self, draft: PageDraft) -> None:
        """Count what would be appended, and the bytes that would be downloaded."""
        new = [each.file for each in draft.uploads]
        self._count_uploads(draft.uploads)
        self.report.events.update([type_of(events.FileUploaded)] * len(new))
        self.report.events.update(each.type for each in (*draft.before, *draft.after))
        self.report.events.update(each.yank.type for each in draft.uploads if each.yank)
        times = -(-len(new) // FILES_AT_ONCE)  # as often as uploads are appended
        self.report.events.update([each.type for each in (draft.opening, draft.closing) if each] * times)
        if self._options.remove_missing and draft.missing:
            self.report.events[type_of(events.FileRemoved)] += len(draft.missing)
        # A file of unknown length is asked for: it is downloaded if nobody says it.
        wanted = [file for file in new if self._gathering.stores or needs_bytes(file)]
        silent = [file for file in new if file.size is None and not self._gathering.stores and not needs_bytes(file)]
        wanted += [file for file, facts in draft.there if await self._gathering.lacks(facts)]
        lengths = await asyncio.gather(*(self._gathering.length(file) for file in silent))
        self.report.unknown_lengths += lengths.count(None)
        for length in await asyncio.gather(*(self._gathering.length(file) for file in wanted)):
            if length is None:
                self.report.unknown_lengths += 1
            else:
                self.report.bytes += length

    async def _append(self, project: ProjectOfLedger, draft: PageDraft) -> None:
        """Append what the page asks for. A file's yank stands right behind its upload."""
        await self._append_acts(project, draft.before)
        failed: set[str] = set()
        for start in range(0, len(draft.uploads), FILES_AT_ONCE):
            failed |= await self._append_uploads(project, draft, draft.uploads[start : start + FILES_AT_ONCE])
        await self._append_acts(project, [each for each in draft.after if each.filename not in failed])
        for start in range(0, len(draft.there), FILES_AT_ONCE):
            await self._fetch(project, draft, start)
        if self._options.remove_missing:
            kind = type_of(events.FileRemoved)
            removals = [DraftAct(kind, {"filename": each, "reason": self._gone}, each) for each in draft.missing]
            await self._append_acts(project, removals)

    @property
    def _gone(self) -> str:
        return f"{self._source.name} does not list it any more"

    async def _append_acts(self, project: ProjectOfLedger, acts: Sequence[DraftAct]) -> None:
        await self._put([self._maker.act(project.name, each) for each in acts])

    async def _append_uploads(
        self, project: ProjectOfLedger, draft: PageDraft, uploads: Sequence[DraftUpload]
    ) -> set[str]:
        """Gather the facts of files, and append their events; return the names of those that failed."""
        gathered = await asyncio.gather(*(self._upload(project, each) for each in uploads))
        made: list[NewEvent] = [event for events_of in gathered for event in events_of]
        if made and draft.opening is not None and draft.closing is not None:
            opening, closing = (self._maker.act(project.name, each) for each in (draft.opening, draft.closing))
            made = [opening, *made, closing]
        self._count_uploads([each for each, found in zip(uploads, gathered, strict=True) if found])
        await self._put(made)
        return {each.file.filename for each, found in zip(uploads, gathered, strict=True) if not found}

    async def _upload(self, project: ProjectOfLedger, each: DraftUpload) -> list[NewEvent]:
        """The events of a new file; none if its facts cannot be learnt."""
        try:
            found = await self._gathering.learn(project.name, each.version, each.file)
            made = [self._maker.upload(project.name, each, found)]
        except _OF_ONE as error:
            self._fail(project.name, each.file.filename, error)
            return []
        self._failures = 0
        self.report.bytes += found.downloaded
        self.report.unlearnt.update(found.unlearnt)
        return made if each.yank is None else [*made, self._maker.act(project.name, each.yank)]

    def _count_uploads(self, uploads: Sequence[DraftUpload]) -> None:
        self.report.legacy += sum(each.legacy for each in uploads)
        without_time = sum(each.uploaded_at is None for each in uploads)
        if without_time:
            self.report.unlearnt[UPLOAD_TIME] += without_time

    async def _fetch(self, project: ProjectOfLedger, draft: PageDraft, start: int) -> None:
        """Store files that both have, and that are not stored."""

        async def fetch(number: int) -> None:
            file, facts = draft.there[number]
            try:
                self.report.bytes += await self._gathering.fetch(project.name, file, facts)
            except _OF_ONE as error:
                self._fail(project.name, file.filename, error)

        end = min(start + FILES_AT_ONCE, len(draft.there))
        await asyncio.gather(*(fetch(number) for number in range(start, end)))

    async def _find_missing(self, listed: set[str]) -> None:
        """Find the projects of the ledger that the source does not list."""
        async for name in self._side.names():
            if name not in listed and (await self._side.project(name)).header.exists:
                await self._miss_project(name)

    async def _miss_project(self, name: str) -> None:
        self.report.miss(name)
        kind = type_of(events.ProjectRemoved)
        # If no page can be read, the list may be none, either: a form that asks for a password has links, too.
        if not self._options.remove_missing or (self._lists and not self._reads_pages):
            return
        if self._options.dry_run:
            self.report.events[kind] += 1
        else:
            await self._put([self._maker.act(name, DraftAct(kind, {"reason": self._gone}))])

    async def _put(self, made: Sequence[NewEvent]) -> None:
        if made:
            await self._side.append(made)
            self.report.events.update(each.type for each in made)
