"""Logs for a world: in memory, and real ones that get what is in memory before anybody reads them."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from ledger.logs import Log, Logs
from ledger.logs.kafka.log import KafkaLog
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, PUBLICATIONS_MAX_BYTES, create_topics
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.logs.sqlite import SqliteLog

Value = bytes | None

on_every_log = pytest.mark.parametrize(
    "real", ["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True
)
"""For tests of a world that has the fixture `real`: the scenario is played on logs of each kind."""


class StrangeLog(MemoryLog):
    """A log in memory, open from the start. `strangers` runs before each append of those who use this port, `watch`
    gets the index from which each read reads.
    """

    def __init__(self, name: str) -> None:
        super().__init__(MemoryRecords(name), read_records=1000)
        self.strangers: Callable[[], Iterable[bytes | None]] = tuple
        self.watch: Callable[[int], object] = lambda _: None
        self._is_open = True

    @property
    def values(self) -> list[bytes | None]:
        return self.records.values

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        self.records.append(*self.strangers())
        return await super().append(values)

    async def read(self, start: int) -> list[bytes | None]:
        self.watch(start)
        return await super().read(start)

    async def close(self) -> None:
        """It stays open: the world has one object for each log."""


class OtherPort:
    """A port in front of another. Contract: `ledger.logs.Log`."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def unchecked(self) -> tuple[str, ...]:
        return self.log.unchecked

    async def open(self) -> None:
        await self.log.open()

    async def close(self) -> None:
        await self.log.close()

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        return await self.log.append(values)

    async def read(self, start: int) -> list[Value]:
        return await self.log.read(start)

    async def wait(self, start: int, timeout_seconds: float) -> None:
        await self.log.wait(start, timeout_seconds)

    async def size(self) -> int:
        return await self.log.size()

    def token(self, index: int) -> int:
        return self.log.token(index)

    def resume(self, index: int, token: int) -> None:
        self.log.resume(index, token)


class LateLog(OtherPort):
    """A log of which a follower sees only the beginning: `seen` records."""

    def __init__(self, log: Log, seen: int) -> None:
        super().__init__(log)
        self.seen = seen

    async def read(self, start: int) -> list[Value]:
        return (await super().read(start))[: max(0, self.seen - start)]

    async def size(self) -> int:
        return min(self.seen, await super().size())


Write = Callable[[Sequence[Value]], Awaitable[object]]


@dataclass
class RealLog:
    """A real log: how it is opened, and how anybody with the right to do so writes to it, whatever it is."""

    open: Callable[[], Log]
    write: Write
    written: int = 0

    async def follow(self, log: StrangeLog) -> None:
        """Write what is in memory, and not yet here."""
        new, self.written = log.values[self.written :], len(log.values)
        if new:
            await self.write(new)


class RealPort(OtherPort):
    """A port of a real log: it gets what is in memory first, and what is appended by this port is in memory, too."""

    def __init__(self, memory: StrangeLog, real: RealLog) -> None:
        super().__init__(real.open())
        self._memory = memory
        self._real = real

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        self._memory.values.extend(self._memory.strangers())
        await self._real.follow(self._memory)
        indices = await super().append(values)
        assert indices[0] == len(self._memory.values)
        self._memory.values.extend(values)
        self._real.written = len(self._memory.values)
        return indices

    async def read(self, start: int) -> list[Value]:
        self._memory.watch(start)
        await self._real.follow(self._memory)
        return await super().read(start)

    async def wait(self, start: int, timeout_seconds: float) -> None:
        await self._real.follow(self._memory)
        await super().wait(start, timeout_seconds)

    async def size(self) -> int:
        await self._real.follow(self._memory)
        return await super().size()


@dataclass
class RealLogs:
    """The two real logs of a ledger."""

    events: RealLog
    publications: RealLog

    def ports(self, events: StrangeLog, publications: StrangeLog) -> Logs:
        """Ports for one reader."""
        return Logs(RealPort(events, self.events), RealPort(publications, self.publications))


async def in_files(folder: Path, stack: AsyncExitStack) -> RealLogs:
    """New logs in SQLite files."""
    found = []
    for name in ("events", "publications"):
        path = folder / f"{name}.sqlite"
        writer = SqliteLog(path)
        await writer.create()
        stack.push_async_callback(writer.close)
        found.append(RealLog(partial(SqliteLog, path), writer.append))
    return RealLogs(*found)


async def on_broker(bootstrap_servers: str, prefix: str, stack: AsyncExitStack) -> RealLogs:
    """New logs on a Kafka broker. Whoever writes there need not be a program of this project."""
    events, publications = f"{prefix}.events", f"{prefix}.publications"
    await create_topics(bootstrap_servers, events, publications, 1)
    producer = await stack.enter_async_context(
        AIOKafkaProducer(bootstrap_servers=bootstrap_servers, max_request_size=PUBLICATIONS_MAX_BYTES)
    )

    async def write(topic: str, values: Sequence[Value]) -> None:
        for sent in [await producer.send(topic, value, key=b"whoever") for value in values]:
            await sent

    def real(topic: str, size: int) -> RealLog:
        return RealLog(partial(KafkaLog, bootstrap_servers, topic, max_record_bytes=size), partial(write, topic))

    return RealLogs(real(events, EVENTS_MAX_BYTES), real(publications, PUBLICATIONS_MAX_BYTES))
