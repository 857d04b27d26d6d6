"""Verification from the beginning: replay everything, trust nothing, compare with the served files."""

from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from time import monotonic
from typing import NamedTuple

from consumers.context import Context
from consumers.follow.examining import Examiner
from consumers.follow.replayed import Replayed, replayed
from consumers.limits import LIMITS
from consumers.render.outlets import FileListOutlet, served_version
from consumers.verify.columns import Columns
from consumers.verify.comparing import (
    Difference,
    compare,
    examine,
    known_files,
    reachable,
    unknown_files,
    waiting_files,
)
from consumers.verify.since import Earlier, check_events, check_publication
from consumers.verify.still_served import still_served
from consumers.work.workers import run_each
from ledger.clock import Clock, SystemClock, from_instant
from ledger.state.comparisons import load_files, save_files
from ledger.state.publications import count_publications, publication_above
from ledger.state.roles import load_ceremonies
from ledger.state.verdicts import count_judged
from ledger.state.withheld import load_withheld
from ledger.storage import ServedFiles
from projections.metadata.forgeries import Finding
from projections.metadata.paths import TIMESTAMP, is_plain_page
from schemas.errors import NegativeAnswerError

_LOOK_AGAIN_SECONDS = 0.25


class Verified(NamedTuple):
    """The result of a verification.

    `anchored` says whether the caller's own root was found on the log; `since`, up to where nothing was rewritten, if
    an earlier time was given; `advice`, what to do about forgeries. `digest` and `root_hash` are of the last
    publication's record and of the events that it covers: whoever keeps them can prove later that they did not change.
    """

    ledger: str
    first: int
    last: int
    digest: str
    size: int
    root_hash: str
    publications: int
    rejected: int
    anchored: bool
    since: dict[str, int] | None
    served: int | None
    differences: list[Difference]
    advice: list[str]


class Wanted(NamedTuple):
    """The options of a verification: the publications, the trusted root, an earlier time, and the served files."""

    first: int | None
    last: int | None
    root: bytes | None
    served: ServedFiles | None
    files: bool
    since: Earlier | None = None


async def verify(context: Context, wanted: Wanted, report: Callable[[int, int], None]) -> Verified:
    """Replay the logs and recompute every publication's payloads, digests and signatures.

    Args:
        context: the ledger; only its logs are used.
        wanted: what to verify.
        report: called with the numbers of replayed events and of all events.

    Raises:
        NegativeAnswerError: the root is not on the log, the publication does not exist, or what was known earlier was
            rewritten.
        DivergenceError, LogError …: see `Follower.step`; the log does not verify.
    """
    outlet, delay_seconds = FileListOutlet(), context.config.verifier.delay_seconds
    async with replayed(context, outlet) as replay:
        verification = _Verification(replay, outlet, wanted, clock=SystemClock(), delay_seconds=delay_seconds)
        return await verification.run(report)


