"""The files of a state: there when a commit says so, gone when nothing needs them, and never other bytes."""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from consumers.state.records import load_aggregates
from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.state import StateDamagedError, StateUnavailableError
from ledger.state.aggregates import ChunkRow, PageRow, save, save_pages
from ledger.state.file import StateFile
from ledger.state.kept_files import KeptFiles
from ledger.state.read_only import StateReader
from ledger.state.roles import RoleRow, kept_name, load_roles, save_roles
from ledger.state.statements import State
from ledger.state.store import ReadingStore, Store
from ledger.storage.directory import DirectoryStorage
from projections.index.pages import read_facts


async def opened(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    return store


async def keep(store: Store, version: int, data: bytes = b"a bin") -> None:
    """A publication of one bin."""
    await store.run(StateFile.begin)
    store.kept.put(kept_name("bin-0", version), data)
    await store.run(
        StateFile.keep, [kept_name("bin-0", version)], [kept_name("bin-0", version - 1)] if version > 1 else []
    )
    await store.run(save_roles, [RoleRow("bin-0", version, "", len(data), "", store.kept.mark(data))])


async def publish(store: Store, version: int) -> None:
    """The same, committed."""
    await keep(store, version)
    await store.run(StateFile.commit)


def names(store: Store) -> list[str]:
    return sorted(store.kept.names())


async def test_what_is_replaced_stays_until_the_commit_is_durable(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await keep(store, 2)
    assert names(store) == ["1.bin-0.json", "2.bin-0.json"]
    await store.run(StateFile.commit)
    assert names(store) == ["1.bin-0.json", "2.bin-0.json"], "a power failure might bring back the state before"
    await store.run(StateFile.settle)
    assert names(store) == ["2.bin-0.json"]
    await publish(store, 3)
    await store.close()
    assert names(store) == ["3.bin-0.json"]


async def test_what_was_not_committed_is_deleted(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await keep(store, 2)
    await store.run(StateFile.rollback)
    assert names(store) == ["1.bin-0.json"]
    await store.close()
    assert names(store) == ["1.bin-0.json"]


async def test_what_was_kept_and_nobody_told_of_is_deleted_by_the_next_start(tmp_path: Path) -> None:
    """A process put it, and its task failed: it is in no transaction."""
    store = await opened(tmp_path)
    await store.run(StateFile.begin)
    store.kept.put("1.bin-0.json", b"of a task that failed")
    await store.run(StateFile.rollback)
    await publish(store, 1)
    store.kept.put("2.bin-0.json", b"of another")
    await store.run(StateFile.begin)
    await store.run(StateFile.rollback)
    await store.close()
    assert names(store) == ["1.bin-0.json", "2.bin-0.json"]
    await store.open()
    assert names(store) == ["1.bin-0.json"]
    await store.close()
    assert store.kept.is_tidy()


async def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.close()
    store.kept.put("2.bin-0.json", b"never committed")
    store.kept.put("2.0123.page", b"never committed")
    await store.open()
    assert names(store) == ["1.bin-0.json"]
    await store.close()


async def test_another_format_takes_its_files_with_it(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.run(StateFile.reset)
    assert names(store) == []
    await store.close()


async def test_a_file_that_is_left_over_is_not_written_into(tmp_path: Path) -> None:
    """It may be one of those that are served."""
    store = await opened(tmp_path)
    path = Path(store.kept.put("1.bin-0.json", b"served"))
    (tmp_path / "served").hardlink_to(path)
    store.kept.put("1.bin-0.json", b"other")
    assert (tmp_path / "served").read_bytes() == b"served"
    assert path.read_bytes() == b"other"
    await store.close()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"b bin"), lambda path: path.unlink()])
async def test_other_bytes_are_never_read(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = await opened(tmp_path)
    path = Path(store.kept.put("1.bin-0.json", b"a bin"))
    mark = store.kept.mark(b"a bin")
    assert await store.run(State.read_kept, [("1.bin-0.json", mark)]) == [b"a bin"]
    spoil(path)
    with pytest.raises(StateDamagedError, match=r"delete the file .*state\.sqlite"):
        await store.run(State.read_kept, [("1.bin-0.json", mark)])
    await store.close()


async def test_only_its_user_can_write_a_file_that_has_a_mark(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key = tmp_path / "state.kept/.key"
    assert key.stat().st_mode & 0o077 == 0
    mark = store.kept.mark(b"a bin")
    assert repr(store.kept.key) not in repr(store.kept)
    assert mark != store.kept.mark(b"a bin"), "each has a nonce of its own"
    store.kept.put("1.bin-0.json", b"a bin")
    store.kept.put("2.bin-0.json", b"b bin")
    with pytest.raises(StateDamagedError):
        store.kept._replace(key=bytes(16)).read("1.bin-0.json", mark)
    for wrong in (b"", mark[:-1], mark[:12], bytes(12) + mark[12:], store.kept.mark(b"b bin")):
        with pytest.raises(StateDamagedError):
            store.kept.read("1.bin-0.json", wrong)
    with pytest.raises(StateDamagedError):
        store.kept.read("2.bin-0.json", mark)
    assert store.kept.read("1.bin-0.json", mark) == b"a bin"
    await store.close()


@pytest.mark.parametrize("spoil", [lambda key: key.unlink(), lambda key: key.write_bytes(b"")])
async def test_a_state_that_was_copied_without_its_key_says_so(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """It remembers how far the logs were, so nobody but a person throws it away."""
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.close()
    spoil(tmp_path / "state.kept/.key")
    reading = ReadingStore(tmp_path / "state.sqlite")
    await reading.open()
    assert len(await reading.run(load_roles)) == 1, "who only reads rows needs no key"
    with pytest.raises(StateDamagedError, match="without this file"):
        await reading.run(State.read_kept, [("1.bin-0.json", b"mark")])
    await reading.close()
    with pytest.raises(StateDamagedError, match=r"without this file.* delete the file .*state\.sqlite"):
        await store.open()
    assert names(store) == ["1.bin-0.json"]
    (tmp_path / "state.sqlite").unlink()
    await store.open()
    assert names(store) == []
    assert len(store.kept.key) == 16
    await store.close()


async def test_a_key_that_cannot_be_read_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.close()
    key = tmp_path / "state.kept/.key"
    key.rename(tmp_path / "key")
    key.mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        await store.open()
    key.rmdir()
    (tmp_path / "key").rename(key)
    await store.open()
    assert len(await store.run(load_roles)) == 1
    await store.close()


async def test_kept_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/left").mkdir()
    (tmp_path / "elsewhere/1.bin-0.json").write_bytes(b"left")
    (tmp_path / "state.kept").symlink_to(tmp_path / "elsewhere")
    store = await opened(tmp_path)
    assert names(store) == []
    await publish(store, 1)
    await store.close()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [".key", "1.bin-0.json"]


async def test_a_start_that_was_cut_off_leaves_what_it_looked_for_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.close()
    store.kept.put("2.bin-0.json", b"never committed")
    with monkeypatch.context() as patched:
        patched.setattr(KeptFiles, "delete", _refuse)
        with pytest.raises(StateUnavailableError, match="Input/output"):
            await store.open()
        await store.close()
    await store.open()
    assert names(store) == ["1.bin-0.json"]
    await store.close()


async def test_what_could_not_be_deleted_is_looked_for_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await publish(store, 2)
    with monkeypatch.context() as patched:
        patched.setattr(KeptFiles, "delete", _refuse)
        with pytest.raises(OSError, match="Input/output"):
            await store.run(StateFile.settle)
    await store.close()
    await store.open()
    assert names(store) == ["2.bin-0.json"]
    await store.close()


async def test_where_a_new_state_cannot_take_its_place_the_old_one_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await publish(store, 1)
    await store.run(StateFile.begin, anew=True)
    store.kept.put("2.bin-0.json", b"b bin")
    await store.run(StateFile.keep, ["2.bin-0.json"], ["1.bin-0.json"])
    await store.run(save_roles, [RoleRow("bin-0", 2, "", 5, "", store.kept.mark(b"b bin"))])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _refuse)
        with pytest.raises(StorageUnavailableError, match=r"state\.sqlite cannot be written: Input/output error"):
            await store.run(StateFile.commit)
    await store.run(StateFile.rollback)
    assert [(name, version) for name, version, *_ in await store.run(load_roles)] == [("bin-0", 1)]
    await store.close()
    await store.open()
    assert names(store) == ["1.bin-0.json"]
    assert [(name, version) for name, version, *_ in await store.run(load_roles)] == [("bin-0", 1)]
    await store.close()


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


# --- pages -----------------------------------------------------------------------------------------------------------

PAGE = b'{"files":[{"a":1},{"b":2},{"c":3}],"meta":{}}'
CHUNKS = [("", 7), ("b", 7), ("bb", 0), ("c", 7)]


async def page(store: Store, data: bytes = PAGE, chunks: Sequence[tuple[str, int]] = CHUNKS) -> None:
    """An aggregate of four chunks, whose bodies stand in its page."""
    await store.run(StateFile.begin)
    store.kept.put("7.page", data)
    await store.run(StateFile.keep, ["7.page"], [])
    rows = [ChunkRow("project:a", lower, lower.encode(), b"not this", b"") for lower, _ in CHUNKS]
    await store.run(save, [("project:a", b"header")], rows)
    row = PageRow("project:a", "7.page", store.kept.mark(data), msgspec.msgpack.encode(chunks))
    await store.run(save_pages, [row], [])
    await store.run(StateFile.commit)


async def test_bodies_are_read_from_the_page(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await page(store)
    loaded = await store.run(load_aggregates, ["project:a", "project:b"])
    assert [(each.lower, each.facts, bytes(each.body)) for each in loaded.states["project:a"].chunks] == [
        ("", b"", b'{"a":1}'),
        ("b", b"b", b'{"b":2}'),
        ("bb", b"bb", b""),
        ("c", b"c", b'{"c":3}'),
    ]
    assert loaded.filed == {"project:a": "7.page"}
    assert list(loaded.states) == ["project:a"]
    reader = StateReader(store.path)
    reader.open()
    assert load_aggregates(reader, ["project:a", "project:b"]) == loaded
    reader.close()
    await store.close()


@pytest.mark.parametrize(
    ("names", "known"), [(["a"], [""]), (["b"], ["b"]), (["ba", "bb", "z"], ["b", "bb", "c"]), ([], [])]
)
async def test_facts_are_read_of_the_chunks_that_files_are_in(
    tmp_path: Path, names: list[str], known: list[str]
) -> None:
    store = await opened(tmp_path)
    await page(store)
    loaded = await store.run(load_aggregates, ["project:a"], {"project:a": names})
    chunks = loaded.states["project:a"].chunks
    assert [each.lower for each in chunks if each.facts is not None] == known
    assert [len(each.body) for each in chunks] == [length for _, length in CHUNKS]
    for each in chunks:
        if each.facts is None:
            with pytest.raises(ValueError, match="not loaded"):
                read_facts(each)
    await store.close()


@pytest.mark.parametrize(
    ("data", "chunks"), [(b"{}", CHUNKS), (PAGE.replace(b',{"c":3}', b""), CHUNKS), (PAGE, [*CHUNKS, ("d", 0)])]
)
async def test_a_page_that_is_not_made_of_its_chunks_is_damage(
    tmp_path: Path, data: bytes, chunks: list[tuple[str, int]]
) -> None:
    store = await opened(tmp_path)
    await page(store, data, chunks)
    with pytest.raises(StateDamagedError, match="page"):
        await store.run(load_aggregates, ["project:a"])
    await store.close()


def test_what_was_not_finished_goes_when_nobody_writes(tmp_path: Path) -> None:
    async def run() -> None:
        store = await opened(tmp_path)
        await keep(store, 1)
        (store.kept.unfinished / "left").write_bytes(b"by a process that was killed")
        reading = ReadingStore(tmp_path / "state.sqlite")
        await reading.open()
        await reading.close()
        assert store.kept.unfinished.exists(), "who reads a state leaves it alone"
        await store.run(StateFile.commit)
        await store.close()
        assert not store.kept.unfinished.exists()
        store = await opened(tmp_path)
        await keep(store, 2)
        await store.close()
        assert names(store) == ["1.bin-0.json", "2.bin-0.json"]
        await store.open()
        assert names(store) == ["1.bin-0.json"], "the second was never committed"
        await store.close()

    asyncio.run(run())


# --- what is served --------------------------------------------------------------------------------------------------


def stage(tmp_path: Path, *, elsewhere: bool = False) -> DirectoryStorage:
    """A storage with one file staged that somebody else keeps."""
    kept = tmp_path / "kept"
    kept.write_bytes(b"data")
    storage = DirectoryStorage(tmp_path / "public", tmp_path / "staging")
    stager = storage.remote()
    stager = stager._replace(device=stager.device + 1) if elsewhere else stager
    storage.adopt("metadata/1.bin-0.json", 4, stager.put("", b"data", str(kept)))
    return storage


def test_a_kept_file_gets_a_second_name(tmp_path: Path) -> None:
    storage = stage(tmp_path)
    assert storage.place().replaced == []
    assert (tmp_path / "public/metadata/1.bin-0.json").samefile(tmp_path / "kept")
    assert not list((tmp_path / "staging").rglob("*-*-*")), "only the folder of the edition is left"


def test_on_another_file_system_it_is_written_again(tmp_path: Path) -> None:
    storage = stage(tmp_path, elsewhere=True)
    assert storage.place().replaced == []
    assert (tmp_path / "public/metadata/1.bin-0.json").read_bytes() == b"data"
    assert not (tmp_path / "public/metadata/1.bin-0.json").samefile(tmp_path / "kept")


def test_where_a_file_can_have_one_name_it_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mounts of one file system, for instance."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    storage = stage(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    assert storage.place().replaced == []
    assert (tmp_path / "public/metadata/1.bin-0.json").read_bytes() == b"data"
    assert (tmp_path / "kept").read_bytes() == b"data"


def test_a_damaged_file_is_replaced_by_the_kept_one(tmp_path: Path) -> None:
    storage = stage(tmp_path)
    (tmp_path / "public/metadata").mkdir(parents=True)
    (tmp_path / "public/metadata/1.bin-0.json").write_bytes(b"damaged")
    assert storage.place().replaced == ["metadata/1.bin-0.json"]
    assert (tmp_path / "public/metadata/1.bin-0.json").samefile(tmp_path / "kept")


def test_one_that_is_there_already_stays(tmp_path: Path) -> None:
    storage = stage(tmp_path)
    (tmp_path / "public/metadata").mkdir(parents=True)
    (tmp_path / "public/metadata/1.bin-0.json").write_bytes(b"data")
    assert storage.place().replaced == []
    assert (tmp_path / "kept").exists(), "it is not ours to delete"
