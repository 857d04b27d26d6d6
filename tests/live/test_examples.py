"""docs/publishing.md: its examples over Kafka run as they stand there, against a real broker that grants them no more
than the document says.
"""

import asyncio
import subprocess
import sys
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.client import KafkaSection, build_event, open_client
from ledger.logs import LogSettingsError
from schemas.errors import NegativeAnswerError
from tests.broker import JARS, USERS, Broker, find_java
from tests.client.index import Index
from tests.client.processes import environment
from tests.client.test_examples import shell
from tests.distributions import build_wheel
from tests.examples import AIOKAFKA, JAVA, STORE, UPLOAD, example
from tests.live.rights import grant

pytestmark = pytest.mark.kafka


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture
def index(session_broker: Broker, prefix: str, tmp_path: Path) -> Index:
    """A ledger on a broker."""
    session_broker.start()
    log = f"kafka://{session_broker.bootstrap_servers}/{prefix}"
    return Index.create(tmp_path / "index", "--log", log, "--replication-factor", 1, "--bins", 2)


@pytest.fixture
def event(index: Index, tmp_path: Path) -> Path:
    """A file with the event of an upload whose bytes are stored: what the first example leaves."""
    work = tmp_path / "work"
    work.mkdir()
    shell(example("sh", STORE), work, FILE=build_wheel(tmp_path, "one", "1.0"), PUBLIC=index.public)
    return work / "event.ndjson"


def check_uploaded(index: Index) -> None:
    index.publish()
    assert list(index.check().projects) == ["one"]
    index.verify()


def run(command: list[str], event: Path, folder: Path) -> str:
    """Run a program that appends what it reads, twice: the second time does no harm."""
    said = ""
    for _ in range(2):
        with event.open("rb") as lines:
            done = subprocess.run(
                command, stdin=lines, env=environment(), capture_output=True, text=True, check=False, cwd=folder
            )
        assert done.returncode == 0, done.stderr
        said = done.stdout
    return said


def test_plain_aiokafka(index: Index, event: Path, prefix: str, session_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "append.py").write_text(example("python", AIOKAFKA))
    said = run([sys.executable, "append.py", session_broker.bootstrap_servers, prefix], event, tmp_path)
    assert said.strip() == sha256(event.read_bytes().strip()).hexdigest()
    check_uploaded(index)


def test_java(index: Index, event: Path, prefix: str, session_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "Append.java").write_text(example("java", JAVA))
    command = [find_java(), "-cp", f"{JARS}/*", "Append.java", session_broker.bootstrap_servers, prefix]
    said = run(command, event, tmp_path)
    assert said.strip().splitlines()[-1] == sha256(event.read_bytes().strip()).hexdigest()
    check_uploaded(index)


def test_the_program_with_our_client(index: Index, prefix: str, session_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "upload.py").write_text(example("python", UPLOAD))
    wheel = build_wheel(tmp_path, "one", "1.0")
    where = f"kafka://{session_broker.bootstrap_servers}/{prefix}"
    command = [sys.executable, "upload.py", where, str(index.public), str(wheel)]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said.startswith("appended ")
    check_uploaded(index)


async def test_the_right_to_write_is_enough(index: Index, prefix: str, session_broker: Broker) -> None:
    """The first right that is missing is named; with it alone events are appended, though the log is not read."""
    section = KafkaSection(
        security_protocol="SASL_SSL",
        sasl_username="index",
        sasl_password=USERS["index"],
        ssl_cafile=str(session_broker.authority.certificate),
    )
    where = f"kafka://{session_broker.sasl_ssl_bootstrap_servers}/{prefix}"
    events = [
        build_event("project.created.v1", name, {}, source="/my-index", actor="1", actor_kind="system")
        for name in ("one", "two")
    ]
    async with open_client(where, kafka=section) as client:
        with pytest.raises(LogSettingsError, match="User:index lacks the right Write"):
            await client.append(events)
        await grant(session_broker, "User:index", f"{prefix}.events", "Write")
        receipts = await client.append(events)
        assert [each.digest for each in receipts] == [sha256(each).hexdigest() for each in events]
        with pytest.raises(NegativeAnswerError, match="tells no outcomes"):
            await client.outcome(receipts[0].digest)
    await asyncio.to_thread(index.publish)
    async with open_client(index.folder) as client:
        for each in receipts:
            shown = await client.outcome(each.digest)
            assert shown is not None
            assert shown.verdict == "accepted"
    assert sorted((await asyncio.to_thread(index.check)).projects) == ["one", "two"]


async def test_a_broker_that_was_away_is_waited_for(index: Index, prefix: str, session_broker: Broker) -> None:
    where = f"kafka://{session_broker.bootstrap_servers}/{prefix}"
    one, two = (
        build_event("project.created.v1", name, {}, source="/my-index", actor="1", actor_kind="system")
        for name in ("one", "two")
    )
    async with open_client(where) as client:
        await client.append([one])
        await asyncio.to_thread(session_broker.restart)
        await client.append([two])
    await asyncio.to_thread(index.publish)
    assert sorted((await asyncio.to_thread(index.check)).projects) == ["one", "two"]
