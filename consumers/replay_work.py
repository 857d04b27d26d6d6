"""What the processes of a parallel replay do: read slices of the log, fold projects, render bins.

Each function is one task and is run in some process; what it hands on to a later phase it appends to files of its own
process (its *writer*), in blocks that carry the task's number. A task counts when the process that shares out the
work has noted which writer did it: what others left behind, because they were killed, is passed over.
"""

import fcntl
import gc
import os
import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from secrets import token_hex
from time import sleep
from typing import Generic, NamedTuple, TypeVar

import msgspec

from consumers.partitions import Block, SpillError, append_block, read_blocks
from consumers.renderer import DivergenceError
from consumers.runs import Stamp
from consumers.sealing import CheckingSealer, Seals
from consumers.taking import take_file
from ledger.new_tree import NewTree
from ledger.storage import DirectoryStorage
from projections.bins import Layout, TargetChange, fold_bin, hashed_path
from projections.chunks import Aggregate
from projections.fold import Folded, fold_events
from projections.keys import RoleKeys
from projections.merkle import LEAF_BYTES
from projections.pages import read_facts
from projections.prefix import Other, Reading, Routed, read_records
from projections.project_list import Listing
from projections.repository import RoleEntry, bin_payload
from schemas.events import BaseEvent

T = TypeVar("T")


class Plan(NamedTuple):
    """What all processes of a replay share."""

    folder: Path
    partitions: int
    salt: bytes

    @property
    def tree(self) -> Path:
        """Where the result grows."""
        return self.folder / "tree"

    @property
    def notes(self) -> Path:
        """Where the plan is noted. Every process has it locked, shared, for as long as it lives."""
        return self.folder / "plan"


class Slice(NamedTuple):
    """A slice of the log that was read; `others` are the records that the prefix judges."""

    task: int
    start: int
    end: int
    writer: str
    last_digest: str
    others: list[Other]


class FoldedPartition(NamedTuple):
    """Projects that were folded: how many files that made, and which distribution files were not there to be taken."""

    task: int
    writer: str
    listings: list[Listing]
    files: int
    missing: list[str]


class SealedPartition(NamedTuple):
    """Bins that were rendered."""

    task: int
    entries: dict[str, RoleEntry]
    files: int


class Spill(Generic[T]):
    """Items of many tasks by partition, written by one process and read by any."""

    def __init__(self, folder: Path, kind: type[T], writer: str) -> None:
        self._folder = folder
        self.writer = writer
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]

    def write(self, task: int, items: Mapping[int, list[T]]) -> None:
        """Append a task's items by partition."""
        for partition, some in items.items():
            folder = self._folder / str(partition)
            folder.mkdir(parents=True, exist_ok=True)
            append_block(folder / self.writer, Block(task, self._encoder.encode(some)))

    def read(self, partition: int, writers: Mapping[int, str]) -> list[T]:
        """All items of a partition in the order of tasks, of those tasks that were done, each by its writer."""
        folder = self._folder / str(partition)
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        blocks = [block for name in names for block in read_blocks(folder / name) if writers.get(block.task) == name]
        blocks.sort(key=lambda block: block.task)
        return [item for block in blocks for item in self._decoder.decode(block.data)]


class _Process:
    """What a process keeps from task to task."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.writer = token_hex(8)
        self.tree = NewTree(plan.tree)
        self.events = Spill(plan.folder / "events", Routed, self.writer)
        self.targets = target_spill(plan, self.writer)


_process: list[_Process] = []


def start(plan: Plan, parent: int) -> None:
    """Prepare a process: it ends with its parent, which shares out the work and alone listens to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fcntl.flock(os.open(plan.notes, os.O_RDONLY), fcntl.LOCK_SH)
    if os.getppid() != parent:  # it was killed while we started
        os._exit(1)
    # A task makes a million objects that it needs to its end, and no cycles: looking for some is a fifth of the time.
    gc.disable()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _process[:] = [_Process(plan)]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        sleep(1)
    os._exit(1)


def read_slice(task: int, first: int, values: Sequence[bytes | None]) -> Slice:
    """Decode a slice of the log, and spill what aggregates will fold."""
    (process,) = _process
    reading = read_records(first, values)
    salt, count = process.plan.salt, process.plan.partitions
    parts: dict[int, list[Routed]] = {}
    for item in reading.routed:
        # Nobody shall be able to choose names that all fall into one partition.
        digest = blake2b(item.key.encode(), digest_size=4, key=salt).digest()
        parts.setdefault(int.from_bytes(digest, "big") % count, []).append(item)
    process.events.write(task, parts)
    others = [other for other in reading.others if isinstance(other.event, BaseEvent) or other.index == 0]
    done = Slice(task, first, first + len(values), process.writer, reading.last_digest, others)
    path = _leaves(process.plan.folder, done)
    path.parent.mkdir(exist_ok=True)
    append_block(path, Block(task, reading.leaves))
    return done


