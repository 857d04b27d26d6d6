"""What was lost comes back: states, public folders, and the tail of a log (docs/operators.md, "When it stops")."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from ledger.state import StateDamagedError
from tests.client.index import FakeClock, Index, invoke, tree
from tests.client.processes import start
from tests.oracle import check_repository


@pytest.fixture
def filled(index: Index) -> Index:
    """A ledger with a few publications."""
    for name in ("one", "two", "three"):
        index.upload(name)
        index.publish_and_check()
    return index


class Backup:
    """A copy of the logs as of now."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._copy = index.folder.with_name("backup")
        shutil.copytree(index.folder / "log", self._copy)

    def restore(self) -> None:
        shutil.rmtree(self._index.folder / "log")
        shutil.copytree(self._copy, self._index.folder / "log")


def lose_public(index: Index) -> None:
    """Delete what is served, but for the distribution files: those come from the index's own store."""
    shutil.rmtree(index.public / "metadata")
    shutil.rmtree(index.public / "targets/simple")


# --- states and public folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("publications", [0, 20], ids=["few", "many"])
def test_a_deleted_state_is_rebuilt(filled: Index, publications: int, tmp_path: Path) -> None:
    for _ in range(publications):
        filled.publish("--renew")
    before = filled.check()
    shutil.rmtree(filled.folder / "state")
    assert filled.publish() == before.number
    assert filled.check() == before
    filled.upload("four")
    assert len(filled.publish_and_check().projects) == 4
    filled.verify()
    filled.check_rebuilt(tmp_path / "rebuilt")


@pytest.mark.parametrize("publications", [0, 20], ids=["few", "many"])
@pytest.mark.parametrize("state", ["kept", "deleted"])
def test_a_deleted_public_folder_is_written_anew(filled: Index, publications: int, state: str) -> None:
    for _ in range(publications):
        filled.publish("--renew")
    before = filled.check()
    lose_public(filled)
    if state == "deleted":
        shutil.rmtree(filled.folder / "state")
    assert filled.publish() == before.number
    assert filled.check() == before
    filled.upload("four")
    filled.publish_and_check()
    filled.verify()


