"""What every storage promises: one suite that each adapter inherits. Contract: `ledger.storage.Storage`."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import sleep, time

import pytest

from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.disk.syncing import now_written
from ledger.storage import Storage
from ledger.storage.directory import DirectoryStorage
from ledger.storage.memory import MemoryStorage, MemoryTree
from projections.metadata.paths import TIMESTAMP

StorageFactory = Callable[[], Storage]

ONE, TWO = "metadata/1.bin-0.json", "metadata/2.bin-0.json"
HASHED, PLAIN = "targets/simple/demo/0123.index.json", "targets/simple/demo/index.json"
FILE = "targets/packages/aa/bb/demo-1.0.zip"


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def publish(storage: Storage, **files: bytes) -> list[str]:
    """Put and place files, named by what stands before `.bin-0.json`; return the paths that were replaced."""
    storage.discard()
    for name, data in files.items():
        storage.put(f"metadata/{name}.bin-0.json", data)
    return storage.place().replaced


class StorageContract:
    """The suite. A subclass provides the fixture `new_storage`, which makes objects for one place. `step_seconds` is
    more than the finest step of the clock by which files are told apart.
    """

    step_seconds = 0.05

    @pytest.fixture
    def storage(self, new_storage: StorageFactory) -> Storage:
        return new_storage()

    @pytest.fixture
    def other(self, new_storage: StorageFactory) -> Storage:
        """Another process, as it were."""
        return new_storage()

    # --- reading -----------------------------------------------------------------------------------------------------

    def test_where_nothing_was_put_nothing_is_found(self, storage: Storage) -> None:
        assert (storage.read(ONE), storage.digest(ONE), storage.entry(ONE)) == (None, None, None)
        assert (list(storage.paths()), list(storage.paths("metadata"))) == ([], [])

    @pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)), b"x" * 3_000_000])
    def test_any_bytes_are_a_file(self, storage: Storage, other: Storage, data: bytes) -> None:
        storage.replace(ONE, data)
        assert (other.read(ONE), other.digest(ONE)) == (data, digest(data))

    def test_the_end_of_a_file_is_read(self, storage: Storage) -> None:
        storage.replace(ONE, b"0123456789")
        assert [storage.read(ONE, last=last) for last in (0, 3, 10, 99)] == [b"", b"789", b"0123456789", b"0123456789"]
        assert storage.read(TWO, last=3) is None

    def test_a_folder_is_no_file(self, storage: Storage) -> None:
        storage.replace(ONE, b"data")
        assert (storage.read("metadata"), storage.digest("metadata"), storage.entry("metadata")) == (None, None, None)
        below = f"{ONE}/below"
        assert (storage.read(below), storage.digest(below), storage.entry(below)) == (None, None, None)

    def test_all_files_are_listed_or_those_of_a_folder(self, storage: Storage, other: Storage) -> None:
        files = {ONE, TIMESTAMP, HASHED, PLAIN, "targets/simple-not/a", "targets/simple/a b+c.json"}
        for path in files:
            storage.replace(path, b"data")
        storage.put(TWO, b"data")
        assert sorted(other.paths()) == sorted(files)
        assert sorted(other.paths("metadata")) == sorted({ONE, TIMESTAMP})
        assert sorted(other.paths("targets/simple")) == sorted({HASHED, PLAIN, "targets/simple/a b+c.json"})
        assert list(other.paths("nowhere")) == []

    # --- the immutable files of an edition -------------------------------------------------------------------------

    def test_what_is_put_is_served_when_it_is_placed(self, storage: Storage, other: Storage) -> None:
        storage.discard()
        storage.put(ONE, b"one")
        storage.put(HASHED, b"page")
        assert list(other.paths()) == []
        assert storage.place().replaced == []
        assert {path: other.read(path) for path in other.paths()} == {ONE: b"one", HASHED: b"page"}
        assert storage.place().replaced == [], "nothing is left to be placed"

    def test_what_is_put_is_private(self, storage: Storage, other: Storage) -> None:
        storage.put(ONE, b"one")
        assert storage.read(ONE) is None

    def test_what_is_put_may_be_forgotten(self, storage: Storage, other: Storage) -> None:
        storage.put(ONE, b"one")
        storage.discard()
        storage.put(TWO, b"two")
        storage.place()
        assert list(other.paths()) == [TWO]

    def test_what_was_put_last_counts(self, storage: Storage) -> None:
        storage.put(ONE, b"first")
        storage.put(ONE, b"second")
        storage.place()
        assert storage.read(ONE) == b"second"

    def test_many_threads_put(self, storage: Storage) -> None:
        files = {f"metadata/1.bin-{number}.json": b"%d" % number for number in range(600)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(storage.put, files, files.values()))
        storage.place()
        assert {path: storage.read(path) for path in storage.paths()} == files

    def test_other_processes_put_if_they_can(self, storage: Storage, other: Storage) -> None:
        remote = storage.remote()
        if remote is None:
            with pytest.raises(StorageError):
                storage.adopt(ONE, 3, "token")
            return
        token = pickle.loads(pickle.dumps(remote)).put(ONE, b"one")
        assert list(other.paths()) == []
        storage.adopt(ONE, 3, token)
        storage.put(TWO, b"two")
        storage.place()
        assert {path: other.read(path) for path in other.paths()} == {ONE: b"one", TWO: b"two"}

    def test_a_copy_may_be_used_instead(self, storage: Storage, tmp_path: Path) -> None:
        """It stays, and what is served can be deleted without it."""
        (tmp_path / "kept").write_bytes(b"one")
        storage.put(ONE, b"one", str(tmp_path / "kept"))
        storage.place()
        assert storage.read(ONE) == b"one"
        storage.replace(ONE, b"other")
        storage.delete(ONE)
        assert (tmp_path / "kept").read_bytes() == b"one"

    def test_the_same_bytes_stay_and_others_are_replaced(self, storage: Storage) -> None:
        publish(storage, a=b"a", b=b"b", c=b"c")
        assert publish(storage, c=b"other", a=b"another", b=b"b") == ["metadata/a.bin-0.json", "metadata/c.bin-0.json"]
        assert [storage.read(f"metadata/{name}.bin-0.json") for name in "abc"] == [b"another", b"b", b"other"]

    def test_what_is_needed_again_counts_as_put_now(self, storage: Storage) -> None:
        publish(storage, one=b"one", two=b"two")
        before = {path: found.put_at for path in storage.paths() if (found := storage.entry(path)) is not None}
        assert all(abs(at - time()) < 3600 for at in before.values())
        sleep(self.step_seconds)
        publish(storage, one=b"one")
        after = {path: found.put_at for path in storage.paths() if (found := storage.entry(path)) is not None}
        assert [after[path] > before[path] for path in sorted(before)] == [True, False]

    def test_what_placing_syncs_is_what_was_written_before(self, storage: Storage) -> None:
        for number in range(100):
            storage.put(f"metadata/1.bin-{number}.json", b"data")
        written = now_written()
        synced = storage.place().synced
        assert synced is None or synced.covers(written)
        assert synced is None or not synced.covers(now_written())

    # --- other files -------------------------------------------------------------------------------------------------

    def test_a_file_is_replaced(self, storage: Storage, other: Storage) -> None:
        for data in (b"first", b"second", b"second"):
            storage.replace(TIMESTAMP, data)
            assert other.read(TIMESTAMP) == data

    def test_a_file_of_this_machine_is_served_under_all_names(self, storage: Storage, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"archive")
        names = [f"targets/packages/aa/bb/{name}demo-1.0.zip" for name in ("0123.", "")]
        for _ in range(2):
            storage.put_file(source, digest(b"archive"), *names)
            assert {path: storage.read(path) for path in storage.paths()} == dict.fromkeys(names, b"archive")
        source.write_bytes(b"changed")
        assert storage.read(names[0]) == b"archive"
        storage.delete(names[1])
        storage.put_file(tmp_path / "gone", digest(b"archive"), *names)
        assert storage.read(names[1]) == b"archive", "what is there already is not read again"

    def test_a_file_that_changes_meanwhile_is_refused(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(b"changed")
        with pytest.raises(StorageUnavailableError, match="changed while"):
            storage.put_file(tmp_path / "source", digest(b"archive"), FILE)
        assert list(storage.paths()) == []

    def test_a_file_that_is_not_there_is_refused(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(StorageError):
            storage.put_file(tmp_path / "source", digest(b"archive"), FILE)
        assert list(storage.paths()) == []

    @pytest.mark.parametrize("count", [1, 20, 300])
    def test_paths_show_others_and_stop_to(self, storage: Storage, other: Storage, count: int) -> None:
        names = [f"targets/simple/{number}" for number in range(count)]
        for name in names:
            storage.put(f"{name}/0123.index.json", name.encode())
        storage.place()
        storage.show({f"{name}/index.json": f"{name}/0123.index.json" for name in names})
        assert [other.read(f"{name}/index.json") for name in names] == [name.encode() for name in names]
        storage.show({f"{name}/index.json": None for name in names})
        assert [other.read(f"{name}/index.json") for name in names] == [None] * count
        assert len(list(other.paths())) == count
        storage.show({f"{name}/index.json": None for name in names})  # again
        storage.show({})

    def test_some_are_shown_while_others_go(self, storage: Storage) -> None:
        storage.replace(HASHED, b"page")
        storage.replace(PLAIN, b"old")
        storage.replace("targets/simple/gone/index.json", b"old")
        storage.show({PLAIN: HASHED, "targets/simple/gone/index.json": None})
        assert {path: storage.read(path) for path in storage.paths()} == {PLAIN: b"page", HASHED: b"page"}

    def test_what_a_path_shows_is_its_own(self, storage: Storage) -> None:
        """Neither changes with the other, whatever they are made of."""
        storage.replace(HASHED, b"page")
        storage.show({PLAIN: HASHED})
        storage.show({PLAIN: HASHED})  # again
        storage.replace(HASHED, b"damaged")
        assert storage.read(PLAIN) == b"page"
        storage.replace(PLAIN, b"other")
        assert storage.read(HASHED) == b"damaged"
        storage.show({PLAIN: HASHED})
        storage.delete(HASHED)
        assert storage.read(PLAIN) == b"damaged"

    def test_only_what_is_there_is_shown(self, storage: Storage) -> None:
        storage.replace(PLAIN, b"page")
        with pytest.raises(StorageError, match=r"index\.json cannot be written"):
            storage.show({PLAIN: HASHED})
        assert {path: storage.read(path) for path in storage.paths()} == {PLAIN: b"page"}

    def test_a_file_is_deleted(self, storage: Storage, other: Storage) -> None:
        for path in (ONE, TWO):
            storage.replace(path, b"data")
        found = storage.entry(ONE)
        assert found is not None
        assert found.bytes == 4
        for _ in range(2):
            storage.delete(ONE)
            assert list(other.paths()) == [TWO]
        storage.delete(f"{TWO}/below")
        assert other.read(TWO) == b"data"

    def test_names_have_up_to_255_bytes(self, storage: Storage) -> None:
        path = f"targets/simple/{'ä' * 127}x"
        storage.put(path, b"data")
        storage.place()
        storage.show({f"targets/{'y' * 255}/{'z' * 255}": path})
        assert len(list(storage.paths())) == 2

    def test_a_lock_keeps_others_out(self, storage: Storage, other: Storage) -> None:
        order: list[str] = []
        waiting = Event()

        def follow() -> None:
            waiting.set()
            with other.lock():
                order.append("second")

        with storage.lock():
            thread = Thread(target=follow)
            thread.start()
            waiting.wait()
            storage.replace(ONE, b"data")  # who holds the lock goes on, and others may read
            assert other.read(ONE) == b"data"
            order.append("first")
        thread.join()
        with storage.lock():  # it can be taken again
            assert order == ["first", "second"]

    # --- what is withheld --------------------------------------------------------------------------------------------

    def test_a_file_goes_and_comes_back(self, storage: Storage, other: Storage) -> None:
        storage.replace(FILE, b"bytes")
        for _ in range(2):
            storage.evidence.take(FILE)
            assert (other.read(FILE), list(other.paths())) == (None, [])
            assert (other.evidence.has(FILE), other.evidence.paths()) == (True, [FILE])
        for _ in range(2):
            assert storage.evidence.give_back(FILE, digest(b"bytes"))
            assert other.read(FILE) == b"bytes"
            assert (other.evidence.has(FILE), other.evidence.paths()) == (False, [])

    def test_nothing_is_taken_where_nothing_is(self, storage: Storage) -> None:
        storage.evidence.take(FILE)
        assert not storage.evidence.give_back(FILE, "")
        assert storage.evidence.paths() == []

    def test_only_the_right_bytes_come_back_and_replace_nothing(self, storage: Storage) -> None:
        storage.replace(FILE, b"bytes")
        storage.evidence.take(FILE)
        assert not storage.evidence.give_back(FILE, digest(b"others"))
        assert storage.evidence.paths() == [FILE]
        storage.replace(FILE, b"served")
        assert storage.evidence.give_back(FILE, digest(b"bytes"))
        assert (storage.read(FILE), storage.evidence.paths()) == (b"served", [FILE])

    def test_whoever_was_killed_half_way_left_both(self, storage: Storage) -> None:
        for take in (True, False):
            storage.replace(FILE, b"bytes")
            storage.evidence.take(FILE)
            storage.replace(FILE, b"bytes")
            if take:
                storage.evidence.take(FILE)
            else:
                assert storage.evidence.give_back(FILE, "")
            assert (storage.read(FILE) is None, storage.evidence.has(FILE)) == (take, take)

    def test_other_bytes_of_one_path_are_kept_and_the_first_come_back(self, storage: Storage) -> None:
        for data in (b"first", b"second", b"second"):
            storage.replace(FILE, data)
            storage.evidence.take(FILE)
        assert (storage.read(FILE), storage.evidence.paths()) == (None, [FILE])
        assert storage.evidence.give_back(FILE, "")
        assert storage.read(FILE) == b"first"


class LikeFolders(StorageContract):
    """And for those that hold what folders can hold, and no more."""

    @pytest.mark.parametrize("path", ["metadata/x/y", "metadata", f"metadata/{'x' * 256}"])
    def test_what_no_folder_could_hold_is_refused(self, storage: Storage, path: str) -> None:
        """Below a file, over a folder, or longer than a name may be."""
        storage.replace("metadata/x", b"data")
        with pytest.raises(StorageError, match="cannot be written"):
            storage.replace(path, b"data")
        storage.put(path, b"data")
        with pytest.raises(StorageError, match="cannot be written"):
            storage.place()
        storage.discard()
        assert list(storage.paths()) == ["metadata/x"]


class TestDirectoryStorage(LikeFolders):
    """A folder of this machine. Each object is another process's, with a staging folder of its own."""

    @pytest.fixture
    def new_storage(self, tmp_path: Path) -> StorageFactory:
        stagings = iter(range(1000))
        return lambda: DirectoryStorage(
            tmp_path / "public", tmp_path / f"staging-{next(stagings)}", evidence=tmp_path / "evidence"
        )


class TestMemoryStorage(LikeFolders):
    """Memory that several objects share. It refuses what folders could not hold, so that tests rely on no more."""

    @pytest.fixture
    def new_storage(self) -> StorageFactory:
        served = MemoryTree()
        return lambda: MemoryStorage(served)
