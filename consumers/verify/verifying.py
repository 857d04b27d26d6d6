"""Verification from the beginning: replay everything, trust nothing, compare with the served files."""

from asyncio import sleep
from collections.abc import AsyncIterator
from hashlib import sha256
from time import monotonic
from typing import NamedTuple

from consumers.context import Context
from consumers.follow.examining import Examiner
from consumers.follow.replayed import Replayed, replayed
from consumers.reading.publications import ValidPublication
from consumers.render.outlets import FileListOutlet, NoOutlet, Outlet, served_version
from consumers.verify.amount import Amount
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
from consumers.verify.interrupted import Resume
from consumers.verify.remembering import ServedComparison
from consumers.verify.since import Earlier, check_events, check_publication
from consumers.verify.still_served import still_served
from consumers.work.progress import Report
from consumers.work.workers import run_each
from ledger.clock import SystemClock, from_instant
from ledger.state.comparisons import load_shown
from ledger.state.file import StateFile
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


class VerifyOptions(NamedTuple):
    """The options of a verification: the publications, the trusted root, an earlier time, and the served files."""

    first: int | None
    last: int | None
    root: bytes | None
    served: ServedFiles | None
    files: bool
    since: Earlier | None = None


class _PassedError(Exception):
    """What is served is older than the state: it cannot be compared with it any more."""


async def verify(context: Context, wanted: VerifyOptions, report: Report, resume: Resume | None = None) -> Verified:
    """Replay the logs and recompute every publication's payloads, digests and signatures.

    Args:
        context: the ledger; only its logs are used.
        wanted: what to verify.
        report: called with the amount done and the total (`consumers.verify.amount`).
        resume: where to keep everything, so that an interrupted verification can go on. It is deleted when there is an
            answer.

    Raises:
        NegativeAnswerError: the root is not on the log, the publication does not exist, or what was known earlier was
            rewritten.
        DivergenceError, LogError …: see `Follower.step`; the log does not verify.
    """
    while True:
        comparison, amount = ServedComparison(), Amount(report)
        outlet: Outlet = NoOutlet() if wanted.served is None else FileListOutlet(comparison.save)
        path = None if resume is None else resume.path
        async with replayed(context, outlet, path=path, report=amount.in_batch) as replay:
            if resume is not None:
                await resume.begin(replay.store)
            try:
                verified = await _Verification(context, replay, wanted, comparison, amount).run()
            except _PassedError:
                await replay.store.run(StateFile.delete)
                continue
            except NegativeAnswerError:
                await replay.store.run(StateFile.delete)
                raise
            await replay.store.run(StateFile.delete)
            return verified


class _Verification:
    def __init__(
        self, context: Context, replay: Replayed, wanted: VerifyOptions, comparison: ServedComparison, amount: Amount
    ) -> None:
        self._follower, self._store, self._workers = replay
        self._columns = Columns(*replay, limits=context.limits, report=self._in_window)
        self._wanted = wanted
        self._comparison = comparison
        self._amount = amount
        self._clock = SystemClock()
        self._delay_seconds = context.config.verifier.delay_seconds
        self._examiner = Examiner(self._follower)
        self._differences: list[Difference] = []

    async def run(self) -> Verified:
        follower, wanted = self._follower, self._wanted
        end = await follower.tail.read_known()
        self._amount.in_log(end.size, await follower.count_records())
        if wanted.since is not None and follower.head.number == 0:  # otherwise it was done
            await check_events(wanted.since, follower)
        version = await self._choose_base()
        if wanted.first is not None:
            first = wanted.first
            await follower.skip(lambda claim: claim.number < first)
        self._applied()
        await self._compare()
        async for _ in self._follow():
            self._applied()
            await self._compare()
        if wanted.last is None:
            follower.tail.check_known()
        self._check_range()
        await self._check_root()
        since = None if wanted.since is None else await check_publication(wanted.since, follower)
        if wanted.served is not None:
            await self._finish_comparison(wanted.served)
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

    def _applied(self) -> None:
        """Report progress: a record, or a window, was applied."""
        self._amount.applied(self._follower.head.size, self._follower.next_record)

    def _in_window(self, last: ValidPublication, share: float) -> None:
        self._amount.in_window(last.claim.size, last.record_index + 1, share)

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
        """Follow one record, or many publications: at most up to the one to compare with."""
        last, number = self._wanted.last, self._follower.head.number
        if last is not None and number >= last:
            return False
        ends = [each for each in (last, self._comparison.base) if each is not None and each > number]
        if await self._columns.step_if_far(count, min(ends, default=None)):
            return True
        return await self._follower.step(lambda claim: last is None or claim.number <= last)

    async def _choose_base(self) -> int | None:
        """Choose the publication to compare with: the one that is served."""
        served = self._wanted.served
        if served is None:
            return None
        version = served_version(await self._workers.run(served.read, TIMESTAMP))
        if not await self._comparison.start(self._store, version, self._follower.head.number):
            raise _PassedError
        return self._comparison.base

    async def _compare(self) -> None:
        """Compare all reachable files, if the replay is at the publication to compare with."""
        served, comparison = self._wanted.served, self._comparison
        is_there = 0 < comparison.base == self._follower.head.number
        if served is None or comparison.is_done or not is_there:
            return
        found: list[Difference] = []
        async for expected in reachable(self._follower, self._store, files=self._wanted.files):
            found += await compare(served, expected, self._workers)
        found += await still_served(served, self._store, self._workers)
        await comparison.end(self._store, found)

    async def _finish_comparison(self, served: ServedFiles) -> None:
        comparison = self._comparison
        if not comparison.is_done:
            # The served timestamp leads nowhere. What is there is compared with the newest publication.
            await comparison.begin(self._store, self._follower.head.number)
            await self._compare()
        self._differences = list(comparison.differences)
        listed = served.paths()
        if listed is not None:
            await self._look_for_unknown(served, await self._workers.run(list, listed))
        elif comparison.base != self._follower.head.number:
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
        async for each in unknown_files(served, paths, self._store, self._workers, files=files):
            is_excused = False
            if self._wanted.first is not None and each.problem == "unknown":  # fewer files are known
                is_excused = not await self._store.run(load_shown, [each.path])
            if not is_excused:
                self._differences.append(each)

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
        shown = await self._store.run(load_shown, paths)
        self._differences = [
            each
            for each in self._differences
            if (each.problem != "withheld" or each.path in withheld)
            if (each.problem != "missing" or each.path not in withheld)
            if each.path not in found or (found[each.path] or "") not in shown.get(each.path, ())
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
