"""What another index shows and the ledger does not, or otherwise: each difference, with the records that explain it.

The ledger is taken as it stands at the end of its log: what waits for a publication is no difference.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.remaking import Remaking
from consumers.catalog.standing import QUARANTINED, STATES, FileStanding, standings
from consumers.work.progress import Report, nobody
from ledger.catalog import FOREVER, content, event_rows, publication_rows, states
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted
from ledger.catalog.tables import THERE
from ledger.catalog.writing import PublicationRow
from ledger.disk.files import StorageError
from ledger.simple.package_sources import PackageSource, PackageSourceError
from ledger.simple.source_pages import SourceFile, SourcePage, SourcePageError
from projections.log.operations import type_of
from projections.text import clean
from schemas import events
from schemas.errors import TemporaryError

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
"""What differs: whether a project or a file is there, or what is said of it. `entry`: the one of the source cannot be
read; without a filename it is the page."""

LISTED = STATES[THERE]

PAGES_AT_ONCE = 16
"""Pages that are compared in one transaction of the catalog; so many more are asked for meanwhile."""

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
    """How much was compared: projects, files that both have, and facts that the source does not say. `nowhere` are
    projects that neither has, nor ever had in the ledger.
    """

    def __init__(self) -> None:
        self.projects = self.files = self.unknown = 0
        self.nowhere: list[str] = []


class _Entry(NamedTuple):
    """A file of the ledger, and the upload time that is shown, or will be."""

    standing: FileStanding
    uploaded_at: str

    @property
    def filename(self) -> str:
        """The name of the file."""
        return self.standing.upload.filename


class _Side(NamedTuple):
    """A project of the ledger: its status (None: it is not there), the reason, the event that made it so, and its files
    by name. Of files that had one name it is the one that has it now, or had it last.
    """

    status: str | None
    reason: str
    cause: int | None
    entries: Sequence[_Entry]


async def reconcile(
    asked: Asked, source: PackageSource, projects: Sequence[str], counts: Reconciled, report: Report = nobody
) -> AsyncIterator[Discrepancy]:
    """Compare projects, given by normalised name, or all that the source or the ledger has; in the order of names.

    Raises:
        TemporaryError: the source is away.
        StorageError, PackageSourceError, SourcePageError: its list of projects cannot be read.
    """
    listed = frozenset(() if projects else await source.projects())
    names = sorted(set(projects) or {*listed, *await asked.database.run(content.project_names, asked.size)})
    async for pages in _pages(source, names, listed):
        sides = await asked.database.run(_sides, list(pages))
        for (name, page), side in zip(pages.items(), sides, strict=True):
            found_here = (
                [_Found(name, "", "entry", page, None)] if isinstance(page, str) else _project(name, page, side, counts)
            )
            for found in found_here:
                yield found.of(await asked.database.run(_explain, asked, found))
            if page is None and side.cause is None:
                counts.nowhere.append(name)
            counts.projects += 1
        report(counts.projects, len(names))


_Page = SourcePage | str | None
"""The page of a project; why it cannot be read; None if there is none."""


async def _pages(
    source: PackageSource, names: Sequence[str], listed: frozenset[str]
) -> AsyncIterator[dict[str, _Page]]:
    """The pages of projects in order, some at a time; the next ones are asked for ahead."""

    async def read(name: str) -> _Page:
        try:
            found = await source.page(name)
        except (SourcePageError, PackageSourceError, StorageError) as error:
            if isinstance(error, TemporaryError):
                raise
            return f"cannot be read: {error}"
        return "is not there, though the source lists the project" if found is None and name in listed else found

    waiting: deque[asyncio.Future[list[_Page]]] = deque()
    parts = [names[start : start + PAGES_AT_ONCE] for start in range(0, len(names), PAGES_AT_ONCE)]
    try:
        for number, part in enumerate(parts):
            for ahead in parts[number + len(waiting) : number + 2]:
                waiting.append(asyncio.gather(*map(read, ahead)))
            yield dict(zip(part, await waiting.popleft(), strict=True))
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# --- the ledger ---------------------------------------------------------------------------------------------------


def _sides(connection: Connection, names: Sequence[str]) -> list[_Side]:
    """Projects of the ledger, in one transaction."""
    last, remaking = publication_rows.last_publication(connection), Remaking(connection)
    return [_side(connection, name, last, remaking) for name in names]


def _side(connection: Connection, name: str, last: PublicationRow | None, remaking: Remaking) -> _Side:
    number = states.project_number(connection, name)
    found = [] if number is None else states.states_of_project(connection, number)
    if number is None or not found:
        return _Side(None, "", None, ())
    uploads = list({each.filename: each for each in states.uploads_of(connection, number)}.values())
    shown = [each for each in uploads if last is not None and each.upload_idx < last.content_size]
    times = {} if last is None else dict(zip(shown, remaking.upload_times(shown, last), strict=True))
    entries = [
        _Entry(each, times.get(each.upload, each.upload.time)) for each in standings(connection, number, uploads)
    ]
    state = found[-1]
    if state.to_idx != FOREVER:
        return _Side(None, "", state.to_idx, entries)
    return _Side(None if state.removed else state.status, state.reason, state.from_idx, entries)


def _explain(connection: Connection, asked: Asked, found: "_Found") -> list[EventAnswer]:
    """The events that explain a discrepancy."""
    if found.refuses:
        wanted = Wanted(project=found.project, filename=found.filename, types=[_UPLOADED], rejected=True)
        return answers(connection, asked, event_rows.events_before(connection, wanted, FOREVER, 1))
    events = answers(connection, asked, event_rows.load_events(connection, found.causes))
    if found.aspect == "yanked":
        return [each for each in events if each.row.type in _FLAGS] or events[:1]
    return events


# --- comparing ----------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A discrepancy, not explained: the indices of the events that can explain it. `refuses`: the ledger never had the
    file, and a rejected upload explains it.
    """

    project: str
    filename: str
    aspect: Aspect
    there: str | int | None
    here: str | int | None
    causes: Sequence[int] = ()
    refuses: bool = False

    def of(self, events: Sequence[EventAnswer]) -> Discrepancy:
        """The discrepancy, explained."""
        return Discrepancy(self.project, self.filename, self.aspect, self.there, self.here, events)


