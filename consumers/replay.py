"""A whole log at once, on all cores: the repository of one publication, without a state or the versions between.

    slices of the log ──read──▶ projects ──fold──▶ bins ──seal──▶ snapshot

Each arrow is a phase of tasks that run side by side in processes (`consumers.replay_work`); what one phase hands to the
next is spilled to disk by partition, so memory does not grow with the log. Between the first and the second the chain
of publications is read, which says what is to be rendered. The result is what a follower that skips would write, and
is compared with the log in the same way.

What was done is noted in the folder of the replay, so an interrupted one goes on where it was. Notes are only trusted
if the log still is the one they were made from and the machine was not restarted since (nothing is synced to disk), and
blocks only if their checksums are right; else all is done anew.
"""

import asyncio
import fcntl
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import NamedTuple, TypeVar

import msgspec

from consumers import replay_work as work
from consumers.chain_reader import ChainReader, ReaderState, ValidPublication
from consumers.partitions import Block, SpillError, append_block, count_partitions, read_blocks
from consumers.renderer import DivergenceError
from consumers.runs import Run, collect
from consumers.sealing import SNAPSHOT, CheckingSealer
from consumers.workers import Workers
from ledger.logs import Log, Logs
from ledger.new_tree import NewTree
from projections import chain
from projections.documents import Document
from projections.merkle import record_digest
from projections.prefix import Prefix, Reading
from projections.project_list import Listing, ProjectList
from projections.repository import RoleEntry, SnapshotTable
from schemas.publications import Claim

R = TypeVar("R", work.Slice, work.FoldedPartition, work.SealedPartition)

SLICE_BYTES = 16 * 2**20
"""How much of the log is one task: enough that a partition gets a block worth writing."""

_FORMAT = 1
_LEAF_BYTES = 32

Report = Callable[[int, int], None]


class Replayed(NamedTuple):
    """What was replayed: the publication, how many files, and which distribution files were not there."""

    claim: Claim
    files: int
    missing: list[str]


async def replay(
    logs: Logs, folder: Path, workers: Workers, *, wanted: Callable[[Claim], bool], source: Path | None, report: Report
) -> Replayed | None:
    """Replay the log into `folder / "tree"`.

    Args:
        logs: open.
        folder: where to work; what an interrupted replay left there is used.
        workers: for what is done in this process.
        wanted: which publications to include; the last of them is rendered.
        source: a public folder to take distribution files from.
        report: is told how much is done, of how much.

    Returns:
        None if this is for a follower: there is nothing to render, or a later root voids a publication on the way.

    Raises:
        DivergenceError: the publications are not what the events make; a follower finds out which one.
        SpillError: the folder was damaged, or made from another log. It is gone now; try again.
        LogError, NotALedgerError, LogTooShortError, UpgradeNeededError: as a follower.
    """
    # What is claimed before the events are read, they cover.
    publications = await logs.publications.size()
    size = await logs.events.size()
    try:
        phases = _Phases(await asyncio.to_thread(_plan, folder, size), 5 * size, report)
        try:
            slices = await _read(phases, logs.events)
            prefixes = await workers.run(_Prefixes, slices, folder)
            run = await _collect(logs.publications, publications, prefixes, workers, wanted)
            if run.last is None:
                return None
            return await _Rendering(phases, run, run.last, prefixes).render(slices, source)
        finally:
            await asyncio.to_thread(phases.close)
    except SpillError:
        await asyncio.to_thread(shutil.rmtree, folder)
        raise


def _plan(folder: Path, size: int) -> work.Plan:
    """The plan of an earlier run, or a new one in an empty folder."""
    notes = work.Plan(folder, 0, b"").notes
    if notes.exists():
        with notes.open("rb") as held:  # processes of a killed run may live on for a moment, and still write
            fcntl.flock(held, fcntl.LOCK_EX)
        for block in read_blocks(notes):
            boot, partitions, salt = msgspec.msgpack.decode(block.data, type=tuple[str, int, bytes])
            if (block.task, boot) == (_FORMAT, _boot()):
                return work.Plan(folder, partitions, salt)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tree").mkdir(parents=True)
    plan = work.Plan(folder, count_partitions(size), token_bytes(16))
    append_block(notes, Block(_FORMAT, msgspec.msgpack.encode((_boot(), plan.partitions, plan.salt))))
    return plan


