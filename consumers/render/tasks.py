"""The tasks of a batch: folding projects and sealing bins; `consumers.reading.slices` has the tasks of decoding.

    slices of the log ──read──▶ events by project ──fold──▶ targets by bin ──seal──▶ metadata

Each function is one task. It hands data to later tasks in its own file (`consumers.work.partition_files`). The file
counts when the main process has the task's result, so files that killed tasks left behind are ignored. If all events
fit into memory, they are sent with the tasks, and targets with the results.
"""

from collections.abc import Iterable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import msgspec

from consumers.context import working_storage
from consumers.limits import Limits
from consumers.reading.slices import event_files
from consumers.render.bin_steps import by_bin, fold_bins, read_bins, seal_bin
from consumers.render.edition import Choice
from consumers.render.sealing import BinSealer
from consumers.render.sinks import RemoteSink
from consumers.render.taking import take_file, take_target
from consumers.render.telling import ToldFiles
from consumers.state.kept_bins import KeptBin, LastBins
from consumers.state.kept_pages import KeptPages
from consumers.state.open_state import open_state
from consumers.state.records import Rows, rows_of
from consumers.work.partition_files import PartitionFiles, write_partitions
from consumers.work.spill import Frame, append_frame, count_partitions
from ledger.disk.files import writing
from ledger.state.aggregates import PageRow
from projections.index.distributions import rows_read_by
from projections.index.effects import Told
from projections.index.fold import Folded, Seen, fold_events
from projections.index.other_aggregates import read_target
from projections.index.pages import FILES_PER_CHUNK, read_facts
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes
from projections.log.operations import PROJECT_KEYS, TARGET_KEYS, filenames_of
from projections.log.reading import Routed
from projections.metadata.holders import Withholding
from projections.metadata.paths import is_page, plain_path
from projections.metadata.repository import LENGTH_ABOVE_BYTES
from projections.metadata.targets import Page, TargetChange
from projections.outcomes import Judged
from projections.roles.authority import Terms

_PROJECTS_AT_ONCE = 128
_BINS_AT_ONCE = 16
SENT_BYTES = 2**20
"""Largest changes of a state, and largest targets, that are sent with a task's result; more is written into a file."""

_targets = PartitionFiles(TargetChange)
_decode_events = msgspec.msgpack.Decoder(list[Routed]).decode
_decode_targets = msgspec.msgpack.Decoder(list[TargetChange]).decode
_encode = msgspec.msgpack.Encoder().encode


def count_fold_tasks(events: int, limits: Limits) -> int:
    """The number of fold tasks for a number of events.

    It is large enough to keep several cores busy to the end although one project may be a thousand times as large as
    another, and large enough for each task to fit into memory.
    """
    return max(32, count_partitions(events, limits))