class _Verification:
    def __init__(
        self, replay: Replayed, outlet: FileListOutlet, wanted: Wanted, *, clock: Clock, delay_seconds: float
    ) -> None:
        self._follower, self._store, self._workers = replay
        self._columns = Columns(*replay)
        self._tried_at = -LIMITS.skip_from
        """The publication after which fewer than `skip_from` could be verified together."""
        self._outlet = outlet
        self._wanted = wanted
        self._clock = clock
        self._delay_seconds = delay_seconds
        self._examiner = Examiner(self._follower)
        self._differences: list[Difference] = []
        self._base: int | None = None
        """The publication that the served files are compared with: the served one, or the last one."""
        self._allowed: dict[str, set[str | None]] = {}
        """Of plain pages that changed since then, all digests from then on; None: the file is not there."""

    async def run(self, report: Callable[[int, int], None]) -> Verified:
        follower, wanted = self._follower, self._wanted
        end = await follower.tail.read_known()
        report(0, end.size)
        if wanted.since is not None:
            await check_events(wanted.since, follower)
        version = self._base = await self._served_version()
        if wanted.first is not None:
            first = wanted.first
            await follower.skip(lambda claim: claim.number < first)
            report(follower.head.size, end.size)
        compared = version is None or await self._compare()
        async for _ in self._follow():
            report(follower.head.size, end.size)
            compared = compared or await self._compare()
        if wanted.last is None:
            follower.tail.check_known()
        self._check_range()
        await self._check_root()
        since = None if wanted.since is None else await check_publication(wanted.since, follower)
        if wanted.served is not None:
            await self._finish_comparison(wanted.served, compared=compared)
        counts = {(log, verdict): count for log, verdict, count in await self._store.run(count_judged)}
        return Verified(
            ledger=follower.ledger.digest,
            first=wanted.first or 1,
            last=follower.head.number,
            digest=follower.head.digest,
            size=follower.head.size,
            root_hash=follower.base.tree.root_hash(),
            publications=await self._store.run(count_publications),
            rejected=sum(count for (_, verdict), count in counts.items() if verdict == "rejected"),
            anchored=wanted.root is not None,
            since=None if since is None else since._asdict(),
            served=version,
            differences=sorted(set(self._differences)),
            advice=await self._advice(),
        )

    async def _advice(self) -> list[str]:
        """What to do about what keys of the ledger signed and the log does not have."""
        findings = [Finding(each.finding, each.detail, each.keyids) for each in self._differences if each.finding]
        serious = [each for each in findings if each.kind in {"forged", "offline"}]
        return sorted({await self._examiner.advice(each) for each in serious})

    async def _follow(self) -> AsyncIterator[None]:
        """Follow to where the log ends now: beside a publisher that is as fast, its end would never come."""
        count = await self._follower.count_records()
        while self._follower.next_record < count and await self._step(count):
            yield

    async def _step(self, count: int) -> bool:
        """Follow one record, or many publications, and remember their changes of files."""
        last = self._wanted.last
        if await self._step_over(count):
            self._outlet.take()  # it has those of the last one
            rows = self._columns.take()
        elif await self._follower.step(lambda claim: last is None or claim.number <= last):
            rows = self._outlet.take()
        else:
            return False
        base = self._base
        if base:  # a timestamp that cannot be read leads nowhere
            await self._allow([(path, digest) for path, digest, number in rows if number > base])
        if self._wanted.served is not None:
            await self._store.run(save_files, rows)
        return True

    async def _step_over(self, count: int) -> bool:
        """Verify many publications together, at most up to the one to compare with, if that many are unread."""
        number, unread = self._follower.head.number, count - self._follower.next_record
        end = min(
            (each for each in (self._wanted.last, self._base) if each is not None and each > number), default=None
        )
        many = unread // 2 if end is None else min(unread // 2, end - number)  # each has a claim and a publication
        if number == 0 or many < LIMITS.skip_from or number < self._tried_at + LIMITS.skip_from:
            return False
        if await self._columns.step(lambda claim: end is None or claim.number <= end):
            return True
        self._tried_at = number
        return False

    async def _allow(self, changes: Sequence[tuple[str, str]]) -> None:
        """Remember what plain pages were and have become: a publisher may be anywhere between."""
        pages = [(path, digest) for path, digest in changes if is_plain_page(path)]
        new = [path for path, _ in pages if path not in self._allowed]
        before = {path: digest for path, digest, _ in await self._store.run(load_files, new)} if new else {}
        self._allowed.update({path: {before.get(path) or None} for path in new})
        for path, digest in pages:
            self._allowed[path].add(digest or None)

    async def _served_version(self) -> int | None:
        served = self._wanted.served
        return None if served is None else served_version(await self._workers.run(served.read, TIMESTAMP))

    async def _compare(self) -> bool:
        """Compare all reachable files, if the replay is at the publication to compare with."""
        served = self._wanted.served
        if served is None or not self._base or self._base != self._follower.head.number:
            return False
        async for expected in reachable(self._follower, self._store, files=self._wanted.files):
            self._differences.extend(await compare(served, expected, self._workers))
        for each in await still_served(served, self._store, self._workers):
            self._differences.append(each)
            self._allowed.setdefault(each.path, set()).add(None)  # a publisher may just be about to take it out
        return True

    async def _finish_comparison(self, served: ServedFiles, *, compared: bool) -> None:
        if not compared:
            # The served timestamp leads nowhere. What is there is compared with the newest publication.
            self._base = self._follower.head.number
            self._allowed.clear()
            await self._compare()
        listed = served.paths()
        if listed is not None:
            await self._look_for_unknown(served, await self._workers.run(list, listed))
        elif self._base != self._follower.head.number:
            await self._look_for_later(served)
        await self._settle(served)
        if any(each.path == TIMESTAMP for each in self._differences):
            # No publisher is just about to take out what was withheld since: an old timestamp must not hide it.
            self._differences.extend(await still_served(served, self._store, self._workers))
        self._differences = await examine(served, self._differences, self._examiner, self._workers)

    async def _look_for_unknown(self, served: ServedFiles, paths: list[str]) -> None:
        """Find served files unknown to the log, after reading on: listed files may be on the log by now."""
        async for _ in self._follow():
            pass
        await waiting_files(self._follower, self._store)
        await known_files(self._store)
        files = self._wanted.files
        async for difference in unknown_files(served, paths, self._store, self._workers, files=files):
            if self._wanted.first is None or difference.problem != "unknown" or difference.path in self._allowed:
                self._differences.append(difference)

    async def _look_for_later(self, served: ServedFiles) -> None:
        """Compare what later publications made, where it cannot be listed. It need not be there yet."""
        async for expected in reachable(self._follower, self._store, files=self._wanted.files):
            found = await compare(served, expected, self._workers)
            self._differences.extend(each for each in found if each.problem == "differs")

    async def _settle(self, served: ServedFiles) -> None:
        """Drop differences of files that a later publication replaced during the comparison.

        A publisher only places files that are already on the log. So the files are hashed again, and then the log is
        read on: it has every version that may be served.
        """
        doubtful = {each.path for each in self._differences if is_plain_page(each.path) or each.problem == "withheld"}
        paths = sorted(doubtful)
        found = dict(zip(paths, await run_each(self._workers, served.digest, paths), strict=True))
        self._differences = [each for each in self._differences if each.path != TIMESTAMP]
        timestamp = await self._examine_timestamp(served)
        withheld = await self._store.run(load_withheld, [each.path for each in self._differences])
        self._differences = [
            each
            for each in self._differences
            if (each.problem != "withheld" or each.path in withheld)
            if (each.problem != "missing" or each.path not in withheld)
            if each.path not in found or found[each.path] not in self._allowed.get(each.path, ())
        ]
        self._differences.extend(timestamp)

    async def _examine_timestamp(self, served: ServedFiles) -> list[Difference]:
        """The difference of the served timestamp, if it is not the log's or stays behind the log."""
        newest, due = self._follower.head.number, monotonic() + self._delay_seconds
        while True:
            timestamp = await self._workers.run(served.read, TIMESTAMP)
            async for _ in self._follow():
                pass
            if timestamp is None:
                return [Difference(TIMESTAMP, "missing")]
            if served_version(timestamp) == 0:
                finding: Finding | None = await self._examiner.examine(TIMESTAMP, timestamp)
            else:
                finding = await self._examiner.examine_timestamp(timestamp)
            if finding is not None:
                return [Difference.found(TIMESTAMP, "differs", finding)]
            finding = await self._examiner.age(timestamp)
            if finding is None or served_version(timestamp) >= newest:
                return []
            if not await self._may_lag(served_version(timestamp)):
                return [Difference.found(TIMESTAMP, "differs", finding)]
            if monotonic() >= due:
                return []
            await sleep(_LOOK_AGAIN_SECONDS)

    async def _may_lag(self, version: int) -> bool:
        """Whether the first publication above a version is so young that a publisher may still be placing it."""
        later = await self._store.run(publication_above, version)
        if later is None:
            return True
        age = self._clock.now() - from_instant(later.time)
        return age.total_seconds() < self._delay_seconds

    def _check_range(self) -> None:
        wanted, head = self._wanted, self._follower.head
        if head.number == 0 or (wanted.first is not None and head.number < wanted.first):
            raise NegativeAnswerError(
                f"there is nothing to verify: the last publication is number {head.number}"
                if head.number
                else "there is nothing to verify: nothing was published yet"
            )
        if wanted.last is not None and head.number != wanted.last:
            raise NegativeAnswerError(
                f"there is no publication {wanted.last}; the last one before is number {head.number}"
            )

    async def _check_root(self) -> None:
        """Check that the caller's root is on the log: trust in it extends to everything signed from there on."""
        root = self._wanted.root
        if root is None:
            return
        roots = [file for _, role, _, file in await self._store.run(load_ceremonies) if role == "root"]
        if root not in roots:
            raise NegativeAnswerError(
                f"the given root (SHA-256 {sha256(root).hexdigest()}) is not on this log. The log is another ledger's, "
                "or its first record was replaced"
            )
