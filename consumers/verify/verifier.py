"""The verifier: a follower without keys that checks all others.

It renders every publication from the events and compares it with its record: one by one (`Follower` does that) or,
where it is far behind, by columns. It also compares the served files with the rendered ones: each file as soon as it is
published, and then all files in rounds, a few at a time, because a correct file may be changed later. Rendering and
comparing take turns: neither waits for the other for long.
"""

import json
from typing import NamedTuple

import structlog

from consumers.follow.examining import Examiner
from consumers.follow.follower import Follower
from consumers.limits import LIMITS, Limits
from consumers.render.outlets import served_version
from consumers.state import notes
from consumers.verify.columns import Columns
from consumers.verify.comparing import FEW, Difference
from consumers.verify.still_served import WithheldRounds
from consumers.verify.watching import Watch
from consumers.work.workers import Workers
from ledger.state.comparisons import count_differences, count_files
from ledger.state.position import save_note
from ledger.state.publications import load_publication
from ledger.state.store import Store
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP

log = structlog.get_logger()

RECORDS_A_STEP = 16
FILES_A_STEP = 1000
"""Number of never compared files per step at the end of the log; otherwise `FEW`."""

_NOTED_SECONDS = 10.0
_LOGGED_SECONDS = 60.0


class Patience(NamedTuple):
    """How long the served files may lag behind the log, and events may wait for a publication, in seconds."""

    delay_seconds: float
    lag_seconds: float


class Verifier:
    """Follows the logs and watches the served files. Used by one task.

    With `files`, existing distribution files are compared in each round too.
    """

    def __init__(
        self,
        served: ServedFiles,
        *,
        patience: Patience,
        follower: Follower,
        store: Store,
        workers: Workers,
        files: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        self._served = served
        self._patience = patience
        self._follower = follower
        self._store = store
        self._workers = workers
        self._columns = Columns(follower, store, workers, limits=limits)
        self._examiner = Examiner(follower)
        self._watch = Watch(served, examiner=self._examiner, store=store, workers=workers, files=files)
        self._withheld = WithheldRounds(served, store, workers, patience.delay_seconds)
        self._behind_since: float | None = None
        self._waiting: tuple[int, float] | None = None
        self._noted: float | None = None
        self._logged: float | None = None
        self._is_at_end = False

    async def step(self, now: float) -> bool:
        """Apply a few records, or a window if many are unread, and then compare a few files.

        Args:
            now: a monotonic time in seconds.

        Returns:
            Whether more records, or files that were never compared, may be left.
        """
        at_end = self._is_at_end = await self._follow()
        if at_end:
            await self._watch_lag(now)
        version = await self._look_at_timestamp(now, at_end=at_end)
        is_more = version > 0 and await self._watch.step(version, FILES_A_STEP if at_end else FEW)
        if version == self._follower.head.number > 0:
            await self._look_for_withheld(version, now)
        await self._note_progress(now)
        return is_more or not at_end

    async def _follow(self) -> bool:
        """Apply a few records, or a window if many are unread; return whether the end of the log is reached."""
        if not self._is_at_end and await self._columns.step_if_far(await self._follower.count_records()):
            return False
        records = 0
        while records < RECORDS_A_STEP and await self._follower.step():
            records += 1
        return records < RECORDS_A_STEP

    async def finish(self) -> None:
        """Note the progress of the comparison, for `tuf-ledger info`."""
        await self._store.run(save_note, notes.ROUND, json.dumps(self._watch.round))

    async def _note_progress(self, now: float) -> None:
        """Note the progress of the comparison every ten seconds, and log it every minute."""
        if self._noted is None or now - self._noted >= _NOTED_SECONDS:
            self._noted = now
            await self.finish()
        if self._logged is None or now - self._logged >= _LOGGED_SECONDS:
            self._logged = now
            differences_now, differences_ever = await self._store.run(count_differences)
            _, never_compared = await self._store.run(count_files)
            log.info(
                "comparing what is served",
                publication=self._follower.head.number,
                compared=self._watch.round.compared,
                to_compare=self._watch.round.to_compare,
                never_compared=never_compared,
                rounds=self._watch.rounds,
                differences_now=differences_now,
                differences_ever=differences_ever,
            )

    async def _look_for_withheld(self, version: int, now: float) -> None:
        differences, right = await self._withheld.step(version, now)
        for each in differences:
            await self._watch.differs(each)
        await self._watch.is_right(right)

    async def _watch_lag(self, now: float) -> None:
        """Raise an alarm when events wait too long for the publication that covers them."""
        size = (await self._follower.tail.read_known()).size
        if size == self._follower.head.size:
            self._waiting = None
        elif self._waiting is None or self._waiting[0] <= self._follower.head.size:
            self._waiting = (size, now)
        elif now - self._waiting[1] > self._patience.lag_seconds:
            log.error(
                "events wait too long for a publication: check that a signer runs and that signing is not held",
                events=size - self._follower.head.size,
                seconds=round(now - self._waiting[1]),
            )
            self._waiting = (size, now)

    async def _look_at_timestamp(self, now: float, *, at_end: bool) -> int:
        """Compare the served timestamp; return its version, or 0 if its files cannot be compared with the log.

        Until the verifier is at the end of the log, a timestamp ahead of it need not be ahead of the log.
        """
        timestamp = await self._workers.run(self._served.read, TIMESTAMP)
        version, head = served_version(timestamp), self._follower.head.number
        is_ahead = version > head and not at_end
        published = await self._store.run(load_publication, version)
        difference = None if is_ahead else await self._examine_timestamp(timestamp)
        if difference is not None or is_ahead or version >= head:
            self._behind_since = None
        else:
            self._behind_since = now if self._behind_since is None else self._behind_since
            if now - self._behind_since > self._patience.delay_seconds:
                difference = await self._age(timestamp)
        if difference is not None:
            await self._watch.differs(difference)
        elif published is not None:
            await self._watch.is_right([TIMESTAMP])
        return version if published is not None or is_ahead else 0

    async def _examine_timestamp(self, timestamp: bytes | None) -> Difference | None:
        """The difference of a served timestamp that is not the log's. Before the first publication, anything may be."""
        finding = await self._examiner.examine_timestamp(timestamp)
        if timestamp is not None and served_version(timestamp) == 0 and self._follower.head.number > 0:
            finding = await self._examiner.examine(TIMESTAMP, timestamp)
        return None if finding is None else Difference.found(TIMESTAMP, "differs", finding)

    async def _age(self, timestamp: bytes | None) -> Difference | None:
        """The difference of a served timestamp that stays behind the log."""
        if timestamp is None:
            return Difference(TIMESTAMP, "missing")
        finding = await self._examiner.age(timestamp)
        return None if finding is None else Difference.found(TIMESTAMP, "differs", finding)
