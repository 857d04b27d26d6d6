"""A whole log at once, on all cores: the repository of one publication, without a state or the versions between.

    slices of the log ──read──▶ projects ──fold──▶ bins ──seal──▶ snapshot

Each arrow is a phase of tasks that run side by side in processes (`consumers.render.tasks`). Each phase spills its
results to disk by partition for the next, so memory does not grow with the log. Between the first and the second phase
the chain of publications is read, to decide what to render. The result is the same as that of a follower that skips,
and is compared with the log in the same way.

Finished tasks are noted in the folder of the replay, so an interrupted replay goes on where it was. Notes are trusted
only if the log is still the same and the machine was not restarted since (nothing is synced to disk), and frames only
if their checksums are right. Otherwise everything is done anew.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import NamedTuple, TypeVar

import msgspec

from consumers.limits import Limits
from consumers.reading.publications import ChainReader, ReaderState, ValidPublication
from consumers.reading.runs import Run, collect
from consumers.reading.slices import EVENT_PARTITIONS, Slice, decode_slice, read_slice
from consumers.rebuild.choosing import At, find_number
from consumers.render import tasks
from consumers.render.carriers import bin_partitions
from consumers.render.edition import DivergenceError, Edition
from consumers.render.sealing import SNAPSHOT, CheckingSealer
from consumers.render.tasks import Batch, FoldResult, SealResult, count_fold_tasks, partitions_of_task
from consumers.work.processes import Processes, Tasks
from consumers.work.progress import FOLDING, READING, SEALING, WHOLE, Report
from consumers.work.spill import Frame, SpillError, append_frame, read_frames
from consumers.work.workers import Workers
from ledger.disk.files import writing
from ledger.disk.tree import NewTree
from ledger.logs import Log, Logs
from projections import publications as chain
from projections.index.project_list import Listing, ProjectList
from projections.log.merkle import record_digest
from projections.log.prefix import Extension, Prefix
from projections.log.reading import Reading
from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.metadata.repository import RoleEntry, SnapshotTable
from projections.publications import Head
from projections.roles.authority import UpgradeNeededError
from projections.roles.documents import Document
from schemas.publications import Claim

R = TypeVar("R", Slice, FoldResult, SealResult)

_FORMAT = 5
_NOTHING_BEFORE = Head(0, "", "", 0)


class _Plan(NamedTuple):
    """The folder of a replay, and the salt that decides which events share a partition."""

    folder: Path
    salt: bytes

    @property
    def tree(self) -> Path:
        """The folder of the result."""
        return self.folder / "tree"

    @property
    def notes(self) -> Path:
        """The file of the plan. Every process holds a shared lock on it while it lives."""
        return self.folder / "plan"


class ReplayResult(NamedTuple):
    """The result of a replay: the publication's claim, the number of files, and the missing distribution files."""

    claim: Claim
    files: int
    missing: list[str]


async def replay(
    logs: Logs, folder: Path, workers: Workers, *, at: At, source: Path | None, limits: Limits, report: Report
) -> ReplayResult | None:
    """Replay the log into `folder / "tree"`.

    Args:
        logs: the logs, open.
        folder: the working folder; files of an interrupted replay are reused.
        workers: for work in this process.
        at: the publication.
        source: a public folder to take distribution files from.
        limits: how much is done at once.
        report: called with the amount done and the total.

    Returns:
        The result; None if a follower must do it: nothing is to be rendered, or a later root voids a publication.

    Raises:
        DivergenceError: the publications are not what the events make; a follower finds out which one.
        SpillError: the folder was damaged, or made from another log. It is deleted now; try again.
        LogError, NotALedgerError, LogTooShortError, UpgradeNeededError: see `Follower.step`.
    """
    # The size of `publications` comes first, so that the events of all its claims are on the log.
    publications = await logs.publications.size()
    size = await logs.events.size()
    try:
        phases = _Phases(await asyncio.to_thread(_plan, folder), WHOLE * size, report)
        try:
            slices = await _read(phases, logs.events)
            prefixes = await workers.run(_Prefixes, slices, folder / "events")
            run = await _collect(logs.publications, publications, prefixes, workers, at)
            if run.last is None:
                return None
            return await _Rendering(phases, run, run.last, prefixes, limits).render(slices, source)
        finally:
            await asyncio.to_thread(phases.close)
    except SpillError:
        await asyncio.to_thread(shutil.rmtree, folder)
        raise


