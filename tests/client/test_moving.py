"""`copy-log`: a ledger goes on from other logs, and nothing of it has changed."""

import asyncio
import json
import random
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consumers.backup.moving import CopyConflictError, moving
from consumers.context import Context
from consumers.work.alone import alone_in
from ledger.config import Config, LedgerSection
from ledger.logs import Logs, LogUnavailableError
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.logs.sqlite import SqliteLog
from schemas.codec import encode_event
from tests.client.disks import mounted
from tests.client.index import Index, invoke
from tests.client.processes import Running, execute, start, until
from tests.factory import Make

MANY = 30_000


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user keeps is not that of whoever tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def copy(index: Index, target: Path, *options: object, answer: int = 0) -> str:
    return invoke("copy-log", f"sqlite:{index.folder / 'log'}", f"sqlite:{target}", *options, answer=answer).output


def rows(path: Path) -> list[tuple[int, bytes | None]]:
    with closing(sqlite3.connect(path)) as log:
        return log.execute("SELECT idx, value FROM records ORDER BY idx").fetchall()


def rows_of(folder: Path) -> list[list[tuple[int, bytes | None]]]:
    return [rows(folder / f"{name}.sqlite") for name in ("events", "publications")]


async def fill(path: Path, values: Sequence[bytes | None]) -> None:
    """Append to a log's file."""
    log = SqliteLog(path)
    await log.open()
    await log.append(values)
    await log.close()


# --- a ledger that moves -----------------------------------------------------------------------------------------


def test_a_ledger_goes_on_from_the_copy(index: Index, tmp_path: Path) -> None:
    asyncio.run(fill(index.folder / "log/events.sqlite", [b"garbage", None, b""]))
    asyncio.run(fill(index.folder / "log/publications.sqlite", [None, b"garbage"]))
    index.upload("one", "2.0")
    index.publish_and_check()
    said = copy(index, tmp_path / "copy")
    sizes, ledger = index.info()["sizes"], index.info()["ledger"]
    assert f"{sizes['events']} events and {sizes['publications']} records of publications; each was read back" in said
    assert f"identity      {ledger}\n" in said
    assert rows_of(tmp_path / "copy") == rows_of(index.folder / "log")
    (verified,) = index.ask("verify", "--served", index.public)
    assert f"Merkle root   {verified['root_hash']}\n" in said
    again = copy(index, tmp_path / "copy")
    assert again.startswith("Nothing was missing.\n")
    assert "run this once more" not in again
    shutil.rmtree(index.folder / "log")
    (index.folder / "ledger.toml").write_text(f'[ledger]\nlog = "sqlite:{tmp_path / "copy"}"\n')
    index.upload("three")
    index.publish_and_check()
    index.verify()
    assert index.info()["ledger"] == ledger


def test_for_machines(index: Index, tmp_path: Path) -> None:
    facts = index.info()
    sizes = facts["sizes"]
    tried = json.loads(copy(index, tmp_path / "copy", "--json", "--dry-run"))
    assert not (tmp_path / "copy").exists()
    done = json.loads(copy(index, tmp_path / "copy", "--json"))
    assert (tried, done) == ({**done, "dry_run": True}, {**done, "ok": True, "dry_run": False, **sizes})
    assert (done["sizes"], done["ledger"]) == (sizes, facts["ledger"])
    index.upload("three")
    tried = json.loads(copy(index, tmp_path / "copy", "--json", "--dry-run"))
    assert (tried["events"], tried["publications"]) == (1, 0)
    assert len(rows(tmp_path / "copy/events.sqlite")) == sizes["events"], "nothing was appended"


# --- what it refuses ---------------------------------------------------------------------------------------------


def test_what_is_no_copy_is_refused_and_left_alone(index: Index, tmp_path: Path) -> None:
    other = Index.create(tmp_path / "other")
    before = rows_of(other.folder / "log")
    said = copy(index, other.folder / "log", answer=2)
    assert "record 0 of " in said
    assert "it holds another ledger. Name another place" in said
    assert rows_of(other.folder / "log") == before
    copy(index, tmp_path / "copy")
    before = rows_of(tmp_path / "copy")
    asyncio.run(fill(tmp_path / "copy/publications.sqlite", [b"another"]))
    index.upload("three")
    assert "publications.sqlite is ahead: it has a record" in copy(index, tmp_path / "copy", answer=2)
    index.publish()
    said = copy(index, tmp_path / "copy", answer=2)
    assert f"record {len(before[1])} of {tmp_path}/copy/publications.sqlite (SHA-256 " in said
    assert "it is no copy of this log. Name another place" in said
    assert rows(tmp_path / "copy/events.sqlite") == before[0], "nothing was appended to the log that fits, either"


