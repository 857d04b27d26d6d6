"""Appending to a topic: batches, each sent once; and appending with the right to write, and with no other."""

import asyncio
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ledger.logs import LogUnavailableError
from ledger.logs.kafka.clients import BATCH_BYTES, Access, stop
from ledger.logs.kafka.refusals import Security, describe, refuse
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES

RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 2.0
RECORD_OVERHEAD_BYTES = 128
"""Upper bound of what Kafka adds to a batch with one record."""


def batches(values: Sequence[bytes | None], limit: int) -> Iterator[list[bytes | None]]:
    """Divide records into Kafka batches of a maximum length; a longer record gets its own batch."""
    batch: list[bytes | None] = []
    size = RECORD_OVERHEAD_BYTES
    for value in values:
        record = len(value or b"") + RECORD_OVERHEAD_BYTES // 2
        if batch and size + record > limit:
            yield batch
            batch, size = [], RECORD_OVERHEAD_BYTES
        batch.append(value)
        size += record
    if batch:
        yield batch


class BatchSender:
    """A producer for a topic of one partition, started when it is needed."""

    def __init__(self, access: Access, topic: str, max_record_bytes: int) -> None:
        self._access = access
        self._topic = topic
        self._max_record_bytes = max_record_bytes
        self._producer: AIOKafkaProducer | None = None

    async def send(self, values: Sequence[bytes | None]) -> int:
        """Append records together, and return the offset of the first. The producer resends them as long as it lives,
        but appends them only once. An offset below 0: they are there, and the broker has forgotten where.

        The producer is given up after an error: it has counted records that were not appended, so every later batch
        would be out of order. It is also given up when the caller stops waiting, so that nothing is appended later on.

        Raises:
            LogSettingsError: the cluster refuses, and will refuse again.
            KafkaError, OSError: all else. The records may have been appended all the same.
        """
        try:
            if self._producer is None:
                producer = self._access.producer(self._max_record_bytes)
                await self._access.start(producer)
                self._producer = producer
            batch = self._producer.create_batch()
            for value in values:
                batch.append(timestamp=None, key=None, value=value)
            if batch.record_count() != len(values):
                raise RuntimeError(f"{len(values)} records do not fit into a batch")
            metadata = await (await self._producer.send_batch(batch, self._topic, partition=0))
        except BaseException as error:
            await self.give_up()
            if isinstance(error, KafkaError):
                refuse(error, self._access.name(self._topic), self._access.security, "Write")
            raise
        offset: int = metadata.offset
        return offset

    async def give_up(self) -> None:
        """Stop the producer, if there is one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop(producer)


class TopicAppender:
    """Appends events to a topic with the right to write alone. Used by one asyncio task at a time.

    It does not learn the indices of its records, since it would have to read the log for them (`KafkaLog.append`).
    The price: records whose confirmation was lost are sent again by a producer that does not know of the first time, so
    they may stand on the log twice. For events that does no harm: the second one has no effect (docs/rules.md).
    """

    def __init__(self, bootstrap_servers: str, topic: str, security: Security, timeout_seconds: float) -> None:
        self._access = Access(bootstrap_servers, security, timeout_seconds / 3)
        self._timeout_seconds = timeout_seconds
        self._sender = BatchSender(self._access, topic, EVENTS_MAX_BYTES)
        self.name = self._access.name(topic)

    async def append(self, values: Sequence[bytes]) -> None:
        """Append events in this order. When it returns, they are durable.

        Raises:
            LogUnavailableError: the cluster does not confirm in time. Some may be on the log all the same.
            LogSettingsError: the cluster refuses, and will refuse again.
        """
        for batch in batches(values, BATCH_BYTES):
            await self._persist(batch)

    async def _persist(self, batch: Sequence[bytes | None]) -> None:
        problem: Exception | None = None
        pause = RETRY_SECONDS
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    try:
                        await self._sender.send(batch)
                    except (KafkaError, OSError) as error:
                        problem = error
                    else:
                        return
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        except TimeoutError as error:
            because = f" ({describe(problem)})" if problem else ""
            raise LogUnavailableError(
                f"{self.name} did not confirm for {self._timeout_seconds:g} s{because}. Append the same events again: "
                "those that are there already will have no effect"
            ) from (problem or error)

    async def close(self) -> None:
        """Disconnect."""
        await self._sender.give_up()