def _plan(folder: Path) -> _Plan:
    """The plan of an earlier run, or a new one in an empty folder."""
    notes = _Plan(folder, b"").notes
    if notes.exists():
        with notes.open("rb") as held:  # processes of a killed run may live on for a moment, and still write
            fcntl.flock(held, fcntl.LOCK_EX)
        for frame in read_frames(notes):
            boot, salt = msgspec.msgpack.decode(frame.data, type=tuple[str, bytes])
            if (frame.task, boot) == (_FORMAT, _boot()):
                return _Plan(folder, salt)
    shutil.rmtree(folder, ignore_errors=True)
    plan = _Plan(folder, token_bytes(16))
    with writing(plan.tree):
        plan.tree.mkdir(parents=True)
    append_frame(notes, Frame(_FORMAT, msgspec.msgpack.encode((_boot(), plan.salt))))
    return plan


def _boot() -> str:
    """An id that changes when the machine restarts; random if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return token_hex(16)


class _Phases:
    """Runs tasks in processes, and notes finished ones."""

    def __init__(self, plan: _Plan, total: int, report: Report) -> None:
        self.plan = plan
        self.total = total
        self._processes = Processes(plan.notes)
        self._report = report
        self._done = 0

    def known(self, phase: str, kind: type[R]) -> list[R]:
        """The results of an earlier run."""
        notes = self._notes(phase)
        return [msgspec.msgpack.decode(frame.data, type=kind) for frame in read_frames(notes)] if notes.exists() else []

    async def run(self, phase: str, known: list[R], tasks: Tasks[R], weigh: Callable[[R], int]) -> list[R]:
        """Run tasks, and return their results and known ones, in the order of tasks; `weigh` gives the progress."""
        results = list(known)
        self.advance(sum(map(weigh, known)))
        async with aclosing(self._processes.in_order(tasks)) as done:
            async for result in done:
                frame = Frame(result.task, msgspec.msgpack.encode(result))
                await asyncio.to_thread(append_frame, self._notes(phase), frame)
                results.append(result)
                self.advance(weigh(result))
        return sorted(results, key=lambda result: result.task)

    async def numbered(
        self, phase: str, known: list[R], weight: int, count: int, task: Callable[[int], Callable[[], R]]
    ) -> list[R]:
        """Run the same task for each number without a known result, and return all results."""
        done = {each.task for each in known}
        left = (task(number) for number in range(count) if number not in done)
        return await self.run(phase, known, left, lambda _: weight // count)

    def forget(self, phase: str) -> None:
        """Forget an earlier run's results of a phase."""
        self._notes(phase).unlink(missing_ok=True)

    def advance(self, weight: int) -> None:
        """Add to the amount that is done, and report it."""
        self._done += weight
        self._report(min(self._done, self.total), self.total)

    def close(self) -> None:
        """Wait for running tasks, and end the processes."""
        self._processes.close()

    def _notes(self, phase: str) -> Path:
        return self.plan.folder / f"{phase}.notes"


# --- the log ---------------------------------------------------------------------------------------------------------


async def _read(phases: _Phases, events: Log) -> list[Slice]:
    """The first phase: to the end of the log, from where an earlier run ended."""
    known = await asyncio.to_thread(phases.known, "read", Slice)
    if known:
        await _check_known(events, known, phases.plan.folder)
    plan = phases.plan

    async def reading() -> AsyncIterator[Callable[[], Slice]]:
        start, number = (known[-1].end, len(known)) if known else (0, 0)
        while values := await read_slice(events, start):
            yield partial(decode_slice, plan.folder / "events", plan.salt, number, start, values)
            start += len(values)
            number += 1

    return await phases.run("read", known, reading(), lambda done: READING * (done.end - done.start))


async def _check_known(events: Log, known: Sequence[Slice], folder: Path) -> None:
    """Make sure that an earlier run read this log.

    Raises:
        SpillError: the earlier run read another log.
    """
    end = known[-1].end
    first, last = await events.read(0), await events.read(end - 1)
    if (
        not first
        or not last
        or record_digest(first[0]) != known[0].first_digest
        or record_digest(last[0]) != known[-1].last_digest
    ):
        raise SpillError(f"{folder} was made from another log; try again")


