"""Files move to where evidence is kept, and back: whatever was done before, nothing is lost, nothing is in the way."""

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest

from ledger.disk.files import StorageError
from ledger.storage.directory import DirectoryStorage

PATH = "targets/packages/aa/bb/cc/demo-1.0.zip"


@pytest.fixture(params=["beside it", "on another file system"])
def evidence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "beside it":
        yield tmp_path / "evidence"
        return
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    folder = Path(mkdtemp(dir=memory))
    yield folder / "evidence"
    shutil.rmtree(folder)


@pytest.fixture
def storage(tmp_path: Path, evidence: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "public", tmp_path / "staging", evidence=evidence)


def put(folder: Path, data: bytes, path: str = PATH) -> Path:
    """Write a file below a folder."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def found(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_goes_and_comes_back(storage: DirectoryStorage, tmp_path: Path, evidence: Path) -> None:
    put(tmp_path / "public", b"bytes")
    storage.evidence.take(PATH)
    assert (found(tmp_path / "public"), found(evidence)) == ({}, {PATH: b"bytes"})
    assert storage.evidence.paths() == [PATH]
    assert storage.evidence.has(PATH)
    storage.evidence.take(PATH)  # again
    assert found(evidence) == {PATH: b"bytes"}
    assert storage.evidence.give_back(PATH, sha256(b"bytes").hexdigest())
    assert (found(tmp_path / "public"), found(evidence)) == ({PATH: b"bytes"}, {})
    assert storage.evidence.give_back(PATH, "")  # again
    assert storage.evidence.paths() == []


def test_whoever_was_killed_half_way_left_both(storage: DirectoryStorage, tmp_path: Path, evidence: Path) -> None:
    public = tmp_path / "public"
    for name, left, empty in (("take", evidence, public), ("give back", public, evidence)):
        put(public, b"bytes")
        put(evidence, b"bytes")
        if name == "take":
            storage.evidence.take(PATH)
        else:
            storage.evidence.give_back(PATH, "")
        assert (found(left), found(empty)) == ({PATH: b"bytes"}, {})


def test_two_names_of_one_file_are_both_gone(storage: DirectoryStorage, tmp_path: Path, evidence: Path) -> None:
    """To rename one name of a file to another name of it does nothing."""
    file = put(tmp_path / "public", b"bytes")
    other = PATH.replace("demo-", "other-")
    os.link(file, tmp_path / "public" / other)
    for path in (PATH, other):
        storage.evidence.take(path)
    assert (found(tmp_path / "public"), found(evidence)) == ({}, {PATH: b"bytes", other: b"bytes"})
    for path in (PATH, other):
        assert storage.evidence.give_back(path, "")
    assert found(evidence) == {}


def test_other_bytes_of_one_path_are_kept_beside_the_first(
    storage: DirectoryStorage, tmp_path: Path, evidence: Path
) -> None:
    digest = sha256(b"second").hexdigest()
    for data in (b"first", b"second", b"second"):
        put(tmp_path / "public", data)
        storage.evidence.take(PATH)
    assert found(tmp_path / "public") == {}
    assert found(evidence) == {PATH: b"first", f"other/{digest}/{PATH}": b"second"}
    assert storage.evidence.paths() == [PATH]


def test_what_is_served_is_never_replaced_and_no_other_bytes_come_back(
    storage: DirectoryStorage, tmp_path: Path, evidence: Path
) -> None:
    put(evidence, b"evidence")
    assert not storage.evidence.give_back(PATH, sha256(b"others").hexdigest())
    put(tmp_path / "public", b"served")
    assert storage.evidence.give_back(PATH, sha256(b"evidence").hexdigest())
    assert (found(tmp_path / "public"), found(evidence)) == ({PATH: b"served"}, {PATH: b"evidence"})


def test_nothing_to_move_leaves_nothing_behind(storage: DirectoryStorage, evidence: Path) -> None:
    storage.evidence.take(PATH)
    assert not storage.evidence.give_back(PATH, "")
    assert not evidence.exists()
    assert storage.evidence.paths() == []


def test_another_publisher_may_be_faster(
    storage: DirectoryStorage, tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def rename_after_another(source: Path, target: Path) -> Path:
        source.unlink()
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", rename_after_another)
    put(tmp_path / "public", b"bytes")
    storage.evidence.take(PATH)
    assert (found(tmp_path / "public"), found(evidence)) == ({}, {})


def test_nobody_else_reads_it(storage: DirectoryStorage, tmp_path: Path, evidence: Path) -> None:
    put(tmp_path / "public", b"bytes")
    storage.evidence.take(PATH)
    assert evidence.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_named(storage: DirectoryStorage, tmp_path: Path, evidence: Path) -> None:
    evidence.write_bytes(b"in the way")
    put(tmp_path / "public", b"bytes")
    with pytest.raises(StorageError, match=str(evidence)):
        storage.evidence.take(PATH)
    assert found(tmp_path / "public") == {PATH: b"bytes"}


def test_without_a_folder_nothing_is_moved(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "public", tmp_path / "staging")
    put(tmp_path / "public", b"bytes")
    storage.evidence.take(PATH)
    assert storage.evidence.give_back(PATH, "")
    assert (storage.evidence.paths(), storage.evidence.has(PATH)) == ([], False)
