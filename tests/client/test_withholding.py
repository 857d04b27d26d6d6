"""Removed bytes that are withheld are not served any more, whoever publishes, and come back when they are restored."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from schemas.events import FileUploaded, Hashes
from tests.client.index import Index, tree
from tests.client.processes import execute, start, until
from tests.client.test_processes import ALARM
from tests.client.test_verifier import RIGHT
from tests.factory import Make
from tests.serving import serving


def names_of(index: Index, filename: str) -> list[Path]:
    """Where a file's bytes, and what belongs to it, are served."""
    names = [each for each in index.public.rglob(f"*{filename}*") if each.is_file()]
    return sorted(each.relative_to(index.public) for each in names)


def evidence(index: Index) -> list[Path]:
    """All files that were moved out of what is served, by the paths that they were served at."""
    folder = index.folder / "public-evidence"
    return sorted(each.relative_to(folder) for each in folder.rglob("*") if each.is_file())


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A new ledger that takes names of older forms: two projects can share a path."""
    return Index.create(tmp_path / "index", "--importing")


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


# --- who else has the path ---------------------------------------------------------------------------------------

SHARED = "a-b-1.0.tar.gz"
HONEST, BAD = b"what a-b offers", b"what somebody else says that it is"


def claim_of(make: Make, project: str, content: bytes) -> FileUploaded:
    """An upload to a path that `a-b` has by its name, and that `a` can have by an older form of name."""
    hashes = Hashes(sha256=sha256(content).hexdigest(), blake2b_256=sha256(HONEST).hexdigest())
    version, legacy = ("1.0", False) if project == "a-b" else ("b-1.0", True)
    return make.file_uploaded(project, version, filename=SHARED, hashes=hashes, length=len(content), legacy=legacy)


def store(index: Index, content: bytes, *, plain: bool) -> None:
    """Put bytes where an index does."""
    blake = sha256(HONEST).hexdigest()
    folder = index.public / f"targets/packages/{blake[:2]}/{blake[2:4]}/{blake[4:]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sha256(content).hexdigest()}.{SHARED}").write_bytes(content)
    if plain:
        (folder / SHARED).write_bytes(content)


def contents(index: Index) -> dict[str, bytes]:
    """What is served of the path: by `plain`, or by the beginning of a SHA-256."""
    found = {path.name.removesuffix(SHARED)[:4] or "plain": path for path in index.public.rglob(f"*{SHARED}")}
    return {name: path.read_bytes() for name, path in sorted(found.items())}


@pytest.mark.parametrize("first", ["a", "a-b"])
@pytest.mark.parametrize("content", [HONEST, BAD], ids=["the same bytes", "other bytes"])
def test_nobody_withholds_the_bytes_of_another_project(index: Index, first: str, content: bytes) -> None:
    make = Make()
    uploads = {"a": claim_of(make, "a", content), "a-b": claim_of(make, "a-b", HONEST)}
    for project in sorted(uploads, key=lambda name: name != first):
        index.append(uploads[project])
        index.publish()
    store(index, content, plain=False)
    store(index, HONEST, plain=True)
    honest = {sha256(HONEST).hexdigest()[:4]: HONEST, "plain": HONEST}
    index.append(make.file_removed("a", SHARED, withhold=True))
    index.publish_and_check()
    assert contents(index) == honest, "what the other claimed goes, and nothing else"
    # Removed is not withheld.
    index.append(make.file_removed("a-b", SHARED))
    index.publish_and_check()
    assert contents(index) == honest
    index.append(make.project_removed("a-b", withhold=True))
    index.publish_and_check()
    assert contents(index) == {}
    index.verify()
    index.append(make.project_created("a-b"), make.file_restored("a-b", SHARED, sha256(HONEST).hexdigest()))
    assert index.publish_and_check().filenames() == [SHARED]
    assert contents(index) == honest
    index.verify()


@pytest.mark.parametrize("first", ["a", "a-b"])
def test_what_a_project_withheld_goes_when_the_other_holder_leaves(index: Index, first: str) -> None:
    make = Make()
    uploads = {"a": claim_of(make, "a", HONEST), "a-b": claim_of(make, "a-b", HONEST)}
    for project in sorted(uploads, key=lambda name: name != first):
        index.append(uploads[project])
        index.publish()
    store(index, HONEST, plain=True)
    served = contents(index)
    index.append(make.release_removed("a-b", withhold=True))
    index.publish_and_check()
    assert contents(index) == served
    index.append(make.release_removed("a", "b-1.0", withhold=True))
    index.publish_and_check()
    assert contents(index) == {}
    index.verify()
    # Another holder comes: the bytes are his, too.
    index.append(make.file_uploaded("a-b-1", "0", filename=SHARED, legacy=True, **facts_of(uploads["a"])))
    index.publish_and_check()
    assert contents(index) == served
    index.verify()


def facts_of(upload: FileUploaded) -> dict[str, Any]:
    return {"hashes": upload.data.hashes, "length": upload.data.length}


def test_bad_bytes_under_the_plain_name_give_way_to_those_that_are_listed(index: Index) -> None:
    """`a-b` offered malware; `a` lists other bytes of the same path, which `a-b` cannot keep from being served."""
    make = Make()
    hashes = {content: sha256(content).hexdigest() for content in (HONEST, BAD)}
    index.append(claim_of(make, "a", HONEST), claim_of(make, "a-b", BAD))
    store(index, HONEST, plain=False)
    store(index, BAD, plain=True)
    index.publish()  # no client could use what `a` lists
    index.append(make.file_removed("a-b", SHARED, withhold=True))
    index.publish_and_check()
    assert contents(index) == {hashes[HONEST][:4]: HONEST, "plain": HONEST}
    index.verify()


# --- other targets -----------------------------------------------------------------------------------------------


def test_other_targets_are_withheld_by_their_bytes(index: Index, tmp_path: Path) -> None:
    make, (bad, good) = Make(), (tmp_path / "bad", tmp_path / "good")
    bad.write_bytes(b"bad")
    good.write_bytes(b"good")
    digests = {path: sha256(path.read_bytes()).hexdigest() for path in (bad, good)}
    served = {path: index.public / f"targets/tools/{digests[path]}.run" for path in (bad, good)}
    index.run("add", "--as", "tools/run", bad)
    index.publish()
    index.append(make.target_removed("tools/run", withhold=True))
    index.publish_and_check()
    assert not served[bad].exists()
    assert "withheld" in index.run("add", "--as", "tools/run", bad, answer=1)
    index.run("add", "--as", "tools/run", good)
    assert index.publish_and_check(others=["tools/run"]).others == {"tools/run": digests[good]}
    assert not served[bad].exists(), "other bytes lift nothing"
    index.verify()
    index.append(make.target_added("tools/run", "bad", length=3))
    assert index.publish_and_check(others=["tools/run"]).others == {"tools/run": digests[bad]}
    assert served[bad].read_bytes() == b"bad"


# --- who publishes, and how --------------------------------------------------------------------------------------


def test_withheld_bytes_are_not_stored_again(index: Index, malware: str, tmp_path: Path) -> None:
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    path = index.folder.with_name(f"{index.folder.name}-files") / malware
    assert "restore it first" in index.run("add", path, answer=1)
    assert names_of(index, malware) == []
    index.run("restore", malware)
    index.publish_and_check()
    index.run("add", path)


def test_rebuild_never_copies_them_and_sweeps_leave_them(index: Index, malware: str, tmp_path: Path) -> None:
    copy = index.folder / "copy"
    shutil.copytree(index.public, copy)
    index.run("remove", malware, "--withhold")
    number = index.publish()
    kept = tree(index.folder / "public-evidence")
    for options in ((), ("--all-versions",)):
        target = tmp_path / f"rebuilt-{len(options)}"
        found = index.rebuild(target, "--files", copy, *options)
        assert not any(malware in path for path in found)
    then = index.rebuild(tmp_path / "then", "--files", copy, "--all-versions", "--at", str(number - 1))
    assert any(malware in path for path in then), "then it was not withheld"
    for _ in range(2):
        index.run("sweep", "--grace", "0s", "--full")
    assert tree(index.folder / "public-evidence") == kept


def test_two_publishers_of_one_folder(index: Index, malware: str, tmp_path: Path) -> None:
    before = tree(index.public / "targets/packages")
    for number, change in enumerate((["remove", malware, "--withhold"], ["restore", malware]), 1):
        index.run(*change)
        with (
            start(tmp_path / f"log-{number}", "run", "--ledger", index.folder, "signer", "publisher") as both,
            start(tmp_path / f"publisher-{number}", "run", "--ledger", index.folder, "publisher") as other,
        ):
            size = index.info()["sizes"]["events"]
            both.wait_for("publication applied", size=size)
            other.wait_for("publication applied", size=size)
            other.stop()
            both.stop()
        assert tree(index.public / "targets/packages") == (
            before if number == 2 else {path: digest for path, digest in before.items() if malware not in path}
        )
    index.check()
    index.verify()


def test_a_file_that_cannot_be_moved_stops_no_publication(index: Index, malware: str) -> None:
    (index.folder / "public-evidence").write_bytes(b"in the way")
    index.run("remove", malware, "--withhold")
    assert malware not in index.publish_and_check().filenames()
    assert len(names_of(index, malware)) == 3
    assert "withheld: " in index.verify(answer=1)
    (index.folder / "public-evidence").unlink()
    index.publish()
    assert names_of(index, malware) == []
    index.verify()


def test_verify_names_withheld_bytes_on_a_server(index: Index, malware: str) -> None:
    copy = index.folder / "copy"
    shutil.copytree(index.public / "targets/packages", copy)
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    with serving(index.public) as url:
        index.run("verify", "--served", url)
        shutil.copytree(copy, index.public / "targets/packages", dirs_exist_ok=True)
        said = index.run("verify", "--served", url, answer=1)
    assert said.count("withheld: ") == 3


def test_the_verifier_names_withheld_bytes_until_they_are_gone(index: Index, malware: str, tmp_path: Path) -> None:
    copy = index.folder / "copy"
    shutil.copytree(index.public / "targets/packages", copy)
    index.run("remove", malware, "--withhold")
    index.publish_and_check()
    shutil.copytree(copy, index.public / "targets/packages", dirs_exist_ok=True)
    (path, *_) = names_of(index, malware)
    env = {"TUF_LEDGER_VERIFIER_DELAY_SECONDS": "0.1"}
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier", env=env) as running:
        running.wait_for(ALARM, path=path.as_posix(), problem="withheld")
        until(lambda: index.info()["consumers"]["verifier"]["differences_now"] == 3, running.output)
        index.publish()
        running.wait_for(RIGHT, path=path.as_posix())
        until(lambda: index.info()["consumers"]["verifier"]["differences_now"] == 0, running.output)
        running.stop()


def test_evidence_is_never_kept_where_it_is_served(index: Index) -> None:
    for setting in ("public", "public/evidence", "."):
        done = execute("publish", "--ledger", index.folder, env={"TUF_LEDGER_LEDGER_EVIDENCE": setting}, answer=2)
        assert "must be apart from" in done.stderr
