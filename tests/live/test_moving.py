"""`copy-log` to, from and between real brokers: a ledger moves, and everything goes on."""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from consumers.context import Context
from ledger.config import Config, LedgerSection
from ledger.logs.urls import read_kafka_url
from tests.broker import Broker
from tests.client.index import Index, invoke, silence
from tests.client.manual import Manual
from tests.client.processes import Running, execute, start, until

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


@pytest.fixture
def up(session_broker: Broker) -> Broker:
    """A broker that runs."""
    session_broker.start()
    return session_broker


def place(broker: Broker) -> str:
    """Where no ledger is."""
    return f"kafka://{broker.bootstrap_servers}/{uuid.uuid4().hex[:12]}"


async def read_values(url: str) -> list[list[bytes | None]]:
    """All records of both logs."""
    logs = Context(Path("nowhere"), Config(LedgerSection(log=url))).logs()
    await logs.open()
    found: list[list[bytes | None]] = []
    for log in logs:
        values: list[bytes | None] = []
        while more := await log.read(len(values)):
            values += more
        found.append(values)
    await logs.close()
    return found


def values_of(url: str) -> list[list[bytes | None]]:
    return asyncio.run(read_values(url))


async def append_strangely(broker: Broker, url: str) -> None:
    """Records without a value, and what transactions leave behind: offsets that are no records."""
    topics = read_kafka_url(url)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id=uuid.uuid4().hex) as made:
        for topic in (topics.events, topics.publications):
            for value in (b"garbage", None, b""):
                async with made.transaction():
                    await made.send_and_wait(topic, value, key=b"", partition=0)


def name_log(index: Index, url: str) -> None:
    """Switch a ledger over."""
    (index.folder / "ledger.toml").write_text(f'[ledger]\nlog = "{url}"\n')


