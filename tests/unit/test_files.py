"""Files: what is durable already, what is done for many at once, and where folders are made."""

import asyncio
import errno
import os
from collections.abc import Collection
from pathlib import Path
from threading import Event, Thread

import pytest

from ledger.files import StorageError, each, is_durable, now_written, nursery, sync_all
from ledger.kept_files import KeptFiles
from ledger.store import Store


def test_what_is_written_before_a_sync_is_durable_after_it() -> None:
    mark = now_written()
    assert not is_durable(mark)
    sync_all()
    assert is_durable(mark)
    assert not is_durable(now_written())


def test_a_sync_that_had_begun_before_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()

    def slow() -> None:
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(os, "sync", slow)
    earlier = now_written()
    thread = Thread(target=sync_all)
    thread.start()
    begun.wait(10)
    mark = now_written()
    assert not is_durable(earlier), "it has not ended"
    go_on.set()
    thread.join()
    assert is_durable(earlier)
    assert not is_durable(mark), "it may have passed over what was written meanwhile"


@pytest.mark.parametrize(
    ("order", "syncs"), [("keep, sync", 0), ("sync, keep", 1), ("keep, sync, keep", 1), ("keep", 1)]
)
def test_a_commit_syncs_what_it_keeps_unless_everything_was_synced_since(
    order: str, syncs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Collection[str]] = []
    monkeypatch.setattr(KeptFiles, "sync", lambda _, names: seen.append(list(names)) if names else None)

    async def run() -> None:
        store = Store(tmp_path / "state.sqlite")
        await store.open()
        await store.begin()
        for number, step in enumerate(order.split(", ")):
            if step == "sync":
                sync_all()
            else:
                store.kept.put(f"{number}.file", b"kept")
                store.keep([f"{number}.file"], [])
        await store.commit()
        await store.close()

    asyncio.run(run())
    assert len(seen) == syncs


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_each_does_all(count: int) -> None:
    done: list[int] = []
    each(done.append, range(count), worth=3)
    assert sorted(done) == list(range(count))


def test_what_one_of_many_raises_is_told() -> None:
    def act(number: int) -> None:
        if number == 50:
            raise StorageError("the fiftieth")

    with pytest.raises(StorageError, match="the fiftieth"):
        each(act, range(100), worth=3)


def test_where_folders_cannot_be_spread_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    assert nursery(tmp_path / "one/two").is_dir()
    assert nursery(tmp_path / "one/two").is_dir()


def test_of_slow_folders_the_fastest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where all are slow, it is not looked for long."""
    tried: dict[str, float] = {}

    def try_(folder: str) -> float:
        return tried.setdefault(folder, 1.0 if len(tried) % 3 else 0.5)

    monkeypatch.setattr("ledger.files._try", try_)
    found = nursery(tmp_path)
    assert list(tmp_path.iterdir()) == [found]
    assert tried[str(found)] == min(tried.values())