def _project(name: str, page: SourcePage | None, side: _Side, counts: Reconciled) -> Iterator[_Found]:
    yield from _of_project(name, page, side)
    page = page or SourcePage(name=name)
    for unreadable in page.unreadable:
        yield _Found(name, unreadable.filename, "entry", unreadable.why, None)
    left = {each.filename: each for each in page.files}
    for entry in side.entries:
        yield from _of_file(name, page, left.pop(entry.filename, None), entry, counts)
    for filename in sorted(left):
        yield _Found(name, filename, "file", LISTED, None, refuses=True)


def _of_project(name: str, page: SourcePage | None, side: _Side) -> Iterator[_Found]:
    there, causes = None if page is None else page.status, () if side.cause is None else (side.cause,)
    if there is None or side.status is None:
        if there != side.status:
            yield _Found(name, "", "project", there, side.status, causes)
        return
    if page is None or not page.knows_flags:
        return
    if there != side.status:
        yield _Found(name, "", "status", there, side.status, causes)
    reason = clean(page.status_reason)
    if reason != side.reason:
        yield _Found(name, "", "reason", reason or None, side.reason or None, causes)


def _of_file(
    name: str, page: SourcePage, file: SourceFile | None, entry: _Entry, counts: Reconciled
) -> Iterator[_Found]:
    """The discrepancies of a file that the ledger has, or had."""
    state, causes = entry.standing.state, entry.standing.causes
    if file is None or state != LISTED:
        # A quarantine hides all files of the page.
        if file is not None or (state == LISTED and page.status != QUARANTINED):
            yield _Found(name, entry.filename, "file", None if file is None else LISTED, state, causes)
        return
    counts.files += 1
    for said in _said(file, entry):
        if not said.is_known or (said.aspect == "yanked" and not page.knows_flags):
            counts.unknown += 1
        elif not said.is_same:
            some = causes if said.aspect == "yanked" else causes[:1]
            yield _Found(name, entry.filename, said.aspect, said.there, said.here, some)


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


def _said(file: SourceFile, entry: _Entry) -> Iterator[_Said]:
    standing, upload = entry.standing, entry.standing.upload
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
    """A time that compares however it is written; what is none, or of no time zone, compares as it is."""
    try:
        found = datetime.fromisoformat(text)
        return text if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
