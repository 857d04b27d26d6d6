"""Kafka topics as a ledger of record needs them: created so, and refused if they have drifted.

Records are never compacted and never expire. A lagging replica never becomes the leader. With three replicas, a record
is appended when two have it. Rights are set elsewhere: applications should have no right to delete or alter topics or
to delete records, and the cluster should not auto-create topics.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from ledger.logs import LogSettingsError, LogUnavailableError
from ledger.logs.kafka.clients import Access, stop
from ledger.logs.kafka.refusals import SEE_RIGHTS, Security, describe, principal, refuse

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
    accepts_used: bool = False,
) -> None:
    """Create the two topics of a ledger. An existing topic is used if it is empty and has the right settings.

    Args:
        bootstrap_servers: the addresses of brokers.
        events_topic: the topic of events.
        publications_topic: the topic of publications.
        replication_factor: the copies of each topic.
        security: options of aiokafka's clients.
        timeout_seconds: until the cluster counts as away.
        accepts_used: use an existing topic that is not empty, too: a copy of a log goes on.

    Raises:
        LogSettingsError: an existing topic is not empty or has other settings, or the cluster refuses to create one.
        LogUnavailableError: the cluster cannot be reached.
    """
    access = Access(bootstrap_servers, security or {}, timeout_seconds / 3)
    wanted = {events_topic: EVENTS_MAX_BYTES, publications_topic: PUBLICATIONS_MAX_BYTES}
    if len(wanted) != 2:
        raise LogSettingsError(f"events and publications need two topics, but both are called {events_topic}")
    admin = access.admin()
    try:
        async with asyncio.timeout(timeout_seconds):
            await access.start(admin)
            existing = await _existing(admin, wanted)
            for topic in sorted(existing):
                await _check(admin, access, topic, wanted[topic], replication_factor)
            if not accepts_used:
                await _refuse_used(access, existing)
            missing = {topic: size for topic, size in wanted.items() if topic not in existing}
            await _create(admin, access, missing, replication_factor)
            await _until_ready(admin, wanted.keys())
    except (KafkaError, OSError) as error:
        refuse(error, f"{events_topic} and {publications_topic} at {bootstrap_servers}", access.security, "Describe")
        raise LogUnavailableError(
            f"Kafka at {bootstrap_servers} did not create topics: {describe(error)}. {_CHECK_BROKERS}"
        ) from error
    finally:
        await stop(admin)


async def missing_topics(
    bootstrap_servers: str, topics: Collection[str], security: Security | None = None, *, timeout_seconds: float = 30
) -> list[str]:
    """The topics among these that do not exist, or that this principal may not see.

    Raises:
        LogSettingsError: the cluster refuses this principal.
        LogUnavailableError: the cluster cannot be reached.
    """
    access = Access(bootstrap_servers, security or {}, timeout_seconds / 3)
    admin = access.admin()
    try:
        async with asyncio.timeout(timeout_seconds):
            await access.start(admin)
            return sorted(set(topics) - await _existing(admin, topics))
    except (KafkaError, OSError) as error:
        refuse(error, f"{' and '.join(topics)} at {bootstrap_servers}", access.security, "Describe")
        raise LogUnavailableError(
            f"Kafka at {bootstrap_servers} does not say which topics it has: {describe(error)}. {_CHECK_BROKERS}"
        ) from error
    finally:
        await stop(admin)


async def check_topic(access: Access, topic: str, max_record_bytes: int) -> tuple[str, ...]:
    """Check that a topic is set up as a ledger needs it; return the settings that this principal may not see.

    Raises aiokafka's errors, and:

    Raises:
        LogSettingsError: the topic has other settings.
    """
    admin = access.admin()
    try:
        await access.start(admin)
        return await _check(admin, access, topic, max_record_bytes)
    finally:
        await stop(admin)


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
    """The problems of a topic's settings, in words."""
    problems = []
    if "compact" in settings.get("cleanup.policy", ""):
        problems.append(f"cleanup.policy is {settings['cleanup.policy']}, so records are removed: it must be delete")
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

_CHECK_BROKERS = "Check that its brokers run and can be reached at that address, and check the section [kafka]"


async def _existing(admin: AIOKafkaAdminClient, topics: Collection[str]) -> set[str]:
    """The topics among these that this principal may see."""
    return set(topics) & {topic["topic"] for topic in await admin.describe_topics()}