def read_back(folder: Path, done: Slice) -> Reading:
    """What a slice said, without the events that aggregates judge."""
    data = b"".join(block.data for block in read_blocks(_leaves(folder, done)))
    if len(data) != LEAF_BYTES * (done.end - done.start):
        raise SpillError(f"{_leaves(folder, done)} is not whole")
    return Reading(done.start, data, [], done.others, done.last_digest)


def _leaves(folder: Path, done: Slice) -> Path:
    return folder / "leaves" / f"{done.task}.{done.writer}"


def fold_projects(
    task: int,
    *,
    writers: Mapping[int, str],
    events: tuple[int, int],
    layout: Layout,
    html: bool,
    source: Path | None,
) -> FoldedPartition:
    """Fold the projects and facts of one partition: write their pages, spill their targets.

    Args:
        task: the partition.
        writers: who read which slice.
        events: the first index of an event that counts, and the first behind those.
        layout: the bins.
        html: whether there are HTML pages.
        source: a public folder to take distribution files from.
    """
    (process,) = _process
    tree, before = process.tree, process.tree.count
    first, end = events
    items = [item for item in process.events.read(task, writers) if first <= item.index < end]
    folded = fold_events({}, {}, items, html=html)
    for path, data in folded.pages:
        put_page(tree, path, data)
    spill_targets(process.targets, task, folded.targets, layout, process.plan.partitions)
    taken, missing = (0, []) if source is None else _take_files(process, source, folded)
    return FoldedPartition(task, process.writer, folded.listings, tree.count - before + taken, missing)


def put_page(tree: NewTree, path: str, data: bytes) -> None:
    """Write a page under its consistent-snapshot name and its plain one."""
    hashed = hashed_path(path, sha256(data).hexdigest())
    tree.put(hashed, data)
    tree.show(f"targets/{path}", hashed)


def target_spill(plan: Plan, writer: str) -> Spill[TargetChange]:
    """What folded projects hand on to bins."""
    return Spill(plan.folder / "targets", TargetChange, writer)


def spill_targets(
    spill: Spill[TargetChange], task: int, changes: Iterable[TargetChange], layout: Layout, partitions: int
) -> None:
    """Spill changes of targets by groups of bins."""
    parts: dict[int, list[TargetChange]] = {}
    for change in changes:
        parts.setdefault(layout.partition_of(change.path, partitions), []).append(change)
    spill.write(task, parts)


def _take_files(process: _Process, source: Path, folded: Folded) -> tuple[int, list[str]]:
    storage = DirectoryStorage(process.plan.tree, process.plan.folder / "staging", durable=False)
    taken = {
        facts.path: take_file(storage, source, facts)
        for change in folded.changes
        if change.key.startswith("project:")
        for chunk in change.put
        for facts in read_facts(chunk)
        if not facts.removed
    }
    return sum(taken.values()), [path for path, count in taken.items() if not count]


def seal_bins(
    task: int,
    *,
    writers: Mapping[int, str],
    layout: Layout,
    stamps: Mapping[int, Stamp],
    online: RoleKeys,
    seals: Seals,
) -> SealedPartition:
    """Render the bins of one partition, check what the log says of them, and write their files.

    Args:
        task: the partition.
        writers: who folded which projects.
        layout: the bins.
        stamps: number and expiry by index; of bins of this partition only.
        online: the keys that signed them.
        seals: digests and signatures by name.

    Raises:
        DivergenceError: a bin has targets, and no publication signed it; or what was signed is something else.
    """
    (process,) = _process
    before = process.tree.count
    changes: dict[int, list[TargetChange]] = {}
    for change in process.targets.read(task, writers):
        changes.setdefault(layout.index_of_target(change.path), []).append(change)
    sealer = CheckingSealer(online, seals)
    entries: dict[str, RoleEntry] = {}
    for index in sorted(changes.keys() | stamps.keys()):
        name, stamp = layout.name(index), stamps.get(index)
        folded = fold_bin(Aggregate(layout.key(index)), changes.get(index, ()))
        if stamp is None:
            if folded.differs:
                raise DivergenceError(f"{name} changed, and no publication signed it")
            continue
        file = sealer.seal(name, bin_payload(folded.targets, stamp.number, stamp.expires))
        process.tree.put(f"metadata/{stamp.number}.{name}.json", file)
        entries[name] = RoleEntry(stamp.number, stamp.expires, len(file), sha256(file).hexdigest())
    return SealedPartition(task, entries, process.tree.count - before)