def partitions_of_task(number: int, tasks: int, partitions: int) -> range:
    """The partitions of one task, given its number and the numbers of tasks and partitions."""
    return range(number * partitions // tasks, (number + 1) * partitions // tasks)


# --- folding ---------------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """The common input of a batch's tasks.

    `html` and `terms` are those of `projections.index.fold.fold_events`, `times` is the file of its upload times.

    `state` is the state before the batch; None: there was none. `last` holds the previous bins that a task needs, and
    `pages` says how pages are kept; None: no state keeps anything.

    `bin_partitions` is the number of partitions of bins, for targets in files. `slices` are files of events, of which
    those from `first` to `end` (exclusive) count; no files, if events are sent. `renders` and `files_per_chunk` are
    those of `fold_events`, and what events did is written into the files `told`.
    """

    folder: Path
    choice: Choice
    html: bool
    terms: Sequence[Terms]
    times: Path
    sink: RemoteSink
    bin_partitions: int
    slices: Sequence[Path] = ()
    first: int = 0
    end: int = 0
    sent_bytes: int = SENT_BYTES
    state: Path | None = None
    last: LastBins | None = None
    pages: KeptPages | None = None
    source: Path | None = None
    renders: bool = True
    told: ToldFiles | None = None
    files_per_chunk: int = FILES_PER_CHUNK

    @property
    def keeps(self) -> bool:
        """Whether a state keeps the results."""
        return self.last is not None


class Kept(msgspec.Struct, array_like=True):
    """The changes that a state keeps."""

    rows: Rows
    seen: list[Seen] = []
    judged: list[Judged] = []

    def add(self, other: "Kept") -> None:
        """Add the changes of another task."""
        self.rows.add(other.rows)
        self.seen += other.seen
        self.judged += other.judged


class PutPage(NamedTuple):
    """A page that a process wrote: its target path, length and digest, and the sink's token."""

    path: str
    length: int
    sha256: str
    token: str


class FoldResult(NamedTuple):
    """The result of a fold task. Changed targets are in the file `name`, or by bin in `targets`. `kept` holds the
    changes that a state keeps. `files` is the number of written files; `pages` are new pages, `hidden` are pages that
    are gone; `missing` are distribution files that could not be taken. `told` is the name of a file of what events did.
    """

    task: int
    name: str
    targets: dict[int, bytes]
    kept: "ToKeep"
    listings: list[Listing]
    files: int
    pages: list[PutPage]
    hidden: list[str]
    missing: list[str]
    told: str = ""


def fold_projects(batch: Batch, task: int, partitions: range) -> FoldResult:
    """Fold the projects and facts of some partitions: write their pages, and their targets by bins."""
    read = event_files.read(batch.slices, partitions.start, partitions.stop)
    done, targets = _fold(batch, task, [item for item in read if batch.first <= item.index < batch.end])
    return done._replace(name=write_targets(batch, str(task), targets))


def fold_sent(batch: Batch, task: int, items: bytes) -> FoldResult:
    """Do the same as `fold_projects`, for events packed by `pack_events`."""
    done, targets = _fold(batch, task, _decode_events(items))
    packed = pack_targets(batch.choice, targets)
    if sum(map(len, packed.values())) > batch.sent_bytes:
        return done._replace(name=write_targets(batch, str(task), targets))
    return done._replace(targets=packed)


def pack_events(items: Sequence[Routed]) -> bytes:
    """Encode events to be sent."""
    return _encode(items)


def pack_targets(choice: Choice, changes: Iterable[TargetChange]) -> dict[int, bytes]:
    """Encode changes of targets to be sent, by bin."""
    return {index: _encode(some) for index, some in by_bin(choice.layout, changes).items()}


def unpack_targets(packed: Iterable[bytes]) -> list[TargetChange]:
    """Decode the changes of some bins, from `pack_targets`."""
    return [change for data in packed for change in _decode_targets(data)]


def _fold(batch: Batch, task: int, items: Sequence[Routed]) -> tuple[FoldResult, list[TargetChange]]:
    done = FoldResult(task, "", {}, ToKeep(), [], 0, [], [], [])
    keeping = _Keeping(batch.folder / "kept" / f"{task}.{token_hex(8)}", batch.sent_bytes)
    files = 0
    targets: list[TargetChange] = []
    told: list[Told] = []
    states, times = open_state(batch.state), _read_times(batch.times)
    for keys, chosen in few_aggregates(items, _PROJECTS_AT_ONCE):
        loaded = states.load(keys, needed_files(chosen, html=batch.html), rows_read_by(chosen))
        folded = fold_events(
            loaded.states,
            states.seen(chosen),
            chosen,
            html=batch.html,
            terms=batch.terms,
            times=times,
            renders=batch.renders,
            tells=batch.told is not None,
            files_per_chunk=batch.files_per_chunk,
        )
        rows = {} if batch.pages is None else batch.pages.choose(folded.pages, loaded.filed)
        done.pages.extend(put_page(batch.sink, page, batch.pages, rows.get(page.path)) for page in folded.pages)
        targets.extend(folded.targets)
        told.extend(folded.told)
        done.hidden.extend(hidden_pages(folded.targets))
        done.listings.extend(folded.listings)
        if batch.source is not None:
            taken, missing = _take_files(batch, batch.source, folded)
            files += taken
            done.missing.extend(missing)
        if batch.keeps:
            keeping.add(Kept(rows_of(folded.changes, loaded, rows.values()), folded.seen, folded.judged))
    files += 2 * len(done.pages)
    # Without a state, the pages are already in place.
    pages = done.pages if batch.keeps else []
    name = batch.told.write(told) if batch.told is not None and told else ""
    return done._replace(kept=keeping.finish(), files=files, pages=pages, told=name), targets


def write_times(folder: Path, packed_brackets: bytes) -> Path:
    """Write the brackets of a batch's publications into its folder, for all tasks; there may be millions."""
    path = folder / "times"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed_brackets)
    return path


