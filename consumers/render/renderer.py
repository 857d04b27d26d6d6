"""Rendering one publication, from events to files: the I/O around the pure functions of `projections`.

    events ──fold──▶ projects: pages, targets ──fold──▶ bins ──seal──▶ files, snapshot

The two rounds run in this process (`consumers.render.rounds.serial`), or for many events or bins on all cores
(`consumers.render.rounds.parallel`). The caller gives a *sealer* (a signer's keys, or a follower's signatures from the
log) and a `Sink` for the files.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from consumers.limits import Limits
from consumers.reading.tail import Tail
from consumers.render.edition import Edition
from consumers.render.outlets import NoOutlet
from consumers.render.rounds.job import Job, Rounds
from consumers.render.rounds.parallel import BulkRounds
from consumers.render.rounds.serial import OneProcess
from consumers.render.sealing import CheckingSealer, Sealer
from consumers.render.sinks import Sink
from consumers.render.telling import Telling
from consumers.state import records
from consumers.state.kept_bins import KeptBin, LastBins
from consumers.state.kept_pages import KeptPages
from consumers.work.progress import Report, nobody
from consumers.work.stopwatch import Stopwatch
from consumers.work.workers import Begun, Workers
from ledger.disk.syncing import now_written
from ledger.state.file import StateFile
from ledger.state.roles import kept_name
from ledger.state.store import Store
from projections.metadata.repository import RoleEntry, SnapshotTable

_FEW_ROWS = 64
"""Maximum number of rows that the commit saves: more are saved while files are placed."""


class RenderedPublication(NamedTuple):
    """A rendered publication: the names of the sealed bins, in order, and their entries, which the snapshot will list.
    `saving` still saves its changes to the state.
    """

    names: list[str]
    entries: dict[str, RoleEntry]
    saving: Begun[None]


class Renderer:
    """Renders editions into a follower's state. The caller begins the transaction, and ends it."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        table: SnapshotTable,
        spill: Path,
        *,
        stopwatch: Stopwatch,
        limits: Limits,
        report: Report = nobody,
    ) -> None:
        self._stopwatch = stopwatch
        self._limits = limits
        self._report = report
        self._store = store
        self._workers = workers
        self._table = table
        self._spill = spill

    async def fold(self, edition: Edition, tail: Tail, telling: Telling | None) -> RenderedPublication:
        """Fold an edition's events, and render nothing."""
        rounds = self._rounds(
            edition, tail, CheckingSealer(edition.authority.online, {}), NoOutlet(), telling, renders=False
        )
        try:
            await rounds.fold()
            self._stopwatch.lap("fold")
        finally:
            await rounds.close()
        return RenderedPublication([], {}, self._workers.ahead(rounds.save()))

    async def render(
        self, edition: Edition, tail: Tail, sealer: Sealer, sink: Sink, telling: Telling | None
    ) -> RenderedPublication:
        """Fold an edition's events and render what they change, but the snapshot.

        Args:
            edition: the edition.
            tail: the events.
            sealer: signs, or takes the signatures from the log.
            sink: where files go.
            telling: collects what events do; None: nobody wants to know.

        Raises:
            DivergenceError: a bin changed but was not signed on the log, or a seal does not fit.
        """
        rounds = self._rounds(edition, tail, sealer, sink, telling, renders=True)
        try:
            await rounds.fold()
            self._stopwatch.lap("fold")
            bins = await rounds.seal()
            self._stopwatch.lap("bins")
        finally:
            await rounds.close()
        entries = {name: kept.entry for name, kept in bins.items()}
        retired = await self._retire(edition)
        self._keep(entries, retired)
        self._table.update(entries | retired)
        return RenderedPublication(list(entries), entries, self._workers.ahead(self._save(rounds, bins, retired)))

    async def _save(self, rounds: Rounds, bins: Mapping[str, KeptBin], retired: Mapping[str, RoleEntry]) -> None:
        await rounds.save()
        rows = {**bins, **{name: KeptBin(entry) for name, entry in retired.items()}}
        if len(rows) <= _FEW_ROWS:
            self._store.soon(records.save_roles, rows)
        else:
            await self._store.run(records.save_roles, rows)

    def _rounds(
        self, edition: Edition, tail: Tail, sealer: Sealer, sink: Sink, telling: Telling | None, *, renders: bool
    ) -> Rounds:
        was = edition.before.authority
        last = LastBins(self._store.kept, None if was is None else was.layout, self._table.entries)
        pages = KeptPages(self._store.kept, edition.claim.number, self._limits.page_bytes)
        brackets = edition.brackets()
        job = Job(
            self._store,
            self._workers,
            edition,
            tail,
            sealer,
            sink,
            self._spill,
            self._report,
            last,
            pages,
            brackets,
            telling,
            renders,
            self._limits,
        )
        processes = self._workers.processes
        # Work on all projects or all bins is done in one process: it is rare, and its size is not that of the batch.
        moves_all = renders and (edition.old_layout is not None or edition.renders_all_pages)
        is_plain = not moves_all and not brackets[1]
        if processes is not None and is_plain and sealer.remote(()) is not None:
            remote = sink.remote()
            bins = len(edition.choice().stamps) if renders else 0
            if remote is not None and processes.are_worth(max(edition.size, bins)):
                return BulkRounds(job, processes, remote)
        return OneProcess(job)

    def _keep(self, entries: Mapping[str, RoleEntry], retired: Iterable[str]) -> None:
        """Tell the store which files of bins to keep from now on, and which are replaced."""
        before = self._table.entries
        new = {kept_name(name, entry.version) for name, entry in entries.items()}
        old = {kept_name(name, before[name].version) for name in (*entries, *retired) if name in before}
        self._store.soon(StateFile.keep, new, old - new)
        self._store.soon(StateFile.all_written, now_written())

    async def _retire(self, edition: Edition) -> dict[str, RoleEntry]:
        """The bins that are no longer in force, without their lengths."""
        layout = edition.authority.layout
        was = edition.before.authority
        retired = {}
        if was is not None and (was.layout.bits, was.layout.prefix) != (layout.bits, layout.prefix):
            stored = await self._store.run(records.load_roles)
            retired = {name: RoleEntry(entry.version, entry.expires, 0, entry.sha256) for name, entry in stored.items()}
        # Between several claims bins may have come and gone.
        for name, stamp in (edition.stamps or {}).items():
            retired[name] = RoleEntry(stamp.number, stamp.expires, 0, stamp.sha256)
        return {name: entry for name, entry in retired.items() if layout.index(name) is None}
