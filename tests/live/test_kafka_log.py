"""The Kafka log against a real broker: the contract, and what only Kafka can do to it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import OutOfOrderSequenceNumber

from ledger.logs import LogConflictError, LogSettingsError, LogUnavailableError
from ledger.logs.kafka import log as kafka
from ledger.logs.kafka import reader as kafka_reader
from ledger.logs.kafka.log import KafkaLog
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, PUBLICATIONS_MAX_BYTES, create_topics, topic_settings
from tests.broker import Broker
from tests.contract.test_log_contract import (
    LogContract,
    LogFactory,
    NullAppender,
    numbered,
    read_all,
)
from tests.live.conftest import Topics

pytestmark = pytest.mark.kafka

KafkaOpener = Callable[..., Awaitable[KafkaLog]]
SHORT_SECONDS = 2


class TestKafkaLog(LogContract):
    """The contract, on a publications topic."""

    @pytest.fixture
    def new_log(self, topics: Topics) -> LogFactory:
        return lambda: KafkaLog(
            topics.broker.bootstrap_servers, topics.publications, max_record_bytes=PUBLICATIONS_MAX_BYTES
        )

    @pytest.fixture
    async def append_null(self, topics: Topics) -> AsyncIterator[NullAppender]:
        async with AIOKafkaProducer(bootstrap_servers=topics.broker.bootstrap_servers) as producer:

            async def append() -> None:
                await producer.send_and_wait(topics.publications, key=b"a value or a key", value=None)

            yield append


@pytest.fixture
async def open_kafka(topics: Topics) -> AsyncIterator[KafkaOpener]:
    """Opens logs on the events topic; closes them afterwards."""
    opened = []

    async def open_one(**options: Any) -> KafkaLog:
        log = KafkaLog(topics.broker.bootstrap_servers, topics.events, **options)
        opened.append(log)
        await log.open()
        return log

    yield open_one
    for log in opened:
        await log.close()


@pytest.fixture
async def admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await client.start()
    yield client
    await client.close()


async def replace_topic(admin: AIOKafkaAdminClient, topics: Topics) -> None:
    """Delete the events topic and create it again."""
    await admin.delete_topics([topics.events])
    for _ in range(200):
        if topics.events not in await admin.list_topics():
            break
        await asyncio.sleep(0.05)
    await create_topics(topics.broker.bootstrap_servers, topics.events, f"{topics.publications}.again", 1)


class TestTransactions:
    """Others may write transactionally: their markers take offsets, and are no records."""

    @pytest.fixture
    async def transact(self, topics: Topics) -> AsyncIterator[Callable[..., Awaitable[None]]]:
        async with AIOKafkaProducer(
            bootstrap_servers=topics.broker.bootstrap_servers, transactional_id=topics.events
        ) as producer:

            async def append(*values: bytes, commit: bool = True) -> None:
                await producer.begin_transaction()
                for value in values:
                    await producer.send_and_wait(topics.events, value)
                await (producer.commit_transaction() if commit else producer.abort_transaction())

            yield append

    async def test_indices_are_dense_across_markers(
        self, open_kafka: KafkaOpener, transact: Callable[..., Awaitable[None]]
    ) -> None:
        log = await open_kafka()
        expected: list[bytes | None] = []
        for round_number in range(5):
            await transact(b"t%d" % round_number, b"u%d" % round_number)
            # An aborted record was appended, as every reader can see: it is a record.
            await transact(b"aborted%d" % round_number, commit=False)
            expected += [b"t%d" % round_number, b"u%d" % round_number, b"aborted%d" % round_number]
            if round_number % 2:
                assert await log.append([b"own"]) == [len(expected)]
                expected.append(b"own")
            else:
                assert await log.read(len(expected) - 1) == [b"aborted%d" % round_number]
            assert await log.read(len(expected)) == []
        assert await read_all(log) == expected
        assert await read_all(await open_kafka()) == expected
        assert await log.size() == len(expected)
        assert log.token(len(expected)) > len(expected)

    async def test_every_token_leads_to_its_record(
        self, open_kafka: KafkaOpener, transact: Callable[..., Awaitable[None]]
    ) -> None:
        for number in range(4):
            await transact(b"%d" % number)
        log = await open_kafka()
        values = await read_all(log)
        for index in range(len(values) + 1):
            resumed = await open_kafka()
            resumed.resume(index, log.token(index))
            assert await read_all(resumed, index) == values[index:]
            assert await resumed.append([b"more"]) == [len(values)]
            values.append(b"more")
            assert await read_all(resumed) == values

    async def test_a_marker_does_not_hide_the_end_nor_wake_for_nothing(
        self, open_kafka: KafkaOpener, transact: Callable[..., Awaitable[None]]
    ) -> None:
        log = await open_kafka()
        await transact(b"a")
        assert await log.read(0) == [b"a"]
        assert await log.read(1) == []
        waiting = asyncio.create_task(log.wait(1, 20))
        await asyncio.sleep(0.1)
        await transact(b"b")
        await waiting
        assert await log.read(1) == [b"b"]

    async def test_an_open_transaction_holds_nothing_up(self, topics: Topics, open_kafka: KafkaOpener) -> None:
        log = await open_kafka()
        async with AIOKafkaProducer(
            bootstrap_servers=topics.broker.bootstrap_servers, transactional_id=f"{topics.events}.open"
        ) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topics.events, b"open")
            assert await log.append([b"after"]) == [1]
            assert await read_all(log) == [b"open", b"after"]
            await producer.abort_transaction()
        assert await read_all(await open_kafka()) == [b"open", b"after"]


class TestResuming:
    async def test_a_follower_that_resumes_does_not_read_what_was_before(self, open_kafka: KafkaOpener) -> None:
        log = await open_kafka()
        await log.append(numbered(5000))
        resumed = await open_kafka()
        resumed.resume(4000, log.token(4000))
        assert (await resumed.read(4000))[0] == b"4000"
        assert await resumed.append([b"x"]) == [5000]
        with pytest.raises(ValueError, match="was not read"):
            resumed.token(3999)

    async def test_a_token_that_cannot_be_is_refused(self, open_kafka: KafkaOpener) -> None:
        log = await open_kafka()
        with pytest.raises(LogConflictError):
            log.resume(10, 9)

    async def test_a_token_beyond_the_end_means_that_the_log_has_shrunk(self, open_kafka: KafkaOpener) -> None:
        log = await open_kafka()
        await log.append([b"a", b"b"])
        resumed = await open_kafka()
        resumed.resume(3, 3)
        with pytest.raises(LogConflictError, match="shrunk"):
            await resumed.read(3)
        with pytest.raises(LogConflictError, match="shrunk"):
            await resumed.append([b"c"])
        assert await read_all(log) == [b"a", b"b"]


class TestConflicts:
    """The log is not the one it was."""

    async def test_deleted_records_are_noticed(
        self, topics: Topics, open_kafka: KafkaOpener, admin: AIOKafkaAdminClient
    ) -> None:
        log = await open_kafka()
        await log.append(numbered(10))
        assert len(await read_all(log)) == 10
        await admin.delete_records({TopicPartition(topics.events, 0): RecordsToDelete(4)})
        with pytest.raises(LogConflictError, match="first records are gone"):
            await log.read(10)
        with pytest.raises(LogConflictError, match="first records are gone"):
            await log.append([b"more"])
        with pytest.raises(LogConflictError, match="first records are gone"):
            await open_kafka()

    async def test_a_topic_that_was_replaced_by_a_shorter_one_is_noticed(
        self, topics: Topics, open_kafka: KafkaOpener, admin: AIOKafkaAdminClient
    ) -> None:
        reader, writer, idle = await open_kafka(), await open_kafka(), await open_kafka()
        await writer.append([b"a", b"b", b"c"])
        assert len(await reader.read(0)) == len(await idle.read(0)) == 3
        await replace_topic(admin, topics)
        assert await (await open_kafka()).append([b"z"]) == [0]
        for _ in range(2):
            with pytest.raises(LogConflictError, match="shrunk"):
                await reader.read(3)
        with pytest.raises(LogConflictError, match="shrunk"):
            await writer.append([b"d"])
        await idle.wait(3, 0.1)
        with pytest.raises(LogConflictError, match="shrunk"):
            await idle.read(3)
        assert await read_all(await open_kafka()) == [b"z"]

    async def test_a_topic_that_was_replaced_by_a_longer_one_is_noticed(
        self, topics: Topics, open_kafka: KafkaOpener, admin: AIOKafkaAdminClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a while, or at once where the connection was lost."""
        reader, reconnected, writer = await open_kafka(), await open_kafka(), await open_kafka()
        await writer.append([b"a", b"b", b"c"])
        assert len(await reader.read(0)) == len(await reconnected.read(0)) == 3
        await reconnected.close()
        await replace_topic(admin, topics)
        await (await open_kafka()).append(numbered(10))
        with pytest.raises(LogConflictError, match="another record"):
            await reconnected.open()
        monkeypatch.setattr(kafka_reader, "CHECK_SECONDS", 0)
        with pytest.raises(LogConflictError, match="another record"):
            await reader.read(3)
        with pytest.raises(LogConflictError, match="another record"):
            await reader.read(3)

    async def test_a_log_that_is_the_same_passes_every_check(
        self, open_kafka: KafkaOpener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka_reader, "CHECK_SECONDS", 0)
        log = await open_kafka()
        for number in range(20):
            assert await log.append([b"%d" % number]) == [number]
            assert await log.read(number) == [b"%d" % number]
            assert await log.read(number + 1) == []


