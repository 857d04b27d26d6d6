"""A backup is a ledger's two logs as they were at one moment, whoever appends meanwhile; and what it is good for."""

import asyncio
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.backup.backing_up import back_up as back_up_ledger
from consumers.context import Context
from ledger.logs import Logs
from ledger.logs.copying import copy_log
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.logs.sqlite import SqliteLog
from tests.client.disks import mounted
from tests.client.index import Index, invoke, tree
from tests.client.load import loading
from tests.client.manual import Manual
from tests.client.processes import execute, start
from tests.distributions import build_wheel
from tests.factory import Make
from tests.serving import serving

NO_KEYS = "No keys are in the copy: keep copies of keys apart."


@pytest.fixture
def filled(index: Index) -> Index:
    """A ledger with two projects."""
    for name in ("one", "two"):
        index.upload(name)
        index.publish()
    return index


def back_up(index: Index, target: Path) -> dict[str, Any]:
    (done,) = index.ask("backup", target)
    assert isinstance(done, dict)
    return done


def check(copy: Path) -> str:
    """`verify` as the manual has it. Whoever reads a backup leaves its files as they are."""
    said = invoke("verify", "--log", f"sqlite:{copy / 'log'}", "--root", copy / "1.root.json").output
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=copy, check=True)
    return said


def records(path: Path) -> list[bytes]:
    """All records of a log's file."""
    with closing(sqlite3.connect(path)) as log:
        return [value for (value,) in log.execute("SELECT value FROM records ORDER BY idx")]


def without_write_ahead_log(index: Index, target: Path) -> int:
    """How many events a copy has that `cp` makes of the files that seem to be the log."""
    target.mkdir()
    shutil.copy(index.folder / "log/events.sqlite", target)
    return len(records(target / "events.sqlite"))


# --- what is in it -----------------------------------------------------------------------------------------------


