"""The log on Apache Kafka: a topic of one partition.

Kafka's numbers of records, its offsets, are not dense. They stay inside these modules; the port's opaque token is an
offset. `ledger.logs.kafka.topics` says how a cluster must be set up for a ledger of record.

    LogSettingsError      the topic is missing or has drifted, or access is refused (`ledger.logs.kafka.refusals`)
    LogConflictError      the topic lost records, has shrunk, or was replaced
    LogUnavailableError   everything else, after `timeout_seconds` without progress; the next call tries again
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from aiokafka.errors import KafkaError

from ledger.logs import LogConflictError, LogError, LogSettingsError, LogUnavailableError
from ledger.logs.kafka.clients import BATCH_BYTES, Access
from ledger.logs.kafka.reader import KafkaReader
from ledger.logs.kafka.refusals import Security, describe, refuse
from ledger.logs.kafka.sending import LONGEST_RETRY_SECONDS, RECORD_OVERHEAD_BYTES, RETRY_SECONDS, BatchSender, batches
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, check_topic

TIMEOUT_SECONDS = 30

Answer = TypeVar("Answer")


class KafkaLog:
    """A log in a Kafka topic. Contract: `ledger.logs.Log`.

    `security` holds options of aiokafka's clients (`clients.SECURITY_OPTIONS`). The topic's max.message.bytes must be
    at least `max_record_bytes`. At each opening, `warn` is called, in words, for each setting that this principal may
    not check.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        security: Security | None = None,
        max_record_bytes: int = EVENTS_MAX_BYTES,
        timeout_seconds: float = TIMEOUT_SECONDS,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.unchecked: tuple[str, ...] = ()
        # A request may be sent three times before the log counts as unavailable.
        self._access = Access(bootstrap_servers, security or {}, timeout_seconds / 3)
        self._topic = topic
        self._max_record_bytes = max_record_bytes
        self._timeout_seconds = timeout_seconds
        self._warn = warn
        self._patience: asyncio.Timeout | None = None
        self._reader = KafkaReader(self._access, topic, self.name, self._renew_patience)
        self._sender = BatchSender(self._access, topic, max_record_bytes)
        self._is_open = False

    def __repr__(self) -> str:
        return f"<KafkaLog {self.name}>"

    @property
    def name(self) -> str:
        """The topic and the address of its brokers."""
        return self._access.name(self._topic)

    async def open(self) -> None:
        """Connect, and refuse a topic that is not set up as a ledger of record."""
        self._is_open = True
        try:
            await self._persist(self._check)
        except BaseException:
            await self.close()
            raise
        for each in self.unchecked:
            self._warn(each)

    async def close(self) -> None:
        """Disconnect."""
        self._is_open = False
        await self._sender.give_up()
        await self._reader.disconnect()

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        """Append records batch by batch, each confirmed before the next: only the last records can be missing.

        To find the indices, the log must have been read up to there. If nothing was read and `resume` got no token, the
        first append reads the whole log.

        Raises:
            LogSettingsError: a record is larger than the topic takes (nothing was appended), or the cluster refuses.
        """
        limit = self._max_record_bytes - RECORD_OVERHEAD_BYTES
        largest = max((len(value or b"") for value in values), default=0)
        if largest > limit:
            raise LogSettingsError(
                f"a record of {largest} bytes is too large for {self.name}: the limit is {limit} bytes. Nothing was "
                "appended"
            )
        since = await self._persist(self._reader.end) if values else 0
        appended: list[tuple[int, int]] = []
        for batch in batches(values, min(BATCH_BYTES, self._max_record_bytes)):
            offset = await self._append_batch(batch, since)
            self._reader.learn_appended(offset, batch)
            appended.append((offset, len(batch)))
            since = offset + len(batch)
        indices: list[int] = []
        for offset, count in appended:
            first = await self._persist(partial(self._reader.index_of, offset))
            indices += range(first, first + count)
        return indices

    async def read(self, start: int) -> list[bytes | None]:
        """Read records from the window, or from the known place nearest before `start`."""
        found = await self._persist(partial(self._reader.reach, start))
        return self._reader.take() if found else []

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Wait for the broker to send records. Returns early after a failure: the next `read` reports it."""
        self._refuse_closed()
        try:
            await self._reader.expect(start, timeout_seconds)
        except (LogError, KafkaError, OSError):
            await self._reader.disconnect()

    async def size(self) -> int:
        """The number of records; markers of transactions count until they are read."""
        return await self._persist(self._reader.size)

    def token(self, index: int) -> int:
        """An offset at or after which record `index` is the first.

        Raises:
            ValueError: this object has not read up to that index.
        """
        known, offset = self._reader.offsets.locate(index)
        if known != index:
            raise ValueError(f"{self.name} was not read up to record {index}")
        return offset

    def resume(self, index: int, token: int) -> None:
        """Take it as known that record `index` is the first at or after the offset `token`.

        Raises:
            LogConflictError: that contradicts records that were read.
        """
        self._reader.offsets.anchor(index, token)

    async def _append_batch(self, values: Sequence[bytes | None], since: int) -> int:
        """Append records together, once, and return the offset of the first. The log ended at `since` before."""
        is_doubtful = is_confirmed = False

        async def attempt() -> int:
            nonlocal is_doubtful, is_confirmed
            if is_doubtful:
                found = await self._reader.find(values, since)
                if found is not None:
                    return found
            if is_confirmed:
                raise KafkaError("the broker confirmed records, but they cannot be read back")
            is_doubtful = True
            offset = await self._sender.send(values)
            if offset < 0:
                # An earlier attempt, whose answer was lost, appended this batch; the broker has forgotten its offset.
                is_confirmed = True
                raise KafkaError("the broker confirmed records, but did not give their offset")
            if offset < since:
                raise LogConflictError(
                    f"{self.name} was replaced: it ended at offset {since}, but has now appended at {offset}"
                )
            return offset

        return await self._persist(attempt)

    async def _check(self) -> None:
        self.unchecked = await check_topic(self._access, self._topic, self._max_record_bytes)
        await self._reader.connect()

    async def _persist(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat an attempt until it succeeds or `timeout_seconds` pass without new records."""
        self._refuse_closed()
        problem: Exception | None = None
        pause = RETRY_SECONDS
        try:
            async with asyncio.timeout(self._timeout_seconds) as self._patience:
                while True:
                    try:
                        return await attempt()
                    except (KafkaError, OSError) as error:
                        refuse(error, self.name, self._access.security, "Read")
                        problem = error
                    await self._reader.disconnect()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        except TimeoutError as error:
            await self._reader.disconnect()
            because = f" ({describe(problem)})" if problem else ""
            raise LogUnavailableError(
                f"{self.name} did not answer for {self._timeout_seconds:g} s{because}. Check that its brokers run and "
                "can be reached at that address, and check the section [kafka]"
            ) from (problem or error)
        except LogError:
            # The position may be behind a refused record: the next call begins at the end of the window.
            await self._reader.disconnect()
            raise
        finally:
            self._patience = None

    def _renew_patience(self) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time() + self._timeout_seconds)

    def _refuse_closed(self) -> None:
        if not self._is_open:
            raise LogUnavailableError(f"{self.name} is not open")