class TestBrokenBroker:
    async def test_nothing_is_lost_or_doubled_when_the_broker_is_killed(
        self, broker: Broker, open_kafka: KafkaOpener
    ) -> None:
        writer, reader = await open_kafka(), await open_kafka()
        appended: dict[int, bytes] = {}
        is_over = asyncio.Event()

        async def write() -> int:
            number = 0
            while not is_over.is_set():
                values = [b"%d" % (number + each) for each in range(1 + number % 40)]
                appended.update(zip(await writer.append(values), values, strict=True))
                number += len(values)
            return number

        async def read() -> list[bytes | None]:
            found: list[bytes | None] = []
            while not writing.done() or len(found) < len(appended):
                await reader.wait(len(found), 0.2)
                found += await reader.read(len(found))
            return found

        writing, reading = asyncio.create_task(write()), asyncio.create_task(read())
        for pause_seconds in (0, 1):
            await asyncio.sleep(0.5)
            before = len(appended)
            assert before > 0
            await asyncio.to_thread(broker.restart, pause_seconds)
            for _ in range(400):
                if len(appended) > before + 50:
                    break
                await asyncio.sleep(0.05)
            assert len(appended) > before + 50
        is_over.set()
        count = await writing
        expected = [b"%d" % number for number in range(count)]
        assert appended == dict(enumerate(expected))
        assert await reading == expected
        assert await read_all(await open_kafka()) == expected

    async def test_a_broker_that_is_down_is_unavailable_and_its_return_is_noticed(
        self, broker: Broker, topics: Topics, open_kafka: KafkaOpener
    ) -> None:
        log = await open_kafka(timeout_seconds=SHORT_SECONDS)
        assert await log.append([b"a"]) == [0]
        assert await log.read(0) == [b"a"]
        new = KafkaLog(broker.bootstrap_servers, topics.events, timeout_seconds=SHORT_SECONDS)
        await asyncio.to_thread(broker.kill)
        for call in (lambda: log.append([b"lost"]), lambda: log.read(1), lambda: log.append([b"lost"]), new.open):
            started_at = time.monotonic()
            with pytest.raises(
                LogUnavailableError, match=f"{topics.events} at {broker.bootstrap_servers}.*did not answer"
            ):
                await call()
            assert time.monotonic() - started_at < SHORT_SECONDS + 8
        started_at = time.monotonic()
        await log.wait(1, 0.5)
        assert time.monotonic() - started_at < 8
        await asyncio.to_thread(broker.start)
        assert await log.read(1) == []
        assert await log.append([b"b"]) == [1]
        assert await read_all(log) == [b"a", b"b"]
        await new.open()
        assert await read_all(new) == [b"a", b"b"]
        await new.close()

    async def test_a_broker_that_hangs_is_unavailable_and_doubles_nothing_that_was_confirmed(
        self, broker: Broker, open_kafka: KafkaOpener
    ) -> None:
        writer, reader = (
            await open_kafka(timeout_seconds=SHORT_SECONDS),
            await open_kafka(timeout_seconds=SHORT_SECONDS),
        )
        confirmed: dict[int, bytes] = {}
        doubtful: list[bytes] = []
        for _ in range(2):
            hanging = asyncio.get_running_loop().call_later(0.05 + random.random() / 10, broker.pause)
            while True:
                value = b"%d" % (len(confirmed) + len(doubtful))
                started_at = time.monotonic()
                try:
                    (index,) = await writer.append([value])
                except LogUnavailableError:
                    doubtful.append(value)
                    break
                confirmed[index] = value
            assert time.monotonic() - started_at < SHORT_SECONDS + 8
            with pytest.raises(LogUnavailableError):
                await reader.read(len(confirmed) + len(doubtful))
            hanging.cancel()
            broker.proceed()
            # What was under way when we gave up may still arrive.
            await asyncio.sleep(0.5)
        found = await read_all(reader)
        assert {index: found[index] for index in confirmed} == confirmed
        assert sorted(set(found), key=lambda value: int(value or b"")) == found
        assert set(found) <= {*confirmed.values(), *doubtful}

    async def test_a_client_that_died_is_replaced(self, open_kafka: KafkaOpener) -> None:
        writer, reader = await open_kafka(), await open_kafka(timeout_seconds=SHORT_SECONDS)
        assert reader._reader._consumer is not None
        reader._reader._consumer._fetcher._fetch_task.cancel()
        await writer.append([b"a"])
        with pytest.raises(LogUnavailableError):
            await reader.read(0)
        assert await reader.read(0) == [b"a"]

    async def test_closing_while_the_broker_is_down_takes_a_moment(
        self, broker: Broker, open_kafka: KafkaOpener
    ) -> None:
        log = await open_kafka()
        await log.append([b"a"])
        await asyncio.to_thread(broker.kill)
        appending = asyncio.create_task(log.append([b"b"]))
        await asyncio.sleep(0.5)
        appending.cancel()
        started_at = time.monotonic()
        await asyncio.wait({appending})
        await log.close()
        assert time.monotonic() - started_at < 15
        assert appending.cancelled()


