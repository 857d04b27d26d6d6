"""`verify --resume FILE`: what becomes of the file, and which files it refuses."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.state.disk import SYSTEM_DISK
from tests.client.index import FakeClock, Index, invoke, tree
from tests.client.processes import execute
from tests.golden.records import write_logs


@pytest.fixture
def filled(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger with a few publications."""
    index = Index.create(tmp_path / "index", clock=clock)
    for name in ("one", "two"):
        index.upload(name)
        index.publish()
        clock.advance(seconds=10)
    return index


@pytest.fixture
def file(filled: Index, tmp_path: Path) -> Path:
    """The file of a verification that died."""
    path = tmp_path / "resume" / "file"
    path.parent.mkdir()
    words = ("verify", "--ledger", filled.folder, "--served", filled.public, "--resume", path)
    execute("commit", 2, "kill", *words, module="tests.fuzz.dying", answer=9)
    return path


def test_a_finished_verification_leaves_nothing(filled: Index, tmp_path: Path) -> None:
    path = tmp_path / "resume" / "file"
    path.parent.mkdir()
    plain = filled.ask("verify", "--served", filled.public)
    assert filled.ask("verify", "--served", filled.public, "--resume", path) == plain
    assert list(path.parent.iterdir()) == []
    filled.run("verify", "--to", 99, "--resume", path, answer=1)
    assert list(path.parent.iterdir()) == []
    path.touch()  # as mktemp does
    filled.run("verify", "--resume", path)
    assert list(path.parent.iterdir()) == []


def test_it_goes_on(filled: Index, file: Path) -> None:
    said = filled.verify("--resume", file)
    assert "going on: everything up to publication 2 was verified before" in said
    assert "The served files are those of publication 3, complete and unchanged" in said
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--from", 2), "--from"),
        (("--no-files",), "--files"),
        (("--root", "public/metadata/1.root.json"), "--root"),
        (("--since", "public/metadata/2.snapshot.json"), "--since"),
    ],
)
def test_other_options(filled: Index, file: Path, options: tuple[str | int, ...], name: str) -> None:
    before = file.read_bytes()
    words = [filled.folder / str(each) if "/" in str(each) else each for each in options]
    said = filled.verify("--resume", file, *words, answer=2)
    assert f"is of a verification with another {name}. Give the same options" in said
    said = filled.run("verify", "--resume", file, *words, answer=2)
    assert "--served" in said
    assert file.read_bytes() == before
    filled.verify("--resume", file)


def test_another_ledger(filled: Index, file: Path, tmp_path: Path) -> None:
    other = Index.create(tmp_path / "other", "--origin", "other.example.org")
    other.publish()
    log = f"sqlite:{other.folder / 'log'}"
    said = invoke("verify", "--log", log, "--served", filled.public, "--resume", file, answer=1).output
    assert "belongs to another ledger" in said
    assert str(file) in said
    filled.verify("--resume", file)


def test_a_log_that_was_rolled_back(filled: Index, file: Path, tmp_path: Path) -> None:
    values = []
    for name in ("events", "publications"):
        with closing(sqlite3.connect(filled.folder / f"log/{name}.sqlite")) as log:
            values.append([value for (value,) in log.execute("SELECT value FROM records ORDER BY idx")])
    events, publications = values
    shorter = write_logs(tmp_path / "shorter", events[:2], publications[:2])
    said = invoke("verify", "--log", shorter, "--served", filled.public, "--resume", file, answer=1).output
    assert "is shorter than it was" in said
    assert file.exists()


GARBAGE = {
    "text": b"My diary. " * 1000,
    "a cut off database": b"SQLite format 3\0" + b"\0" * 40,
    "one byte": b"\0",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_file_of_another_kind_is_left_alone(filled: Index, tmp_path: Path, name: str) -> None:
    path = tmp_path / "resume" / "file"
    path.parent.mkdir()
    path.write_bytes(GARBAGE[name])
    said = filled.run("verify", "--resume", path, answer=2)
    assert f"{path} is not from an interrupted `verify --resume`" in said
    assert tree(path.parent).keys() == {"file"}
    assert path.read_bytes() == GARBAGE[name]


def test_a_state_or_a_log_is_left_alone(filled: Index) -> None:
    for path in ("state/signer.sqlite", "log/events.sqlite"):
        before = tree(filled.folder)
        said = filled.run("verify", "--resume", filled.folder / path, answer=2)
        assert "not from an interrupted `verify --resume`" in said
        after = tree(filled.folder)
        assert {name for name in before if before[name] != after.get(name)} == set()
    said = filled.run("verify", "--resume", filled.folder / "state/signer", answer=2)
    assert "signer.kept is there without" in said
    assert not (filled.folder / "state/signer").exists()


def test_what_cannot_be_used(filled: Index, tmp_path: Path) -> None:
    assert "its folder is missing" in filled.run("verify", "--resume", tmp_path / "none/file", answer=2)
    filled.run("verify", "--resume", tmp_path, answer=2)


def test_a_damaged_file_is_named(filled: Index, file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE position SET size = size + 1")
    connection.commit()
    connection.close()
    said = filled.verify("--resume", file, answer=2)
    assert f"{file} is damaged" in said


def test_two_at_once(filled: Index, file: Path) -> None:
    lock = SYSTEM_DISK.lock(file.with_name("file.lock"))
    try:
        said = filled.verify("--resume", file, answer=75)
    finally:
        lock.let_go()
    assert f"{file} is in use by process {os.getpid()}" in said
    filled.verify("--resume", file)
