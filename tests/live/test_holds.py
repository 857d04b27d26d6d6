"""A hold over a real broker: what waits is read again from where it was."""

import uuid
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.client.break_in import break_in
from tests.client.index import Index
from tests.client.processes import execute

pytestmark = pytest.mark.kafka


@pytest.fixture
def index(session_broker: Broker, tmp_path: Path) -> Index:
    """A ledger on a broker."""
    session_broker.start()
    log = f"kafka://{session_broker.bootstrap_servers}/{uuid.uuid4().hex[:12]}"
    return Index.create(tmp_path / "index", "--log", log, "--replication-factor", 1, "--bins", 2)


@pytest.mark.parametrize("signers", [1, 2])
def test_a_break_in_while_clients_poll(index: Index, tmp_path: Path, signers: int) -> None:
    folder = tmp_path / "break-in"
    folder.mkdir()
    break_in(index, folder, signers=signers)


def test_what_waits_is_read_again_after_every_restart(index: Index) -> None:
    """Each command is a process of its own: it knows of the log only what the state remembers."""

    def run(command: str, *arguments: object) -> str:
        return execute(command, "--ledger", index.folder, *arguments).stdout

    index.upload("one")
    run("publish")
    run("hold", "--unlocked")
    for name in ("two", "three", "four"):
        index.upload(name)
        run("publish")
        assert list(index.check().projects) == ["one"]
    run("unhold")
    run("publish")
    assert sorted(index.check().projects) == ["four", "one", "three", "two"]
    index.verify()