class TestBrokenProducer:
    """The broker refuses a producer for good, or its answer gets lost."""

    async def test_a_producer_out_of_order_is_replaced(self, topics: Topics, open_kafka: KafkaOpener) -> None:
        log = await open_kafka()
        assert await log.append([b"a"]) == [0]
        broken = log._sender._producer
        assert broken is not None
        # As if records had been counted that never arrived. The broker really answers OutOfOrderSequenceNumber.
        broken._txn_manager.increment_sequence_number(TopicPartition(topics.events, 0), 7)
        assert await log.append([b"b", b"c"]) == [1, 2]
        assert log._sender._producer is not broken
        assert await log.append([b"d"]) == [3]
        assert await read_all(log) == [b"a", b"b", b"c", b"d"]

    async def test_only_what_is_missing_is_appended_again(
        self, topics: Topics, open_kafka: KafkaOpener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not persisted, and persisted but reported as failed, in every batch; others write in between."""
        log, other = await open_kafka(), await open_kafka()
        send = log._sender.send
        faults = iter([True, False, False, True, True, False] * 10)

        async def fail(values: list[bytes]) -> int:
            is_persisted = next(faults)
            if is_persisted:
                await send(values)
            await log._sender.give_up()
            await other.append([b"other"])
            if next(faults):
                raise OutOfOrderSequenceNumber
            return await send(values) if not is_persisted else -1

        monkeypatch.setattr(log._sender, "send", fail)
        values = numbered(1500, size=1000)
        await log.append([b"once"])
        indices = await log.append(values)
        found = await read_all(await open_kafka())
        assert [found[index] for index in indices] == values
        assert [value for value in found if value != b"other"] == [b"once", *values]
        assert b"other" in found

    async def test_a_record_is_appended_though_its_like_is_there(
        self, open_kafka: KafkaOpener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only what came after the append began can be its work."""
        log = await open_kafka()
        assert await log.append([b"same"]) == [0]
        send = log._sender.send
        attempts = 0

        async def fail_once(values: list[bytes]) -> int:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise OutOfOrderSequenceNumber
            return await send(values)

        monkeypatch.setattr(log._sender, "send", fail_once)
        assert await log.append([b"same"]) == [1]
        assert await read_all(log) == [b"same", b"same"]

    async def test_a_confirmation_without_the_records_is_not_believed(
        self, open_kafka: KafkaOpener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = await open_kafka(timeout_seconds=SHORT_SECONDS)
        await log.append([b"a"])

        async def lie(values: list[bytes]) -> int:
            return -1

        started_at = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(log._sender, "send", lie)
            patch.setattr(kafka, "LONGEST_RETRY_SECONDS", 0.1)
            with pytest.raises(LogUnavailableError, match="confirmed"):
                await log.append([b"lost"])
        assert time.monotonic() - started_at < SHORT_SECONDS + 8
        assert await log.append([b"b"]) == [1]
        assert await read_all(log) == [b"a", b"b"]

    async def test_a_sequence_that_the_broker_knows_is_not_taken_for_ours(
        self, topics: Topics, open_kafka: KafkaOpener
    ) -> None:
        """The broker answers such a batch with the offset of the one that it has."""
        log = await open_kafka()
        for number in range(4):
            await log.append([b"%d" % number])
        assert log._sender._producer is not None
        log._sender._producer._txn_manager.increment_sequence_number(TopicPartition(topics.events, 0), -2)
        with pytest.raises(LogConflictError, match="appended at 2"):
            await log.append([b"lost"])
        assert len(await read_all(await open_kafka())) == 4


class TestSizes:
    async def test_a_record_that_is_too_large_is_refused_before_anything_is_appended(
        self, open_kafka: KafkaOpener
    ) -> None:
        log = await open_kafka()
        with pytest.raises(LogSettingsError, match="too large"):
            await log.append([b"small", bytes(EVENTS_MAX_BYTES)])
        assert await log.read(0) == []
        assert await log.append([bytes(EVENTS_MAX_BYTES - 128)]) == [0]

    async def test_a_record_that_the_broker_finds_too_large_is_refused(self, topics: Topics) -> None:
        log = KafkaLog(topics.broker.bootstrap_servers, topics.events)
        await log.open()
        log._max_record_bytes = PUBLICATIONS_MAX_BYTES
        with pytest.raises(LogSettingsError, match=r"max\.message\.bytes"):
            await log.append([b"small", bytes(2 * EVENTS_MAX_BYTES), b"behind it"])
        assert await log.append([b"next"]) == [1]
        assert await read_all(log) == [b"small", b"next"]
        await log.close()


class TestSettings:
    """A topic that is not set up as a ledger of record is refused."""

    async def test_the_topics_are_created_as_they_are_checked(self, topics: Topics) -> None:
        for topic, size in ((topics.events, EVENTS_MAX_BYTES), (topics.publications, PUBLICATIONS_MAX_BYTES)):
            log = KafkaLog(topics.broker.bootstrap_servers, topic, max_record_bytes=size)
            await log.open()
            assert log.unchecked == ()
            await log.close()

    @pytest.mark.parametrize(
        ("changed", "partitions", "problem"),
        [
            ({"cleanup.policy": "compact"}, 1, r"cleanup\.policy"),
            ({"cleanup.policy": "compact,delete"}, 1, r"cleanup\.policy"),
            ({"retention.ms": "604800000"}, 1, r"retention\.ms"),
            ({"retention.bytes": "1000000000"}, 1, r"retention\.bytes"),
            ({"unclean.leader.election.enable": "true"}, 1, r"unclean\.leader"),
            ({"max.message.bytes": "1000000"}, 1, r"max\.message\.bytes"),
            ({}, 2, "2 partitions"),
        ],
    )
    async def test_a_topic_that_has_drifted_is_refused(
        self, topics: Topics, admin: AIOKafkaAdminClient, changed: dict[str, str], partitions: int, problem: str
    ) -> None:
        topic = f"{topics.events}.drifted"
        settings = topic_settings(EVENTS_MAX_BYTES, 1) | changed
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
        await asyncio.sleep(0.2)
        log = KafkaLog(topics.broker.bootstrap_servers, topic)
        with pytest.raises(LogSettingsError, match=problem):
            await log.open()
        with pytest.raises(LogUnavailableError, match="not open"):
            await log.read(0)

    async def test_a_topic_with_the_brokers_defaults_is_refused(
        self, topics: Topics, admin: AIOKafkaAdminClient
    ) -> None:
        await admin.create_topics([NewTopic(f"{topics.events}.default", 1, 1)])
        await asyncio.sleep(0.2)
        with pytest.raises(LogSettingsError, match=r"retention\.ms"):
            await KafkaLog(topics.broker.bootstrap_servers, f"{topics.events}.default").open()
