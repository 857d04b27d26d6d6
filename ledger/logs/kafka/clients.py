"""aiokafka's clients for the Kafka log: setting them up, starting them, and stopping them."""

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from ledger.logs import LogSettingsError
from ledger.logs.kafka.refusals import Security, explain_outage

SECURITY_OPTIONS = frozenset(
    {
        "security_protocol",
        "ssl_context",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
        "sasl_kerberos_service_name",
        "sasl_kerberos_domain_name",
        "sasl_oauth_token_provider",
    }
)

BATCH_BYTES = 512 * 2**10
"""Maximum length of one append request, unless one record is longer: well below any topic's limit (default 1 MiB)."""

FETCH_BYTES = 4 * 2**20
LONG_POLL_MILLISECONDS = 250
STOP_SECONDS = 2.0
CANCEL_SECONDS = 0.1

_stopping: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Access:
    """How to reach a cluster."""

    bootstrap_servers: str
    security: Security = field(default_factory=dict, repr=False)
    request_seconds: float = 10

    def __post_init__(self) -> None:
        unknown = sorted(self.security.keys() - SECURITY_OPTIONS)
        if unknown:
            known = ", ".join(sorted(SECURITY_OPTIONS))
            raise LogSettingsError(f"unknown Kafka security options: {', '.join(unknown)}. Known options: {known}")

    def name(self, topic: str) -> str:
        """The name of a topic for messages."""
        return f"topic {topic} at {self.bootstrap_servers}"

    def consumer(self, **options: Any) -> AIOKafkaConsumer:
        """A consumer without a group that commits nothing and never jumps to another offset on its own."""
        return self._client(
            AIOKafkaConsumer,
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            # Records of open and aborted transactions count like all others: otherwise a transaction that is never
            # ended would stop the log.
            isolation_level="read_uncommitted",
            **options,
        )

    def producer(self, max_record_bytes: int) -> AIOKafkaProducer:
        """A producer that confirms a record when all in-sync replicas have it, and appends it only once."""
        return self._client(
            AIOKafkaProducer,
            acks="all",
            enable_idempotence=True,
            max_batch_size=min(BATCH_BYTES, max_record_bytes),
            max_request_size=max_record_bytes + 2**20,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """A client that describes and creates topics."""
        return self._client(AIOKafkaAdminClient)

    async def start(self, client: Any) -> None:
        """Start one of these clients; after a failure, nothing of it is left running.

        Raises:
            LogSettingsError: the brokers refuse access.
        """
        try:
            await _start(client, self.request_seconds + STOP_SECONDS)
        except KafkaConnectionError as error:
            reasons = await explain_outage(self.bootstrap_servers, self.security, self.request_seconds)
            raise KafkaConnectionError(reasons or str(error)) from error

    def _client(self, kind: Any, **options: Any) -> Any:
        try:
            return kind(
                bootstrap_servers=self.bootstrap_servers,
                request_timeout_ms=round(self.request_seconds * 1000),
                **options,
                **self.security,
            )
        except (ValueError, AssertionError) as error:
            raise LogSettingsError(f"Kafka at {self.bootstrap_servers} cannot be used: {error}") from error


async def _start(client: Any, within_seconds: float) -> None:
    """Start a client of aiokafka.

    The start is not cancelled with the caller: interrupted while it looks for its first broker, it would leave a
    connection open. It ends by itself within `within_seconds`.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except BaseException:
        await _to_its_end(_abandon(client, starting, within_seconds))
        raise


async def stop(client: Any) -> None:
    """Stop a client of aiokafka, started or not. A producer's unsent records are dropped."""
    await _to_its_end(_stop(client))


async def _abandon(client: Any, starting: asyncio.Future[None], within_seconds: float) -> None:
    await _settle(starting, within_seconds)
    await _stop(client)


async def _stop(client: Any) -> None:
    match client:
        case AIOKafkaConsumer():
            await _stop_consumer(client)
        case AIOKafkaProducer():
            await _stop_producer(client)
        case _:
            await _settle(client.close())


async def _stop_consumer(consumer: AIOKafkaConsumer) -> None:
    await _settle(consumer.stop())
    # stop() is cut short when it meets the cancellation of its own fetch, and would leave connections open.
    await _settle(consumer._client.close())  # noqa: SLF001


async def _stop_producer(producer: AIOKafkaProducer) -> None:
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # The first cancellation lets a request that is under way go on, the second does not.
        for _ in range(2):
            sender.cancel()
            await asyncio.wait({sender}, timeout=CANCEL_SECONDS)
    # An idempotent producer never gives up, and its stop() waits for it.
    producer._message_accumulator._batches.clear()  # noqa: SLF001
    producer._message_accumulator._pending_batches.clear()  # noqa: SLF001
    await _settle(producer.stop())
    await _settle(producer.client.close())


async def _settle(ending: Awaitable[None], within_seconds: float = STOP_SECONDS) -> None:
    """Wait for an operation to end, with or without an error."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait({task}, timeout=within_seconds)
    if task.cancel():
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # Retrieved, so that asyncio does not complain; nothing can be done about it.


async def _to_its_end(ending: Coroutine[Any, Any, None]) -> None:
    """Let an operation run to its end even if the caller is cancelled or the time is over."""
    task = asyncio.create_task(ending)
    _stopping.add(task)
    task.add_done_callback(_stopping.discard)
    await asyncio.wait({task}, timeout=2 * STOP_SECONDS)
