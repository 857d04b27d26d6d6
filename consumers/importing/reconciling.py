"""What another index shows and the ledger does not, or otherwise: each difference, with the records that explain it.

The ledger is taken as it stands at the end of its log: what waits for a publication is no difference.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.blaming import Blame, blame_project
from consumers.catalog.event_answers import EventAnswer, answers, find_events
from consumers.catalog.remaking import Remaking
from consumers.catalog.standing import QUARANTINED, STATES
from consumers.work.progress import Report, nobody
from ledger.catalog import FOREVER, content, event_rows, publication_rows, states
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted
from ledger.catalog.tables import THERE
from ledger.simple.package_sources import PackageSource
from ledger.simple.source_pages import SourceFile, SourcePage
from projections.log.operations import type_of
from projections.text import clean
from schemas import events

Aspect = Literal[
    "project",
    "status",
    "reason",
    "file",
    "entry",
    "sha256",
    "length",
    "requires_python",
    "upload_time",
    "yanked",
    "core_metadata",
    "provenance",
]
"""What differs: whether a project or a file is there, or what is said of it. `entry`: the source's cannot be read."""

LISTED = STATES[THERE]

PAGES_AHEAD = 8
"""Pages that are asked for while others are compared."""

AT_ONCE = 500
"""Files whose upload times are looked up together."""

_FLAGS = frozenset(
    type_of(each) for each in (events.FileYanked, events.FileUnyanked, events.ReleaseYanked, events.ReleaseUnyanked)
)
_UPLOADED = type_of(events.FileUploaded)


class Discrepancy(NamedTuple):
    """A difference: of a project, or of a file of it.

    `there` is what the source says, `here` what the ledger does. None: it is not there, or not said. `events` explain
    how it came about in the ledger, the last one last; there are none if no event is about it.
    """

    project: str
    filename: str
    aspect: Aspect
    there: str | int | None
    here: str | int | None
    events: Sequence[EventAnswer]


class Reconciled:
    """How much was compared: projects, files that both have, and facts that the source does not say."""

    def __init__(self) -> None:
        self.projects = self.files = self.unknown = 0


class _Side(NamedTuple):
    """A project of the ledger: its status (None: it is not there), the reason, and the event that made it so."""

    status: str | None
    reason: str
    cause: int | None


class _Entry(NamedTuple):
    """A file of the ledger, and the upload time that is shown, or will be."""

    blame: Blame
    uploaded_at: str

    @property
    def filename(self) -> str:
        """The name of the file."""
        return self.blame.standing.upload.filename


async def reconcile(
    asked: Asked, source: PackageSource, projects: Sequence[str], counts: Reconciled, report: Report = nobody
) -> AsyncIterator[Discrepancy]:
    """Compare projects, given by normalised name, or all that the source or the ledger has; in the order of names.

    Raises:
        StorageError, PackageSourceError, SourcePageError: the source cannot be read.
    """
    names = sorted(set(projects)) if projects else await _all_names(asked, source)
    async for name, page in _pages(source, names):
        async for each in _project(asked, name, page, counts):
            yield each
        counts.projects += 1
        report(counts.projects, len(names))


async def _all_names(asked: Asked, source: PackageSource) -> list[str]:
    here = await asked.database.run(content.project_names, asked.size)
    return sorted({*here, *await source.projects()})


async def _pages(source: PackageSource, names: Sequence[str]) -> AsyncIterator[tuple[str, SourcePage | None]]:
    """The pages of projects in order, some of them asked for ahead."""
    waiting: deque[tuple[str, asyncio.Task[SourcePage | None]]] = deque()
    try:
        for name in names:
            waiting.append((name, asyncio.ensure_future(source.page(name))))
            if len(waiting) > PAGES_AHEAD:
                first, task = waiting.popleft()
                yield first, await task
        while waiting:
            first, task = waiting.popleft()
            yield first, await task
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)


async def _project(asked: Asked, name: str, page: SourcePage | None, counts: Reconciled) -> AsyncIterator[Discrepancy]:
    here = await asked.database.run(_side, name)
    for each in _of_project(name, page, here):
        yield each._replace(events=await asked.database.run(_events, asked, here.cause))
    page = page or SourcePage(name=name)
    for unreadable in page.unreadable:
        yield Discrepancy(name, unreadable.filename, "entry", unreadable.why, None, ())
    left = {each.filename: each for each in page.files}
    async for entry in _entries(asked, name):
        for each in _of_file(page, left.pop(entry.filename, None), entry, counts):
            yield each
    for filename in sorted(left):
        yield Discrepancy(name, filename, "file", LISTED, None, await _refused_uploads(asked, name, filename))


def _of_project(name: str, page: SourcePage | None, here: _Side) -> Iterator[Discrepancy]:
    there = None if page is None else page.status
    if there is None or here.status is None:
        if there != here.status:
            yield Discrepancy(name, "", "project", there, here.status, ())
        return
    if page is None or not page.knows_flags:
        return
    if there != here.status:
        yield Discrepancy(name, "", "status", there, here.status, ())
    reason = clean(page.status_reason)
    if reason != here.reason:
        yield Discrepancy(name, "", "reason", reason or None, here.reason or None, ())


