"""Whoever kept a file of an earlier time can prove that nothing before it was rewritten."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.logs.sqlite import SqliteLog
from tests.client.attacker import Attacker
from tests.client.index import FakeClock, Index, invoke

KINDS = ["snapshot", "timestamp", "answer"]


@pytest.fixture
def filled(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger with a few publications."""
    index = Index.create(tmp_path / "index", clock=clock)
    for name in ("one", "two"):
        index.upload(name)
        index.publish()
        clock.advance(seconds=10)
    return index


def keep(index: Index, kind: str, folder: Path) -> Path:
    """What somebody keeps of the present."""
    path = folder / f"kept-{kind}.json"
    metadata = index.public / "metadata"
    if kind == "answer":
        path.write_bytes(json.dumps(index.ask("verify")[0]).encode())
    else:
        number = json.loads((metadata / "timestamp.json").read_bytes())["signed"]["version"]
        shutil.copy(metadata / f"{number}.{kind}.json", path)
    return path


def go_on(index: Index) -> None:
    """Publish more."""
    index.upload("three")
    index.publish()


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_only_grew(filled: Index, kind: str, tmp_path: Path) -> None:
    kept = keep(filled, kind, tmp_path)
    assert "Nothing was rewritten up to publication 3 (4 events)" in filled.run("verify", "--since", kept)
    go_on(filled)
    (facts,) = filled.ask("verify", "--since", kept, "--served", filled.public)
    assert facts["since"] == {"publication": 3, "size": 4}
    assert (facts["last"], facts["size"]) == (4, 5)
    value = json.loads(kept.read_bytes())
    kept.write_text(json.dumps(value, indent=4))  # somebody's editor
    filled.run("verify", "--since", kept)
    (facts,) = filled.ask("verify", "--since", kept, "--from", 4)
    assert facts["since"] == {"publication": 3, "size": 4}
    assert "none of those that were verified" in filled.run("verify", "--since", kept, "--to", 2, answer=1)


def rewrite(index: Index, tmp_path: Path, *, keep_size: bool) -> None:
    """Another history of the same ledger, by its own keys: as many events, or fewer, and as many publications."""
    shutil.rmtree(index.folder / "log")
    shutil.copytree(tmp_path / "first-log", index.folder / "log")
    shutil.rmtree(index.folder / "state")
    shutil.rmtree(index.public)
    for name in ("evil", "more") if keep_size else ("evil",):
        index.upload(name)
        index.publish()
    while index.publish("--renew") < 5:
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep_size", [True, False], ids=["as many events", "fewer events"])
def test_a_log_that_was_rewritten(tmp_path: Path, clock: FakeClock, kind: str, keep_size: bool) -> None:
    index = Index.create(tmp_path / "index", clock=clock)
    shutil.copytree(index.folder / "log", tmp_path / "first-log")
    for name in ("one", "two"):
        index.upload(name)
        index.publish()
    kept = keep(index, kind, tmp_path)
    rewrite(index, tmp_path, keep_size=keep_size)
    index.run("verify")  # by itself it is a ledger like any other
    refused = index.run("verify", "--since", kept, answer=1)
    if kind == "timestamp":
        assert "publication 3 is not the one that it was" in refused
    else:
        assert ("the first 4 events are not those that they were" in refused) is keep_size
        assert ("the log has lost events. It has 3, and the file is of 4" in refused) is not keep_size


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_publications_were_rewritten(tmp_path: Path, clock: FakeClock, kind: str) -> None:
    """The same events, published at another time: the events are as they were, and that is not enough."""
    index = Index.create(tmp_path / "index", clock=clock)

    index.upload("one")
    index.publish()
    kept = keep(index, kind, tmp_path)
    shutil.rmtree(index.folder / "state")
    shutil.rmtree(index.public / "metadata")
    for path in (index.folder / "log").glob("publications.*"):
        path.unlink()
    create_log(index.folder / "log/publications.sqlite")
    clock.advance(hours=1)
    index.publish()
    index.publish("--renew")
    index.run("verify")
    assert "publication 2 is not the one that it was" in index.run("verify", "--since", kept, answer=1)


def create_log(path: Path) -> None:
    async def create() -> None:
        log = SqliteLog(path)
        await log.create()
        await log.close()

    asyncio.run(create())


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_of_another_ledger(filled: Index, tmp_path: Path, kind: str) -> None:
    kept = keep(filled, kind, tmp_path)
    other = Index.create(tmp_path / "other", "--origin", "other.example.org")
    for name in ("one", "two"):
        other.upload(name)
        other.publish()
    refused = other.run("verify", "--since", kept, answer=1)
    assert ("is of another ledger" in refused) is (kind != "timestamp")


def test_a_forged_file_proves_nothing(filled: Index, tmp_path: Path) -> None:
    """Its Merkle root may be right: the publication is not."""
    Attacker(filled).forge(tmp_path / "forged", 3)
    for name in ("3.snapshot.json", "timestamp.json"):
        refused = filled.run("verify", "--since", tmp_path / "forged/metadata" / name, answer=1)
        assert "publication 3 is not the one that it was, or the file was never the log's" in refused
    Attacker(filled).forge(tmp_path / "ahead", 99)
    refused = filled.run("verify", "--since", tmp_path / "ahead/metadata/timestamp.json", answer=1)
    assert "publication 99 is none of those" in refused


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b'{"signed":{"_type":"root","version":1}}',
        b'{"signed":{"_type":"snapshot","version":1}}',
        b'{"signed":{"_type":"timestamp","version":-1}}',
        b'{"signed":{"_type":"timestamp","version":' + b"9" * 400 + b"}}",
        b'{"ok":true,"last":1}',
        b"[" * 100_000,
    ],
)
def test_a_file_of_another_kind(filled: Index, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert "--since: the file must be a snapshot" in filled.run("verify", "--since", tmp_path / "file", answer=2)
    invoke("verify", "--ledger", filled.folder, "--since", tmp_path / "none", answer=2)


def test_what_an_answer_says_is_what_the_log_has(filled: Index) -> None:
    (facts,) = filled.ask("verify")
    snapshot = json.loads((filled.public / "metadata/3.snapshot.json").read_bytes())["signed"]
    covered: dict[str, Any] = snapshot["x-ledger"]
    assert (facts["size"], facts["root_hash"]) == (covered["size"], covered["root_hash"])
    assert facts["since"] is None