async def _check(
    admin: AIOKafkaAdminClient, access: Access, topic: str, max_record_bytes: int, replication_factor: int = 0
) -> tuple[str, ...]:
    name = access.name(topic)
    partitions = await _partitions(admin, access, topic)
    if len(partitions) != 1:
        raise LogSettingsError(
            f"{name} has {len(partitions)} partitions, but a total order needs exactly one. A topic never loses "
            "partitions: use another prefix, or delete the topic while it is empty"
        )
    replicas = len(partitions[0]["replicas"])
    if replicas < replication_factor:
        raise LogSettingsError(
            f"{name} has {replicas} of the {replication_factor} copies asked for: delete the topic while it is empty, "
            f"or use `--replication-factor {replicas}`"
        )
    settings = await _describe(admin, topic)
    if settings is None:
        return (f"the settings of {name}: {principal(access.security)} lacks the right DescribeConfigs on it",)
    problems = drift(settings, replicas, max_record_bytes)
    if problems:
        raise LogSettingsError(
            f"{name} is not set up as a ledger of record: {'; '.join(problems)}. Change the settings with "
            'kafka-configs.sh --alter (right AlterConfigs); docs/operators.md, "Kafka", lists them all'
        )
    return tuple(f"{setting} of {name}: not given by the broker" for setting in _CHECKED if setting not in settings)


async def _partitions(admin: AIOKafkaAdminClient, access: Access, topic: str) -> list[dict[str, Any]]:
    """The partitions of a topic.

    Raises:
        LogSettingsError: no topic has that name, or this principal may not see it.
    """
    # By name, since only then a broker reports a missing right; and without auto-creation of the topic.
    asked = MetadataRequest([topic], allow_auto_topic_creation=False)
    (found,) = (await admin._send_request(asked)).to_object()["topics"]  # noqa: SLF001
    error, name = for_code(found["error_code"]), access.name(topic)
    if error is UnknownTopicOrPartitionError:
        raise LogSettingsError(
            f"there is no {name}. Check the prefix in [ledger] log (or --log); for a new ledger, `tuf-ledger init` "
            "creates the topics"
        )
    if error is TopicAuthorizationFailedError:
        raise LogSettingsError(
            f"there is no {name}, or {principal(access.security)} may not see it: the cluster does not say which. "
            f"Create the topics with `tuf-ledger init`; grant Read on both, and Write to append. {SEE_RIGHTS}"
        )
    if error is InvalidTopicError:
        raise LogSettingsError(
            f"{topic!r} is not the name of a topic: use at most 249 letters, digits, '.', '_' and '-'"
        )
    if error is not NoError:
        raise error(topic)
    partitions: list[dict[str, Any]] = found["partitions"]
    return partitions


async def _refuse_used(access: Access, topics: Collection[str]) -> None:
    """Refuse topics to which records were appended, even if the records were deleted since.

    Raises:
        LogSettingsError: a topic was used.
    """
    partitions = [TopicPartition(topic, 0) for topic in sorted(topics)]
    consumer = access.consumer()
    try:
        await access.start(consumer)
        ends = await consumer.end_offsets(partitions) if partitions else {}
    finally:
        await stop(consumer)
    for partition, end in sorted(ends.items()):
        if end > 0:
            raise LogSettingsError(
                f"{access.name(partition.topic)} is not empty, but a new ledger needs empty topics: use another "
                'prefix. To follow the ledger that is there, see docs/operators.md, "A signer, publisher or verifier '
                'on a second machine"'
            )


async def _create(
    admin: AIOKafkaAdminClient, access: Access, wanted: Mapping[str, int], replication_factor: int
) -> None:
    topics = [
        NewTopic(topic, 1, replication_factor, topic_configs=topic_settings(max_bytes, replication_factor))
        for topic, max_bytes in wanted.items()
    ]
    # A trial first, so that one topic is not created without the other.
    for validate_only in (True, False) if topics else ():
        response = await admin.create_topics(topics, validate_only=validate_only)
        for topic, code, message, *_ in sorted(response.topic_errors):  # brokers answer in any order
            if code:
                raise LogSettingsError(_why_not(access, topic, for_code(code), message, replication_factor))


def _why_not(access: Access, topic: str, error: type[KafkaError], message: str | None, replication_factor: int) -> str:
    """Why a topic was not created."""
    name, who = access.name(topic), principal(access.security)
    if error is InvalidReplicationFactorError:
        return (
            f"{name} cannot have {replication_factor} copies ({(message or '').rstrip('.')}). To try things out with "
            "one broker, use `--replication-factor 1`"
        )
    if error in {TopicAuthorizationFailedError, ClusterAuthorizationFailedError}:
        return (
            f"{who} may not create {name}: grant Create on it, or have both topics created as docs/operators.md, "
            '"Kafka", describes. Empty topics are accepted'
        )
    if error is TopicAlreadyExistsError:
        return f"{name} exists, but {who} may not see it: grant Read and Write on it. {SEE_RIGHTS}"
    return f"{name} cannot be created: {message or error.__name__}"


async def _until_ready(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> None:
    """Wait until the asked broker knows the topics and their leaders, a moment after the controller does."""
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
    """The settings of a topic; None if this principal may not see them."""
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
