"""Kafka topics as a ledger of record needs them: made so, and refused when they have drifted.

Nothing is ever compacted or expires, a replica that lags never becomes the leader, and with three replicas a record is
appended when two have it. What a cluster lets its clients do is set elsewhere: applications should have no right to
delete or alter topics, nor to delete records, and topics should not come into being by being mentioned.
"""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)

from ledger.logs import LogSettingsError, LogUnavailableError
from ledger.logs.kafka.clients import Access, Security, describe, stop

EVENTS_MAX_BYTES = 2**20
PUBLICATIONS_MAX_BYTES = 16 * 2**20
"""One publication is one record: 16,384 bins make 2.6 MB."""

POLL_SECONDS = 0.1


async def create_topics(
    bootstrap_servers: str,
    events_topic: str,
    publications_topic: str,
    replication_factor: int,
    security: Security | None = None,
    *,
    timeout_seconds: float = 30,
) -> None:
    """Create the two topics of a ledger, neither of which may exist.

    Raises:
        LogSettingsError: one exists, or the cluster refuses to make them.
        LogUnavailableError: the cluster cannot be reached.
    """
    access = Access(bootstrap_servers, security or {}, timeout_seconds)
    wanted = {events_topic: EVENTS_MAX_BYTES, publications_topic: PUBLICATIONS_MAX_BYTES}
    if len(wanted) != 2:
        raise LogSettingsError(f"events and publications need a topic each, not both {events_topic}")
    admin = access.admin()
    try:
        async with asyncio.timeout(timeout_seconds):
            await access.start(admin)
            existing = sorted(wanted.keys() & {topic["topic"] for topic in await admin.describe_topics()})
            if existing:
                raise LogSettingsError(f"{' and '.join(existing)} at {bootstrap_servers} exists already")
            await _create(admin, wanted, replication_factor)
            await _until_ready(admin, wanted.keys())
    except (KafkaError, OSError) as error:
        raise LogUnavailableError(
            f"Kafka at {bootstrap_servers} did not create topics: {describe(error)}. See that its brokers run, and "
            "check the security options"
        ) from error
    finally:
        await stop(admin)


async def check_topic(access: Access, topic: str, max_record_bytes: int) -> tuple[str, ...]:
    """See that a topic is set up as a ledger needs it; return what this principal is not allowed to see.

    Errors are aiokafka's, and:

    Raises:
        LogSettingsError: it is not.
    """
    name = f"topic {topic} at {access.bootstrap_servers}"
    admin = access.admin()
    try:
        await access.start(admin)
        # All topics, because to ask for one by name may create it, where brokers are so configured.
        found = [each for each in await admin.describe_topics() if each["topic"] == topic]
        if not found:
            raise LogSettingsError(
                f"there is no {name}, or this principal may not see it. `tuf-ledger init` creates the topics"
            )
        partitions = found[0]["partitions"]
        if len(partitions) != 1:
            raise LogSettingsError(f"{name} has {len(partitions)} partitions: a total order needs exactly one")
        settings = await _describe(admin, topic)
    finally:
        await stop(admin)
    if settings is None:
        return (f"the settings of {name}: this principal may not describe them",)
    problems = drift(settings, len(partitions[0]["replicas"]), max_record_bytes)
    if problems:
        raise LogSettingsError(f"{name} is not set up as a ledger of record: {'; '.join(problems)}")
    return tuple(f"{setting} of {name}: the broker does not tell" for setting in _CHECKED if setting not in settings)


def topic_settings(max_bytes: int, replication_factor: int) -> dict[str, str]:
    """The settings of a topic that is a ledger of record."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": "2" if replication_factor >= 3 else "1",
        "max.message.bytes": str(max_bytes),
    }


def drift(settings: Mapping[str, str], replicas: int, max_record_bytes: int) -> list[str]:
    """What is wrong with a topic's settings, in words."""
    problems = []
    if "compact" in settings.get("cleanup.policy", ""):
        problems.append(f"cleanup.policy is {settings['cleanup.policy']}, which removes records: it must be delete")
    problems += [
        f"{setting} is {settings[setting]}, so old records expire: it must be -1"
        for setting in ("retention.ms", "retention.bytes")
        if settings.get(setting, "-1") != "-1"
    ]
    if settings.get("unclean.leader.election.enable", "false") != "false":
        problems.append("unclean.leader.election.enable is true, so confirmed records can vanish: it must be false")
    if replicas >= 3 and int(settings.get("min.insync.replicas", "2")) < 2:
        problems.append(f"min.insync.replicas is below 2, so the loss of one of {replicas} brokers can lose records")
    size = int(settings.get("max.message.bytes", max_record_bytes))
    if size < max_record_bytes:
        problems.append(f"max.message.bytes is {size}: it must be {max_record_bytes} or more")
    return problems


_CHECKED = topic_settings(0, 0).keys()


async def _create(admin: AIOKafkaAdminClient, wanted: Mapping[str, int], replication_factor: int) -> None:
    topics = [
        NewTopic(topic, 1, replication_factor, topic_configs=topic_settings(max_bytes, replication_factor))
        for topic, max_bytes in wanted.items()
    ]
    # Tried first, so that one is not left without the other.
    for validate_only in (True, False):
        response = await admin.create_topics(topics, validate_only=validate_only)
        for topic, code, message, *_ in response.topic_errors:
            if code:
                raise LogSettingsError(f"topic {topic} cannot be created: {message or for_code(code).__name__}")


async def _until_ready(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> None:
    """Wait until the broker asked knows the topics and who leads them: it learns that a moment after the controller."""
    while True:
        ready = {
            found["topic"]
            for found in await admin.describe_topics()
            if found["partitions"] and all(partition["leader"] >= 0 for partition in found["partitions"])
        }
        if ready.issuperset(topics):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _describe(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str] | None:
    """The settings of a topic; None if this principal may not know them."""
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = {}
    for response in responses:
        for code, message, _, _, entries in response.resources:
            if code in {TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno}:
                return None
            if code:
                raise for_code(code)(message)
            settings.update({entry[0]: entry[1] for entry in entries})
    return settings