def _boot() -> str:
    """What changes when the machine is restarted, where it can be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return token_hex(16)


class _Phases:
    """Runs tasks in processes, a few more at a time than there are processes, and notes what is done."""

    def __init__(self, plan: work.Plan, total: int, report: Report) -> None:
        self.plan = plan
        self.total = total
        self._processes = os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(self._processes, get_context("spawn"), work.start, (plan, os.getpid()))
        self._report = report
        self._done = 0

    def begin(self, task: Callable[[], R]) -> "asyncio.Future[R]":
        """Begin a task, in a new process maybe: Ctrl-C is for this one alone, and what is blocked is inherited."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return asyncio.get_running_loop().run_in_executor(self._pool, task)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def known(self, phase: str, kind: type[R]) -> list[R]:
        """The results of an earlier run."""
        notes = self._notes(phase)
        return [msgspec.msgpack.decode(block.data, type=kind) for block in read_blocks(notes)] if notes.exists() else []

    async def run(self, phase: str, known: list[R], tasks: AsyncIterator[tuple[int, "asyncio.Future[R]"]]) -> list[R]:
        """Run tasks, each given with its weight, and return their results with those known, in the order of tasks."""
        pending: deque[tuple[int, asyncio.Future[R]]] = deque()
        results = list(known)

        async def finish() -> None:
            weight, future = pending.popleft()
            result = await future
            block = Block(result.task, msgspec.msgpack.encode(result))
            await asyncio.to_thread(append_block, self._notes(phase), block)
            results.append(result)
            self.advance(weight)

        try:
            async for each in tasks:
                pending.append(each)
                if len(pending) > 2 * self._processes:
                    await finish()
            while pending:
                await finish()
        finally:
            for _, future in pending:
                future.cancel()
        return sorted(results, key=lambda result: result.task)

    async def partitions(
        self, known: Sequence[R], weight: int, task: Callable[[int], Callable[[], R]]
    ) -> AsyncIterator[tuple[int, "asyncio.Future[R]"]]:
        """The same task for each partition that is not known."""
        done = {each.task for each in known}
        share = weight // self.plan.partitions
        self.advance(share * len(done))
        for index in range(self.plan.partitions):
            if index not in done:
                yield share, self.begin(task(index))

    def forget(self, phase: str) -> None:
        """Forget what an earlier run did in a phase."""
        self._notes(phase).unlink(missing_ok=True)

    def advance(self, weight: int) -> None:
        """So much more is done."""
        self._done += weight
        self._report(min(self._done, self.total), self.total)

    def close(self) -> None:
        """Wait for what runs, and end the processes."""
        self._pool.shutdown(cancel_futures=True)

    def _notes(self, phase: str) -> Path:
        return self.plan.folder / f"{phase}.notes"


# --- the log ---------------------------------------------------------------------------------------------------------


async def _read(phases: _Phases, events: Log) -> list[work.Slice]:
    """The first phase: to the end of the log, from where an earlier run ended."""
    known = await asyncio.to_thread(phases.known, "read", work.Slice)
    if known:
        await _check_known(events, known, phases.plan.folder)

    async def tasks() -> AsyncIterator[tuple[int, "asyncio.Future[work.Slice]"]]:
        start, number = (known[-1].end, len(known)) if known else (0, 0)
        phases.advance(2 * start)
        while values := await _read_slice(events, start):
            yield 2 * len(values), phases.begin(partial(work.read_slice, number, start, values))
            start += len(values)
            number += 1

    return await phases.run("read", known, tasks())


