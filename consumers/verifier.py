"""The verifier: a follower without keys that exists to disagree.

It renders every publication from the events and compares it with its record (`Follower` does that), and then compares
what is served with what it rendered.
"""

from hashlib import sha256
from typing import NamedTuple

import structlog

from consumers.comparing import Difference, Expected, Served, compare, is_plain_page
from consumers.follower import Follower
from consumers.outlets import TIMESTAMP, FileListOutlet, served_version
from consumers.workers import Workers
from ledger.store import Store

log = structlog.get_logger()

DIFFERENCES_NOTE = "differences"


class Limits(NamedTuple):
    """How long what is served may lag behind the log, and events may wait for a publication, in seconds."""

    delay_seconds: float
    lag_seconds: float


class Verifier:
    """Follows the logs and watches what is served. Used by one task."""

    def __init__(
        self,
        served: Served,
        *,
        limits: Limits,
        follower: Follower,
        store: Store,
        workers: Workers,
        outlet: FileListOutlet,
    ) -> None:
        self._served = served
        self._limits = limits
        self._follower = follower
        self._store = store
        self._workers = workers
        self._outlet = outlet
        self._behind_since: float | None = None
        self._waiting: tuple[int, float] | None = None
        self._reported: set[tuple[str, str]] = set()

    async def step(self, now: float) -> bool:
        """Apply one record, or compare what is served if there is none.

        Args:
            now: a monotonic time in seconds.

        Returns:
            Whether there was a record.
        """
        if await self._follower.step():
            await self._store.save_files(self._outlet.take())
            return True
        await self._watch_lag(now)
        await self._compare(now)
        return False

    async def _watch_lag(self, now: float) -> None:
        """Raise an alarm when events wait too long for the publication that covers them."""
        size = (await self._follower.tail.read_on()).size
        if size == self._follower.head.size:
            self._waiting = None
        elif self._waiting is None or self._waiting[0] <= self._follower.head.size:
            self._waiting = (size, now)
        elif now - self._waiting[1] > self._limits.lag_seconds:
            log.error(
                "events wait for a publication",
                events=size - self._follower.head.size,
                seconds=round(now - self._waiting[1]),
            )
            self._waiting = (size, now)

    async def _compare(self, now: float) -> None:
        head = self._follower.head
        timestamp = await self._workers.run(self._served.read, TIMESTAMP)
        version = served_version(timestamp)
        if head.number in {0, version}:
            self._behind_since = None
        else:
            self._behind_since = now if self._behind_since is None else self._behind_since
            if now - self._behind_since > self._limits.delay_seconds:
                what = "ahead of the log" if version > head.number else "behind the log"
                await self._report([Difference(TIMESTAMP, "differs", f"version {version} is {what}, at {head.number}")])
        published = await self._store.publication(version)
        if published is None:
            return
        if sha256(timestamp or b"").hexdigest() != published.timestamp_sha256:
            await self._report([Difference(TIMESTAMP, "differs", f"it is not version {version} of the log")])
        while rows := await self._store.unchecked_files(version, 1000):
            expected = [Expected(path, digest) for path, digest in rows if digest]
            differences = await compare(self._served, expected, self._workers)
            if served_version(await self._workers.run(self._served.read, TIMESTAMP)) != version:
                # Plain pages may have been replaced while we looked; what they should be now is a newer row's business.
                differences = [each for each in differences if not is_plain_page(each.path)]
            await self._report(differences)
            await self._store.set_checked([path for path, _ in rows])

    async def _report(self, differences: list[Difference]) -> None:
        """Raise an alarm once for each difference; `info` shows how many there were."""
        new = [each for each in differences if (each.path, each.detail) not in self._reported]
        for each in new:
            self._reported.add((each.path, each.detail))
            log.error("what is served is not what the log says", path=each.path, problem=each.problem, why=each.detail)
        if new:
            count = int(await self._store.note(DIFFERENCES_NOTE) or 0)
            await self._store.set_note(DIFFERENCES_NOTE, str(count + len(new)))
