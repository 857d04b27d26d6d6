"""What the ledger has of a project, to the end of its log, and what it would make of further events."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec

from consumers.context import Context
from consumers.follow.replayed import replayed
from consumers.produce.appending import Appended, NewEvent, append_in_batches
from consumers.produce.foreseeing import load_judges, routed_values
from consumers.reading.end import prefix_at_end
from consumers.reading.slices import read_slice
from consumers.state.furthest import open_events, open_furthest
from consumers.work.progress import Report, nobody
from ledger.logs import Log, record_is_gone
from ledger.state.aggregates import keys_between
from ledger.state.store import ReadingStore
from projections.index.chunks import Aggregate
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.pages import FileFacts, ProjectHeader, read_facts
from projections.index.upload_times import OWN_TIMES
from projections.log.operations import PROJECT_KEYS, project_key
from projections.log.reading import Routed, read_records
from projections.outcomes import ACCEPTED, Outcome
from projections.roles.authority import Authority
from schemas.errors import NegativeAnswerError

_NAMES_AT_ONCE = 512
_LAST = "project;"


@dataclass(frozen=True, slots=True)
class ProjectOfLedger:
    """A project as of the end of the log: its header, its files by name, removed ones too, and what folding needs."""

    name: str
    header: ProjectHeader
    files: dict[str, FileFacts]
    states: dict[str, Aggregate]
    seen: dict[tuple[str, str], str]


class LedgerSide:
    """The ledger that is imported into. Coroutines of one event loop may share it.

    What is behind the state was indexed when this was opened; what others append since is not seen. The rules judge it
    all the same, when the events are published.
    """

    def __init__(
        self, store: ReadingStore, log: Log, size: int, authority: Authority, unread: dict[str, list[range]]
    ) -> None:
        self.authority = authority
        self._store = store
        self._log = log
        self._size = size
        self._unread = unread
        self._reading = asyncio.Lock()
        self._last_read: tuple[int, Sequence[bytes | None]] = (0, ())

    async def project(self, name: str) -> ProjectOfLedger:
        """A project; one that never existed has the status None."""
        key = project_key(name)
        waiting = await self._waiting(key)
        states, seen = await self._store.run(load_judges, waiting, [key])
        if waiting:
            folded = await asyncio.to_thread(self._fold, states, seen, waiting)
            for change in folded.changes:
                states[change.key] = change.of(states.get(change.key, Aggregate(change.key)))
            seen |= {(each.key, each.id): each.digest for each in folded.seen}
        aggregate = states.get(key, Aggregate(key))
        header = msgspec.msgpack.decode(aggregate.header, type=ProjectHeader) if aggregate.header else ProjectHeader()
        files = {facts.filename: facts for chunk in aggregate.chunks for facts in read_facts(chunk)}
        return ProjectOfLedger(name, header, files, states, seen)

    async def judge(self, project: ProjectOfLedger, values: Sequence[bytes]) -> list[Outcome]:
        """The outcomes of events about a project, if they were appended in this order."""
        items = routed_values(values, self._size)
        rows = [each for each in rows_read_by(items) if each not in project.states]
        states, _ = await self._store.run(load_judges, [], rows)
        folded = await asyncio.to_thread(self._fold, states | project.states, project.seen, items)
        found = {each.index: each.outcome for each in folded.judged}
        return [found.get(self._size + number, ACCEPTED) for number in range(len(values))]

    async def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append events in order."""
        appended: list[Appended] = []
        async with self._reading:
            async for batch in append_in_batches(self._log, events):
                appended.extend(batch)
        return appended

    async def names(self) -> AsyncIterator[str]:
        """The names of all projects, those that were removed too, in no order."""
        last = PROJECT_KEYS
        stored: set[str] = set()
        while keys := await self._store.run(keys_between, last, _LAST, _NAMES_AT_ONCE):
            last = keys[-1]
            for key in keys:
                if key in self._unread:
                    stored.add(key)
                yield key.removeprefix(PROJECT_KEYS)
        for key in sorted(self._unread.keys() - stored):
            yield key.removeprefix(PROJECT_KEYS)

    def _fold(self, states: dict[str, Aggregate], seen: dict[tuple[str, str], str], items: list[Routed]) -> Folded:
        terms = self.authority.terms
        return fold_events(states, seen, items, html=False, terms=terms, times=OWN_TIMES, renders=False)

    async def _waiting(self, key: str) -> list[Routed]:
        """The events about a project that the state has not folded."""
        found: list[Routed] = []
        for run in self._unread.get(key, ()):
            start = run.start
            while start < run.stop:
                values = (await self._read(start))[: run.stop - start]
                found.extend(item for item in read_records(start, values).routed if item.key == key)
                start += len(values)
        return found

    async def _read(self, start: int) -> Sequence[bytes | None]:
        """Records from an index on. Projects that were imported one after the other stand together on the log."""
        async with self._reading:
            first, values = self._last_read
            if not first <= start < first + len(values):
                first, values = self._last_read = start, await self._log.read(start)
            if start - first >= len(values):
                raise record_is_gone(self._log.name, start)
        return values[start - first :]


@asynccontextmanager
async def open_ledger_side(context: Context, report: Report = nobody) -> AsyncIterator[LedgerSide]:
    """Open the ledger. The furthest state of this machine answers; without one the logs are replayed.

    Raises:
        NegativeAnswerError: the ledger has no root yet.
        StoreError: no state on this machine can be used.
        LogError, NotALedgerError, UpgradeNeededError: see there.
    """
    async with AsyncExitStack() as closing:
        furthest = await closing.enter_async_context(open_furthest(context))
        if furthest is None:
            replay = await closing.enter_async_context(replayed(context, report=report))
            await replay.follower.skip()
            store: ReadingStore = replay.store
            shown = replay.follower.head.content_size
        else:
            store, shown = furthest.store, furthest.position.content_size
        end = await prefix_at_end(context)
        if end.authority is None:
            raise NegativeAnswerError("the ledger has no root yet: `tuf-ledger init` makes the first one")
        log = await closing.enter_async_context(open_events(context))
        yield LedgerSide(store, log, end.size, end.authority, await _index(log, shown, end.size))


async def _index(log: Log, start: int, end: int) -> dict[str, list[range]]:
    """Where the events about each project are in a part of the log: runs of indices, since most stand together."""
    found: dict[str, list[range]] = {}
    while start < end and (values := await read_slice(log, start)):
        for item in await asyncio.to_thread(_routed, start, values[: end - start]):
            runs = found.setdefault(item.key, [])
            if runs and runs[-1].stop == item.index:
                runs[-1] = range(runs[-1].start, item.index + 1)
            else:
                runs.append(range(item.index, item.index + 1))
        start += len(values)
    return found


def _routed(start: int, values: Sequence[bytes | None]) -> list[Routed]:
    return [item for item in read_records(start, values).routed if item.key.startswith(PROJECT_KEYS)]
