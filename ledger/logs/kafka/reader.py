"""Reading one Kafka partition: a window of records that moves forward, and the known offsets.

Two clients read. The consumer always has a pending request for the next records. The broker holds it back until records
come, and answers nothing else on that connection meanwhile. So a second client, the probe, asks questions: where the
log ends, and which record is at an offset.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from ledger.logs import READ_BYTES, LogConflictError, LogUnavailableError
from ledger.logs.kafka.clients import FETCH_BYTES, LONG_POLL_MILLISECONDS, Access, stop
from ledger.logs.kafka.offsets import Offsets

POLL_RECORDS = 512
"""Number of records to decode at once: aiokafka does that on the event loop, at about 4 µs each. (Measured by
`benchmarks.kafka`: 2,048 and more are read no faster, rather slower.)"""

POLL_SECONDS = 0.5
WINDOW_BYTES = 64 * 2**20
"""Maximum length of the window of records read ahead; further records are read again later."""

CHECK_SECONDS = 30
"""How often the last known record is compared. A replaced topic can go unnoticed for this long."""


class Stored(NamedTuple):
    """A record and its offset."""

    offset: int
    value: bytes | None


class KafkaReader:
    """Records of one partition by index, read forward. Errors are aiokafka's, and the port's `LogConflictError`.

    An interrupted call leaves the reader consistent: records enter the window and are counted in one step.
    """

    def __init__(self, access: Access, topic: str, name: str, progress: Callable[[], None]) -> None:
        self.offsets = Offsets()
        self._access = access
        self._partition = TopicPartition(topic, 0)
        self._name = name
        self._progress = progress
        self._window: deque[bytes | None] = deque()
        self._window_bytes = 0
        self._head = 0
        self._next_offset = 0
        self._last: Stored | None = None
        self._checked_at = 0.0
        self._consumer: AIOKafkaConsumer | None = None
        self._probe: AIOKafkaConsumer | None = None

    # Connecting

    async def connect(self) -> None:
        """Connect, unless connected. A new connection first checks that the log is still the one that was read."""
        if self._consumer is not None and self._probe is not None:
            return
        await self.disconnect()
        await self._connect_probe()
        await self._check_end()
        await self._compare_last()
        consumer = self._access.consumer(
            fetch_max_wait_ms=LONG_POLL_MILLISECONDS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        await self._access.start(consumer)
        consumer.assign([self._partition])
        consumer.seek(self._partition, self._next_offset)
        self._consumer = consumer

    async def disconnect(self) -> None:
        """Close the connections; known offsets and the window stay."""
        consumers, self._consumer, self._probe = (self._consumer, self._probe), None, None
        await asyncio.gather(*[stop(consumer) for consumer in consumers if consumer is not None])

    async def _connect_probe(self) -> None:
        if self._probe is not None:
            await stop(self._probe)
            self._probe = None
        # The probe only asks for existing records, so waiting gains nothing.
        probe = self._access.consumer(fetch_max_wait_ms=1, max_partition_fetch_bytes=FETCH_BYTES)
        await self._access.start(probe)
        probe.assign([self._partition])
        probe.seek(self._partition, 0)
        probe.pause(self._partition)
        self._probe = probe

    # Asking

    async def end(self) -> int:
        """The offset where the log ends now."""
        await self.connect()
        return await self._check_end()

    async def size(self) -> int:
        """The number of records, plus the markers of transactions behind the known records."""
        end = await self.end()
        index, offset = self.offsets.end
        return index + end - (max(offset, self._next_offset) if index == self._tail else offset)

    async def find(self, values: Sequence[bytes | None], since: int) -> int | None:
        """The offset of the first of these records, if they are consecutive, as in a batch, at `since` or later."""
        end = await self.end()
        recent: deque[Stored] = deque(maxlen=len(values))
        async with aclosing(self._scan(since, end)) as records:
            async for record in records:
                recent.append(record)
                together = record.offset - recent[0].offset == len(values) - 1 == len(recent) - 1
                if together and record.value == values[-1] and [stored.value for stored in recent] == list(values):
                    return recent[0].offset
        return None

    async def _check_end(self) -> int:
        """The offset where the log ends.

        Raises:
            LogConflictError: the log ends before a record that was read, or has lost its first records.
        """
        begin, end = await self._ask_ends()
        known = max(self._next_offset, self.offsets.end[1])
        if end < known:
            # A broker that has just lost its leadership may answer too low: ask the present leader.
            await self._connect_probe()
            begin, end = await self._ask_ends()
        if begin > 0:
            raise LogConflictError(f"{self._name} begins at offset {begin}: its first records are gone")
        if end < known:
            raise LogConflictError(f"{self._name} has shrunk: it ends at offset {end}, but had records up to {known}")
        return end

    async def _ask_ends(self) -> tuple[int, int]:
        probe = self._opened(self._probe)
        begins, ends = await asyncio.gather(
            probe.beginning_offsets([self._partition]), probe.end_offsets([self._partition])
        )
        return begins[self._partition], ends[self._partition]

    async def _compare_last(self) -> None:
        """Check that the last read record is unchanged at its offset."""
        if self._last is not None:
            async with aclosing(self._scan(self._last.offset, self._last.offset + 1)) as records:
                if await anext(records, None) != self._last:
                    raise LogConflictError(
                        f"{self._name} was replaced: it has another record at offset {self._last.offset} than before"
                    )
        self._checked_at = asyncio.get_running_loop().time()

    async def _scan(self, start: int, end: int) -> AsyncGenerator[Stored, None]:
        """Records between two offsets, without moving the window."""
        probe = self._opened(self._probe)
        probe.seek(self._partition, start)
        probe.resume(self._partition)
        try:
            while start < end:
                for record in await self._poll(probe, POLL_SECONDS):
                    if record.offset < end:
                        yield Stored(record.offset, record.value)
                start = await probe.position(self._partition)
        finally:
            probe.pause(self._partition)

    # Reading

    async def reach(self, start: int) -> bool:
        """Move the window to record `start`; False if the log had no such record at the time of the call."""
        await self.connect()
        if asyncio.get_running_loop().time() > self._checked_at + CHECK_SECONDS:
            await self._check_end()
            await self._compare_last()
        self._aim(start)
        while self._tail <= start:
            behind = (self._opened(self._consumer).highwater(self._partition) or 0) > self._next_offset
            if await self._advance(POLL_SECONDS if behind else 0):
                continue
            if self._next_offset < await self._check_end():
                await self._advance(POLL_SECONDS)
            elif self._tail < start:
                raise LogConflictError(f"{self._name} has shrunk: its size is {self._tail}, and was at least {start}")
            else:
                return False
        self._aim(start)
        while self._window_bytes < READ_BYTES and await self._advance(0):
            pass
        return True

    def take(self) -> list[bytes | None]:
        """Take about `READ_BYTES` of records out of the window, at least one."""
        if self._window_bytes <= 2 * READ_BYTES:
            taken = list(self._window)
            self._head += len(taken)
            self._clear()
            return taken
        taken, size = [self._pop()], 0
        while self._window and size < READ_BYTES:
            taken.append(self._pop())
            size += len(taken[-1] or b"")
        return taken

    async def expect(self, start: int, seconds: float) -> None:
        """Return when record `start` has reached the window, or after a time."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with asyncio.timeout_at(deadline):
            await self.connect()
        self._aim(start)
        while self._tail <= start:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return
            await self._advance(remaining)

    def learn_appended(self, offset: int, values: Sequence[bytes | None]) -> None:
        """Remember records appended at an offset, if they follow the known ones, so that they need not be read back."""
        index, end = self.offsets.end
        if offset == end:
            self.offsets.learn(index, offset, len(values))
            self._last = Stored(offset + len(values) - 1, values[-1])

    async def index_of(self, offset: int) -> int:
        """The index of the record at an offset, learned by reading up to it from the furthest known point."""
        await self.connect()
        known_index, known_offset = self.offsets.end
        if self._tail < known_index and known_offset <= offset:
            self._aim(known_index)
        while (index := self.offsets.index_of(offset)) is None:
            if not await self._advance(POLL_SECONDS) and self._next_offset > offset:
                raise LogConflictError(f"{self._name} lost the record that was appended at offset {offset}")
        return index

    @property
    def _tail(self) -> int:
        """The index of the next record to come into the window."""
        return self._head + len(self._window)

    def _aim(self, start: int) -> None:
        """Make the window begin at record `start`, or at the nearest known point before it."""
        if self._head <= start <= self._tail:
            while self._head < start:
                self._pop()
            return
        index, offset = self.offsets.locate(start)
        if index != self._tail:
            self._clear()
            self._head, self._next_offset = index, offset
            self._opened(self._consumer).seek(self._partition, offset)

    def _clear(self) -> None:
        self._window.clear()
        self._window_bytes = 0

    def _pop(self) -> bytes | None:
        value = self._window.popleft()
        self._window_bytes -= len(value or b"")
        self._head += 1
        return value

    async def _advance(self, seconds: float) -> bool:
        """Read records into the window; False if none came in time."""
        consumer = self._opened(self._consumer)
        records = await self._poll(consumer, seconds)
        if not records:
            # Markers of transactions move the position, too.
            before, self._next_offset = self._next_offset, await consumer.position(self._partition)
            if self._next_offset > before:
                self._progress()
            return False
        self._progress()
        first, last = records[0].offset, records[-1].offset
        if last - first == len(records) - 1:
            self.offsets.learn(self._tail, first, len(records))
        else:
            for index, record in enumerate(records, self._tail):
                self.offsets.learn(index, record.offset)
        self._window.extend(record.value for record in records)
        self._window_bytes += sum(len(record.value or b"") for record in records)
        self._next_offset = last + 1
        self._last = Stored(last, records[-1].value)
        while self._window_bytes > WINDOW_BYTES and len(self._window) > 1:
            self._pop()
        return True

    async def _poll(self, consumer: AIOKafkaConsumer, seconds: float) -> list[Any]:
        try:
            polled = await consumer.getmany(self._partition, timeout_ms=round(seconds * 1000), max_records=POLL_RECORDS)
        except OffsetOutOfRangeError as error:
            raise LogConflictError(
                f"{self._name} has shrunk or was replaced: an offset that was read no longer exists"
            ) from error
        records: list[Any] = polled.get(self._partition, [])
        return records

    def _opened(self, consumer: AIOKafkaConsumer | None) -> AIOKafkaConsumer:
        if consumer is None:
            raise LogUnavailableError(f"{self._name} is not connected")
        return consumer
