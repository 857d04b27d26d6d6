"""Removed bytes that are withheld are not served any more, whoever publishes, and come back when they are restored."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from tests.client.index import Index, tree


def names_of(index: Index, filename: str) -> list[Path]:
    """Where a file's bytes, and what belongs to it, are served."""
    names = [each for each in index.public.rglob(f"*{filename}*") if each.is_file()]
    return sorted(each.relative_to(index.public) for each in names)


def evidence(index: Index) -> list[Path]:
    """All files that were moved out of what is served, by the paths that they were served at."""
    folder = index.folder / "public-evidence"
    return sorted(each.relative_to(folder) for each in folder.rglob("*") if each.is_file())


@pytest.fixture
def malware(index: Index) -> str:
    """A wheel that is published, with its metadata beside it, and an honest file."""
    name = index.upload("one").name
    index.upload("two")
    index.publish_and_check()
    return name


def test_a_removal_alone_leaves_the_bytes_where_they_are(index: Index, malware: str) -> None:
    before = names_of(index, malware)
    assert len(before) == 3
    index.run("remove", malware)
    index.publish_and_check()
    assert names_of(index, malware) == before
    assert evidence(index) == []
    index.verify()


def test_withheld_bytes_are_moved_to_where_evidence_is_kept(index: Index, malware: str) -> None:
    before, whole = names_of(index, malware), tree(index.public)
    index.run("remove", malware, "--withhold", "--reason", "malware")
    assert names_of(index, malware) == before, "nothing happens before the publication"
    assert index.publish_and_check().filenames() == ["two-1.0-py3-none-any.whl"]
    assert names_of(index, malware) == []
    assert evidence(index) == before
    folder = index.folder / "public-evidence"
    assert {
        path.as_posix(): sha256((folder / path).read_bytes()).hexdigest() for path in before
    }.items() <= whole.items()
    assert folder.stat().st_mode & 0o077 == 0, "nobody else reads it"
    index.verify()
    (status,) = index.ask("status", "one")
    assert [file["state"] for file in status["files"]] == ["withheld"]


def test_what_is_restored_comes_back(index: Index, malware: str) -> None:
    before = tree(index.public / "targets/packages")
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    index.run("restore", malware)
    assert malware in index.publish_and_check().filenames()
    assert tree(index.public / "targets/packages") == before
    assert evidence(index) == []
    index.verify()


def test_what_was_removed_before_is_withheld_later(index: Index, malware: str) -> None:
    index.run("remove", "one")
    index.publish_and_check()
    assert len(names_of(index, malware)) == 3
    index.run("remove", "one", "--withhold")
    index.publish_and_check()
    assert names_of(index, malware) == []
    assert len(evidence(index)) == 3
    index.verify()


def test_a_release_is_withheld_with_all_its_files(index: Index) -> None:
    names = [index.upload("one").name, index.upload("one", suffix=".tar.gz").name]
    kept = index.upload("one", "2.0").name
    index.publish()
    index.run("remove", names[0])
    index.run("remove", "one==1", "--withhold")
    assert index.publish_and_check().filenames() == [kept]
    assert [names_of(index, name) for name in names] == [[], []]
    index.verify()


@pytest.mark.parametrize("lost", ["state", "state and bytes"])
def test_a_publisher_that_starts_from_nothing_withholds_too(index: Index, malware: str, lost: str) -> None:
    """Its files may be a copy from before."""
    copy = index.folder / "copy"
    shutil.copytree(index.public / "targets/packages", copy)
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    shutil.rmtree(index.folder / "state")
    if lost == "state and bytes":
        shutil.rmtree(index.public)
        shutil.rmtree(index.folder / "public-evidence")
    shutil.copytree(copy, index.public / "targets/packages", dirs_exist_ok=True)
    assert len(names_of(index, malware)) == 3
    index.publish()
    assert names_of(index, malware) == []
    assert len(evidence(index)) == 3
    index.check()
    index.verify()


def test_bytes_that_come_back_another_way_are_withheld_again_after_a_start(index: Index, malware: str) -> None:
    copy = index.folder / "copy"
    shutil.copytree(index.public / "targets/packages", copy)
    index.run("remove", malware, "--withhold")
    number = index.publish()
    shutil.copytree(copy, index.public / "targets/packages", dirs_exist_ok=True)
    said = index.verify(answer=1)
    assert said.count("withheld: ") == 3
    assert index.publish() == number
    assert names_of(index, malware) == []
    index.verify()


def test_a_publisher_whose_state_was_lost_brings_back_what_was_restored(index: Index, malware: str) -> None:
    """It renders the last publication, which neither withholds the file nor lifts that."""
    served, kept, saved = index.public / "targets/packages", index.folder / "public-evidence", index.folder / "saved"
    before = tree(served)
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    shutil.copytree(kept, saved)
    index.run("restore", malware)
    index.publish_and_check()
    for path in saved.rglob("*.whl*"):  # as if nobody had moved them back
        (index.public / path.relative_to(saved)).rename(kept / path.relative_to(saved))
    shutil.rmtree(index.folder / "state")
    assert "missing: " in index.verify(answer=1)
    index.publish()
    assert tree(served) == before
    assert evidence(index) == []
    index.check()
    index.verify()
