"""Verifiers over logs in memory: one steps, the other goes by columns as far as it can. Both say the same."""

import re
from typing import NamedTuple

from consumers.follow.follower import Follower
from consumers.render.edition import DivergenceError
from consumers.render.outlets import FileListOutlet
from consumers.verify.columns import Columns
from consumers.verify.comparing import reachable
from consumers.work.workers import Workers
from ledger.state.comparisons import files_after
from ledger.state.publications import AppliedPublication, load_publication
from ledger.state.store import Store
from ledger.state.verdicts import JudgedRow
from tests.fuzz.world import World, following
from tests.simulation.ports import InlineWorkers


class Walked(NamedTuple):
    """What a verifier came to, and where and why it halted."""

    number: int
    digest: str
    files: list[tuple[str, str, int]]
    reachable: dict[str, str]
    judged: list[JudgedRow]
    publications: list[AppliedPublication]
    halted_at: int
    error: str


class Walk:
    """A verifier at work. `windows` are the numbers of the publications at which windows ended."""

    def __init__(self, follower: Follower, store: Store, workers: Workers) -> None:
        self.windows: list[int] = []
        self._follower = follower
        self._columns = Columns(follower, store, workers)

    async def by_steps(self, last: int | None = None) -> None:
        while await self._follower.step(lambda claim: last is None or claim.number <= last):
            pass

    async def by_columns(self) -> None:
        """Windows as long as they go; between them, one publication at a time."""
        while True:
            if await self._columns.step(lambda _: True, at_least=1):
                self.windows.append(self._follower.head.number)
            elif not await self._follower.step():
                break


async def walk(
    world: World,
    *,
    by_columns: bool,
    first: int = 0,
    workers: Workers | None = None,
    windows: list[int] | None = None,
) -> Walked:
    """Verify a ledger anew; by columns from the publication after `first` on. `windows` gets where windows ended."""
    workers, error = workers or InlineWorkers(), ""
    async with following(world.logs, outlet=FileListOutlet(), workers=workers) as followed:
        follower, store = followed.follower, followed.store
        walking = Walk(follower, store, workers)
        try:
            if by_columns:
                await walking.by_steps(first)
                await walking.by_columns()
            await walking.by_steps()
        except DivergenceError as divergence:
            error = str(divergence)
        if windows is not None:
            windows += walking.windows
        halted = re.match(r"publication (\d+) ", error)
        expected = {}
        async for batch in reachable(follower, store, files=False):
            expected.update({each.path: each.sha256 for each in batch})
        numbers = range(1, follower.head.number + 1)
        return Walked(
            follower.head.number,
            follower.head.digest,
            await store.run(files_after, "", 10**6),
            expected,
            await followed.judged(),
            [row for number in numbers if (row := await store.run(load_publication, number)) is not None],
            int(halted[1]) if halted else 0,
            error,
        )


async def check_columns(world: World, first: int = 0) -> Walked:
    """Both ways come to the same, file by file, verdict by verdict."""
    stepped, checked = await walk(world, by_columns=False), await walk(world, by_columns=True, first=first)
    for field in Walked._fields:
        assert getattr(checked, field) == getattr(stepped, field), field
    return stepped
