"""What every log promises: one suite that each implementation inherits. Contract: `ledger.logs.Log`."""

import asyncio
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ledger.logs import READ_BYTES, Log, LogConflictError, LogSettingsError, LogUnavailableError
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.logs.sqlite import SqliteLog

LogFactory = Callable[[], Log]
LogOpener = Callable[[], Awaitable[Log]]
NullAppender = Callable[[], Awaitable[None]]

LONG_SECONDS = 600
"""A wait that ends this late was not woken."""


async def read_all(log: Log, start: int = 0) -> list[bytes | None]:
    """Read to the end."""
    values: list[bytes | None] = []
    while chunk := await log.read(start + len(values)):
        values += chunk
    return values


async def follow(log: Log, count: int) -> list[bytes | None]:
    """Read as a follower does, until there are so many."""
    values: list[bytes | None] = []
    async with asyncio.timeout(LONG_SECONDS):
        while len(values) < count:
            await log.wait(len(values), 1)
            values += await log.read(len(values))
    return values


def numbered(count: int, prefix: str = "", size: int = 0) -> list[bytes]:
    return [f"{prefix}{number}".encode().ljust(size, b".") for number in range(count)]


class LogContract:
    """The suite. A subclass provides the fixtures `new_log`, an object for the one log under test that was not yet
    opened, and `append_null`, which appends a record without a value as a stranger would.
    """

    @pytest.fixture
    async def open_log(self, new_log: LogFactory) -> AsyncIterator[LogOpener]:
        opened = []

        async def open_one() -> Log:
            log = new_log()
            opened.append(log)
            await log.open()
            return log

        yield open_one
        for log in opened:
            await log.close()

    @pytest.fixture
    async def log(self, open_log: LogOpener) -> Log:
        return await open_log()

    async def test_an_empty_log_has_no_records(self, log: Log) -> None:
        assert await log.read(0) == []

    async def test_the_size_is_the_number_of_records(self, log: Log, open_log: LogOpener) -> None:
        reader = await open_log()
        assert await reader.size() == 0
        await log.append(numbered(7))
        assert await reader.size() == await log.size() == 7
        assert await reader.read(0) == numbered(7)
        assert await reader.size() == 7

    async def test_records_come_back_in_order_under_dense_indices(self, log: Log) -> None:
        assert await log.append([b"a", b"b"]) == [0, 1]
        assert await log.append([b"c"]) == [2]
        assert await read_all(log) == [b"a", b"b", b"c"]
        assert await read_all(log, 2) == [b"c"]
        assert await log.read(3) == []

    async def test_appending_nothing_appends_nothing(self, log: Log) -> None:
        assert await log.append([]) == []
        assert await log.read(0) == []

    async def test_any_bytes_are_a_record(self, log: Log) -> None:
        values = [b"", b"\x00", bytes(range(256)), "ä".encode("latin-1"), b""]
        await log.append(values)
        assert await read_all(log) == values

    async def test_a_record_without_a_value_is_none_and_an_empty_one_is_not(
        self, log: Log, append_null: NullAppender
    ) -> None:
        await log.append([b"a"])
        await append_null()
        assert await log.append([b""]) == [2]
        assert await read_all(log) == [b"a", None, b""]

    async def test_reading_goes_in_chunks_of_about_the_stated_size(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(3 * READ_BYTES // 4096, size=4096)
        assert await log.append(values) == list(range(len(values)))
        reader = await open_log()
        found: list[bytes | None] = []
        while chunk := await reader.read(len(found)):
            assert sum(len(value or b"") for value in chunk) <= 3 * READ_BYTES
            found += chunk
        assert found == values

    async def test_many_small_records(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(30_000)
        assert await log.append(values) == list(range(len(values)))
        assert await read_all(await open_log()) == values

    async def test_large_records(self, log: Log, open_log: LogOpener) -> None:
        values = [os.urandom(7 * 2**20), b"small", os.urandom(7 * 2**20)]
        assert await log.append(values) == [0, 1, 2]
        assert await read_all(log) == values
        assert await read_all(await open_log(), 1) == values[1:]

    async def test_any_index_can_be_read_in_any_order(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(5000, size=2000)
        await log.append(values)
        reader = await open_log()
        for start in [4999, 0, 2500, 2499, 4000, 1, 5000, 4998]:
            chunk = await reader.read(start)
            assert chunk == values[start : start + len(chunk)]
            assert bool(chunk) == (start < 5000)

    async def test_reading_again_finds_the_same(self, log: Log) -> None:
        await log.append([b"a", b"b"])
        assert await log.read(0) == await log.read(0) == [b"a", b"b"]

    async def test_a_start_beyond_the_end_means_that_the_log_has_shrunk(self, log: Log) -> None:
        await log.append([b"a", b"b"])
        with pytest.raises(LogConflictError):
            await log.read(3)
        assert await log.read(2) == []

    async def test_an_empty_read_tells_the_truth(self, log: Log, open_log: LogOpener) -> None:
        """An empty list means: when this was called, the log had no record `start`."""
        reader = await open_log()
        for index in range(100):
            assert await reader.read(index) == []
            await log.append([b"%d" % index])
            assert await reader.read(index) == [b"%d" % index]

    async def test_waiting_ends_when_a_record_comes(self, log: Log, open_log: LogOpener) -> None:
        reader = await open_log()
        assert await reader.read(0) == []
        started_at = time.monotonic()
        waiting = asyncio.create_task(reader.wait(0, LONG_SECONDS))
        await asyncio.sleep(0.2)
        await log.append([b"a"])
        await waiting
        assert time.monotonic() - started_at < LONG_SECONDS / 2
        assert await reader.read(0) == [b"a"]

    async def test_waiting_for_what_is_there_ends_at_once(self, log: Log, open_log: LogOpener) -> None:
        await log.append([b"a", b"b"])
        reader = await open_log()
        for start in [0, 1, 0]:
            started_at = time.monotonic()
            await reader.wait(start, LONG_SECONDS)
            assert time.monotonic() - started_at < LONG_SECONDS / 2
        assert await reader.read(0) == [b"a", b"b"]

    async def test_waiting_ends_after_a_time(self, log: Log) -> None:
        started_at = time.monotonic()
        await log.wait(0, 0.1)
        assert time.monotonic() - started_at < LONG_SECONDS / 2
        assert await log.read(0) == []

    async def test_several_readers_follow_while_one_appends(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(400, size=100)
        followers = [asyncio.create_task(follow(await open_log(), len(values))) for _ in range(3)]
        for start in range(0, len(values), 8):
            await log.append(values[start : start + 8])
        assert await asyncio.gather(*followers) == [values] * 3

    async def test_several_writers_each_keep_their_order(self, open_log: LogOpener) -> None:
        async def write(writer: str) -> dict[int, bytes]:
            log = await open_log()
            written: dict[int, bytes] = {}
            values = numbered(60, f"{writer}-")
            for start in range(0, len(values), 3):
                batch = values[start : start + 3]
                indices = await log.append(batch)
                assert indices == sorted(indices)
                written.update(zip(indices, batch, strict=True))
            assert list(written.values()) == values
            return written

        written = await asyncio.gather(*[write(writer) for writer in "abc"])
        together = {index: value for each in written for index, value in each.items()}
        assert sorted(together) == list(range(180))
        assert await read_all(await open_log()) == [together[index] for index in range(180)]

    async def test_a_follower_resumes_where_it_was(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(1000)
        await log.append(values)
        for index in [0, 1, 500, 1000]:
            reader = await open_log()
            reader.resume(index, log.token(index))
            assert await read_all(reader, index) == values[index:]
            assert await read_all(reader) == values

    async def test_a_token_can_be_had_for_what_was_read_and_what_is_next(self, log: Log, open_log: LogOpener) -> None:
        await log.append([b"a", b"b"])
        reader = await open_log()
        assert await read_all(reader) == [b"a", b"b"]
        tokens = [reader.token(index) for index in range(3)]
        await log.append([b"c"])
        for index, token in enumerate(tokens):
            resumed = await open_log()
            resumed.resume(index, token)
            assert await read_all(resumed, index) == [b"a", b"b", b"c"][index:]

    async def test_a_record_without_a_value_is_appended_as_it_is(self, log: Log, open_log: LogOpener) -> None:
        assert await log.append([None]) == [0]
        assert await log.append([b"", None, b"a", None]) == [1, 2, 3, 4]
        assert await read_all(await open_log()) == [None, b"", None, b"a", None]

    async def test_a_log_can_be_opened_again(self, new_log: LogFactory) -> None:
        log = new_log()
        await log.close()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(log.close)
            await log.open()
            await log.append([b"a"])
            await log.close()
            await log.close()
            with pytest.raises(LogUnavailableError, match="not open"):
                await log.read(0)
            with pytest.raises(LogUnavailableError, match="not open"):
                await log.append([b"lost"])
            await log.open()
            assert await log.append([b"b"]) == [1]
            assert await read_all(log) == [b"a", b"b"]

    async def test_a_cancelled_read_or_wait_loses_nothing(self, log: Log, open_log: LogOpener) -> None:
        values = numbered(300, size=5000)
        reader = await open_log()
        found: list[bytes | None] = []
        for start in range(0, len(values), 5):
            await log.append(values[start : start + 5])
            for call in (reader.wait(len(found), 1), reader.read(len(found))):
                task = asyncio.create_task(call)
                await asyncio.sleep(random.choice([0, 0.0005, 0.002, 0.01]))
                task.cancel()
                await asyncio.wait({task})
            if start % 50 == 0:
                found += await reader.read(len(found))
        found += await read_all(reader, len(found))
        assert found == values

    async def test_a_cancelled_append_has_appended_a_prefix(self, log: Log, open_log: LogOpener) -> None:
        for attempt in range(20):
            task = asyncio.create_task(log.append(numbered(2000, f"{attempt}-", size=1000)))
            await asyncio.sleep(random.choice([0, 0.001, 0.01, 0.03]))
            task.cancel()
            await asyncio.wait({task})
        (last,) = await log.append([b"last"])
        found = await read_all(await open_log())
        assert found.index(b"last") == last == len(found) - 1
        for attempt in range(20):
            mine = [value for value in found if value and value.startswith(b"%d-" % attempt)]
            assert mine == numbered(2000, f"{attempt}-", size=1000)[: len(mine)]

    async def test_a_random_walk_agrees_with_a_list(self, open_log: LogOpener, append_null: NullAppender) -> None:
        logs = [await open_log() for _ in range(2)]
        model: list[bytes | None] = []
        for step in range(120):
            log = random.choice(logs)
            match random.choice(["append", "append", "read", "read", "end", "null"]):
                case "append":
                    values = numbered(random.choice([1, 1, 3, 700]), f"{step}-", size=random.choice([0, 0, 3000]))
                    assert await log.append(values) == list(range(len(model), len(model) + len(values)))
                    model += values
                case "read":
                    start = random.randint(0, len(model))
                    chunk = await log.read(start)
                    assert chunk == model[start : start + len(chunk)]
                    assert chunk or start == len(model)
                case "end":
                    await log.wait(len(model), 0.001)
                    assert await log.read(len(model)) == []
                case "null":
                    await append_null()
                    model.append(None)
        for log in logs:
            assert await read_all(log) == model


class TestMemoryLog(LogContract):
    """The log in memory."""

    @pytest.fixture
    def records(self) -> MemoryRecords:
        return MemoryRecords("memory")

    @pytest.fixture
    def new_log(self, records: MemoryRecords) -> LogFactory:
        return lambda: MemoryLog(records)

    @pytest.fixture
    def append_null(self, records: MemoryRecords) -> NullAppender:
        async def append() -> None:
            records.append(None)

        return append


class TestSqliteLog(LogContract):
    """The embedded log."""

    @pytest.fixture
    async def path(self, tmp_path: Path) -> Path:
        log = SqliteLog(tmp_path / "folder" / "events.log")
        await log.create()
        await log.close()
        return tmp_path / "folder" / "events.log"

    @pytest.fixture
    def new_log(self, path: Path) -> LogFactory:
        return lambda: SqliteLog(path)

    @pytest.fixture
    def append_null(self, path: Path) -> NullAppender:
        async def append() -> None:
            execute(path, "INSERT INTO records SELECT coalesce(max(idx) + 1, 0), NULL FROM records")

        return append

    async def test_the_file_is_not_made_by_opening_it(self, tmp_path: Path) -> None:
        with pytest.raises(LogSettingsError, match="there is no log"):
            await SqliteLog(tmp_path / "mistyped").open()
        assert files_of(tmp_path) == []

    async def test_the_file_is_made_once(self, path: Path, log: Log) -> None:
        await log.append([b"a"])
        with pytest.raises(LogSettingsError, match="exists"):
            await SqliteLog(path).create()
        assert await log.read(0) == [b"a"]

    @pytest.mark.parametrize("content", [b"", b"garbage " * 1000, b"SQLite format 3\x00 and then garbage" * 100])
    async def test_a_file_that_is_no_log_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        log = SqliteLog(tmp_path / "file")
        with pytest.raises(LogSettingsError):
            await log.open()
        await log.close()

    @pytest.mark.parametrize("trigger", ["dense", "never_updated", "never_deleted"])
    async def test_a_log_without_its_triggers_is_refused(self, path: Path, new_log: LogFactory, trigger: str) -> None:
        execute(path, f"DROP TRIGGER records_are_{trigger}")
        log = new_log()
        with pytest.raises(LogSettingsError, match="triggers"):
            await log.open()
        await log.close()

    async def test_a_log_without_its_beginning_is_refused(self, path: Path, log: Log, new_log: LogFactory) -> None:
        await log.append([b"a", b"b"])
        without_trigger(path, "never_deleted", "DELETE FROM records WHERE idx = 0")
        beheaded = new_log()
        with pytest.raises(LogConflictError):
            await beheaded.open()
        await beheaded.close()

    async def test_a_log_that_shrinks_is_noticed(self, path: Path, log: Log) -> None:
        await log.append([b"a", b"b", b"c"])
        assert len(await log.read(0)) == 3
        without_trigger(path, "never_deleted", "DELETE FROM records WHERE idx > 0")
        with pytest.raises(LogConflictError, match="shrunk"):
            await log.read(3)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE records SET value = x'00' WHERE idx = 1",
            "UPDATE records SET idx = 9 WHERE idx = 2",
            "DELETE FROM records",
            "DELETE FROM records WHERE idx = 2",
            "REPLACE INTO records VALUES (1, x'00')",
            "INSERT OR REPLACE INTO records VALUES (2, x'00')",
            "INSERT INTO records VALUES (1, x'00') ON CONFLICT (idx) DO UPDATE SET value = excluded.value",
            "INSERT INTO records VALUES (4, x'00')",
            "INSERT INTO records VALUES (-1, x'00')",
        ],
    )
    async def test_the_database_refuses_to_change_a_record(self, path: Path, log: Log, statement: str) -> None:
        await log.append([b"a", b"b", b"c"])
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|UNIQUE"):
            execute(path, statement)
        assert await read_all(log) == [b"a", b"b", b"c"]
        assert await log.append([b"d"]) == [3]

    async def test_processes_share_it(self, path: Path, log: Log) -> None:
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=append_in_process, args=(path, writer, 100)) for writer in "ab"]
        for writer in writers:
            writer.start()
        values = await follow(log, 200)
        for writer in writers:
            await asyncio.to_thread(writer.join)
        assert [writer.exitcode for writer in writers] == [0, 0]
        for prefix in "ab":
            assert [value for value in values if value and value.startswith(prefix.encode())] == numbered(100, prefix)

    async def test_a_writer_that_is_killed_leaves_a_dense_log(self, path: Path, log: Log, open_log: LogOpener) -> None:
        context = multiprocessing.get_context("spawn")
        writer = context.Process(target=append_in_process, args=(path, "w", 10**9))
        writer.start()
        await follow(log, 50)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        await asyncio.to_thread(writer.join)
        values = await read_all(await open_log())
        assert values == numbered(len(values), "w")
        assert await log.append([b"next"]) == [len(values)]


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def execute(path: Path, *statements: str) -> None:
    """Work on the database as a stranger would."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=LONG_SECONDS)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def without_trigger(path: Path, trigger: str, statement: str) -> None:
    """Do as the owner of the file what a trigger forbids."""
    connection = sqlite3.connect(path)
    (kept,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"records_are_{trigger}",)).fetchone()
    connection.close()
    execute(path, f"DROP TRIGGER records_are_{trigger}", statement, kept)


def append_in_process(path: Path, prefix: str, count: int) -> None:
    """Append record by record, in a process of its own."""

    async def append() -> None:
        log = SqliteLog(path)
        await log.open()
        for number in range(count):
            await log.append([f"{prefix}{number}".encode()])
        await log.close()

    asyncio.run(append())
