"""What the events of one edition did, collected while they are folded, and given back in the order of the log."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import ParamSpec, TypeVar

from consumers.work.spill import Partitions
from consumers.work.workers import Workers
from projections.index.effects import RolesEffect, RoleVersion, Told
from projections.log.prefix import Extension
from projections.outcomes import ACCEPTED

P = ParamSpec("P")
R = TypeVar("R")

_INDEX = attrgetter("index")


class Telling:
    """What events did. Folding goes by aggregate, so events are sorted: in memory if they are few, else on disk.

    Args:
        workers: for work in this process.
        folder: a folder for what does not fit into memory.
        first: the lowest index of an event that may be told.
        end: the index after the highest.
    """

    def __init__(self, workers: Workers, folder: Path, first: int, end: int) -> None:
        self._workers = workers
        self._first = first
        self._size = max(1, end - first)
        self._told = Partitions(folder, Told, self._size)

    async def add(self, told: Sequence[Told]) -> None:
        """Add events, in any order."""
        if told:
            await self._workers.run(self._told.add, told, self._partition_of)

    async def add_judged(self, extension: Extension) -> None:
        """Add the records that the prefix judged."""
        await self.add(list(_of_prefix(extension)))

    async def read(self) -> AsyncGenerator[list[Told], None]:
        """All events, some at a time, in the order of the log."""
        for partition in range(self._told.count):
            told = await self._workers.run(self._told.read, partition)
            if told:
                yield sorted(told, key=_INDEX)

    async def compute(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that computes where the events are sorted."""
        return await self._workers.run(function, *args, **kwargs)

    def close(self) -> None:
        """Delete spilled files."""
        self._told.close()

    def _partition_of(self, told: Told) -> int:
        return (told.index - self._first) * self._told.count // self._size


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
