"""Files: what is durable already, what is done for many at once, and where folders are made."""

import asyncio
import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

import pytest

from ledger.disk.files import StorageError, each, storage_error
from ledger.disk.nursery import make_file
from ledger.disk.syncing import MAX_SINGLE_SYNCS, now_written, sync_all
from ledger.state.file import StateFile
from ledger.state.kept_files import KeptFiles
from ledger.state.store import Store
from ledger.storage.directory import DirectoryStorage


def test_what_is_written_before_a_sync_is_durable_after_it() -> None:
    before = now_written()
    synced = sync_all()
    assert synced.covers(before)
    assert not synced.covers(now_written())


def test_what_is_written_while_a_sync_goes_on_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have passed over that."""
    meanwhile: list[int] = []
    monkeypatch.setattr(os, "sync", lambda: meanwhile.append(now_written()))
    assert not sync_all().covers(meanwhile[0])


@pytest.mark.parametrize(
    ("order", "syncs"), [("keep, sync", 0), ("sync, keep", 1), ("keep, sync, keep", 1), ("keep", 1)]
)
def test_a_commit_syncs_what_it_keeps_unless_everything_was_synced_since(
    order: str, syncs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Collection[str]] = []
    monkeypatch.setattr(KeptFiles, "sync", lambda _, names: seen.append(list(names)) if names else None)

    async def run() -> None:
        store, synced = Store(tmp_path / "state.sqlite"), None
        await store.open()
        await store.run(StateFile.begin)
        for number, step in enumerate(order.split(", ")):
            if step == "sync":
                synced = sync_all()
            else:
                store.kept.put(f"{number}.file", b"kept")
                await store.run(StateFile.keep, [f"{number}.file"], [])
                await store.run(StateFile.all_written, now_written())
        await store.run(StateFile.commit, after=synced)
        await store.close()

    asyncio.run(run())
    assert len(seen) == syncs


@pytest.mark.parametrize("told", ["before it is written", "when it was synced"])
def test_what_is_counted_to_a_commit_may_be_told_late(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a state is to keep is saved while files are placed, and synced."""
    seen: list[Collection[str]] = []
    monkeypatch.setattr(KeptFiles, "sync", lambda _, names: seen.append(list(names)))

    async def run() -> None:
        store = Store(tmp_path / "state.sqlite")
        await store.open()
        await store.run(StateFile.begin)
        if told == "before it is written":
            await store.run(StateFile.keep, ["file"], [])
        store.kept.put("file", b"kept")
        await store.run(StateFile.all_written, now_written())
        synced = sync_all()
        if told == "when it was synced":
            await store.run(StateFile.keep, ["file"], [])
        await store.run(StateFile.commit, after=synced)
        assert seen == []
        await store.run(StateFile.begin)
        store.kept.put("other", b"kept")
        await store.run(StateFile.keep, ["other"], [])
        await store.run(StateFile.commit, after=sync_all())
        assert seen == [["other"]], "nobody said that it was written before anything was synced"
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("order", ["one file", "many files"])
def test_placing_many_files_syncs_everything_and_says_so(order: str, tmp_path: Path) -> None:
    """A few are synced one by one."""
    storage = DirectoryStorage(tmp_path / "public", tmp_path / "staging")
    for number in range(1 if order == "one file" else MAX_SINGLE_SYNCS + 1):
        storage.put(f"metadata/{number}.snapshot.json", b"data")
    written = now_written()
    synced = storage.place().synced
    assert (synced is not None and synced.covers(written)) == (order == "many files")


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


def test_files_are_made_wherever_folders_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they cannot be spread, and when somebody has emptied the parent."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    parent = tmp_path / "one/two"
    for _ in range(3):
        assert Path(make_file(str(parent), b"data")).read_bytes() == b"data"
        assert Path(make_file(str(parent), b"more")).read_bytes() == b"more"
        assert len(list(parent.iterdir())) == 1
        shutil.rmtree(parent)


def test_another_folder_is_taken_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.disk.nursery._FILES_IN_A_NURSERY", 2)
    folders = []
    for _ in range(6):
        made = Path(make_file(str(tmp_path), b""))
        folders.append(made.parent)
        made.unlink()
    assert len(set(folders)) == 3
    assert set(tmp_path.iterdir()) == {folders[-3], folders[-1]}, "those before are gone"


def test_many_threads_make_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a folder is given up while another thread is about to use it."""
    monkeypatch.setattr("ledger.disk.nursery._FILES_IN_A_NURSERY", 4)
    made: list[str] = []

    def act(number: int) -> None:
        path = make_file(str(tmp_path), b"%d" % number)
        made.append(f"{path}.moved")
        Path(path).rename(tmp_path / str(number))

    each(act, range(200), worth=1)
    assert len(set(made)) == 200
    assert sorted(int(path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()) == list(range(200))


def test_of_slow_folders_the_fastest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where all are slow, it is not looked for long."""
    tried: dict[str, float] = {}

    def try_(folder: str) -> float:
        return tried.setdefault(folder, 1.0 if len(tried) % 3 else 0.5)

    monkeypatch.setattr("ledger.disk.nursery._try", try_)
    folder = Path(make_file(str(tmp_path), b"")).parent
    assert list(tmp_path.iterdir()) == [folder]
    assert tried[str(folder)] == min(tried.values())


def test_a_folder_of_another_user_is_named() -> None:
    """Files are staged elsewhere before they are in place: the file's own folder may be right."""
    denied = PermissionError(errno.EACCES, "Permission denied", "ledger/.public.staging-add/1-ab")
    said = str(storage_error("ledger/public/a", "written", denied))
    assert said == "ledger/public/a cannot be written: Permission denied in ledger/.public.staging-add: check its owner"
    denied = PermissionError(errno.EACCES, "Permission denied", "ledger/public/a")
    assert str(storage_error("ledger/public/a", "read", denied)) == "ledger/public/a cannot be read: Permission denied"