def _read_times(path: Path) -> UploadTimes:
    with path.open("rb") as file:
        return UploadTimes(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)))


def by_key(items: Iterable[Routed]) -> dict[str, list[Routed]]:
    """Events by aggregate, in their order."""
    of_keys: dict[str, list[Routed]] = {}
    for item in items:
        of_keys.setdefault(item.key, []).append(item)
    return of_keys


def few_aggregates(items: Sequence[Routed], size: int) -> Iterable[tuple[list[str], list[Routed]]]:
    """Yield the events of `size` aggregates at a time, with the aggregates' keys."""
    of_keys = by_key(items)
    keys = sorted(of_keys)
    for start in range(0, len(keys), size):
        some = keys[start : start + size]
        yield some, [item for key in some for item in of_keys[key]]


def needed_files(items: Sequence[Routed], *, html: bool) -> dict[str, set[str]]:
    """The files whose facts are needed to fold events, for projects that do not need all: nearly always the uploaded
    files. With `html`, or to render a page anew, all files are needed.
    """
    of_keys = {} if html else by_key(items)
    found = {key: filenames_of(item.operation for item in some) for key, some in of_keys.items()}
    return {key: names for key, names in found.items() if names is not None}


def hidden_pages(changes: Iterable[TargetChange]) -> list[str]:
    """Pages that are gone."""
    return [change.path for change in changes if change.entry is None and change.act == "set" and is_page(change.path)]


def put_page(sink: RemoteSink, page: Page, pages: KeptPages | None = None, row: PageRow | None = None) -> PutPage:
    """Write a page under its consistent-snapshot name, and show it under its plain name; with a row, also keep it."""
    copy = None if pages is None or row is None else pages.put(row, page)
    token = sink.put(page.hashed_path, page.data, copy)
    sink.show(plain_path(page.path), page.hashed_path)
    return PutPage(page.path, len(page.data), page.sha256, token)


def write_targets(batch: Batch, whose: str, changes: Iterable[TargetChange]) -> str:
    """Write changes of targets by partitions of bins; return the name of the file."""
    partitions: dict[int, list[TargetChange]] = {}
    for change in changes:
        partitions.setdefault(batch.choice.layout.partition_of(change.path, batch.bin_partitions), []).append(change)
    name = f"{whose}.{token_hex(8)}"
    write_partitions(batch.folder / "targets" / name, _targets.encode(partitions), batch.bin_partitions)
    return name


def _take_files(batch: Batch, source: Path, folded: Folded) -> tuple[int, list[str]]:
    storage = working_storage(batch.folder)
    taken = {
        facts.path: take_file(storage, source, facts)
        for change in folded.changes
        if change.key.startswith(PROJECT_KEYS)
        for chunk in change.put
        for facts in read_facts(chunk)
        if not facts.removed
    }
    for change in folded.changes:
        if change.key.startswith(TARGET_KEYS) and change.header is not None:
            path, target = change.key.removeprefix(TARGET_KEYS), read_target(change.header)
            if not target.removed:
                taken[path] = take_target(storage, source, path, target.sha256)
    return sum(taken.values()), [path for path, count in taken.items() if not count]


