"""What a real broker refuses: each refusal is a message of its own that says what to do, and no outage."""

import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ledger.logs import LogSettingsError, LogUnavailableError
from ledger.logs.kafka.log import KafkaLog
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, create_topics, topic_settings
from tests.broker import USER, USERS, Broker, running_broker
from tests.certificates import Authority
from tests.contract.test_log_contract import read_all
from tests.live.conftest import Topics
from tests.live.rights import grant

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("hung_up")]

SEE_RIGHTS = 'docs/operators.md, "Rights on Kafka", lists the rights of each command and consumer'
PATIENCE_SECONDS = 60
"""Far longer than any refusal takes: a test that waits this long would show an outage."""

Opener = Callable[..., Awaitable[KafkaLog]]


def as_user(name: str = USER, password: str | None = None, mechanism: str = "PLAIN", **more: Any) -> dict[str, Any]:
    """Options of a client with a name and a password."""
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": name,
        "sasl_plain_password": USERS[name] if password is None else password,
    } | more


def over_tls(authority: Path, certificate: Path | None = None, version: ssl.TLSVersion | None = None) -> dict[str, Any]:
    """Options of a client that trusts an authority, and may have a certificate itself."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate)
    if version is not None:
        context.maximum_version = version
    return {"security_protocol": "SSL", "ssl_context": context}


async def refusal(servers: str, topic: str, security: dict[str, Any]) -> str:
    """The message with which a log is refused; each says it the same way, in each of its clients."""
    log = KafkaLog(servers, topic, security=security, timeout_seconds=PATIENCE_SECONDS)
    with pytest.raises(LogSettingsError) as raised:
        await log.open()
    assert raised.value.exit_code == 2
    assert not raised.value.is_retried
    with pytest.raises(LogSettingsError) as created:
        await create_topics(servers, topic, f"{topic}-2", 1, security)
    assert str(created.value) == str(raised.value)
    return str(raised.value)


class TestConnecting:
    """Nothing is asked yet: it is about who we are and how we talk."""

    @pytest.mark.parametrize(
        ("name", "password", "shown"), [(USER, "secret-5cd1", USER), ("nobody", "secret-5cd1", "nobody"), ("", "", "")]
    )
    async def test_a_wrong_user_or_password(
        self, broker: Broker, caplog: pytest.LogCaptureFixture, name: str, password: str, shown: str
    ) -> None:
        for servers, security in (
            (broker.sasl_bootstrap_servers, as_user(name, password)),
            (
                broker.sasl_ssl_bootstrap_servers,
                as_user(name, password, "SCRAM-SHA-512")
                | over_tls(broker.authority.certificate)
                | {"security_protocol": "SASL_SSL"},
            ),
        ):
            assert await refusal(servers, "events", security) == (
                f"Kafka at {servers} refuses the user {shown!r} or the password: check [kafka] sasl_username and "
                "sasl_password (TUF_LEDGER_KAFKA_SASL_PASSWORD)"
            )
        assert "secret-5cd1" not in caplog.text

    async def test_a_password_is_never_shown(self, broker: Broker) -> None:
        log = KafkaLog(broker.sasl_bootstrap_servers, "events", security=as_user(password="secret-5cd1"))
        with pytest.raises(LogSettingsError) as raised:
            await log.open()
        error: BaseException | None = raised.value
        while error is not None:
            assert "secret-5cd1" not in str(error) + repr(error)
            error = error.__cause__ or error.__context__

    async def test_a_mechanism_that_the_broker_has_not(self, broker: Broker) -> None:
        servers = broker.sasl_bootstrap_servers
        assert await refusal(servers, "events", as_user(mechanism="SCRAM-SHA-512")) == (
            f"Kafka at {servers} has no SASL mechanism SCRAM-SHA-512: set [kafka] sasl_mechanism to one it has (PLAIN)"
        )
        servers = broker.sasl_ssl_bootstrap_servers
        security = as_user() | over_tls(broker.authority.certificate) | {"security_protocol": "SASL_SSL"}
        assert await refusal(servers, "events", security) == (
            f"Kafka at {servers} has no SASL mechanism PLAIN: set [kafka] sasl_mechanism to one it has (SCRAM-SHA-512)"
        )

    async def test_a_user_where_none_is_wanted(self, broker: Broker) -> None:
        assert await refusal(broker.bootstrap_servers, "events", as_user()) == (
            f"Kafka at {broker.bootstrap_servers} accepts no user and password: set [kafka] security_protocol to the "
            "protocol of this port"
        )

    async def test_no_user_where_one_is_wanted(self, broker: Broker) -> None:
        assert await refusal(broker.sasl_bootstrap_servers, "events", {}) == (
            f"Kafka at {broker.sasl_bootstrap_servers} requires a user and a password: set [kafka] security_protocol "
            "to SASL_PLAINTEXT, and set sasl_username and sasl_password"
        )
        servers = broker.sasl_ssl_bootstrap_servers
        assert await refusal(servers, "events", over_tls(broker.authority.certificate)) == (
            f"Kafka at {servers} requires a user and a password: set [kafka] security_protocol to SASL_SSL, and set "
            "sasl_username and sasl_password"
        )

    async def test_no_tls_where_it_is_wanted(self, broker: Broker) -> None:
        for servers, security in ((broker.ssl_bootstrap_servers, {}), (broker.sasl_ssl_bootstrap_servers, as_user())):
            assert await refusal(servers, "events", security) == (
                f"Kafka at {servers} requires TLS: set [kafka] security_protocol to SSL or SASL_SSL"
            )

    async def test_a_broker_that_we_do_not_trust(self, broker: Broker, tmp_path: Path) -> None:
        other = Authority(tmp_path, "other").certificate
        for servers in (broker.ssl_bootstrap_servers, broker.sasl_ssl_bootstrap_servers):
            assert await refusal(servers, "events", over_tls(other)) == (
                f"the certificate of Kafka at {servers} is not trusted (unable to get local issuer certificate): set "
                "[kafka] ssl_cafile to the certificate of the authority that signed it"
            )

    async def test_a_certificate_for_another_host(self, broker: Broker) -> None:
        servers = broker.ssl_bootstrap_servers.replace("127.0.0.1", "localhost")
        assert await refusal(servers, "events", over_tls(broker.authority.certificate)) == (
            f"the certificate of Kafka at {servers} is not for this host (Hostname mismatch, certificate is not valid "
            "for 'localhost'.): in [ledger] log, name the host as its certificate does"
        )

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_a_client_without_a_certificate(self, broker: Broker, version: ssl.TLSVersion) -> None:
        servers = broker.ssl_bootstrap_servers
        assert await refusal(servers, "events", over_tls(broker.authority.certificate, version=version)) == (
            f"Kafka at {servers} requires a client certificate: set [kafka] ssl_certfile and ssl_keyfile to a "
            "certificate that is signed by an authority the brokers trust"
        )

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_a_client_that_the_broker_does_not_trust(
        self, broker: Broker, tmp_path: Path, version: ssl.TLSVersion
    ) -> None:
        certificate = Authority(tmp_path, "other").issue("stranger")
        servers = broker.ssl_bootstrap_servers
        assert await refusal(servers, "events", over_tls(broker.authority.certificate, certificate, version)) == (
            f"Kafka at {servers} does not accept the certificate in [kafka] ssl_certfile, or this client's TLS (sslv3 "
            "alert certificate unknown): the brokers must trust the certificate's authority, and the certificate must "
            "not have expired"
        )

    async def test_those_whom_it_trusts_get_in(self, topics: Topics) -> None:
        broker = topics.broker
        certificate = broker.authority.issue("reader")
        tls = over_tls(broker.authority.certificate, certificate)
        scram = as_user(mechanism="SCRAM-SHA-512") | tls | {"security_protocol": "SASL_SSL"}
        for servers, security, name in (
            (broker.ssl_bootstrap_servers, tls, "User:CN=reader"),
            (broker.sasl_ssl_bootstrap_servers, scram, f"User:{USER}"),
        ):
            await grant(broker, name, topics.events, "Read", "Write", "DescribeConfigs")
            log = KafkaLog(servers, topics.events, security=security)
            await log.open()
            assert log.unchecked == ()
            await log.append([name.encode()])
            assert (await read_all(log))[-1] == name.encode()
            await log.close()

    async def test_a_broker_that_is_away_is_an_outage(self) -> None:
        log = KafkaLog("127.0.0.1:1", "events", timeout_seconds=0.5)
        with pytest.raises(LogUnavailableError) as raised:
            await log.open()
        assert raised.value.exit_code == 75
        assert str(raised.value) == (
            "topic events at 127.0.0.1:1 did not answer for 0.5 s (KafkaConnectionError: 127.0.0.1:1: "
            "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)). Check that its brokers run and "
            "can be reached at that address, and check the section [kafka]"
        )
        with pytest.raises(LogUnavailableError, match="can be reached at that address"):
            await create_topics("127.0.0.1:1", "events", "publications", 1)

    async def test_one_broker_that_refuses_among_some_that_are_away(self, broker: Broker) -> None:
        servers = f"127.0.0.1:1,{broker.sasl_bootstrap_servers}"
        log = KafkaLog(servers, "events", security=as_user(password="wrong"), timeout_seconds=PATIENCE_SECONDS)
        with pytest.raises(LogSettingsError, match=f"{broker.sasl_bootstrap_servers} refuses the user"):
            await log.open()

    async def test_options_are_checked_before_they_are_used(self, broker: Broker) -> None:
        with pytest.raises(LogSettingsError, match="unknown Kafka security options: sasl_password") as raised:
            KafkaLog(broker.bootstrap_servers, "events", security={"sasl_password": "secret-1"})
        assert "secret-1" not in str(raised.value)
        log = KafkaLog(broker.bootstrap_servers, "events", security={"security_protocol": "SASL_SSL"})
        with pytest.raises(LogSettingsError, match="ssl_context"):
            await log.open()
        log = KafkaLog(broker.bootstrap_servers, "events", security={"sasl_plain_password": "secret-2"})
        assert "secret-2" not in repr(log) + repr(vars(log)) + log.name


class TestRights:
    """A principal that may do only what it was granted."""

    @pytest.fixture
    async def open_as_user(self, topics: Topics) -> AsyncIterator[Opener]:
        opened = []

        async def open_one(*operations: str) -> KafkaLog:
            if operations:
                await grant(topics.broker, f"User:{USER}", topics.events, *operations)
            servers = topics.broker.sasl_bootstrap_servers
            log = KafkaLog(servers, topics.events, security=as_user(), timeout_seconds=PATIENCE_SECONDS)
            opened.append(log)
            await log.open()
            return log

        yield open_one
        for log in opened:
            await log.close()

    @pytest.fixture
    def where(self, topics: Topics) -> str:
        return f"topic {topics.events} at {topics.broker.sasl_bootstrap_servers}"

    async def test_a_reader_reads_says_what_it_may_not_check_and_does_not_append(
        self, topics: Topics, open_as_user: Opener, where: str
    ) -> None:
        log = await open_as_user("Read")
        assert log.unchecked == (f"the settings of {where}: User:{USER} lacks the right DescribeConfigs on it",)
        assert await read_all(log) == []
        refused = f"User:{USER} lacks the right Write on {where}: grant it. {SEE_RIGHTS}"
        with pytest.raises(LogSettingsError) as raised:
            await log.append([b"b"])
        assert str(raised.value) == refused
        assert await read_all(log) == []

    async def test_who_may_append_nowhere_is_told_the_same(self, topics: Topics) -> None:
        """It is another error of the broker's, which names no topic."""
        await grant(topics.broker, "User:reader", topics.events, "Read")
        log = KafkaLog(topics.broker.sasl_bootstrap_servers, topics.events, security=as_user("reader"))
        await log.open()
        with pytest.raises(LogSettingsError) as raised:
            await log.append([b"b"])
        assert "ClusterAuthorizationFailed" in repr(raised.value.__cause__)
        assert str(raised.value) == f"User:reader lacks the right Write on {log.name}: grant it. {SEE_RIGHTS}"
        await log.close()

    async def test_a_writer_that_may_do_what_it_needs(self, open_as_user: Opener) -> None:
        log = await open_as_user("Read", "Write", "DescribeConfigs")
        assert log.unchecked == ()
        assert await log.append([b"a"]) == [0]
        assert await read_all(log) == [b"a"]

    async def test_what_may_not_be_seen_may_not_be_there(
        self, topics: Topics, open_as_user: Opener, where: str
    ) -> None:
        with pytest.raises(LogSettingsError) as raised:
            await open_as_user()
        assert str(raised.value) == (
            f"there is no {where}, or User:{USER} may not see it: the cluster does not say which. Create the topics "
            f"with `tuf-ledger init`; grant Read on both, and Write to append. {SEE_RIGHTS}"
        )
        servers = topics.broker.sasl_bootstrap_servers
        with pytest.raises(LogSettingsError) as raised:
            await KafkaLog(servers, "mistyped", security=as_user()).open()
        assert str(raised.value).startswith(f"there is no topic mistyped at {servers}, or User:{USER} may not see it")

    async def test_what_may_not_be_read_is_refused(self, topics: Topics, open_as_user: Opener, where: str) -> None:
        writer = KafkaLog(topics.broker.bootstrap_servers, topics.events)
        await writer.open()
        await writer.append([b"a"])
        await writer.close()
        log = await open_as_user("Describe")
        with pytest.raises(LogSettingsError) as raised:
            await log.read(0)
        assert str(raised.value) == f"User:{USER} lacks the right Read on {where}: grant it. {SEE_RIGHTS}"

    async def test_who_may_not_create_is_told_what_to_do(self, topics: Topics) -> None:
        servers, prefix = topics.broker.sasl_bootstrap_servers, uuid.uuid4().hex[:12]
        with pytest.raises(LogSettingsError) as raised:
            await create_topics(servers, f"{prefix}.events", f"{prefix}.publications", 1, as_user())
        assert str(raised.value) == (
            f"User:{USER} may not create topic {prefix}.events at {servers}: grant Create on it, or have both "
            'topics created as docs/operators.md, "Kafka", describes. Empty topics are accepted'
        )
        for topic in (f"{prefix}.events", f"{prefix}.publications"):
            await grant(topics.broker, f"User:{USER}", topic, "Create", "Describe")
        await create_topics(servers, f"{prefix}.events", f"{prefix}.publications", 1, as_user())
        await grant(topics.broker, f"User:{USER}", topics.events, "Create")
        with pytest.raises(LogSettingsError) as raised:
            await create_topics(servers, topics.events, f"{topics.events}-2", 1, as_user())
        assert str(raised.value) == (
            f"topic {topics.events} at {servers} exists, but User:{USER} may not see it: grant Read and Write on it. "
            f"{SEE_RIGHTS}"
        )


