"""The log on Kafka: one partition of a real broker, `acks=all`, beside aiokafka's bare clients.

    deploy/with-env --dev python -m benchmarks.kafka [--records 100000] [--singles 1000]

Appending and reading in bulk, with the sizes that the log uses (marked *) and with others; one record at a time; and
one record until another consumer has it. The floor sends and fetches the same bytes in the same sizes, and keeps no
account of them. Needs a JDK and Maven.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median
from time import perf_counter
from typing import Any, Protocol
from unittest.mock import patch

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.generator import generate
from benchmarks.report import Report
from ledger.logs.kafka import clients as kafka_clients
from ledger.logs.kafka import log as kafka
from ledger.logs.kafka import reader as kafka_reader
from ledger.logs.kafka.log import KafkaLog
from ledger.logs.kafka.topics import create_topics
from tests.broker import running_broker

KIB = 2**10
BATCHES_BYTES = (16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, 900 * KIB)
LINGERS_MILLISECONDS = (0, 5, 50)
FETCHES_BYTES = (256 * KIB, 1024 * KIB, 4096 * KIB, 16384 * KIB)
POLLS_RECORDS = (500, 2048, 8192)
WAIT_SECONDS = 30
SETTLE_SECONDS = 0.005
"""Until a consumer's request waits at the broker."""

Append = Callable[[Sequence[bytes]], Awaitable[object]]
Read = Callable[[int], Awaitable[Sequence[object]]]


class Side(Protocol):
    """A way to use a topic: the log's, or that of its floor."""

    def appending(self, topic: str) -> AbstractAsyncContextManager[Append]:
        """Something that appends records in batches, each confirmed before the next is sent."""

    def reading(self, topic: str) -> AbstractAsyncContextManager[Read]:
        """Something that waits for a record, and gives it with those behind it."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="how many are appended, and read, at once")
    parser.add_argument("--singles", type=int, default=1_000, help="how many are appended one by one")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    values = list(generate(1, options.records))
    report = Report("kafka", records=len(values), bytes=sum(map(len, values)), singles=options.singles)
    with running_broker(()) as broker:
        asyncio.run(_measure(broker.bootstrap_servers, values, values[: options.singles], options.repetitions, report))
    report.close()


async def _measure(
    servers: str, values: Sequence[bytes], singles: Sequence[bytes], repetitions: int, report: Report
) -> None:
    log, bare, topics = _Log(servers), _Bare(servers), _topics(servers)

    async def add(name: str, measure: Callable[[Side, str], Awaitable[float]], topic: str = "") -> None:
        """Measure both sides in turns, so that both have the same machine."""
        sides: list[Side] = [bare, log]
        seconds: list[list[float]] = [[], []]
        for _ in range(repetitions):
            for side, found in zip(sides, seconds, strict=True):
                found.append(await measure(side, topic or await anext(topics)))
        report.add(name, seconds[1], floor=seconds[0], per=len(values), unit="records")

    async def append(side: Side, topic: str) -> float:
        return await _append(side, topic, values)

    async def read(side: Side, topic: str) -> float:
        return await _read(side, topic, len(values))

    for size in BATCHES_BYTES:
        ours = " *" if size == kafka_clients.BATCH_BYTES else ""
        with patch.object(kafka_clients, "BATCH_BYTES", size), patch.object(kafka, "BATCH_BYTES", size):
            await add(f"append, batches of {size // KIB:,} KiB{ours}", append)
    for linger in LINGERS_MILLISECONDS:
        sent = [await bare.send(await anext(topics), values, linger) for _ in range(repetitions)]
        report.add(f"bare producer, {linger} ms linger", sent, per=len(values), unit="records")

    topic = await anext(topics)
    async with log.appending(topic) as fill:
        await fill(values)
    ours_reading = (kafka_clients.FETCH_BYTES, kafka_reader.POLL_RECORDS)
    sizes = [(size, ours_reading[1]) for size in FETCHES_BYTES] + [(ours_reading[0], size) for size in POLLS_RECORDS]
    for fetch, poll in dict.fromkeys(sizes):
        ours = " *" if (fetch, poll) == ours_reading else ""
        with (
            patch.object(kafka_clients, "FETCH_BYTES", fetch),
            patch.object(kafka_reader, "FETCH_BYTES", fetch),
            patch.object(kafka_reader, "POLL_RECORDS", poll),
        ):
            await add(f"read, fetching {fetch // KIB:,} KiB, by {poll:,}{ours}", read, topic)

    for name, each in (("append one by one", _append_singly), ("append one until another has it", _pass_on)):
        floor = await each(bare, await anext(topics), singles)
        found = sorted(await each(log, await anext(topics), singles))
        report.add(name, found, floor=median(floor), p99=_p99(found), floor_p99=_p99(floor))


async def _append(side: Side, topic: str, values: Sequence[bytes]) -> float:
    async with side.appending(topic) as append:
        await append(values[:1])
        started = perf_counter()
        await append(values)
        return perf_counter() - started


async def _read(side: Side, topic: str, count: int) -> float:
    async with side.reading(topic) as read:
        started = perf_counter()
        at = 0
        while at < count:
            at += len(await read(at))
        return perf_counter() - started


async def _append_singly(side: Side, topic: str, values: Sequence[bytes]) -> list[float]:
    seconds = []
    async with side.appending(topic) as append:
        await append(values[:1])
        for value in values:
            started = perf_counter()
            await append([value])
            seconds.append(perf_counter() - started)
    return seconds


async def _pass_on(side: Side, topic: str, values: Sequence[bytes]) -> list[float]:
    seconds = []
    async with side.appending(topic) as append, side.reading(topic) as read:
        await append(values[:1])
        at = len(await read(0))
        for value in values:
            reading = asyncio.create_task(_timed(read, at))
            await asyncio.sleep(SETTLE_SECONDS)
            started = perf_counter()
            await append([value])
            found, moment = await reading
            at += found
            seconds.append(moment - started)
    return seconds


async def _timed(read: Read, at: int) -> tuple[int, float]:
    """How many records came, and when."""
    found = len(await read(at))
    return found, perf_counter()


def _p99(seconds: Sequence[float]) -> str:
    return f"{sorted(seconds)[int(len(seconds) * 0.99)] * 1000:.1f} ms"


async def _topics(servers: str) -> AsyncIterator[str]:
    """New topics, set up as the ledger's."""
    number = 0
    while True:
        number += 1
        topic = f"events-{number}"
        await create_topics(servers, topic, f"publications-{number}", 1)
        yield topic


