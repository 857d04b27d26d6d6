"""Verification from the beginning: replay everything, trust nothing, compare with the served files."""

from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import sha256
from typing import NamedTuple

from consumers.context import Context
from consumers.follow.follower import Follower
from consumers.follow.replayed import replayed
from consumers.render.outlets import FileListOutlet, served_version
from consumers.verify.comparing import Difference, compare, known_files, reachable, unknown_files
from consumers.work.workers import Workers, run_each
from ledger.state.store import Store
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP, is_plain_page, metadata_path
from schemas.errors import NegativeAnswerError


class Verified(NamedTuple):
    """The result of a verification. `anchored` says whether the caller's own root was found on the log."""

    ledger: str
    first: int
    last: int
    size: int
    publications: int
    rejected: int
    anchored: bool
    served: int | None
    differences: list[Difference]


class Wanted(NamedTuple):
    """The options of a verification: the publications, the trusted root, and the served files."""

    first: int | None
    last: int | None
    root: bytes | None
    served: ServedFiles | None
    paths: Callable[[], Iterable[str]] | None
    files: bool


async def verify(context: Context, wanted: Wanted, report: Callable[[int, int], None]) -> Verified:
    """Replay the logs and recompute every publication's payloads, digests and signatures.

    Args:
        context: the ledger; only its logs are used.
        wanted: what to verify.
        report: called with the numbers of replayed events and of all events.

    Raises:
        NegativeAnswerError: the root is not on the log, or the publication does not exist.
        DivergenceError, LogError …: see `Follower.step`; the log does not verify.
    """
    outlet = FileListOutlet()
    async with replayed(context, outlet) as replay:
        return await _Verification(*replay, outlet, wanted).run(report)


class _Verification:
    def __init__(
        self, follower: Follower, store: Store, workers: Workers, outlet: FileListOutlet, wanted: Wanted
    ) -> None:
        self._follower = follower
        self._store = store
        self._workers = workers
        self._outlet = outlet
        self._wanted = wanted
        self._differences: list[Difference] = []
        self._newer: dict[str, set[str | None]] = {}
        """Of replaced paths, the digests that publications after the served one gave them; None: the file went."""

    async def run(self, report: Callable[[int, int], None]) -> Verified:
        follower, wanted = self._follower, self._wanted
        end = await follower.tail.read_on()
        report(0, end.size)
        version = await self._served_version()
        if wanted.first is not None:
            first = wanted.first
            await follower.skip(lambda claim: claim.number < first)
        compared = version is None or await self._compare(version)
        async for _ in self._follow(version):
            report(follower.head.size, end.size)
            compared = compared or await self._compare(version)
        self._check_range()
        await self._check_root()
        if version is not None:
            await self._finish_comparison(version, compared=compared)
        counts = {(log, verdict): count for log, verdict, count in await self._store.count_judged()}
        return Verified(
            ledger=follower.ledger.digest,
            first=wanted.first or 1,
            last=follower.head.number,
            size=follower.head.size,
            publications=await self._store.count_publications(),
            rejected=sum(count for (_, verdict), count in counts.items() if verdict == "rejected"),
            anchored=wanted.root is not None,
            served=version,
            differences=sorted(set(self._differences)),
        )

    async def _follow(self, version: int | None) -> AsyncIterator[None]:
        """Follow to where the log ends now: beside a publisher that is as fast, its end would never come."""
        count = await self._follower.count_records()
        while self._follower.next_record < count and await self._step(version):
            yield

    async def _step(self, version: int | None) -> bool:
        """Follow one record, and remember its changes of files."""
        last = self._wanted.last
        if not await self._follower.step(lambda claim: last is None or claim.number <= last):
            return False
        rows = self._outlet.take()
        await self._store.save_files(rows)
        for path, digest, number in rows:
            if version is not None and number > version:
                if is_plain_page(path):
                    self._newer.setdefault(path, set()).add(digest or None)
                elif path == metadata_path("timestamp", number):
                    self._newer.setdefault(TIMESTAMP, set()).add(digest)
        return True

    async def _served_version(self) -> int | None:
        if self._wanted.served is None:
            return None
        timestamp = await self._workers.run(self._wanted.served.read, TIMESTAMP)
        if timestamp is None:
            self._differences.append(Difference(TIMESTAMP, "missing"))
        elif served_version(timestamp) == 0:
            self._differences.append(Difference(TIMESTAMP, "differs", "it cannot be read as a timestamp"))
        return served_version(timestamp)

    async def _compare(self, version: int | None) -> bool:
        """Compare all reachable files, if the replay is at the served publication."""
        served = self._wanted.served
        if served is None or version != self._follower.head.number:
            return False
        async for expected in reachable(self._follower, self._store, files=self._wanted.files):
            self._differences.extend(await compare(served, expected, self._workers))
        return True

    async def _finish_comparison(self, version: int, *, compared: bool) -> None:
        wanted = self._wanted
        if not compared and version:
            problem = f"version {version} is none of the publications that were verified"
            self._differences.append(Difference(TIMESTAMP, "differs", problem))
        if wanted.served is None:
            return
        listed = wanted.paths
        if listed is not None:
            await self._look_for_unknown(wanted.served, await self._workers.run(lambda: list(listed())), version)
        await self._settle(wanted.served, version)

    async def _look_for_unknown(self, served: ServedFiles, paths: list[str], version: int) -> None:
        """Find served files unknown to the log, after reading on: listed files may be on the log by now."""
        async for _ in self._follow(version):
            pass
        await known_files(self._store)
        files = self._wanted.files
        async for difference in unknown_files(served, paths, self._store, self._workers, number=version, files=files):
            if self._wanted.first is None or difference.problem != "unknown":
                self._differences.append(difference)

    async def _settle(self, served: ServedFiles, version: int) -> None:
        """Drop differences of files that a later publication replaced during the comparison.

        A publisher only places files that are already on the log. So the files are hashed again, and then the log is
        read on: it has every version that may be served.
        """
        doubtful = {each.path for each in self._differences if each.path == TIMESTAMP or is_plain_page(each.path)}
        paths = sorted(doubtful)
        found = dict(zip(paths, await run_each(self._workers, served.digest, paths), strict=True))
        async for _ in self._follow(version):
            pass
        self._differences = [
            each
            for each in self._differences
            if each.path not in found or found[each.path] not in self._newer.get(each.path, ())
        ]

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
        roots = [file for _, role, _, file in await self._store.load_ceremonies() if role == "root"]
        if root not in roots:
            raise NegativeAnswerError(
                f"the given root (SHA-256 {sha256(root).hexdigest()}) is not on this log. The log is another ledger's, "
                "or its first record was replaced"
            )
