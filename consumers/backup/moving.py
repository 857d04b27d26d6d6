"""Moving a ledger: both logs are copied into other logs, record by record, and go on from where they were.

A record of the copy is compared with the original, byte by byte, before the next ones are read, whether this run
appended it or one before. So a run that goes on is the same as one that begins, and whatever ended the last one, the
copy is what the original was at an earlier moment. Events are copied before `publications`, and once more after it: a
claim only covers events that are already on the log, so a copy has the events of all its publications.

A log keeps values, and their order. What else a broker keeps of a record (its time, its offset) is not of the log.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from consumers.backup.identity import read_identity
from consumers.context import Context
from consumers.work.alone import alone_in
from ledger.logs import Log
from ledger.logs.sqlite import SqliteLog
from projections.log.merkle import Tree, record_digest
from schemas.errors import DisagreementError, TemporaryError

Report = Callable[[int, int], None]


class CopyConflictError(DisagreementError):
    """A log that is to become a copy of another one is not what that one was: nothing may be appended to it."""


class StillGrowsError(TemporaryError):
    """Records were appended to a log while it was copied."""


class Copied(NamedTuple):
    """What a round of copying did: the ledger, the records that it appended, and the records that both logs have now.

    `root_hash` is the Merkle root (RFC 6962) of the events. `grown` are the records that the original has got
    meanwhile: the copy does not have them yet.
    """

    ledger: str
    appended: dict[str, int]
    sizes: dict[str, int]
    root_hash: str
    grown: int

    @property
    def is_new(self) -> bool:
        """Whether anything was appended."""
        return any(self.appended.values())


class _Pair:
    """One log and its copy. What both have was compared: `tree` is the Merkle tree of it."""

    def __init__(self, original: Log, copy: Log) -> None:
        self.original = original
        self.copy = copy
        self.tree = Tree()
        self.appended = 0

    def check_apart(self) -> None:
        """Check that they are two logs: one that is compared with itself would pass for a copy.

        Raises:
            CopyConflictError: they are the same file.
        """
        files = [Path(log.name).resolve() for log in (self.original, self.copy) if isinstance(log, SqliteLog)]
        if len(files) > len(set(files)):
            raise CopyConflictError(
                f"{self.copy.name} is {self.original.name} itself, and would be no copy of it. Name another place"
            )

    async def compare(self, report: Callable[[], None], *, may_be_ahead: bool) -> None:
        """Compare all that the copy has, or if it may be ahead, all that both have.

        Raises:
            CopyConflictError: another record is there, or more records than the original has.
        """
        while found := await self.copy.read(self.tree.size):
            values = await self.original.read(self.tree.size)
            if not values and may_be_ahead:
                return
            if not values:
                raise CopyConflictError(
                    f"{self.copy.name} is ahead: it has a record {self.tree.size}, and {self.original.name} ends "
                    "before. Is it in use already? Then the other one is the old log. Nothing was appended"
                )
            self._take(values, found)
            report()

    async def append(self, size: int, report: Callable[[], None]) -> None:
        """Append what the copy lacks of the first `size` records, and compare what can be read then.

        Raises:
            CopyConflictError: somebody else appends to the copy.
        """
        values: list[bytes | None] = []
        while values or (values := await self._wanted(size)):
            at = self.tree.size
            found = (await self.copy.read(at))[: len(values)]
            if found:
                values = values[self._take(values, found) :]
                report()
                continue
            indices = await self.copy.append(values)
            if indices != list(range(at, at + len(values))):
                raise CopyConflictError(
                    f"somebody else appends to {self.copy.name}: what belongs at record {at} came to {indices[0]}. "
                    "Find out who it is, and copy to another place: this is no copy any more"
                )
            self.appended += len(values)

    async def rehearse(self, size: int, report: Callable[[], None]) -> None:
        """Count what `append` would append."""
        while values := await self._wanted(size):
            self.tree = self.tree.extend(values)
            self.appended += len(values)
            report()

    async def grown(self) -> int:
        """How many records the original has that the copy lacks."""
        return max(0, await self.original.size() - self.tree.size)

    async def _wanted(self, size: int) -> list[bytes | None]:
        return (await self.original.read(self.tree.size))[: max(0, size - self.tree.size)]

    def _take(self, values: list[bytes | None], found: list[bytes | None]) -> int:
        """Compare the next records, as many as there are of both; return how many these are."""
        count, at = min(len(values), len(found)), self.tree.size
        for index, (value, other) in enumerate(zip(values, found, strict=False), at):
            if value != other:
                why = "it is no copy of this log" if index else "it holds another ledger"
                raise CopyConflictError(
                    f"record {index} of {self.copy.name} (SHA-256 {record_digest(other)}) is not that of "
                    f"{self.original.name} (SHA-256 {record_digest(value)}): {why}. Name another place"
                )
        self.tree = self.tree.extend(values[:count])
        return count


class Move:
    """A ledger that is being moved: the pairs of logs, open and compared."""

    def __init__(self, ledger: str, events: _Pair, publications: _Pair, report: Report, *, rehearses: bool) -> None:
        self.ledger = ledger
        self._events = events
        self._publications = publications
        self._report = report
        self._rehearses = rehearses

    async def go_on(self) -> Copied:
        """Append what the copies lack of what the originals have now.

        Raises:
            CopyConflictError: somebody else appends to a copy.
            LogError: see there.
        """
        records = await self._publications.original.size()
        for pair in (self._events, self._publications, self._events):
            size = records if pair is self._publications else await pair.original.size()
            total = max(size, self._events.tree.size) + records

            def tell(total: int = total) -> None:
                self._report(self._events.tree.size + self._publications.tree.size, total)

            await (pair.rehearse(size, tell) if self._rehearses else pair.append(size, tell))
        pairs = {"events": self._events, "publications": self._publications}
        done = Copied(
            self.ledger,
            {name: pair.appended for name, pair in pairs.items()},
            {name: pair.tree.size for name, pair in pairs.items()},
            self._events.tree.root_hash(),
            await self._events.grown() + await self._publications.grown(),
        )
        self._events.appended = self._publications.appended = 0
        return done

    async def wait(self, seconds: float) -> None:
        """Return when an original may have more records, or after a time."""
        if not await self._publications.grown():
            await self._events.original.wait(self._events.tree.size, seconds)


@asynccontextmanager
async def moving(
    source: Context,
    target: Context,
    replication_factor: int,
    report: Report,
    *,
    rehearses: bool = False,
    keeps_events: bool = False,
) -> AsyncIterator[Move]:
    """Open the logs of a ledger and their copies, and compare all that the copies have. Those that do not exist are
    created after that.

    Args:
        source: where the ledger is.
        target: where the copies are, or will be.
        replication_factor: the copies of each Kafka topic that is created.
        report: called with the number of records that both have, and of all records.
        rehearses: create and append nothing; what is there is compared.
        keeps_events: events that are there and that the original does not have are no conflict: they wait for a
            publication. That a publication is there and not in the original is one, always.

    Raises:
        CopyConflictError: the copies have other records, are ahead, or are the logs themselves.
        InUseError: another process of this machine copies to there.
        LogError, NotALedgerError: see there.
    """
    logs, copies = source.logs(), target.logs()
    events, publications = pairs = [_Pair(logs.events, copies.events), _Pair(logs.publications, copies.publications)]
    for pair in pairs:
        pair.check_apart()
    async with AsyncExitStack() as closing:
        for log in (*logs, *copies):
            closing.push_async_callback(log.close)
        await logs.open()
        ledger = await read_identity(logs.events)
        if not rehearses:
            closing.enter_context(alone_in(_place_of(target), f"copies to {target.config.ledger.log}"))
        missing = await target.missing_logs()
        total = await logs.events.size() + await logs.publications.size()
        for pair in pairs:
            if pair.copy.name not in missing:
                await pair.copy.open()
                may_be_ahead = keeps_events and pair is events
                await pair.compare(
                    lambda: report(sum(each.tree.size for each in pairs), total), may_be_ahead=may_be_ahead
                )
        if missing and not rehearses:
            await target.create_missing_logs(replication_factor)
            for pair in pairs:
                if pair.copy.name in missing:
                    await pair.copy.open()
        yield Move(ledger.digest, events, publications, report, rehearses=rehearses)


def _place_of(target: Context) -> Path:
    """The folder of a lock for a copy: that of its files, or for topics one of this user."""
    events = target.logs().events
    if isinstance(events, SqliteLog):
        return Path(events.name).parent
    return target.cache() / f"copies-{sha256(target.config.ledger.log.encode()).hexdigest()[:16]}"