async def _read_slice(events: Log, start: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    length = 0
    while length < SLICE_BYTES and (more := await events.read(start + len(values))):
        values.extend(more)
        length += sum(len(value) for value in more if value is not None)
    return values


async def _check_known(events: Log, known: Sequence[work.Slice], folder: Path) -> None:
    """Make sure that an earlier run read this log.

    Raises:
        SpillError: it was another, or has another end.
    """
    end = known[-1].end
    first, last = await events.read(0), await events.read(end - 1)
    if (
        not first
        or not last
        or record_digest(first[0]) != known[0].others[0].digest
        or record_digest(last[0]) != known[-1].last_digest
    ):
        raise SpillError(f"{folder} was made from another log")


class _Prefixes:
    """The prefixes of a log whose slices were read. Contract: `consumers.chain_reader.Prefixes`."""

    def __init__(self, slices: Sequence[work.Slice], folder: Path) -> None:
        self._slices = slices
        self._folder = folder
        self.documents: list[tuple[int, Document]] = []
        self.end = self._mark = Prefix()
        self._at = 0
        self._read: Reading | None = None
        for each in slices:
            self.end, extension = self.end.advance(work.read_back(folder, each))
            self.documents += [
                (found.index, document) for found in extension.ceremonies for document in found.documents
            ]

    async def reach(self, size: int) -> bool:
        """Whether the log has so many records."""
        return size <= self.end.size

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size; asking for growing sizes costs no more than reading once."""
        if size < self._mark.size:
            self._mark, self._at = Prefix(), 0
        while self._mark.size < size:
            each = self._slices[self._at]
            if self._read is None or self._read.start != each.start:
                self._read = work.read_back(self._folder, each)
            last = min(size, each.end)
            self._mark, _ = self._mark.advance(self._read.part(self._mark.size, last))
            self._at += last == each.end
        return self._mark


# --- the publications ------------------------------------------------------------------------------------------------


async def _collect(
    publications: Log, size: int, prefixes: _Prefixes, workers: Workers, wanted: Callable[[Claim], bool]
) -> Run:
    """The publications to include; none if one of them could not be."""
    ledger = prefixes.end.ledger
    if ledger is None:
        return Run()
    start = ReaderState(chain.first_head(ledger), 0)
    reader = ChainReader(_Beginning(publications, size), prefixes, workers, ledger, start)
    run = await collect(reader, prefixes.end, wanted)
    left = await reader.next()
    return Run() if isinstance(left, ValidPublication) and wanted(left.claim) else run


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

    def __init__(self, phases: _Phases, run: Run, last: ValidPublication, prefixes: _Prefixes) -> None:
        self._phases = phases
        self._run = run
        self._last = last
        self._prefixes = prefixes
        self._claim, self._authority = run.claims[-1]
        self._layout = self._authority.layout
        self._tree = NewTree(phases.plan.tree)
        self._chosen = phases.plan.folder / "rendering"

    async def render(self, slices: Sequence[work.Slice], source: Path | None) -> Replayed:
        """Render it, and everything that clients reach from it."""
        await asyncio.to_thread(self._begin, source)
        folded = await self._fold({each.task: each.writer for each in slices}, source)
        writer = await asyncio.to_thread(self._list_projects, [each for some in folded for each in some.listings])
        writers = {each.task: each.writer for each in folded} | writer
        sealed = await self._seal(writers)
        await asyncio.to_thread(self._finish, {name: entry for each in sealed for name, entry in each.entries.items()})
        # The tree is the caller's now, who may move it away: no later run may count on it.
        await asyncio.to_thread(self._chosen.unlink)
        files = self._tree.count + sum(each.files for each in folded) + sum(each.files for each in sealed)
        return Replayed(self._claim, files, sorted(path for each in folded for path in each.missing))

    def _begin(self, source: Path | None) -> None:
        """Throw away what was rendered of another publication, or with other files."""
        folder = self._phases.plan.folder
        wanted = self._last.digest.encode() + b" " + (b"" if source is None else os.fsencode(source.resolve()))
        chosen = self._chosen
        if chosen.exists() and chosen.read_bytes() == wanted:
            return
        chosen.unlink(missing_ok=True)  # first: from here on the notes may be of what is gone
        for path in (folder / "tree", folder / "targets"):
            shutil.rmtree(path, ignore_errors=True)
        for phase in ("fold", "seal"):
            self._phases.forget(phase)
        (folder / "tree").mkdir()
        chosen.write_bytes(wanted)

    async def _fold(self, writers: dict[int, str], source: Path | None) -> list[work.FoldedPartition]:
        known = await asyncio.to_thread(self._phases.known, "fold", work.FoldedPartition)
        # Before the first root no event is for an aggregate.
        first = next((index + 1 for index, _ in self._prefixes.documents), 0)

        def task(partition: int) -> Callable[[], work.FoldedPartition]:
            return partial(
                work.fold_projects,
                partition,
                writers=writers,
                events=(first, self._claim.size),
                layout=self._layout,
                html=self._authority.settings.html_pages,
                source=source,
            )

        return await self._phases.run("fold", known, self._phases.partitions(known, 2 * self._phases.total // 5, task))

    def _list_projects(self, listings: list[Listing]) -> dict[int, str]:
        """Render the list of all projects, as it was when it was last due."""
        projects = ProjectList(b"")
        projects.follow([(claim, authority.settings) for claim, authority in self._run.claims], listings)
        _, pages, changes = projects.finish(())
        for path, data in pages:
            work.put_page(self._tree, path, data)
        spill = work.target_spill(self._phases.plan, token_hex(8))
        task = self._phases.plan.partitions
        work.spill_targets(spill, task, changes, self._layout, self._phases.plan.partitions)
        return {task: spill.writer}

    async def _seal(self, writers: dict[int, str]) -> list[work.SealedPartition]:
        known = await asyncio.to_thread(self._phases.known, "seal", work.SealedPartition)
        run, layout, partitions = self._run, self._layout, self._phases.plan.partitions

        def task(partition: int) -> Callable[[], work.SealedPartition]:
            names = {index: layout.name(index) for index in layout.bins_of(partition, partitions)}
            return partial(
                work.seal_bins,
                partition,
                writers=writers,
                layout=layout,
                stamps={index: run.stamps[name] for index, name in names.items() if name in run.stamps},
                online=self._authority.online,
                seals={name: run.seals[name] for name in names.values() if name in run.seals},
            )

        return await self._phases.run("seal", known, self._phases.partitions(known, self._phases.total // 5, task))

    def _finish(self, entries: dict[str, RoleEntry]) -> None:
        """The snapshot, which is compared with the log as bins were, the offline roles, the timestamp."""
        table = SnapshotTable(entries)
        retired = {name: stamp for name, stamp in self._run.stamps.items() if self._layout.index(name) is None}
        table.update({name: RoleEntry(stamp.number, stamp.expires, 0, stamp.sha256) for name, stamp in retired.items()})
        digest64, length, packed = self._last.publication.snapshot
        sealer = CheckingSealer(self._authority.online, {SNAPSHOT: (digest64, packed)})
        snapshot = sealer.seal(SNAPSHOT, table.payload(self._claim, self._authority))
        if len(snapshot) != length:
            raise DivergenceError("the snapshot has another length than the publication says")
        self._tree.put(f"metadata/{self._claim.number}.snapshot.json", snapshot)
        for index, document in self._prefixes.documents:
            if index < self._claim.size:
                self._tree.put(f"metadata/{document.version}.{document.role}.json", document.file)
        timestamp = self._last.timestamp()
        self._tree.put(f"metadata/{self._claim.number}.timestamp.json", timestamp)
        self._tree.put("metadata/timestamp.json", timestamp)