class TestRecords:
    async def test_a_record_from_another_time(self, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
        """The broker takes none that is more than an hour ahead of its clock."""
        log = KafkaLog(topics.broker.bootstrap_servers, topics.events, timeout_seconds=PATIENCE_SECONDS)
        await log.open()
        create_batch = AIOKafkaProducer.create_batch

        def create_late(producer: AIOKafkaProducer) -> Any:
            return _LateBatch(create_batch(producer))

        with monkeypatch.context() as patch:
            patch.setattr(AIOKafkaProducer, "create_batch", create_late)
            with pytest.raises(LogSettingsError) as raised:
                await log.append([b"from tomorrow"])
        assert str(raised.value) == (
            f"{log.name} refuses a record for its time: the clocks of this machine and of the broker are far apart. "
            "Set both, or let the broker stamp records itself (message.timestamp.type=LogAppendTime of the topic)"
        )
        assert await log.append([b"from now"]) == [0]
        await log.close()


class _LateBatch:
    """A batch of a machine whose clock is a day ahead."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def append(self, *, timestamp: int | None, key: bytes | None, value: bytes) -> Any:
        assert timestamp is None
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        return self._batch.append(timestamp=round(tomorrow.timestamp() * 1000), key=key, value=value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


class TestTopics:
    """Topics that are there already, and those that cannot be made."""

    @pytest.fixture
    async def admin(self, broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        await client.start()
        yield client
        await client.close()

    async def test_empty_topics_are_used(self, topics: Topics) -> None:
        servers = topics.broker.bootstrap_servers
        await create_topics(servers, topics.events, topics.publications, 1)
        await create_topics(servers, topics.events, f"{topics.publications}.new", 1)
        for topic in (topics.events, f"{topics.publications}.new"):
            log = KafkaLog(servers, topic)
            await log.open()
            await log.close()

    async def test_topics_with_records_are_not(self, topics: Topics) -> None:
        servers = topics.broker.bootstrap_servers
        log = KafkaLog(servers, topics.publications)
        await log.open()
        await log.append([b"a"])
        await log.close()
        with pytest.raises(LogSettingsError) as raised:
            await create_topics(servers, topics.events, topics.publications, 1)
        assert str(raised.value) == (
            f"{log.name} is not empty, but a new ledger needs empty topics: use another prefix. To follow the "
            'ledger that is there, see docs/operators.md, "A signer, publisher or verifier on a second machine"'
        )

    @pytest.mark.parametrize(
        ("changed", "partitions", "copies", "problem"),
        [
            (
                {"cleanup.policy": "compact", "retention.ms": "1000"},
                1,
                1,
                (
                    "is not set up as a ledger of record: cleanup.policy is compact, so records are removed: it must "
                    "be delete; retention.ms is 1000, so old records expire: it must be -1. Change the settings with "
                    'kafka-configs.sh --alter (right AlterConfigs); docs/operators.md, "Kafka", lists them all'
                ),
            ),
            (
                {},
                2,
                1,
                (
                    "has 2 partitions, but a total order needs exactly one. A topic never loses partitions: use "
                    "another prefix, or delete the topic while it is empty"
                ),
            ),
            (
                {},
                1,
                3,
                "has 1 of the 3 copies asked for: delete the topic while it is empty, or use `--replication-factor 1`",
            ),
        ],
    )
    async def test_topics_that_are_set_up_otherwise_are_not(
        self,
        *,
        broker: Broker,
        admin: AIOKafkaAdminClient,
        changed: dict[str, str],
        partitions: int,
        copies: int,
        problem: str,
    ) -> None:
        topic = uuid.uuid4().hex[:12]
        settings = topic_settings(EVENTS_MAX_BYTES, 1) | changed
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
        while topic not in await admin.list_topics():
            pass
        with pytest.raises(LogSettingsError) as raised:
            await create_topics(broker.bootstrap_servers, topic, f"{topic}.publications", copies)
        assert str(raised.value) == f"topic {topic} at {broker.bootstrap_servers} {problem}"
        assert f"{topic}.publications" not in await admin.list_topics()

    async def test_two_logs_need_two_topics(self, broker: Broker) -> None:
        with pytest.raises(LogSettingsError, match="need two topics"):
            await create_topics(broker.bootstrap_servers, "new", "new", 1)

    async def test_a_cluster_that_is_too_small(self, broker: Broker) -> None:
        with pytest.raises(LogSettingsError) as raised:
            await create_topics(broker.bootstrap_servers, "few-events", "few-publications", 3)
        said, _, advice = str(raised.value).partition("). ")
        assert said.startswith(f"topic few-events at {broker.bootstrap_servers} cannot have 3 copies (Unable to ")
        assert "only 1 broker(s) are registered" in said
        assert advice == "To try things out with one broker, use `--replication-factor 1`"

    async def test_a_name_that_is_none(self, broker: Broker) -> None:
        with pytest.raises(LogSettingsError) as raised:
            await KafkaLog(broker.bootstrap_servers, "no topic").open()
        assert str(raised.value) == (
            "'no topic' is not the name of a topic: use at most 249 letters, digits, '.', '_' and '-'"
        )

    async def test_a_missing_topic_is_refused_and_not_created(self) -> None:
        """Not even where brokers create what is mentioned."""
        properties = "auto.create.topics.enable=true\n"
        with running_broker(properties=properties) as broker:
            with pytest.raises(LogSettingsError) as raised:
                await KafkaLog(broker.bootstrap_servers, "mistyped").open()
            assert str(raised.value) == (
                f"there is no topic mistyped at {broker.bootstrap_servers}. Check the prefix in [ledger] log (or "
                "--log); for a new ledger, `tuf-ledger init` creates the topics"
            )
            admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
            await admin.start()
            assert await admin.list_topics() == []
            await admin.describe_topics(["mentioned"])
            while await admin.list_topics() != ["mentioned"]:
                pass
            await admin.close()
