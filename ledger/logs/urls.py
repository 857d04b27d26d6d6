"""How a URL names the two logs of a ledger, and opening the one for events."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.config import ConfigError, KafkaSection
from ledger.logs import Log, Logs

# aiokafka takes a third of a second to import.
if TYPE_CHECKING:
    from ledger.logs.kafka.log import KafkaLog

KAFKA_SCHEME = "kafka://"
SQLITE_SCHEME = "sqlite:"
DEFAULT_PREFIX = "tuf-ledger"


class Topics(NamedTuple):
    """The parts of a `kafka:` URL."""

    servers: str
    events: str
    publications: str


def logs_at(url: str, folder: Path, kafka: KafkaSection, warn: Callable[[str], None]) -> Logs:
    """The two logs, not opened.

    Args:
        url: `sqlite:FOLDER` or `kafka://HOST:PORT[,HOST:PORT…]/PREFIX`.
        folder: the folder that a relative FOLDER is in.
        kafka: how to connect to brokers.
        warn: called, in words, for each setting of a topic that could not be checked.

    Raises:
        ConfigError: the URL names no kind of log.
    """
    if url.startswith(SQLITE_SCHEME):
        from ledger.logs.sqlite import SqliteLog  # noqa: PLC0415  # not needed beside a broker

        base = folder / (url.removeprefix(SQLITE_SCHEME).removeprefix("//") or "log")
        return Logs(SqliteLog(base / "events.sqlite"), SqliteLog(base / "publications.sqlite"))
    topics = read_kafka_url(url)
    from ledger.logs.kafka.log import KafkaLog  # noqa: PLC0415
    from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, PUBLICATIONS_MAX_BYTES  # noqa: PLC0415

    security = security_of(kafka)

    def log(topic: str, max_bytes: int) -> "KafkaLog":
        return KafkaLog(
            topics.servers,
            topic,
            security=security,
            max_record_bytes=max_bytes,
            timeout_seconds=kafka.timeout_seconds,
            warn=warn,
        )

    return Logs(log(topics.events, EVENTS_MAX_BYTES), log(topics.publications, PUBLICATIONS_MAX_BYTES))


@asynccontextmanager
async def opened(events: Log, known: tuple[int, int] | None) -> AsyncIterator[Log]:
    """A log, opened; closed at the end.

    Args:
        events: the log, not opened.
        known: the index of a record, and its token: it spares the log from counting records from the start before it
            can append. None: no token is known.
    """
    await events.open()
    try:
        if known is not None:
            events.resume(*known)
        yield events
    finally:
        await events.close()


def absolute_log(url: str) -> str:
    """A log's URL with an absolute SQLite folder, relative to the working directory and not to the ledger's folder."""
    if not url.startswith(SQLITE_SCHEME):
        return url
    return f"{SQLITE_SCHEME}{Path(url.removeprefix(SQLITE_SCHEME).removeprefix('//') or 'log').absolute()}"


def read_kafka_url(url: str) -> Topics:
    """Read `kafka://HOST:PORT[,HOST:PORT…]/PREFIX`.

    Raises:
        ConfigError: the URL has another form.
    """
    servers, _, prefix = url.removeprefix(KAFKA_SCHEME).partition("/")
    prefix = prefix or DEFAULT_PREFIX
    if not url.startswith(KAFKA_SCHEME) or not servers or "@" in servers or "/" in prefix:
        # The message does not repeat the URL: it may hold a password.
        raise ConfigError(
            "a log ([ledger] log, --log, FROM, TO) must be `sqlite:FOLDER` or `kafka://HOST:PORT[,HOST:PORT…]/PREFIX`; "
            "put credentials into the section [kafka]"
        )
    return Topics(servers, f"{prefix}.events", f"{prefix}.publications")


def security_of(kafka: KafkaSection) -> dict[str, Any]:
    """The options of aiokafka's clients.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    security: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if "SASL" in kafka.security_protocol:
        security |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    if "SSL" in kafka.security_protocol:
        try:
            context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
            if kafka.ssl_certfile:
                context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"[kafka] ssl_cafile, ssl_certfile or ssl_keyfile cannot be used: {error}") from error
        security["ssl_context"] = context
    return security