def test_the_old_log_is_not_copied_over_the_new_one(index: Index, tmp_path: Path) -> None:
    copy(index, tmp_path / "copy")
    asyncio.run(fill(tmp_path / "copy/events.sqlite", [encode_event(Make().project_created("three"))]))
    assert "Is it in use already? Then the other one is the old log" in copy(index, tmp_path / "copy", answer=2)


REFUSED = {
    ("sqlite:index/log", "sqlite:./index/log"): "FROM and TO are the same logs",
    ("sqlite:index/log", "ftp://somewhere"): "must be `sqlite:FOLDER` or `kafka://",
    ("sqlite:nowhere", "sqlite:copy"): "there is no log at",
    ("sqlite:index/log", "sqlite:file"): "File exists",
    ("sqlite:index/log", "sqlite:garbage"): "is not a log",
    ("sqlite:index/log", "sqlite:copy", "--follow", "--dry-run"): "exclude each other",
}


def test_usage(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index.folder == tmp_path / "index"
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage/events.sqlite").write_bytes(b"garbage " * 1000)
    monkeypatch.chdir(tmp_path)
    for arguments, said in REFUSED.items():
        assert said in invoke("copy-log", *arguments, answer=2).output
        assert not (tmp_path / "copy").exists()


def test_another_name_of_the_same_log(index: Index, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(index.folder / "log")
    said = copy(index, tmp_path / "link", answer=2)
    assert f"{tmp_path}/link/events.sqlite is {index.folder}/log/events.sqlite itself" in said


def test_two_at_once_would_spoil_it(index: Index, tmp_path: Path) -> None:
    with alone_in(tmp_path / "copy", "copies to there"):
        assert "another process copies to sqlite:" in copy(index, tmp_path / "copy", answer=75)
        copy(index, tmp_path / "copy", "--dry-run")
    copy(index, tmp_path / "copy")


# --- interrupted, and while others append ------------------------------------------------------------------------


def test_killed_at_any_moment_it_goes_on(index: Index, tmp_path: Path) -> None:
    """kill -9, again and again, until a run has come to its end."""
    asyncio.run(fill(index.folder / "log/events.sqlite", [b"%d" % number * 20 for number in range(MANY)]))
    arguments = ("copy-log", f"sqlite:{index.folder / 'log'}", f"sqlite:{tmp_path / 'copy'}")
    events, seen = tmp_path / "copy/events.sqlite", 0
    for _ in range(3):
        with start(tmp_path / "out", *arguments) as running:
            until(partial(has_grown, running, events, seen), running.output)
            running.kill()
        seen = size_of(events)
        assert seen <= len(rows(index.folder / "log/events.sqlite"))
    assert invoke(*arguments).exit_code == 0
    assert rows_of(tmp_path / "copy") == rows_of(index.folder / "log")


def has_grown(running: Running, path: Path, size: int) -> bool:
    """Whether a log has more records, or a run has ended."""
    return running.process.poll() is not None or (path.exists() and size_of(path) > size)


def size_of(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as log:
        try:
            ((size,),) = log.execute("SELECT coalesce(max(idx) + 1, 0) FROM records").fetchall()
        except sqlite3.OperationalError:  # not created yet
            return 0
        return int(size)


class FailingLog(MemoryLog):
    """A log that reports some appended records as failed, and appends only the first ones of some."""

    def __init__(self, records: MemoryRecords, random: random.Random) -> None:
        super().__init__(records, read_records=7)
        self._random = random

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        if self._random.random() < 0.3:
            await super().append(values[: self._random.randrange(len(values) + 1)])
            raise LogUnavailableError("the broker does not answer")
        return await super().append(values)


class MemoryContext(Context):
    """A ledger whose logs are in memory."""

    def __init__(self, records: Sequence[MemoryRecords], chance: random.Random | None = None) -> None:
        super().__init__(Path("nowhere"), Config(LedgerSection(log="sqlite:nowhere")))
        self.records = records
        self._chance = chance

    def logs(self) -> Logs:
        chance = self._chance
        return Logs(*(FailingLog(each, chance) if chance else MemoryLog(each) for each in self.records))

    async def missing_logs(self) -> list[str]:
        return []


def in_memory(index: Index) -> MemoryContext:
    """The logs of a ledger, in memory."""
    records = [MemoryRecords(name) for name in ("events", "publications")]
    for each, found in zip(records, rows_of(index.folder / "log"), strict=True):
        each.values = [value for _, value in found]
    return MemoryContext(records)


def test_what_was_appended_and_reported_as_failed(index: Index) -> None:
    source, chance = in_memory(index), random.Random(1)
    source.records[0].values += [b"%d" % number for number in range(200)]
    source.records[1].values += [None, *(b"%d" % number for number in range(50))]

    async def run() -> bool:
        try:
            async with moving(source, target, 1, lambda _done, _total: None) as move:
                done = await move.go_on()
        except LogUnavailableError:
            return False
        assert done.sizes == {"events": len(source.records[0].values), "publications": len(source.records[1].values)}
        return True

    for _ in range(5):
        target = MemoryContext([MemoryRecords("copy of events"), MemoryRecords("copy of publications")], chance)
        while not asyncio.run(run()):
            pass
        assert [each.values for each in target.records] == [each.values for each in source.records]


def test_whoever_appends_to_the_copy_is_noticed(index: Index) -> None:
    source = in_memory(index)

    class Crowded(MemoryLog):
        async def append(self, values: Sequence[bytes | None]) -> list[int]:
            self.records.append(b"somebody else's")
            return await super().append(values)

    class Shared(MemoryContext):
        def logs(self) -> Logs:
            return Logs(*map(Crowded, self.records))

    async def run() -> None:
        target = Shared([MemoryRecords("events"), MemoryRecords("publications")])
        async with moving(source, target, 1, lambda _done, _total: None) as move:
            await move.go_on()

    with pytest.raises(CopyConflictError, match="somebody else appends to events: what belongs at record 0 came to 1"):
        asyncio.run(run())


def test_events_and_publications_that_come_meanwhile(index: Index) -> None:
    """The copy has the events of all its publications at any moment, and it is known what it lacks."""
    source = in_memory(index)
    target = MemoryContext([MemoryRecords("copy of events"), MemoryRecords("copy of publications")])
    publications = source.records[1]

    class Growing(MemoryLog):
        async def read(self, start: int) -> list[bytes | None]:
            values = await super().read(start)
            if self.records is publications and start == 0:
                source.records[0].append(b"an event that comes now")
                publications.append(b"a claim that covers it")
            return values

    class Source(MemoryContext):
        def logs(self) -> Logs:
            return Logs(*map(Growing, self.records))

    async def run() -> list[int]:
        async with moving(Source(source.records), target, 1, lambda _done, _total: None) as move:
            first = await move.go_on()
            second = await move.go_on()
        return [first.grown, second.grown]

    assert asyncio.run(run()) == [1, 0]
    assert [each.values for each in target.records] == [each.values for each in source.records]


@pytest.mark.slow
def test_it_says_that_the_log_has_grown(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("verifier started")
        index.upload("three")
        running.wait_for("publication applied", publication=index.info()["last"]["publication"] + 1)
        done = execute(
            "copy-log", f"sqlite:{index.folder / 'log'}", f"sqlite:{tmp_path / 'copy'}", "--json", answer=None
        )
        running.stop()
    answer = json.loads(done.stdout)
    assert (done.returncode, answer.get("error")) in [(0, None), (75, "still-grows")]
    copy(index, tmp_path / "copy")
    assert rows_of(tmp_path / "copy") == rows_of(index.folder / "log")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_follows_until_it_is_stopped(index: Index, tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("copy-log", f"sqlite:{index.folder / 'log'}", f"sqlite:{tmp_path / 'copy'}", "--follow", "--json")
    with start(tmp_path / "log", *arguments) as running:
        until(lambda: '"ok": true' in running.output(), running.output)
        index.upload("three")
        index.publish()
        until(lambda: told(running)[-1]["sizes"] == index.info()["sizes"], running.output)
        assert rows_of(tmp_path / "copy") == rows_of(index.folder / "log")
        running.process.send_signal(number)
        assert running.process.wait(60) == 128 + number
    first, *more = told(running)
    assert first["events"] == first["sizes"]["events"]
    assert [sum(each[name] for each in more) for name in ("events", "publications")] == [1, 2]


def told(running: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.output().splitlines()]


def test_no_room_for_it(index: Index, tmp_path: Path) -> None:
    asyncio.run(fill(index.folder / "log/events.sqlite", [b"%d" % number * 200 for number in range(2000)]))
    with mounted(tmp_path / "disk") as disk:
        disk.fill()
        said = copy(index, disk.folder / "copy", answer=75)
        assert "damaged" not in said
        disk.make_room()
        copy(index, disk.folder / "copy")
        assert rows_of(disk.folder / "copy") == rows_of(index.folder / "log")