class _Log:
    """The log."""

    def __init__(self, servers: str) -> None:
        self._servers = servers

    @asynccontextmanager
    async def appending(self, topic: str) -> AsyncIterator[Append]:
        async with self._open(topic) as log:
            yield log.append

    @asynccontextmanager
    async def reading(self, topic: str) -> AsyncIterator[Read]:
        async with self._open(topic) as log:

            async def read(at: int) -> Sequence[object]:
                while not (found := await log.read(at)):
                    await log.wait(at, WAIT_SECONDS)
                return found

            yield read

    @asynccontextmanager
    async def _open(self, topic: str) -> AsyncIterator[KafkaLog]:
        log = KafkaLog(self._servers, topic)
        await log.open()
        try:
            yield log
        finally:
            await log.close()


class _Bare:
    """aiokafka's clients, with the sizes that the log has at the moment."""

    def __init__(self, servers: str) -> None:
        self._servers = servers

    @asynccontextmanager
    async def appending(self, topic: str) -> AsyncIterator[Append]:
        async with self._producer() as producer:

            async def append(values: Sequence[bytes]) -> None:
                rest = iter(values)
                value = next(rest, None)
                while value is not None:
                    batch = producer.create_batch()
                    while value is not None and batch.append(timestamp=None, key=None, value=value) is not None:
                        value = next(rest, None)
                    await (await producer.send_batch(batch, topic, partition=0))

            yield append

    @asynccontextmanager
    async def reading(self, topic: str) -> AsyncIterator[Read]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=kafka_clients.FETCH_BYTES,
        )
        await consumer.start()
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])

        async def read(_: int) -> Sequence[object]:
            found = await consumer.getmany(timeout_ms=WAIT_SECONDS * 1000, max_records=kafka_reader.POLL_RECORDS)
            records: Sequence[object] = found.get(partition, ())
            return records

        try:
            yield read
        finally:
            await consumer.stop()

    async def send(self, topic: str, values: Sequence[bytes], linger_milliseconds: int) -> float:
        """Record by record: the producer makes the batches. In seconds."""
        async with self._producer(linger_ms=linger_milliseconds) as producer:
            await producer.send_and_wait(topic, values[0], partition=0)
            started = perf_counter()
            sent = [await producer.send(topic, value, partition=0) for value in values]
            await asyncio.gather(*sent)
            return perf_counter() - started

    @asynccontextmanager
    async def _producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, acks="all", max_batch_size=kafka_clients.BATCH_BYTES, **options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()


if __name__ == "__main__":
    main()
