"""What the service of an index imports: making events, appending them, and learning what became of them.

docs/publishing.md is the contract, with examples. Importing this module is cheap: clients of Kafka, SQLite and HTTP are
imported by `open_client`, where they are needed.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from ledger.config import Config, KafkaSection, load_config
from schemas import canonical
from schemas.codec import Rejection, decode_event
from schemas.errors import NegativeAnswerError

if TYPE_CHECKING:
    from ledger.http.posting import Gateway
    from ledger.locating import DigestIndex
    from ledger.logs import Log
    from ledger.logs.kafka.sending import TopicAppender
    from ledger.state.shown import ShownEvent

__all__ = ["Client", "KafkaSection", "Receipt", "build_event", "digest_of", "open_client"]

POLL_SECONDS = 0.1
AT_ONCE = 1000
AT_ONCE_BYTES = 4 * 2**20
"""How many events are appended in one transaction or request, and how long they are together."""


def build_event(
    kind: str,
    subject: str,
    data: Mapping[str, Any],
    *,
    source: str,
    actor: str,
    actor_kind: str,
    credential: str | None = None,
    incident: str | None = None,
    event_id: str | None = None,
    time: datetime | str | None = None,
) -> bytes:
    """Make an event, as the bytes that are appended: to append it again later, keep them.

    Args:
        kind: its type, such as `file.uploaded.v1` (docs/rules.md).
        subject: what it is about: of a file or release, its project's normalised name (PEP 503).
        data: the members of `data`; those that are None are left out.
        source: a URI reference that names the service (CloudEvents).
        actor: who acts, as an opaque identifier.
        actor_kind: `user`, `trusted-publisher`, `administrator` or `system`.
        credential: an identifier of the credential that the actor used; never the credential itself.
        incident: the incident that it belongs to.
        event_id: its id, unique for ever; None: a random one.
        time: when it happened; None: now. A text is taken as it is.

    Raises:
        NegativeAnswerError: the event does not fit its schema.
    """
    value: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id or str(uuid4()),
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time if isinstance(time, str) else _to_event_time(time or datetime.now(UTC)),
        "actorkind": actor_kind,
        "actorid": actor,
        "data": {name: each for name, each in data.items() if each is not None},
    }
    optional = {"actorcredential": credential, "incident": incident}
    value |= {name: each for name, each in optional.items() if each is not None}
    encoded = canonical.encode(value)
    _check(encoded, f"{kind} for {subject}")
    return encoded


def digest_of(event: bytes) -> str:
    """The digest of an event: the SHA-256 of its bytes as they are appended."""
    return sha256(event).hexdigest()


class Receipt(NamedTuple):
    """An event that is on the log: its digest, and its index (None: a topic does not tell it)."""

    digest: str
    event: int | None


class Client(ABC):
    """A ledger as a producer sees it; `open_client` makes one. Used by one asyncio task at a time."""

    async def append(self, events: Sequence[bytes]) -> list[Receipt]:
        """Append events in this order. When it returns, they are durable.

        When it raises `TemporaryError`, some may have been appended all the same: append the same bytes again. What is
        there already has no effect a second time.

        Raises:
            NegativeAnswerError: an event does not fit its schema, or the ledger does not take it. Nothing was appended.
            LogError, GatewayError: it cannot be reached, or refuses access.
        """
        for number, event in enumerate(events, 1):
            _check(event, f"event {number} of {len(events)}")
        receipts: list[Receipt] = []
        for some in _portions(events):
            receipts += await self._append(some)
        return receipts

    @abstractmethod
    async def _append(self, events: Sequence[bytes]) -> list[Receipt]:
        """Append at most `AT_ONCE` events, of at most `AT_ONCE_BYTES`."""

    @abstractmethod
    async def outcome(self, digest: str) -> "ShownEvent | None":
        """What became of an event; None: no publication shows it yet.

        Where the same bytes are on the log several times, the answer is about the first that was not rejected.

        Raises:
            NegativeAnswerError: no such event is known, or a topic is asked, which tells no outcomes.
            LedgerError: the ledger cannot be asked.
        """

    async def wait(self, digest: str, timeout_seconds: float) -> "ShownEvent | None":
        """The outcome of an event, as soon as a publication shows it; None: that was not in time.

        Raises:
            LedgerError: as `outcome`.
        """
        deadline = monotonic() + timeout_seconds
        while True:
            found = await self.outcome(digest)
            if found is not None or monotonic() >= deadline:
                return found
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def open_client(
    where: str | Path, *, token: str = "", cafile: str | None = None, kafka: KafkaSection | None = None
) -> AsyncIterator[Client]:
    """Open a ledger for a producer.

    Args:
        where: a ledger's folder; `kafka://HOST:PORT[,HOST:PORT…]/PREFIX`; or the `https:` URL of a gateway.
        token: for a gateway: the producer's token.
        cafile: for a gateway: certificates of authorities to trust instead of the system's.
        kafka: for a topic: how to connect to the brokers.

    Raises:
        ConfigError: there is no ledger in the folder, or the URL cannot be used.
        LogError, GatewayError: it cannot be reached, or refuses access.
    """
    async with AsyncExitStack() as closing:
        text = str(where)
        if text.startswith(("http://", "https://")):
            from ledger.http.posting import Gateway  # noqa: PLC0415

            gateway = Gateway(text, token, cafile=cafile)
            closing.push_async_callback(gateway.close)
            yield _GatewayClient(gateway)
        elif text.startswith("kafka://"):
            from ledger.logs.kafka.sending import TopicAppender  # noqa: PLC0415
            from ledger.logs.urls import read_kafka_url, security_of  # noqa: PLC0415

            topics, section = read_kafka_url(text), kafka or KafkaSection()
            appender = TopicAppender(topics.servers, topics.events, security_of(section), section.timeout_seconds)
            closing.push_async_callback(appender.close)
            yield _TopicClient(appender)
        else:
            yield await _open_folder(closing, Path(where))


class _GatewayClient(Client):
    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    async def _append(self, events: Sequence[bytes]) -> list[Receipt]:
        return [Receipt(each["digest"], each["event"]) for each in await self._gateway.append(events)]

    async def outcome(self, digest: str) -> "ShownEvent | None":
        from ledger.state.shown import ShownEvent  # noqa: PLC0415

        found = await self._gateway.ask(digest)
        if found is None:
            raise _unknown(digest)
        if not found.get("verdict"):
            return None
        return ShownEvent(found["event"], found["verdict"], found["code"], found["why"], found["publication"])


class _TopicClient(Client):
    def __init__(self, appender: "TopicAppender") -> None:
        self._appender = appender

    async def _append(self, events: Sequence[bytes]) -> list[Receipt]:
        await self._appender.append(events)
        return [Receipt(digest_of(each), None) for each in events]

    async def outcome(self, digest: str) -> "ShownEvent | None":
        raise NegativeAnswerError(
            f"{self._appender.name} tells no outcomes: ask a gateway, or a ledger's folder, for {digest}"
        )


class _FolderClient(Client):
    def __init__(self, closing: AsyncExitStack, log: "Log", config: Config, states: Path) -> None:
        self._closing = closing
        self._log = log
        self._config = config
        self._states = states
        self._digests: DigestIndex | None = None

    async def _append(self, events: Sequence[bytes]) -> list[Receipt]:
        indices = await self._log.append(events)
        return [Receipt(digest_of(each), index) for each, index in zip(events, indices, strict=True)]

    async def outcome(self, digest: str) -> "ShownEvent | None":
        from ledger.locating import open_digests, standings_of  # noqa: PLC0415

        if self._digests is None:
            opening = open_digests(self._log, self._config.catalog, self._states)
            self._digests = await self._closing.enter_async_context(opening)
        places = (await self._digests.find([digest])).get(digest)
        if places is None:
            raise _unknown(digest)
        (standing,) = await standings_of(self._states, [places])
        return standing.shown


async def _open_folder(closing: AsyncExitStack, folder: Path) -> Client:
    from ledger.logs.urls import logs_at, opened  # noqa: PLC0415
    from ledger.state.picking import last_known_event  # noqa: PLC0415

    config = load_config(folder)
    states = folder / config.ledger.state
    events = logs_at(config.ledger.log, folder, config.kafka, lambda _: None).events
    log = await closing.enter_async_context(opened(events, await last_known_event(states)))
    return _FolderClient(closing, log, config, states)


def _portions(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    portion: list[bytes] = []
    length = 0
    for event in events:
        if portion and (len(portion) == AT_ONCE or length + len(event) > AT_ONCE_BYTES):
            yield portion
            portion, length = [], 0
        portion.append(event)
        length += len(event)
    if portion:
        yield portion


def _unknown(digest: str) -> NegativeAnswerError:
    return NegativeAnswerError(
        f"no event with the digest {digest} is on the log, or it is an old one: `tuf-ledger run catalog` keeps them all"
    )


def _check(event: bytes, label: str) -> None:
    decoded = decode_event(event)
    if isinstance(decoded, Rejection):
        raise NegativeAnswerError(f"{label}: {explain(decoded)}")


def explain(rejection: Rejection) -> str:
    """Why bytes are no event, for people. A regular expression does not help them."""
    detail = re.sub(r"^Expected `str` matching regex .* - at `\$\.(?:data\.)?(\w+)`$", r"no valid \1", rejection.detail)
    return detail or rejection.code


def _to_event_time(moment: datetime) -> str:
    """Format a time as in events: UTC with six digits of fraction, ending in Z."""
    if moment.tzinfo is None:
        raise NegativeAnswerError("a time without a time zone is not known to be UTC: give it one")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