def test_there_and_back_and_to_a_new_cluster(up: Broker, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("one")
    index.publish_and_check()
    places = [f"sqlite:{index.folder / 'log'}", place(up), f"sqlite:{tmp_path / 'back'}", place(up), place(up)]
    first = index.info()["ledger"]
    for at, (before, after) in enumerate(pairwise(places)):
        if before.startswith("kafka:"):
            asyncio.run(append_strangely(up, before))
            index.publish("--renew")
        done = json.loads(invoke("copy-log", before, after, "--replication-factor", 1, "--json").output)
        assert done["ledger"] == first
        assert values_of(after) == values_of(before)
        name_log(index, after)
        if before.startswith(after[:6]):  # the states know at which offsets the old topics had their records
            assert "error: " in index.run("publish", answer=2)
            shutil.rmtree(index.folder / "state")
        index.upload(f"project-{at}")
        index.publish_and_check()
        index.verify()
        assert index.info()["unchecked"] == []
    assert "is ahead" in invoke("copy-log", places[1], places[-1], answer=2).output


def test_topics_that_somebody_else_made(up: Broker, tmp_path: Path) -> None:
    """They are used if they are empty or a copy; what a cluster cannot have is said as `init` says it."""
    index = Index.create(tmp_path / "index", "--bins", 2)
    log, url = f"sqlite:{index.folder / 'log'}", place(up)
    refused = execute("copy-log", log, url, answer=2)
    assert refused.stderr.endswith("To try things out with one broker, use `--replication-factor 1`\n")
    tried = execute("copy-log", log, url, "--replication-factor", 1, "--dry-run", "--json")
    assert json.loads(tried.stdout)["events"] == 2
    assert "there is no topic" in execute("info", "--log", url, answer=2).stderr, "nothing was created"
    execute("copy-log", log, url, "--replication-factor", 1)
    other = Index.create(tmp_path / "other", "--bins", 2)
    refused = execute("copy-log", f"sqlite:{other.folder / 'log'}", url, "--replication-factor", 1, answer=2)
    assert "it holds another ledger. Name another place" in refused.stderr


def test_brokers_and_runs_that_are_killed(up: Broker, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    log, url = f"sqlite:{index.folder / 'log'}", place(up)
    index.run("append", "--keep-going", stdin=b"", answer=0)

    async def fill() -> None:
        events = index.context.logs().events
        await events.open()
        await events.append([b"%d" % number * 100 for number in range(40_000)])
        await events.close()

    asyncio.run(fill())
    arguments = ("copy-log", log, url, "--replication-factor", 1)
    for _ in range(2):
        with start(tmp_path / "out", *arguments) as running:
            until(lambda: running.process.poll() is not None or has_topic(url), running.output)
            running.kill()
    with start(tmp_path / "out", *arguments) as running:
        up.restart()
        assert running.process.wait(60) in {0, 75}, running.output()
    execute(*arguments)
    assert values_of(url) == values_of(log)


def has_topic(url: str) -> bool:
    """Whether the log of events has something."""
    try:
        return bool(values_of(url)[0])
    except Exception:  # noqa: BLE001  # the topics are being created
        return False


def test_the_manual_word_for_word(up: Broker, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "my-index", "--bins", 2)
    index.upload("one")
    index.publish_and_check()
    variables = {"BROKERS": up.bootstrap_servers, "PREFIX": uuid.uuid4().hex[:12], "COPIES": "1"}
    manual = Manual("Moving to Kafka", tmp_path, variables)
    tried, copied, switched, checked = manual.steps
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("verifier started")
        assert "would be copied to" in manual.follow(tried)
        manual.follow(copied)
        index.upload("two")
        running.stop()
    assert "Copied " in manual.follow(copied)
    assert "Nothing was missing." in manual.follow(copied)
    manual.follow(switched)
    assert "signed as the offline roles require" in manual.follow(checked)
    index.upload("three")
    assert set(index.publish_and_check().projects) == {"one", "two", "three"}


def has_said(running: Running, sizes: dict[str, int]) -> bool:
    """Whether a run has copied so much."""
    return any(json.loads(line).get("sizes") == sizes for line in running.output().splitlines())


def test_a_second_cluster_follows(up: Broker, tmp_path: Path) -> None:
    """Whatever ends it, it goes on; and what is lost at one place is there at the other."""
    before, after = place(up), place(up)
    index = Index.create(tmp_path / "index", "--log", before, "--replication-factor", 1, "--bins", 2)
    arguments = ("copy-log", before, after, "--replication-factor", 1, "--follow", "--json")
    for name in ("one", "two"):
        with start(tmp_path / name, *arguments) as running:
            index.upload(name)
            index.publish()
            until(partial(has_said, running, index.info()["sizes"]), running.output)
            running.kill()
    assert values_of(after) == values_of(before)
    shutil.rmtree(index.folder / "state")
    name_log(index, after)
    index.upload("three")
    assert len(index.publish_and_check().projects) == 3
    assert "Is it in use already?" in execute("copy-log", before, after, answer=2).stderr


def test_the_manual_when_a_topic_is_deleted(up: Broker, tmp_path: Path) -> None:
    variables = {"BROKERS": up.bootstrap_servers, "PREFIX": uuid.uuid4().hex[:12], "COPIES": "1"}
    url = f"kafka://{up.bootstrap_servers}/{variables['PREFIX']}"
    index = Index.create(tmp_path / "my-index", "--log", url, "--replication-factor", 1, "--bins", 2)
    index.upload("one")
    index.publish_and_check()
    manual = Manual("Backup and restore", tmp_path, variables)
    manual.follow(manual.steps[0])

    async def delete(*topics: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=up.bootstrap_servers)
        await admin.start()
        await admin.delete_topics(list(topics))
        await admin.close()

    asyncio.run(delete(*read_kafka_url(url)[1:]))
    assert "there is no topic" in index.run("publish", answer=2)
    assert "Nothing is new since publication" in manual.follow(manual.steps[-1])
    index.upload("two")
    index.publish_and_check()
    index.verify()
    # One of them is gone, and the other one is newer than the backup.
    asyncio.run(delete(read_kafka_url(url).publications))
    assert "has publication 3, and the backup ends with 2" in manual.follow(manual.steps[-1], answer=1)
    restore, states, publish = manual.steps[-1].splitlines()
    assert "clients have seen 3" in manual.follow(f"{restore} --lost")
    manual.follow(states)
    index.run("resume", "--above", 3, "--forged")
    manual.follow(publish)
    assert index.check().number == 4, "the events were all there"


def test_each_cluster_with_its_own_settings(up: Broker, tmp_path: Path) -> None:
    """The environment is for one of them, and a folder with `ledger.toml` for the other."""
    index = Index.create(tmp_path / "index", "--bins", 2)
    url = place(up)
    execute("copy-log", f"sqlite:{index.folder / 'log'}", url, "--replication-factor", 1)
    (tmp_path / "new").mkdir()
    certificate = up.authority.issue("nobody-in-particular")
    (tmp_path / "new/ledger.toml").write_text(
        f'[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "{up.authority.certificate}"\n'
        f'ssl_certfile = "{certificate}"\ntimeout_seconds = 5\n'
    )
    target = f"kafka://{up.ssl_bootstrap_servers}/{uuid.uuid4().hex[:12]}"
    options = ("--replication-factor", 1, "--to-settings", tmp_path / "new")
    refused = execute("copy-log", url, target, *options, answer=2)
    assert "the subject of ssl_certfile may not create topic" in refused.stderr