def test_both_logs_the_configuration_and_the_first_root(filled: Index, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    sizes, before = filled.info()["sizes"], [tree(filled.folder / each) for each in ("log", "public", "keys")]
    output = filled.run("backup", copy)
    assert " ".join(output.split()) == (
        f"{copy} holds both logs ({sizes['events']} events, {sizes['publications']} records of publications), "
        f"ledger.toml and the first root. Check it: `tuf-ledger verify --log sqlite:{copy}/log --root "
        f"{copy}/1.root.json`. {NO_KEYS}"
    )
    assert [tree(filled.folder / each) for each in ("log", "public", "keys")] == before
    assert sorted(tree(copy)) == [
        "1.root.json",
        "SHA256SUMS",
        "ledger.toml",
        "log/events.sqlite",
        "log/publications.sqlite",
    ]
    for path in ("ledger.toml", "log/events.sqlite", "log/publications.sqlite"):
        if path.endswith(".toml"):
            assert (copy / path).read_bytes() == (filled.folder / path).read_bytes()
        else:
            assert records(copy / path) == records(filled.folder / path)
    assert (copy.stat().st_mode & 0o777, (copy / "ledger.toml").stat().st_mode & 0o777) == (0o700, 0o600)
    assert (copy / "1.root.json").read_bytes() == filled.root
    assert "not anchored" not in check(copy)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_as_json(filled: Index, tmp_path: Path) -> None:
    facts = filled.info()
    assert back_up(filled, tmp_path / "copy") == {
        "ok": True,
        "ledger": facts["ledger"],
        "sizes": facts["sizes"],
        "files": 4,
        "missing": [],
    }
    (filled.public / "metadata/1.root.json").unlink()
    less = back_up(filled, tmp_path / "less")
    assert (less["files"], less["missing"]) == (3, ["1.root.json"])


def test_what_stands_in_the_write_ahead_log_is_in_it(filled: Index, tmp_path: Path) -> None:
    """A process that appends has it open: the file alone lacks what was appended last."""

    async def run() -> None:
        log = filled.context.logs().events
        await log.open()
        try:
            for number in range(20):
                await log.append([b"%d" % number])
            size = await log.size()
            assert without_write_ahead_log(filled, tmp_path / "cp") < size
            done = await asyncio.to_thread(back_up, filled, tmp_path / "copy")
            assert done["sizes"]["events"] == size == len(records(tmp_path / "copy/log/events.sqlite"))
        finally:
            await log.close()

    asyncio.run(run())
    check(tmp_path / "copy")


def test_every_publication_has_its_events(index: Index, tmp_path: Path) -> None:
    """While events are appended and published as fast as it goes."""
    with (
        loading(index, pause_seconds=0),
        start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher") as running,
    ):
        running.wait_for("publication applied")
        for number in range(5):
            back_up(index, tmp_path / f"copy-{number}")
        running.stop()
    for number in range(5):
        check(tmp_path / f"copy-{number}")
    sizes = [len(records(tmp_path / f"copy-{number}/log/publications.sqlite")) for number in range(5)]
    assert sizes == sorted(sizes)


def test_publications_are_copied_first(filled: Index, tmp_path: Path) -> None:
    """Events are appended and published while the first log is copied: the copy has no claim without its events."""
    told: list[int] = []

    def publish(done: int, _total: int) -> None:
        told.append(done)
        if len(told) == 1:
            execute("add", "--ledger", filled.folder, wheel)
            execute("publish", "--ledger", filled.folder)

    wheel = build_wheel(tmp_path, "three", "1.0")
    done = asyncio.run(back_up_ledger(filled.context, tmp_path / "copy", publish))
    sizes = filled.info()["sizes"]
    assert (done.events, done.publications) == (sizes["events"], sizes["publications"] - 2)
    check(tmp_path / "copy")


@pytest.mark.parametrize("count", [0, 1, 5000])
async def test_a_log_of_another_kind_is_read_and_appended(tmp_path: Path, count: int) -> None:
    source = MemoryLog(MemoryRecords("events"), read_records=300)
    source.records.values = [None if index % 7 == 3 else b"%d" % index for index in range(count)]
    await source.open()
    told: list[tuple[int, int]] = []
    assert await copy_log(source, tmp_path / "copy.sqlite", lambda done, total: told.append((done, total))) == count
    assert told[-1:] == ([(count, count)] if count else [])
    copy = SqliteLog(tmp_path / "copy.sqlite")
    await copy.open()
    values: list[bytes | None] = []
    while more := await copy.read(len(values)):
        values += more
    await copy.close()
    await source.close()
    assert values == source.records.values


def test_logs_that_are_not_sqlite(filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Kafka: the records are there, and it says that the topics are not."""
    kept = [MemoryRecords(name) for name in ("events", "publications")]
    for each in kept:
        each.values = list(records(filled.folder / f"log/{each.name}.sqlite"))
    with monkeypatch.context() as patched:
        patched.setattr(Context, "logs", lambda _: Logs(*map(MemoryLog, kept)))
        output = filled.run("backup", tmp_path / "copy")
    assert "The copy holds the records of the topics as a SQLite log" in output
    check(tmp_path / "copy")


# --- what is not -------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty(filled: Index, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/x").write_bytes(b"")
    output = filled.run("backup", tmp_path / "copy", answer=2)
    assert f"{tmp_path}/copy is not an empty folder; back up into a new one" in output
    (tmp_path / "copy/x").unlink()
    filled.run("backup", tmp_path / "copy")
    check(tmp_path / "copy")


def test_a_first_root_that_is_not_the_logs(filled: Index, tmp_path: Path) -> None:
    (filled.public / "metadata/1.root.json").unlink()
    output = filled.run("backup", tmp_path / "without")
    assert "The first root is not in the copy: this machine does not serve it. Keep the first root" in output
    (filled.public / "metadata/1.root.json").write_bytes(b"{}")
    said = filled.run("backup", tmp_path / "copy", answer=2)
    assert "the served first root (metadata/1.root.json) is not that of this log (SHA-256 " in said
    assert not (tmp_path / "copy").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_killed_one_left_behind_is_gone(filled: Index, tmp_path: Path) -> None:
    (tmp_path / ".copy.backup/log").mkdir(parents=True)
    (tmp_path / ".copy.backup/log/events.sqlite").write_bytes(b"half")
    filled.run("backup", tmp_path / "copy")
    check(tmp_path / "copy")
    assert not (tmp_path / ".copy.backup").exists()


def test_no_room_for_it(filled: Index, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        disk.fill()
        output = filled.run("backup", disk.folder / "copy", answer=75)
        assert re.search(r"No space left on device|database or disk is full", output), output
        assert "damaged" not in output
        disk.make_room()
        assert list(disk.folder.iterdir()) == []
        assert "is mounted at" in filled.run("backup", disk.folder, answer=2)  # a folder cannot be renamed to it
        assert list(disk.folder.iterdir()) == []
        filled.run("backup", disk.folder / "copy")
        check(disk.folder / "copy")


# --- the manual --------------------------------------------------------------------------------------------------


@pytest.fixture
def manual(tmp_path: Path) -> Manual:
    """The section, where `my-index` is."""
    return Manual("Backup and restore", tmp_path, {"N": "4"})


@pytest.fixture
def mine(tmp_path: Path) -> Index:
    """The ledger of the manual, with copies of what no backup has."""
    index = Index.create(tmp_path / "my-index")
    index.upload("one")
    index.publish_and_check()
    shutil.copytree(index.folder / "keys/online", tmp_path / "my-index-keys")
    return index


def back_again(tmp_path: Path, *projects: str) -> None:
    """Clients that knew the ledger go on."""
    restored = Index(tmp_path / "my-index", clients=tmp_path / "my-index-client")
    assert set(restored.check().projects) == set(projects)
    restored.append(Make().project_created("later"))
    restored.publish_and_check()
    restored.verify()


def test_the_manual_word_for_word(manual: Manual, mine: Index, tmp_path: Path) -> None:
    """Backed up while it runs, lost, and restored: clients notice nothing."""
    backup, check, _, machine, *_ = manual.steps
    with start(tmp_path / "running", "run", "--ledger", mine.folder) as running:
        running.wait_for("verifier started")
        assert NO_KEYS in manual.follow(backup)
        running.kill()
    shutil.copytree(mine.public, tmp_path / "my-index-store")
    shutil.rmtree(mine.folder)
    assert "signed as the offline roles require" in manual.follow(check)
    assert "Nothing is new since publication" in manual.follow(machine)
    back_again(tmp_path, "one")


@pytest.mark.slow
def test_the_manual_when_the_log_alone_is_lost(manual: Manual, mine: Index, tmp_path: Path) -> None:
    backup, _, log, *_ = manual.steps
    manual.follow(backup)
    shutil.rmtree(mine.folder / "log")
    assert "Nothing is new since publication" in manual.follow(log)
    back_again(tmp_path, "one")


def test_the_manual_when_the_states_are_lost(mine: Index, tmp_path: Path) -> None:
    shutil.rmtree(mine.folder / "state")
    back_again(tmp_path, "one")


def test_the_manual_when_a_machine_is_restored_to_yesterday(manual: Manual, mine: Index, tmp_path: Path) -> None:
    """A ceremony and an upload are lost with the end of the log."""
    backup, _, _, _, refused, accepted, resume, _ = manual.steps
    manual.follow(backup)
    mine.run("ceremony", "--bins", 32)
    wheel = mine.upload("two")
    mine.publish_and_check()
    shutil.copytree(mine.public, tmp_path / "my-index-store")
    with serving(tmp_path / "my-index-store") as url:
        shutil.rmtree(mine.folder)
        manual.variables["SITE"] = url
        assert f"{url} has publication 4, and the backup ends with 2" in manual.follow(refused)
        assert not mine.folder.exists()
        assert "publications are lost: clients have seen 4" in manual.follow(accepted)
        documents = [tmp_path / f"my-index-store/metadata/2.{role}.json" for role in ("root", "bins")]
        restored = Index(tmp_path / "my-index", clients=tmp_path / "my-index-client")
        restored.run("ceremony", "--append", *documents)  # its keys are elsewhere
        restored.run("add", wheel)
        manual.follow(resume)
    assert restored.check().number == 5
    back_again(tmp_path, "one", "two")
