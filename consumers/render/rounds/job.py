"""The job of both rounds, and the steps that the serial and the parallel rounds share."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson
import structlog

from consumers.limits import Limits
from consumers.reading.tail import Tail
from consumers.render.bin_steps import Unsealed, seal_bin
from consumers.render.edition import Edition
from consumers.render.sealing import Sealer
from consumers.render.sinks import Sink
from consumers.render.tasks import hidden_pages
from consumers.render.telling import Telling
from consumers.state import records
from consumers.state.kept_bins import KeptBin, LastBins
from consumers.state.kept_pages import KeptPages
from consumers.work.progress import Report
from consumers.work.workers import Behind, Workers
from ledger.state.aggregates import PageRow
from ledger.state.file import StateFile
from ledger.state.store import Store
from projections.index import project_list
from projections.index.chunks import Aggregate
from projections.index.names import split_filename
from projections.index.project_list import Listing, ProjectList
from projections.log.prefix import Extension
from projections.metadata.paths import plain_path
from projections.metadata.repository import LENGTH_ABOVE_BYTES
from projections.metadata.targets import Page, TargetChange

PageToWrite = tuple[Page, PageRow | None]
"""A page, and its row if the state keeps it as a file."""

log = structlog.get_logger()


class Job(NamedTuple):
    """The job of both rounds. `spill` is a folder for data that does not fit into memory; `report` is called with the
    progress of a long batch; `last` are the previous bins; `pages` says how pages are kept; `brackets` are those of
    the edition. `telling` collects what events do, if anybody wants to know. Where nothing `renders`, events are folded
    and saved, and there are no pages and bins.
    """

    store: Store
    workers: Workers
    edition: Edition
    tail: Tail
    sealer: Sealer
    sink: Sink
    spill: Path
    report: Report
    last: LastBins
    pages: KeptPages
    brackets: tuple[bytes, str]
    telling: Telling | None
    renders: bool
    limits: Limits


class Rounds(Protocol):
    """The two rounds of one publication: `fold`, then `seal`."""

    async def fold(self) -> None:
        """Fold the events, and where anything renders, bring the list of all projects up to date."""

    async def seal(self) -> dict[str, KeptBin]:
        """Render and seal bins; return them by role name, in the order of bins."""

    async def close(self) -> None:
        """Stop everything that still runs, and delete spilled files."""

    async def save(self) -> None:
        """Save the unsaved rest, after `close`: it is less than a few megabytes, and placing files need not wait."""


async def keep_extension(store: Store, extension: Extension, sink: Sink, telling: Telling | None) -> None:
    """Save the records that the prefix judged, pass on the documents of ceremonies, and tell what these records did."""
    if telling is not None:
        await telling.add_judged(extension)
    if extension.judged or extension.ceremonies:
        await store.run(records.save_extension, extension)
    for ceremony in extension.ceremonies:
        for document in ceremony.documents:
            sink.put_document(document)


def list_projects(
    state: StateFile, edition: Edition, listings: Sequence[Listing], names_per_chunk: int
) -> tuple[Sequence[Page], Sequence[TargetChange]]:
    """Bring the list of projects up to date with what an edition's events did to it; return its pages and targets if it
    is rendered.
    """
    header, waiting = records.load_project_list(state, sorted({each.name for each in listings}))
    projects = ProjectList(header, waiting, names_per_chunk=names_per_chunk)
    projects.follow(
        [(each.claim, each.authority.settings, each.content_size) for each in edition.publications], listings
    )
    stored, waited = Aggregate(project_list.KEY), dict[str, bool]()
    if projects.is_rendered:
        stored = records.load_aggregates(state, [project_list.KEY]).states.get(project_list.KEY, stored)
        waited = records.load_waiting(state)
    change, pages, changes = projects.finish(stored.chunks, waited)
    records.save_project_list(state, change, projects.left, is_rendered=projects.is_rendered)
    return pages, changes


def page_writer(workers: Workers, sink: Sink, pages: KeptPages) -> Behind[PageToWrite, None]:
    """Writes pages, one step behind their rendering; pages with a row are also kept in the state."""

    def put(item: PageToWrite) -> None:
        page, row = item
        sink.put(page.hashed_path, page.data, None if row is None else pages.put(row, page))
        sink.show(plain_path(page.path), page.hashed_path)

    return Behind(workers, put)


def bin_sealer(workers: Workers, sealer: Sealer, sink: Sink, last: LastBins) -> Behind[Unsealed, tuple[str, KeptBin]]:
    """Seals and writes bins, one step behind their rendering."""

    def seal(unsealed: Unsealed) -> tuple[str, KeptBin]:
        sealed = seal_bin(sealer, unsealed)
        if sealed.entry.length > LENGTH_ABOVE_BYTES:
            warn_of_stuffed(sealed.name, sealed.entry.length, b",".join(unsealed.targets))
        path, kept = last.keep(sealed.name, sealed.entry, sealed.file)
        sink.put(sealed.path, sealed.file, path)
        return sealed.name, kept

    return Behind(workers, seal)


def hide_pages(changes: Iterable[TargetChange], sink: Sink) -> None:
    """Hide plain pages that are gone."""
    for path in hidden_pages(changes):
        sink.show(plain_path(path), None)


def warn_of_stuffed(name: str, length: int, targets: bytes) -> None:
    """Warn which project fills a very long bin: filenames can be chosen so that they all fall into one bin.

    Clients still download the bin, since the snapshot gives its length.
    """
    names = (path.rpartition("/")[2] for path in orjson.loads(b"{%s}" % targets))
    projects = Counter((split_filename(filename) or ("other targets", ""))[0] for filename in names)
    (project, count), *_ = projects.most_common(1)
    log.warning(
        "a bin is very long; somebody may choose filenames that fall into it",
        bin=name,
        bytes=length,
        targets=projects.total(),
        most=project,
        of_these=count,
    )
