"""Withheld bytes that are still served: what publishers should have taken out (docs/rules.md, "What is withheld")."""

from collections.abc import Sequence

from consumers.render.outlets import served_version
from consumers.verify.comparing import BATCH, Difference
from consumers.work.workers import Workers, run_each
from ledger.state.store import ReadingStore
from ledger.state.withheld import withheld_after
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP

_FEW = 16


async def _still_there(served: ServedFiles, paths: Sequence[str], workers: Workers) -> list[Difference]:
    digests = await run_each(workers, served.digest, paths)
    return [
        Difference(path, "withheld", f"SHA-256 {digest}")
        for path, digest in zip(paths, digests, strict=True)
        if digest is not None
    ]


async def still_served(served: ServedFiles, store: ReadingStore, workers: Workers) -> list[Difference]:
    """Everything that is served although it is withheld as of a state's publication."""
    found: list[Difference] = []
    last = ""
    while paths := await store.run(withheld_after, last, BATCH):
        last = paths[-1]
        found += await _still_there(served, paths, workers)
    return found


class WithheldRounds:
    """Looks for withheld bytes in rounds, a few at a time. Used by one task.

    A publisher takes them out after the timestamp of the publication that withholds them: so they count when they were
    there for `delay_seconds`, or longer.
    """

    def __init__(self, served: ServedFiles, store: ReadingStore, workers: Workers, delay_seconds: float) -> None:
        self._served = served
        self._store = store
        self._workers = workers
        self._delay_seconds = delay_seconds
        self._last = ""
        self._since: dict[str, float] = {}

    async def step(self, version: int, now: float) -> tuple[list[Difference], set[str]]:
        """Look at the next few.

        Args:
            version: the served version, which is that of the state.
            now: a monotonic time in seconds.

        Returns:
            The differences, and the paths at which there are none.
        """
        paths = await self._store.run(withheld_after, self._last, _FEW)
        self._last = paths[-1] if len(paths) == _FEW else ""
        found = {each.path: each for each in await _still_there(self._served, paths, self._workers)}
        if found and served_version(await self._workers.run(self._served.read, TIMESTAMP)) != version:
            return [], set()  # a publication may have brought them back meanwhile
        for path in paths:
            if path in found:
                self._since.setdefault(path, now)
            else:
                self._since.pop(path, None)
        late = [each for path, each in found.items() if now - self._since[path] > self._delay_seconds]
        return late, set(paths) - found.keys()
