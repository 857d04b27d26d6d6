"""The state that is written anew: into a new file, which takes the place of the old one, or does not."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, get_ident

import pytest

from ledger.state import StateDamagedError, StoreError
from ledger.state.aggregates import ChunkRow, load_chunks, load_headers, save, save_waiting
from ledger.state.file import StateFile
from ledger.state.position import load_note, save_note
from ledger.state.statements import State
from ledger.state.store import ReadingStore, Store
from ledger.state.verdicts import JudgedRow, save_judged

CHUNK = ChunkRow("project:a", "", b"facts", b"body", b"")


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows by table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall()) for name in tables}


async def opened(path: Path) -> Store:
    """A store that has something in several tables."""
    store = Store(path)
    await store.open()
    await store.run(StateFile.begin)
    await store.run(save, [("project:a", b"header")], [CHUNK], [])
    await store.run(save_judged, [JudgedRow("events", 3, "digest", "kind", "rejected", "code", "detail")])
    await store.run(save_waiting, [("a", 1)], [])
    await store.run(save_note, "note", "value")
    await store.run(StateFile.commit)
    return store


async def test_what_was_there_is_there(tmp_path: Path) -> None:
    """A state that is written anew has what it had, in every table, and what is new."""
    store = await opened(tmp_path / "state.sqlite")
    before = rows_of(store.path)
    inode = store.path.stat().st_ino
    await store.run(StateFile.begin, anew=True)
    await store.run(save_note, "more", "value")
    assert rows_of(store.path) == before, "whoever reads meanwhile sees the old state"
    await store.run(StateFile.commit)
    assert store.path.stat().st_ino != inode
    assert await store.run(load_headers, ["project:a"]) == [("project:a", b"header")]
    assert await store.run(load_chunks, ["project:a"]) == [CHUNK]
    await store.close()
    assert rows_of(store.path) == {**before, "notes": [("more", "value"), ("note", "value")]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.kept", "state.sqlite", "state.sqlite.lock"]


async def test_undone_it_is_as_it_was(tmp_path: Path) -> None:
    """Undone, nothing is left of the new file, and the old one can be written again."""
    store = await opened(tmp_path / "state.sqlite")
    before = rows_of(store.path)
    await store.run(StateFile.begin, anew=True)
    await store.run(save_note, "more", "value")
    await store.run(StateFile.rollback)
    assert await store.run(load_note, "more") is None
    await store.run(StateFile.begin)
    await store.run(StateFile.commit)
    await store.close()
    assert rows_of(store.path) == before
    assert not (tmp_path / "state.sqlite.new").exists()


async def test_a_state_that_cannot_be_copied_stays(tmp_path: Path) -> None:
    """Where copying fails, the old state stays the state."""
    store = await opened(tmp_path / "state.sqlite")
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("ALTER TABLE waiting ADD COLUMN surplus")
    with pytest.raises(StateDamagedError, match="waiting"):
        await store.run(StateFile.begin, anew=True)
    assert not (tmp_path / "state.sqlite.new").exists()
    assert await store.run(load_note, "note") == "value"
    await store.close()


async def test_much_is_settled_while_the_next_transaction_goes_on(tmp_path: Path) -> None:
    """What was committed moves to its place beside what is written next, and nothing of either is lost."""
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    rounds, rows = 6, 5_000
    for number in range(rounds):
        await store.run(StateFile.begin)
        await store.run(save, [(f"project:{number}-{row}", b"x" * 100) for row in range(rows)], [], [])
        await store.run(StateFile.commit)
    # Each is moved while the next is written: what is left to be moved is the last at most.
    await store.close()
    wal = store.path.with_name("state.sqlite-wal")
    assert not wal.exists()
    assert len(rows_of(store.path)["aggregates"]) == rounds * rows


async def test_a_kept_reader_sees_what_was_settled(tmp_path: Path) -> None:
    """A process that keeps its connection reads what is committed after it was opened."""
    store = await opened(tmp_path / "state.sqlite")
    reader = ReadingStore(store.path)
    await reader.open()
    assert await reader.run(load_note, "more") is None
    await store.run(StateFile.begin)
    await store.run(save_note, "more", "value")
    assert await reader.run(load_note, "more") is None
    await store.run(StateFile.commit)
    await store.run(StateFile.settle)
    assert await reader.run(load_note, "more") == "value"
    await reader.close()
    await store.close()


async def test_everything_is_done_in_one_thread_and_reading_in_none(tmp_path: Path) -> None:
    def thread(_: State) -> int:
        return get_ident()

    store = await opened(tmp_path / "state.sqlite")
    assert {await store.run(thread) for _ in range(3)} == {await store.run(thread)}
    assert await store.run(thread) != get_ident()
    reader = ReadingStore(store.path)
    await reader.open()
    assert await reader.run(thread) == get_ident()
    await reader.close()
    await store.close()


async def test_what_was_begun_is_done_although_nobody_waits_for_it(tmp_path: Path) -> None:
    """A caller that is cancelled goes on when the state is no longer worked on."""
    store = await opened(tmp_path / "state.sqlite")
    begun, go_on, done = Event(), Event(), []

    def work(_: State) -> None:
        begun.set()
        go_on.wait()
        done.append(1)

    task = asyncio.create_task(store.run(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]
    await store.close()


async def test_a_store_that_was_closed_can_be_opened_again(tmp_path: Path) -> None:
    store = await opened(tmp_path / "state.sqlite")
    await store.close()
    with pytest.raises(StoreError, match="is not open"):
        await store.run(load_note, "note")
    await store.close()
    await store.open()
    assert await store.run(load_note, "note") == "value"
    await store.close()


async def test_what_is_done_soon_is_done_before_the_next(tmp_path: Path) -> None:
    """In its order, and if it fails, what comes next is not done."""
    store = await opened(tmp_path / "state.sqlite")
    store.soon(save_note, "note", "first")
    store.soon(save_note, "note", "second")
    assert await store.run(load_note, "note") == "second"
    store.soon(StateFile.begin)
    store.soon(StateFile.begin)
    with pytest.raises(StateDamagedError, match="within a transaction"):
        await store.run(save_note, "note", "third")
    await store.run(StateFile.rollback)
    assert await store.run(load_note, "note") == "second"
    store.soon(StateFile.begin)
    store.soon(save_note, "note", "never committed")
    await store.close()
    await store.open()
    assert await store.run(load_note, "note") == "second"
    await store.close()


async def test_a_lock_that_could_not_be_taken_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that tries again would find itself in its way."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "state.sqlite"
    with monkeypatch.context() as patched:
        patched.setattr(os, "truncate", fail)
        with pytest.raises(StoreError):
            await Store(path).open()
    store = Store(path)
    await store.open()
    await store.close()