class ToKeep(NamedTuple):
    """The changes that a state keeps: encoded here, or if they are long, in the frames of a file."""

    frames: tuple[bytes, ...] = ()
    file: str = ""


class _Keeping:
    """Collects the changes that a state keeps, on disk if they are long."""

    def __init__(self, path: Path, sent_bytes: int) -> None:
        self._path = path
        self._sent_bytes = sent_bytes
        self._frames: list[bytes] = []
        self._bytes = 0

    def add(self, kept: Kept) -> None:
        data = _encode(kept)
        self._frames.append(data)
        self._bytes += len(data)
        if self._bytes > self._sent_bytes:
            with writing(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
            for frame in self._frames:
                append_frame(self._path, Frame(0, frame))
            self._frames = []

    def finish(self) -> ToKeep:
        if self._bytes <= self._sent_bytes:
            return ToKeep(tuple(self._frames))
        return ToKeep(file=str(self._path))


# --- sealing ---------------------------------------------------------------------------------------------------------


class SealResult(NamedTuple):
    """The result of a seal task: the bins, the sink's tokens of their files, and the new signatures. `headers` are rows
    for the state; `stuffed` holds the targets of very long bins; `withholdings` says what is withheld since, or no
    longer.
    """

    task: int
    headers: list[tuple[str, bytes]]
    bins: dict[str, KeptBin]
    tokens: dict[str, str]
    packed: dict[str, tuple[str, ...]]
    stuffed: dict[str, bytes]
    withholdings: list[Withholding]


def seal_bins(batch: Batch, task: int, names: Sequence[str], sealer: BinSealer) -> SealResult:
    """Render and seal the bins of one partition, and write their files.

    Args:
        batch: the batch.
        task: the partition.
        names: the files of targets, as `fold_projects` named them.
        sealer: signs, or checks the signatures from the log.

    Raises:
        DivergenceError: a bin has changed, but no publication signed it; or the log has signatures of other bytes.
        SignerError: a key does not sign.
    """
    layout = batch.choice.layout
    paths = [batch.folder / "targets" / name for name in names]
    changes = by_bin(layout, _targets.read(paths, task, task + 1))
    visited = batch.choice.visited(layout.bins_of(task, batch.bin_partitions), changes)
    return _seal(batch, task, visited, changes, sealer)


def seal_sent(batch: Batch, task: int, targets: Mapping[int, Sequence[bytes]], sealer: BinSealer) -> SealResult:
    """Do the same as `seal_bins`, for changes of targets packed by `pack_targets`."""
    changes = {index: unpack_targets(some) for index, some in targets.items()}
    return _seal(batch, task, sorted(targets), changes, sealer)


def _seal(
    batch: Batch, task: int, visited: Sequence[int], changes: Mapping[int, Sequence[TargetChange]], sealer: BinSealer
) -> SealResult:
    layout = batch.choice.layout
    done = SealResult(task, [], {}, {}, {}, {}, [])
    if batch.last is not None:
        batch.last.prefetch(visited)
    state = open_state(batch.state)
    headers = state.headers([layout.key(index) for index in visited])
    marks = {} if batch.last is None else state.marks(batch.last.names(visited))
    for start in range(0, len(visited), _BINS_AT_ONCE):
        some = visited[start : start + _BINS_AT_ONCE]
        folded = fold_bins(batch.choice, some, read_bins(batch.last, layout, some, headers, marks), changes)
        for each in folded.unsealed:
            sealed = seal_bin(sealer, each)
            path, kept = None, KeptBin(sealed.entry)
            if batch.last is not None:
                path, kept = batch.last.keep(sealed.name, sealed.entry, sealed.file)
            done.bins[sealed.name] = kept
            done.tokens[each.name] = batch.sink.put(sealed.path, sealed.file, path)
            if sealed.entry.length > LENGTH_ABOVE_BYTES:
                done.stuffed[each.name] = b",".join(each.targets)
        done.headers.extend(folded.headers)
        done.withholdings.extend(folded.withholdings)
    return done._replace(packed=sealer.packed)
