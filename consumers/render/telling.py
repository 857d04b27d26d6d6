"""What the events of one edition did, collected while they are folded, and given back in the order of the log."""

import shutil
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, ParamSpec, Self, TypeVar

from consumers.limits import Limits
from consumers.work.partition_files import PartitionFiles, write_partitions
from consumers.work.spill import Partitions
from consumers.work.workers import Workers
from projections.index.effects import RolesEffect, RoleVersion, Told
from projections.log.prefix import Extension
from projections.outcomes import ACCEPTED

P = ParamSpec("P")
R = TypeVar("R")

_INDEX = attrgetter("index")
_files = PartitionFiles(Told)


class ToldFiles(NamedTuple):
    """Files of what events did, by partitions of their indices. Any process can write one."""

    folder: Path
    first: int
    size: int
    partitions: int

    def partition_of(self, told: Told) -> int:
        """The partition of an event."""
        return (told.index - self.first) * self.partitions // self.size

    def write(self, told: Iterable[Told]) -> str:
        """Write events into a new file; return its name."""
        partitions: dict[int, list[Told]] = {}
        for each in told:
            partitions.setdefault(self.partition_of(each), []).append(each)
        name = token_hex(8)
        write_partitions(self.folder / name, _files.encode(partitions), self.partitions)
        return name

    def read(self, names: Sequence[str], partition: int) -> list[Told]:
        """The events of a partition in some files."""
        return _files.read([self.folder / name for name in names], partition, partition + 1)


class Telling:
    """What events did. Folding goes by aggregate, so events are sorted: in memory if they are few, else on disk."""

    def __init__(self, workers: Workers, folder: Path, first: int, end: int, limits: Limits) -> None:
        self._workers = workers
        self._folder = folder
        size = max(1, end - first)
        self._told = Partitions(folder / "here", Told, size, limits)
        self.files = ToldFiles(folder / token_hex(8), first, size, self._told.count)
        self._names: list[str] = []
        self._is_closed = False

    @classmethod
    async def begin(cls, workers: Workers, folder: Path, first: int, end: int, limits: Limits) -> Self:
        """Begin to collect. What a process that was killed has left is deleted.

        Args:
            workers: for work in this process.
            folder: a folder for what does not fit into memory.
            first: the lowest index of an event that may be told.
            end: the index after the highest.
            limits: how many are few.
        """
        await _delete(workers, folder)
        return cls(workers, folder, first, end, limits)

    async def add(self, told: Sequence[Told]) -> None:
        """Add events, in any order."""
        if told:
            await self._workers.run(self._told.add, told, self.files.partition_of)

    def add_file(self, name: str) -> None:
        """Add the events in a file that a task wrote."""
        self._names.append(name)

    async def add_judged(self, extension: Extension) -> None:
        """Add the records that the prefix judged."""
        await self.add(list(_of_prefix(extension)))

    async def read(self) -> AsyncGenerator[list[Told], None]:
        """All events, some at a time, in the order of the log.

        Raises:
            ValueError: they are deleted.
        """
        for partition in range(self.files.partitions):
            if self._is_closed:
                raise ValueError("what events did can be read until `tell` returns, and not later")
            told = await self._workers.run(self._read, partition)
            if told:
                yield told

    async def compute(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that computes where the events are sorted."""
        return await self._workers.run(function, *args, **kwargs)

    async def close(self) -> None:
        """Delete spilled files, also those of tasks that were never heard of again."""
        self._is_closed = True
        await _delete(self._workers, self._folder)

    def _read(self, partition: int) -> list[Told]:
        return sorted([*self._told.read(partition), *self.files.read(self._names, partition)], key=_INDEX)


async def _delete(workers: Workers, folder: Path) -> None:
    """Delete a folder if it exists, in a thread: it may hold a file for each task, of gigabytes together."""
    if folder.exists():
        await workers.run(shutil.rmtree, folder, ignore_errors=True)


def _of_prefix(extension: Extension) -> Iterable[Told]:
    ceremonies = {each.index: each.documents for each in extension.ceremonies}
    for index, digest, kind, outcome in (
        (each.index, each.digest, each.kind, each.outcome) for each in extension.judged
    ):
        effects: tuple[RolesEffect, ...] = ()
        if outcome is ACCEPTED and index in ceremonies:
            effects = (
                RolesEffect(
                    tuple(
                        RoleVersion(each.role, each.version, sha256(each.file).hexdigest(), each.signatures)
                        for each in ceremonies[index]
                    )
                ),
            )
        yield Told(index, digest, "", kind, outcome, effects)
