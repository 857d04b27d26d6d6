"""The verifier: a follower without keys that exists to disagree.

It renders every publication from the events and compares it with its record (`Follower` does that), and then compares
what is served with what it rendered: each file as soon as it is published, and then all of them in rounds, a few at a
time, because what was good once may be changed later.
"""

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import structlog

from consumers.follow.follower import Follower
from consumers.render.outlets import FileListOutlet, served_version
from consumers.state import notes
from consumers.verify.comparing import Difference, Expected, compare, every_file
from consumers.work.workers import Workers
from ledger.state.store import Store
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP, TargetPlace, is_plain_page, plain_path, read_path

log = structlog.get_logger()


class Limits(NamedTuple):
    """How long what is served may lag behind the log, and events may wait for a publication, in seconds."""

    delay_seconds: float
    lag_seconds: float


class Verifier:
    """Follows the logs and watches what is served. Used by one task.

    With `files`, distribution files that are there are compared in each round too.
    """

    def __init__(
        self,
        served: ServedFiles,
        *,
        limits: Limits,
        follower: Follower,
        store: Store,
        workers: Workers,
        outlet: FileListOutlet,
        files: bool = False,
    ) -> None:
        self._files = files
        self._round: AsyncIterator[list[tuple[str, str, int]]] | None = None
        self._doubtful: set[str] = set()
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
        doubtful, self._doubtful = self._doubtful, set()
        await self._look(await self._store.load_files(sorted(doubtful)), version, again=True)
        while unchecked := await self._store.unchecked_files(version, 1000):
            await self._look([(path, digest, version) for path, digest in unchecked], version)
            await self._store.set_checked([path for path, _ in unchecked])
        await self._look(await self._next_few(), version)

    async def _next_few(self) -> list[tuple[str, str, int]]:
        """The next few files of all; after the last come the first ones again."""
        if self._round is None:
            self._round = every_file(self._store, files=self._files)
        few = await anext(self._round, None)
        if few is None:
            self._round = None
        return few or []

    async def _look(self, rows: Sequence[tuple[str, str, int]], version: int, *, again: bool = False) -> None:
        """Compare files, and report those that differ.

        A plain page is replaced after the timestamp and may be on its way, so it is reported when we look `again`. A
        distribution file, whose number is 0, is not missed: not everybody who serves metadata serves them.
        """
        if not rows:
            return
        expected = [Expected(path, digest) for path, digest, number in rows if digest and number <= version]
        differences = await compare(self._served, expected, self._workers)
        stays = again and served_version(await self._workers.run(self._served.read, TIMESTAMP)) == version
        self._doubtful.update(each.path for each in differences if is_plain_page(each.path) and not stays)
        optional = {path for path, _, number in rows if number == 0}
        optional |= await self._superseded([each.path for each in differences if each.problem == "missing"], version)
        await self._report(
            [
                each
                for each in differences
                if (stays or not is_plain_page(each.path)) and not (each.problem == "missing" and each.path in optional)
            ]
        )

    async def _superseded(self, paths: Sequence[str], version: int) -> set[str]:
        """Which of these files were replaced by later ones, and may have been swept (`tuf-ledger sweep`)."""
        current = {name: entry.version for name, entry in self._follower.table.entries.items()}
        authority = self._follower.base.authority
        if authority is not None:
            current |= {"targets": authority.targets.version, "bins": authority.bins.version}
        places = {path: read_path(path) for path in paths}
        pages = [plain_path(each.target) for each in places.values() if isinstance(each, TargetPlace) and each.is_page]
        shown = {path: digest for path, digest, _ in await self._store.load_files(pages)}
        found = set()
        for path, place in places.items():
            if isinstance(place, TargetPlace):
                if place.is_hashed_page and shown.get(plain_path(place.target)) != place.sha256:
                    found.add(path)
            elif place is not None and place.version is not None and not place.is_root:
                found |= {path} if place.version < current.get(place.role, version) else set()
        return found

    async def _report(self, differences: list[Difference]) -> None:
        """Raise an alarm once for each difference; `info` shows how many there were."""
        new = [each for each in differences if (each.path, each.detail) not in self._reported]
        for each in new:
            self._reported.add((each.path, each.detail))
            log.error("what is served is not what the log says", path=each.path, problem=each.problem, why=each.detail)
        if new:
            count = int(await self._store.note(notes.DIFFERENCES) or 0)
            await self._store.set_note(notes.DIFFERENCES, str(count + len(new)))
