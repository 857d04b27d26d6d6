"""Carriers bring events to the tasks that fold them, and changed targets from there to the tasks that seal bins.

Files    in files, for any number
Sent     with the tasks and their results, if they fit into memory: nothing is written and read again
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Protocol

from consumers.limits import Limits
from consumers.reading.slices import EVENT_PARTITIONS
from consumers.render import tasks
from consumers.render.edition import Choice
from consumers.render.sealing import BinSealer
from consumers.render.tasks import Batch, FoldResult, SealResult, by_key, count_fold_tasks, partitions_of_task
from consumers.work.processes import count_cores
from consumers.work.spill import count_partitions
from projections.log.reading import Routed
from projections.metadata.targets import TargetChange
from projections.roles.layout import Layout

_BINS_PER_TASK = 64
_LEAST_BINS_PER_TASK = 8
_EVENTS_PER_TASK = 32
_LEAST_EVENTS_PER_TASK = 4
_TASKS_PER_CORE = 4
"""Tasks take unequal time: with several per core, no core is idle for long at the end."""
_MOST_TASKS = 64
_EVENT_WORK = 1024
"""Work of one event, in index bytes of a page that takes as long to read and write."""


class Carrier(Protocol):
    """Makes the tasks of one batch, and divides events and bins among them. Methods that take the batch may block."""

    fold_tasks: int
    """The number of fold tasks."""

    def folding(self, batch: Batch) -> Iterator[Callable[[], FoldResult]]:
        """The tasks of folding."""

    def take(self, done: FoldResult) -> None:
        """One of them was done."""

    def add(self, batch: Batch, changes: Sequence[TargetChange]) -> None:
        """Add changes of targets that come from elsewhere."""

    def bins_of_tasks(self, batch: Batch) -> list[Sequence[int]]:
        """The bins of each seal task, in order: all that need a look, perhaps more. To be called when all changes are
        known.
        """

    def sealing(self, batch: Batch, number: int, bins: Sequence[int], sealer: BinSealer) -> Callable[[], SealResult]:
        """The task that seals the bins of one."""


def bin_partitions(choice: Choice, events: int, limits: Limits) -> int:
    """The number of partitions of bins: each has about 64 bins to look at, and a bounded number of changes.

    An upload changes at most three targets: its file, and both pages of its project.
    """
    bins = choice.layout.count
    visited = min(bins, len(choice.stamps) + 3 * events)
    return min(bins, max(-(-visited // _BINS_PER_TASK), count_partitions(3 * events, limits)))


class Files:
    """Carries in files: those of the batch's slices hold its events."""

    def __init__(self, layout: Layout, partitions: int, events: int, limits: Limits) -> None:
        self._layout = layout
        self._names: list[str] = []
        self._partitions = partitions
        self.fold_tasks = count_fold_tasks(events, limits)

    def folding(self, batch: Batch) -> Iterator[Callable[[], FoldResult]]:
        """The tasks of folding."""
        for number in range(self.fold_tasks):
            yield partial(
                tasks.fold_projects, batch, number, partitions_of_task(number, self.fold_tasks, EVENT_PARTITIONS)
            )

    def take(self, done: FoldResult) -> None:
        """One of them was done."""
        self._names.append(done.name)

    def add(self, batch: Batch, changes: Iterable[TargetChange]) -> None:
        """Add changes of targets that come from elsewhere."""
        self._names.append(tasks.write_targets(batch, "more", changes))

    def bins_of_tasks(self, _batch: Batch) -> list[Sequence[int]]:
        """Neighbouring bins, changed or not."""
        return [self._layout.bins_of(partition, self._partitions) for partition in range(self._partitions)]

    def sealing(self, batch: Batch, number: int, _bins: Sequence[int], sealer: BinSealer) -> Callable[[], SealResult]:
        """The task that seals the bins of one."""
        return partial(tasks.seal_bins, batch, number, self._names, sealer)


class Sent:
    """Carries with the tasks and their results. A few events may change very many targets (the removal of a project,
    for example); then targets are carried in files.
    """

    def __init__(
        self, choice: Choice, partitions: int, events: Sequence[Routed], sizes: Mapping[str, int], limits: Limits
    ) -> None:
        self._choice = choice
        self._targets: dict[int, list[bytes]] = {}
        self._events = _dealt(events, sizes)
        self._files = Files(choice.layout, partitions, len(events), limits)
        self._are_many = False
        self.fold_tasks = len(self._events)

    def folding(self, batch: Batch) -> Iterator[Callable[[], FoldResult]]:
        """The tasks of folding."""
        for number, items in enumerate(self._events):
            yield partial(tasks.fold_sent, batch, number, tasks.pack_events(items))

    def take(self, done: FoldResult) -> None:
        """One of them was done."""
        if done.name:
            self._are_many = True
            self._files.take(done)
        self._take(done.targets)

    def add(self, batch: Batch, changes: Sequence[TargetChange]) -> None:
        """Add changes of targets that come from elsewhere."""
        self._take(tasks.pack_targets(batch.choice, changes))

    def bins_of_tasks(self, batch: Batch) -> list[Sequence[int]]:
        """The bins to look at."""
        if self._are_many:
            self._files.add(batch, tasks.unpack_targets(data for some in self._targets.values() for data in some))
            self._targets = {}
            return self._files.bins_of_tasks(batch)
        visited = sorted({*self._choice.stamps, *self._targets})
        size = _in_a_task(len(visited), _LEAST_BINS_PER_TASK, _BINS_PER_TASK)
        return [visited[start : start + size] for start in range(0, len(visited), size)]

    def sealing(self, batch: Batch, number: int, bins: Sequence[int], sealer: BinSealer) -> Callable[[], SealResult]:
        """The task that seals the bins of one."""
        if self._are_many:
            return self._files.sealing(batch, number, bins, sealer)
        return partial(tasks.seal_sent, batch, number, {index: self._targets.get(index, ()) for index in bins}, sealer)

    def _take(self, targets: Mapping[int, bytes]) -> None:
        for index, data in targets.items():
            self._targets.setdefault(index, []).append(data)


def _in_a_task(count: int, least: int, most: int) -> int:
    """The number of items per task, for a number of items."""
    return min(max(-(-count // (_TASKS_PER_CORE * count_cores())), least), most)


def _dealt(events: Sequence[Routed], sizes: Mapping[str, int]) -> list[list[Routed]]:
    """Divide events into tasks of about equal work; the events of an aggregate stay together and in order.

    One page can take as long as all others: so the largest is begun first, and the others are divided around it.

    Args:
        events: the events.
        sizes: sizes of pages by aggregate, from `load_page_sizes`.
    """
    of_keys = by_key(events)
    work = {key: _EVENT_WORK * len(items) + sizes.get(key, 0) for key, items in of_keys.items()}
    count = -(-len(events) // _in_a_task(len(events), _LEAST_EVENTS_PER_TASK, _EVENTS_PER_TASK))
    dealt: list[list[Routed]] = [[] for _ in range(min(count, len(of_keys), _MOST_TASKS))]
    loads = [(0, number) for number in range(len(dealt))]
    for key in sorted(of_keys, key=work.__getitem__, reverse=True):
        load, number = heappop(loads)
        dealt[number].extend(of_keys[key])
        heappush(loads, (load + work[key], number))
    return [dealt[number] for _, number in sorted(loads, reverse=True)]