class _Prefixes:
    """The prefixes of a log whose slices were read. Contract: `consumers.reading.publications.Prefixes`."""

    def __init__(self, slices: Sequence[Slice], folder: Path) -> None:
        self._slices = slices
        self._folder = folder
        self.documents: list[tuple[int, Document]] = []
        self.end = self._mark = Prefix()
        self.upgrade: UpgradeNeededError | None = None
        self._at = 0
        self._read: Reading | None = None
        for each in slices:
            self._advance(each.glance(folder))
            if self.upgrade is not None:
                break

    def _advance(self, reading: Reading) -> None:
        before = self.end
        try:
            self.end, extension = _extend(before, reading)
        except UpgradeNeededError as error:
            self.upgrade = error
            self.end, extension = _extend(before, reading.between(before.size, error.size))
        self.documents += [(found.index, document) for found in extension.ceremonies for document in found.documents]

    async def read_known(self) -> Prefix:
        """The end: all slices were read before."""
        return self.end

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size. Asking for growing sizes reads the slices only once."""
        if size < self._mark.size:
            self._mark, self._at = Prefix(), 0
        while self._mark.size < size:
            each = self._slices[self._at]
            if self._read is None or self._read.start != each.start:
                self._read = each.glance(self._folder)
            last = min(size, each.end)
            self._mark, _ = _extend(self._mark, self._read.between(self._mark.size, last))
            self._at += last == each.end
        return self._mark


def _extend(prefix: Prefix, reading: Reading) -> tuple[Prefix, Extension]:
    """Advance a prefix that was made in memory."""
    after, extension = prefix.advance(reading)
    return after.settle(None), extension


# --- the publications ------------------------------------------------------------------------------------------------


async def _collect(publications: Log, size: int, prefixes: _Prefixes, workers: Workers, at: At) -> Run:
    """The publications to include; an empty run if one of them cannot be included."""
    ledger = prefixes.end.ledger
    if ledger is None:
        return Run()
    start = ReaderState(chain.first_head(ledger), 0, 0)
    records = _Beginning(publications, size)
    at = await find_number(at, records, prefixes, workers)
    reader = ChainReader(records, prefixes, workers, ledger, start)
    run = await collect(reader, prefixes, at.includes)
    left = await reader.next()
    if left is None and prefixes.upgrade is not None:
        raise prefixes.upgrade
    return Run() if isinstance(left, ValidPublication) and at.includes(left.claim) else run


class _Beginning:
    """The first records of a log."""

    def __init__(self, whole: Log, size: int) -> None:
        self._whole = whole
        self._size = size

    async def read(self, start: int) -> list[bytes | None]:
        """As `Log.read`."""
        return (await self._whole.read(start))[: max(0, self._size - start)]


# --- projects, bins, and the rest ------------------------------------------------------------------------------------


class _Rendering:
    """The last publication of a run."""

    def __init__(self, phases: _Phases, run: Run, last: ValidPublication, prefixes: _Prefixes, limits: Limits) -> None:
        self._phases = phases
        self._limits = limits
        self._run = run
        self._last = last
        self._prefixes = prefixes
        self._edition = Edition(run.shown, _NOTHING_BEFORE, Prefix(), last.prefix, run.stamps)
        self._claim, self._authority, self._content_size = run.shown[-1]
        self._choice = self._edition.choice()
        self._packed_brackets, _ = self._edition.brackets()
        self._tree = NewTree(phases.plan.tree)
        self._chosen = phases.plan.folder / "rendering"

    async def render(self, slices: Sequence[Slice], source: Path | None) -> ReplayResult:
        """Render the publication, and everything that clients reach from it."""
        await asyncio.to_thread(self._begin, source)
        batch = await asyncio.to_thread(
            self._batch, [self._phases.plan.folder / "events" / each.name for each in slices], source
        )
        folded = await self._fold(batch)
        listings = [each for some in folded for each in some.listings]
        name, pages = await asyncio.to_thread(self._list_projects, batch, listings)
        sealed = await self._seal(batch, [*(each.name for each in folded), name])
        entries = {name: kept.entry for each in sealed for name, kept in each.bins.items()}
        files = await asyncio.to_thread(self._finish, entries)
        # The caller may move the tree away: no later run may rely on it.
        await asyncio.to_thread(self._chosen.unlink)
        files += len(entries) + 2 * pages + sum(each.files for each in folded)
        return ReplayResult(self._claim, files, sorted(path for each in folded for path in each.missing))

    def _batch(self, slices: Sequence[Path], source: Path | None) -> Batch:
        return Batch(
            folder=self._phases.plan.folder,
            slices=slices,
            first=self._edition.first,
            end=self._content_size,
            choice=self._choice._replace(stamps={}),
            bin_partitions=bin_partitions(self._choice, self._content_size, self._limits),
            html=self._authority.settings.html_pages,
            terms=self._authority.terms,
            times=tasks.write_times(self._phases.plan.folder, self._packed_brackets),
            sink=self._tree,
            source=source,
        )

    def _begin(self, source: Path | None) -> None:
        """Delete files rendered for another publication, or with other distribution files."""
        folder = self._phases.plan.folder
        wanted = self._last.digest.encode() + b" " + (b"" if source is None else os.fsencode(source.resolve()))
        chosen = self._chosen
        if chosen.exists() and chosen.read_bytes() == wanted:
            return
        chosen.unlink(missing_ok=True)  # first: from here on, notes may be about deleted files
        for path in (folder / "tree", folder / "targets"):
            shutil.rmtree(path, ignore_errors=True)
        for phase in ("fold", "seal"):
            self._phases.forget(phase)
        with writing(folder):
            (folder / "tree").mkdir()
            chosen.write_bytes(wanted)

    async def _fold(self, batch: Batch) -> list[FoldResult]:
        known = await asyncio.to_thread(self._phases.known, "fold", FoldResult)
        count = count_fold_tasks(self._content_size, self._limits)

        def task(number: int) -> Callable[[], FoldResult]:
            return partial(tasks.fold_projects, batch, number, partitions_of_task(number, count, EVENT_PARTITIONS))

        return await self._phases.numbered("fold", known, FOLDING * self._phases.total // WHOLE, count, task)

    def _list_projects(self, batch: Batch, listings: list[Listing]) -> tuple[str, int]:
        """Render the list of all projects as of its last due time; return the file of its targets, and its number of
        pages.
        """
        projects = ProjectList(b"", {})
        projects.follow(
            [(each.claim, each.authority.settings, each.content_size) for each in self._run.shown], listings
        )
        _, pages, changes = projects.finish((), {})
        for page in pages:
            tasks.put_page(self._tree, page)
        return tasks.write_targets(batch, "list", changes), len(pages)

    async def _seal(self, batch: Batch, names: list[str]) -> list[SealResult]:
        known = await asyncio.to_thread(self._phases.known, "seal", SealResult)
        layout, choice = self._choice.layout, self._choice
        sealer = CheckingSealer(self._authority.online, self._run.seals)

        def task(partition: int) -> Callable[[], SealResult]:
            bins = layout.bins_of(partition, batch.bin_partitions)
            some = batch._replace(choice=choice.of(bins), slices=())
            return partial(tasks.seal_bins, some, partition, names, sealer.remote(map(layout.name, bins)))

        return await self._phases.numbered(
            "seal", known, SEALING * self._phases.total // WHOLE, batch.bin_partitions, task
        )

    def _finish(self, entries: dict[str, RoleEntry]) -> int:
        """Write the snapshot (compared with the log, as bins were), the offline roles and the timestamp; return the
        number of files.
        """
        table = SnapshotTable(entries)
        retired = {name: stamp for name, stamp in self._run.stamps.items() if self._choice.layout.index(name) is None}
        table.update({name: RoleEntry(stamp.number, stamp.expires, 0, stamp.sha256) for name, stamp in retired.items()})
        digest64, length, packed = self._last.publication.snapshot
        sealer = CheckingSealer(self._authority.online, {SNAPSHOT: (digest64, packed)})
        snapshot = sealer.seal(SNAPSHOT, table.payload(self._claim, self._authority, self._content_size))
        if len(snapshot) != length:
            raise DivergenceError("the snapshot has another length than the publication says")
        timestamp = self._last.timestamp()
        files = {
            metadata_path("snapshot", self._claim.number): snapshot,
            metadata_path("timestamp", self._claim.number): timestamp,
            TIMESTAMP: timestamp,
        }
        for index, document in self._prefixes.documents:
            if index < self._claim.size:
                files[metadata_path(document.role, document.version)] = document.file
        for path, data in files.items():
            self._tree.put(path, data)
        return len(files)
