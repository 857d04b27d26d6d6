"""aiokafka's clients as the Kafka log uses them: how they are set up, what their errors mean, how they are given up."""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from ledger.logs import LogSettingsError

Security = Mapping[str, Any]
"""Options of aiokafka's clients that say who we are and how we talk: `SECURITY_OPTIONS`."""

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
"""How much one request appends, unless one record is more: well under what any topic takes (1 MiB by default)."""

FETCH_BYTES = 4 * 2**20
LONG_POLL_MILLISECONDS = 250
STOP_SECONDS = 2.0

SETTINGS_ERRORS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
"""Errors that will be the same next time: somebody has to change something."""

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
            raise LogSettingsError(f"unknown Kafka security options {', '.join(unknown)}. There are {known}")

    def consumer(self, **options: Any) -> AIOKafkaConsumer:
        """A consumer without a group that commits nothing and never jumps to another offset on its own."""
        return self._client(
            AIOKafkaConsumer,
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            # Records of open and aborted transactions are records like others: were they waited for or left out, a
            # transaction that nobody ends would stop the log.
            isolation_level="read_uncommitted",
            **options,
        )

    def producer(self, max_record_bytes: int) -> AIOKafkaProducer:
        """A producer that reports a record appended when all replicas in sync have it, and appends it once."""
        return self._client(
            AIOKafkaProducer,
            acks="all",
            enable_idempotence=True,
            max_batch_size=min(BATCH_BYTES, max_record_bytes),
            max_request_size=max_record_bytes + 2**20,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """A client that reads and makes topics."""
        return self._client(AIOKafkaAdminClient)

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


def refuse(error: Exception, name: str) -> None:
    """Raise a settings error where trying again makes no sense.

    Raises:
        LogSettingsError: it makes none.
    """
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        raise LogSettingsError(f"{name} refuses a record for its size: raise max.message.bytes of the topic") from error
    if isinstance(error, SETTINGS_ERRORS):
        raise LogSettingsError(
            f"{name} refuses this principal ({describe(error)}): check its rights and the security options"
        ) from error


def describe(error: BaseException) -> str:
    """An error of aiokafka in few words."""
    return str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}".removesuffix(": ")


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, started or not, in bounded time. Raises nothing but a cancellation."""
    await _within_bounds(_stop_consumer(consumer))


async def stop_producer(producer: AIOKafkaProducer, flush_seconds: float) -> None:
    """Stop a producer, started or not, in bounded time: what it cannot send in `flush_seconds` is given up."""
    await _within_bounds(_stop_producer(producer, flush_seconds), flush_seconds)


async def _stop_consumer(consumer: AIOKafkaConsumer) -> None:
    await _settle(consumer.stop())
    # stop() is cut short when it meets the cancellation of its own fetch, and would leave connections open.
    await _settle(consumer._client.close())  # noqa: SLF001


async def _stop_producer(producer: AIOKafkaProducer, flush_seconds: float) -> None:
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None and not sender.done():
        flushing = asyncio.ensure_future(producer.flush())
        await asyncio.wait({flushing, sender}, timeout=flush_seconds, return_when=asyncio.FIRST_COMPLETED)
        # An idempotent producer tries for ever, and its stop() waits for it. The first cancellation lets a request
        # that is under way end, the second does not.
        for seconds in (flush_seconds, STOP_SECONDS):
            sender.cancel()
            await asyncio.wait({sender}, timeout=seconds)
    producer._message_accumulator.fail_all(KafkaError("given up"))  # noqa: SLF001
    await _settle(producer.stop())
    await _settle(producer.client.close())


async def _settle(ending: Awaitable[None]) -> None:
    """Wait for an end, however it comes."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait({task}, timeout=STOP_SECONDS)
    if not task.cancel() and not task.cancelled():
        task.exception()  # Looked at, so that asyncio does not complain; there is nothing left to do about it.


async def _within_bounds(ending: Coroutine[Any, Any, None], extra_seconds: float = 0) -> None:
    """Run to its end even if whoever waits for it is cancelled; wait only so long."""
    task = asyncio.create_task(ending)
    _stopping.add(task)
    task.add_done_callback(_stopping.discard)
    await asyncio.wait({task}, timeout=2 * STOP_SECONDS + 2 * extra_seconds)