def _side(connection: Connection, name: str) -> _Side:
    number = states.project_number(connection, name)
    found = [] if number is None else states.states_of_project(connection, number)
    if not found:
        return _Side(None, "", None)
    last = found[-1]
    ended = last.to_idx != FOREVER
    return _Side(None if last.removed or ended else last.status, last.reason, last.to_idx if ended else last.from_idx)


def _events(connection: Connection, asked: Asked, index: int | None) -> list[EventAnswer]:
    return [] if index is None else answers(connection, asked, event_rows.load_events(connection, [index]))


async def _entries(asked: Asked, name: str) -> AsyncIterator[_Entry]:
    """The files of a project by name: of those that had one name, the one that has it now, or had it last."""
    some: list[Blame] = []
    async for each in blame_project(asked, name):
        if some and some[-1].standing.upload.filename == each.standing.upload.filename:
            some.pop()
        elif len(some) >= AT_ONCE:
            for entry in await asked.database.run(_with_times, some):
                yield entry
            some = []
        some.append(each)
    for entry in await asked.database.run(_with_times, some):
        yield entry


def _with_times(connection: Connection, some: Sequence[Blame]) -> list[_Entry]:
    last = publication_rows.last_publication(connection)
    uploads = [each.standing.upload for each in some]
    shown = [each for each in uploads if last is not None and each.upload_idx < last.content_size]
    times = {} if last is None else dict(zip(shown, Remaking(connection).upload_times(shown, last), strict=True))
    return [_Entry(each, times.get(each.standing.upload, each.standing.upload.time)) for each in some]


def _of_file(page: SourcePage, file: SourceFile | None, entry: _Entry, counts: Reconciled) -> Iterator[Discrepancy]:
    """The differences of a file that the ledger has, or had."""
    blame, state = entry.blame, entry.blame.standing.state
    if file is None or state != LISTED:
        # A quarantine hides all files of the page.
        if file is not None or (state == LISTED and page.status != QUARANTINED):
            source = None if file is None else LISTED
            yield Discrepancy(blame.project, entry.filename, "file", source, state, blame.events)
        return
    counts.files += 1
    for said in _said(file, entry):
        if not said.is_known or (said.aspect == "yanked" and not page.knows_flags):
            counts.unknown += 1
        elif not said.is_same:
            yield _otherwise(entry, said)


async def _refused_uploads(asked: Asked, project: str, filename: str) -> list[EventAnswer]:
    """Rejected uploads of a file that the ledger never had: the last one."""
    wanted = Wanted(project=project, filename=filename, types=[_UPLOADED], rejected=True)
    last = await anext(find_events(asked, wanted), None)
    return [] if last is None else [last]


class _Said(NamedTuple):
    """What both say of a file. Where the source says nothing of what every file has, it is not known."""

    aspect: Aspect
    there: str | int | None
    here: str | int | None
    is_known: bool = True

    @property
    def is_same(self) -> bool:
        """Whether both say the same."""
        if self.aspect == "upload_time":
            return _instant(str(self.there)) == _instant(str(self.here))
        return self.there == self.here


def _otherwise(entry: _Entry, said: _Said) -> Discrepancy:
    """What is said otherwise of a file that both list."""
    events = entry.blame.events
    flags = [each for each in events if each.row.type in _FLAGS]
    explain = flags if said.aspect == "yanked" and flags else events[:1]
    return Discrepancy(entry.blame.project, entry.filename, said.aspect, said.there, said.here, explain)


def _said(file: SourceFile, entry: _Entry) -> Iterator[_Said]:
    standing, upload = entry.blame.standing, entry.blame.standing.upload
    yield _Said("sha256", file.sha256, upload.sha256.hex(), file.sha256 is not None)
    yield _Said("length", file.size, upload.length, file.size is not None)
    yield _Said("requires_python", file.requires_python or None, upload.requires_python)
    yield _Said("upload_time", file.uploaded_at, entry.uploaded_at, file.uploaded_at is not None)
    yield _Said("yanked", None if file.yanked is None else clean(file.yanked), standing.yanked)
    core = None if upload.core_metadata_sha256 is None else upload.core_metadata_sha256.hex()
    if file.core_metadata_sha256 is None and file.has_core_metadata:
        yield _Said("core_metadata", "there", core, core is None)
    else:
        yield _Said("core_metadata", file.core_metadata_sha256, core)
    provenance = None if upload.provenance_sha256 is None else upload.provenance_sha256.hex()
    if file.provenance_url is not None:
        yield _Said("provenance", "there", provenance, provenance is None)
    else:
        yield _Said("provenance", None, provenance)


def _instant(text: str) -> datetime | str:
    """A time that compares however it is written; what is none compares as it is."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