DAMAGE = {
    "timestamp is garbage": ("metadata/timestamp.json", b"garbage"),
    "timestamp is empty": ("metadata/timestamp.json", b""),
    "timestamp is gone": ("metadata/timestamp.json", None),
    "snapshot": ("metadata/4.snapshot.json", b"{}"),
    "bin is gone": ("metadata/{bin}", None),
    "bin": ("metadata/{bin}", b'{"signed":{}}'),
    "root": ("metadata/1.root.json", b"{}"),
    "offline role": ("metadata/1.bins.json", None),
    "plain page": ("targets/simple/one/index.json", b"{}"),
    "plain page is gone": ("targets/simple/index.html", None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_repaired_as_the_manual_says(filled: Index, damage: str) -> None:
    before = filled.check()
    snapshot = json.loads((filled.public / f"metadata/{before.number}.snapshot.json").read_bytes())
    path, data = DAMAGE[damage]
    path = path.format(bin=f"{snapshot['signed']['meta']['bin-0.json']['version']}.bin-0.json")
    target = filled.public / path
    target.unlink()
    if data is not None:
        target.write_bytes(data)
    output = filled.verify(answer=1)
    assert f"{'missing' if data is None else 'differs'}: {path}" in output
    # As docs/operators.md, "What is served is damaged", has it.
    target.unlink(missing_ok=True)
    (filled.folder / "state/signer.sqlite").unlink()
    filled.publish()
    assert filled.check() == before
    filled.verify()


def test_a_file_that_is_not_the_ledgers_is_named(filled: Index) -> None:
    for path in ("metadata/99.bin-0.json", "targets/simple/one/evil.html", "targets/packages/evil.whl", "evil"):
        (filled.public / path).write_bytes(b"evil")
    output = filled.verify(answer=1)
    assert output.count("unknown: ") == 4


def test_nothing_hides_from_verification(filled: Index, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/evil.whl").write_bytes(b"evil")
    (filled.public / "targets/packages/evil").symlink_to(tmp_path / "elsewhere")
    (filled.public / "targets/packages/.evil.new").write_bytes(b"evil")
    output = filled.verify(answer=1)
    assert "targets/packages/.evil.new" in output
    assert "targets/packages/evil" in output


def test_nothing_stops_verification(filled: Index) -> None:
    """Circles, pipes, and names that are no text or would move a terminal's cursor."""
    packages = filled.public / "targets/packages"
    (packages / "up").symlink_to("..")
    (packages / "round").symlink_to("round")
    os.mkfifo(packages / "pipe")
    (packages / "evil\x1b[2Jname\n").write_bytes(b"evil")
    (packages / os.fsdecode(b"evil\xff")).write_bytes(b"evil")
    page = filled.public / "targets/simple/one/index.json"
    page.unlink()
    os.mkfifo(page)
    lines = filled.verify(answer=1).splitlines()
    assert "missing: targets/simple/one/index.json" in lines
    names = [line.rpartition("/")[2] for line in lines if line.startswith("unknown: ")]
    assert names == [r"evil\udcff", r"evil\x1b[2Jname\n", "pipe", "round", "up"]
    assert len(filled.ask("verify", "--served", filled.public, answer=1)[0]["differences"]) == 6


def test_a_distribution_file_is_compared(filled: Index) -> None:
    path = next(filled.public.glob("targets/packages/*/*/*/one-1.0-py3-none-any.whl"))
    path.write_bytes(path.read_bytes() + b"\0")
    assert f"differs: {path.relative_to(filled.public)}" in filled.verify(answer=1)


def test_distribution_files_are_not_compared_if_nobody_wants_it(filled: Index) -> None:
    path = next(filled.public.glob("targets/packages/*/*/*/one-1.0-py3-none-any.whl"))
    path.write_bytes(path.read_bytes() + b"\0")
    filled.verify("--no-files")


def test_adding_files_again_brings_lost_ones_back(index: Index) -> None:
    path = index.upload("one")
    index.publish()
    shutil.rmtree(index.public / "targets/packages")
    index.run("add", path)
    index.publish_and_check()


# --- the log was rolled back -------------------------------------------------------------------------------------


def test_yesterdays_backup(filled: Index, tmp_path: Path) -> None:
    backup = Backup(filled)
    lost = filled.upload("lost")
    served = filled.publish_and_check().number
    backup.restore()
    filled.upload("new")
    for command in ("publish", "ceremony"):
        options = ("--renew",) if command == "ceremony" else ()
        assert "A log was rolled back" in filled.run(command, *options, answer=2)
    assert filled.check().number == served, "nothing was signed"
    assert "give --above" in filled.run("resume", "--above", served - 1, answer=1)
    filled.run("resume", "--above", served)
    assert filled.info()["consumers"]["signer"]["resume_above"] == served
    filled.run("add", lost)
    seen = filled.publish_and_check()
    assert seen.number > served
    assert {"new", "lost"} <= set(seen.projects)
    filled.upload("later")
    filled.publish_and_check()
    assert "resume_above" not in filled.info()["consumers"]["signer"]


def test_yesterdays_backup_with_the_state_lost_too(filled: Index) -> None:
    backup = Backup(filled)
    filled.upload("lost")
    served = filled.publish_and_check().number
    backup.restore()
    shutil.rmtree(filled.folder / "state")
    filled.upload("new")
    output = filled.run("publish", answer=2)
    assert "A log was rolled back" in output
    assert "FORGED" in output, "the log alone cannot tell what it has lost from what somebody else signed"
    assert filled.check().number == served, "nothing was signed"
    assert "Say --forged" in filled.run("resume", "--above", served, answer=1)
    filled.run("resume", "--above", served, "--forged")
    assert filled.publish_and_check().number == served + 1


def second_history(index: Index) -> None:
    """Let the log lose its last publication, and go on elsewhere to another one of the same number."""
    backup = Backup(index)
    index.upload("lost")
    index.publish_and_check()
    backup.restore()
    elsewhere = index.folder.with_name("elsewhere")
    shutil.copytree(index.folder, elsewhere, ignore=shutil.ignore_patterns("public", "state"))
    invoke("add", "--ledger", elsewhere, next(index.folder.with_name("index-files").glob("one-*")))
    invoke("yank", "--ledger", elsewhere, "one==1.0")
    invoke("publish", "--ledger", elsewhere)
    shutil.rmtree(index.folder / "log")
    shutil.copytree(elsewhere / "log", index.folder / "log")


def test_a_log_with_a_second_history(filled: Index) -> None:
    second_history(filled)
    assert "is not the one it was" in filled.run("publish", answer=2)


def test_a_log_with_a_second_history_and_a_lost_state(filled: Index) -> None:
    second_history(filled)
    before = tree(filled.public / "metadata")
    shutil.rmtree(filled.folder / "state")
    filled.run("publish", answer=2)
    assert tree(filled.public / "metadata") == before, "no version was ever served in two forms"


def test_after_a_second_history_comes_what_was_never_served(filled: Index, tmp_path: Path) -> None:
    """As docs/operators.md, "A log was rolled back", has it, for a signer and for a publisher of its own."""
    second_history(filled)
    served = filled.check().number
    before = tree(filled.public / "metadata")
    shutil.copytree(filled.folder, tmp_path / "apart", ignore=shutil.ignore_patterns("log", "state", "keys"))
    log = f"sqlite:{filled.folder / 'log'}"
    apart = tmp_path / "apart/public"
    shutil.rmtree(filled.folder / "state")
    filled.run("publish", answer=2)
    with start(tmp_path / "log", "run", "publisher", "--ledger", tmp_path / "apart", "--log", log) as publisher:
        publisher.wait_for("publication applied", publication=served)
        assert tree(apart / "metadata") == before
        filled.run("resume", "--above", served, "--forged")
        filled.upload("later")
        assert filled.publish() == served + 1
        publisher.wait_for("publication applied", publication=served + 1)
        publisher.stop()
    for public in (filled.public, apart):
        seen = check_repository(public, filled.root, cache=filled.cache, live=True, files=False)
        assert (seen.number, list(seen.projects)) == (served + 1, ["later", "one", "three", "two"])
        assert seen.yanked(), "of the second history"
        after = tree(public / "metadata")
        assert {path: after[path] for path in before} == before | {"timestamp.json": after["timestamp.json"]}
    filled.upload("even-later")
    filled.publish()
    check_repository(filled.public, filled.root, cache=filled.cache, live=True)
    assert "resume_above" not in filled.info()["consumers"]["signer"]


def test_a_lost_ceremony_is_appended_again_first(filled: Index) -> None:
    backup = Backup(filled)
    filled.run("ceremony", "--bins", 32)
    served = filled.check().number
    metadata = filled.public / "metadata"
    backup.restore()
    output = filled.run("resume", "--above", served, answer=1)
    assert "root 2" in output
    assert "bins 2" in output
    shutil.rmtree(filled.folder / "state")
    filled.run("ceremony", "--append", *(metadata / f"2.{role}.json" for role in ("root", "bins")))
    filled.run("resume", "--above", served, "--forged")
    filled.upload("later")
    seen = filled.publish_and_check()
    assert (seen.root, seen.number) == (2, served + 1)
    assert filled.info()["bins"] == 32


def test_a_whole_machine_restored_from_a_backup(filled: Index) -> None:
    """The operator knows which version clients saw; nothing on this machine does."""
    backup = Backup(filled)
    served = filled.publish_and_check("--renew").number
    backup.restore()
    lose_public(filled)
    shutil.rmtree(filled.folder / "state")
    filled.run("resume", "--above", served)
    filled.upload("later")
    assert filled.publish() > served
    filled.check()


def test_another_ledgers_log(filled: Index, tmp_path: Path) -> None:
    other = Index.create(tmp_path / "other")
    shutil.rmtree(filled.folder / "log")
    shutil.copytree(other.folder / "log", filled.folder / "log")
    assert "another ledger" in filled.run("publish", answer=2)
    assert "give --root" not in filled.run("verify", "--root", filled.public / "metadata/1.root.json", answer=1)


def test_resuming_above_a_mistyped_number_does_not_end_the_ledger(filled: Index) -> None:
    filled.run("resume", "--above", 2**53 - 1, answer=1)
    filled.upload("four")
    filled.publish_and_check()


def test_a_clock_that_was_wrong_for_a_moment(tmp_path: Path, clock: FakeClock) -> None:
    """Nothing is signed with a time that clients would have to wait for, unless a person says so."""
    index = Index.create(tmp_path / "index", clock=clock)
    index.upload("one")
    clock.advance(days=8)
    assert "--clock-checked" in index.run("publish", answer=2)
    clock.advance(days=-8)
    index.publish_and_check()


def test_rebuilding_as_of_any_publication(filled: Index, tmp_path: Path) -> None:
    (facts,) = filled.ask("rebuild", "--to", tmp_path / "second", "--at", 2)
    assert (facts["publication"], facts["missing"]) == (2, [])
    assert "no publication 99" in filled.run("rebuild", "--to", tmp_path / "none", "--at", 99, answer=1)
    assert not (tmp_path / "none").exists()
    filled.run("rebuild", "--to", tmp_path / "second", answer=2)
    filled.run("rebuild", "--to", tmp_path / "none", "--at", "2000-01-01T00:00:00Z", answer=1)
    filled.run("rebuild", "--to", tmp_path / "none", "--at", "yesterday", answer=2)
    filled.run("rebuild", "--to", tmp_path / "last", "--at", "2999-01-01T00:00:00Z")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_verifying_a_part(filled: Index) -> None:
    (facts,) = filled.ask("verify", "--from", 2, "--to", 3)
    assert (facts["first"], facts["last"], facts["anchored"]) == (2, 3, False)
    filled.run("verify", "--from", 3, "--to", 2, answer=2)
    filled.run("verify", "--from", 99, answer=1)
    filled.run("verify", "--to", 99, answer=1)
    filled.run("verify", "--root", filled.folder / "ledger.toml", answer=1)
    invoke("verify", "--ledger", filled.folder, "--served", filled.folder / "nowhere", answer=2)


@pytest.mark.parametrize(
    "call",
    [
        "consumers.state.records.save_roles",
        "ledger.state.position.save_position",
        "ledger.state.file.StateFile.commit",
    ],
)
def test_a_state_that_cannot_be_saved_takes_nothing_with_it(
    filled: Index, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is saved while files are placed, so the publication may be served already: the next start finds it."""

    def fail(*_: object, **__: object) -> None:
        raise StateDamagedError("the disk is full")

    filled.upload("four")
    with monkeypatch.context() as patched:
        patched.setattr(call, fail)
        assert "the disk is full" in filled.run("publish", answer=2)
    filled.publish()
    assert len(filled.check().projects) == 4
    filled.upload("five")
    assert len(filled.publish_and_check().projects) == 5
    filled.verify()


@pytest.mark.parametrize("where", ["state/signer.kept", "public/metadata"])
@pytest.mark.parametrize("spoil", ["other bytes", "gone"])
def test_nothing_is_signed_from_a_spoiled_bin(filled: Index, where: str, spoil: str) -> None:
    """The file of a bin is another than was written: it has two names, and to change one is to change both."""
    before = filled.info()["last"]
    filled.upload("one", "2.0")
    bins = sorted((filled.folder / where).glob("*.bin-*.json"))
    assert bins
    for path in bins:
        if spoil == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes().replace(b"one", b"eno"))
    if (where, spoil) == ("public/metadata", "gone"):
        # That is no harm to the state. The manual says how it is repaired.
        filled.publish()
        filled.run("verify", "--served", filled.public, answer=1)
    else:
        assert "delete the file" in filled.run("publish", answer=2)
        assert filled.info()["last"]["publication"] == before["publication"]
    shutil.rmtree(filled.folder / "state")
    filled.publish_and_check()
    filled.verify()


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE chunks SET body = CAST(replace(CAST(body AS TEXT), 'one', 'eno') AS BLOB) WHERE key = 'project:one'",
        "UPDATE aggregates SET header = header || x'00' WHERE key = 'project:one'",
        "UPDATE roles SET version = version + 1",
        "UPDATE position SET size = size - 1",
    ],
    ids=["a page", "a project", "versions", "the position"],
)
def test_nothing_is_signed_from_a_spoiled_state(filled: Index, spoil: str) -> None:
    """The bits of a state are no longer those that were written; they still can be read."""
    before = filled.info()["last"]
    filled.upload("one", "2.0")
    with sqlite3.connect(filled.folder / "state/signer.sqlite") as connection:
        assert connection.execute(spoil).rowcount
    connection.close()
    assert "delete the file" in filled.run("publish", answer=2)
    assert filled.check().number == before["publication"]
    shutil.rmtree(filled.folder / "state")
    filled.publish_and_check()
    filled.verify()
