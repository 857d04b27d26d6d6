"""`restore-backup`: a ledger comes back from a backup by one command, and never an older one over a newer one."""

import fcntl
import json
import os
import pty
import shutil
import sqlite3
import subprocess
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from consumers.backup.restoring import MOST_ROOTS
from ledger.state.statements import lock_path
from tests.client.disks import mounted
from tests.client.index import Index, invoke, tree
from tests.client.processes import command, environment, start
from tests.serving import serving


class Lost:
    """A ledger with a backup of it, and copies of what no backup has."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.copy = index.folder.with_name("copy")
        self.keys = index.folder.with_name("keys")
        self.store = index.folder.with_name("store")
        shutil.copytree(index.folder / "keys/online", self.keys)
        index.run("backup", self.copy)

    def restore(self, target: Path, *options: object, answer: int = 0) -> dict[str, Any]:
        """The answer of the command."""
        arguments = ("restore-backup", self.copy, "--to", target, "--json", *options)
        return json.loads(invoke(*arguments, answer=answer).stdout)  # type: ignore[no-any-return]

    def restore_all(self, target: Path, *options: object, answer: int = 0) -> dict[str, Any]:
        """With all that no backup has."""
        return self.restore(target, "--keys", self.keys, "--files", self.store, *options, answer=answer)

    def configure(self, text: str) -> None:
        """Change the configuration in the backup, knowingly."""
        (self.copy / "SHA256SUMS").unlink(missing_ok=True)
        (self.copy / "ledger.toml").write_text(text)

    def lose(self) -> None:
        """The machine is gone; distribution files are stored elsewhere."""
        shutil.copytree(self.index.public, self.store)
        shutil.rmtree(self.index.folder)


@pytest.fixture
def lost(index: Index) -> Lost:
    index.upload("three")
    index.publish_and_check()
    return Lost(index)


def go_on(folder: Path, lost: Lost) -> None:
    """Clients that saw what was lost see what comes now."""
    index = Index(folder, clients=lost.index.folder.with_name("index-client"))
    index.upload("later")
    assert "later" in index.publish_and_check().projects
    index.verify()


def test_the_whole_machine(lost: Lost, tmp_path: Path) -> None:
    before, facts = tree(lost.index.public), lost.index.info()
    lost.lose()
    tried = lost.restore_all(tmp_path / "new", "--dry-run")
    assert not (tmp_path / "new").exists()
    done = lost.restore_all(tmp_path / "new")
    assert done == {**tried, "dry_run": False, "keyids": [], "missing": [], "differences": []}
    assert (done["ledger"], done["sizes"], done["anchored"]) == (facts["ledger"], facts["sizes"], True)
    after = tree(tmp_path / "new/public")
    assert {path: before[path] for path in after} == after
    again = lost.restore_all(tmp_path / "new")
    assert again == {**done, "events": 0, "publications": 0}
    go_on(tmp_path / "new", lost)


def test_without_what_no_backup_has(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    tried = lost.restore(tmp_path / "other", "--files", lost.keys)
    done = lost.restore(tmp_path / "new")
    assert done == tried
    (keyid,) = done["keyids"]
    assert done["missing"]
    assert all((lost.store / "targets" / path).exists() for path in done["missing"])
    said = invoke("restore-backup", lost.copy, "--to", tmp_path / "third").output
    assert f"no copy of this file was found: {done['missing'][0]}" in said
    assert "Store them with `tuf-ledger add`" in said
    assert (lost.keys / f"{keyid}.pem").exists()
    said = invoke("restore-backup", lost.copy, "--to", tmp_path / "new").output
    assert f"an online key is missing: put {keyid}.pem into the folder of [signer] keys" in said
    assert "Next: `tuf-ledger publish --ledger" in said
    lost.restore_all(tmp_path / "new")
    assert (tmp_path / f"new/keys/online/{keyid}.pem").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_another_one(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    (key,) = lost.keys.iterdir()
    (other,) = (Index.create(tmp_path / "other").folder / "keys/online").iterdir()
    for content, why in (
        (other.read_bytes(), "is another key than its name says"),
        (b"garbage", "is not a private key in PEM format"),
    ):
        key.write_bytes(content)
        for options in ((), ("--dry-run",)):
            said = lost.restore_all(tmp_path / "new", *options, answer=2)
            assert said["error"] == "signer"
            assert f"{key} {why}" in said["message"]
            assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(lost: Lost, tmp_path: Path) -> None:
    """kill -9, a little later each time, until a run has come to its end."""
    for number in range(20):
        lost.index.upload(f"project-{number}")
    lost.index.publish_and_check()
    shutil.rmtree(lost.copy)
    lost.index.run("backup", lost.copy)
    lost.lose()
    arguments = ("restore-backup", lost.copy, "--to", tmp_path / "new", "--keys", lost.keys, "--files", lost.store)
    for tenths in count(2):
        with start(tmp_path / "out", *arguments) as running:
            try:
                assert running.process.wait(tenths / 10) == 0, running.output()
                break
            except subprocess.TimeoutExpired:
                running.kill()
    assert lost.restore_all(tmp_path / "new")["differences"] == []
    go_on(tmp_path / "new", lost)


def test_a_file_in_the_store_that_is_damaged(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    wheels = list(lost.store.rglob("*three*.whl"))
    for wheel in wheels:
        wheel.write_bytes(b"damaged")
    said = lost.restore_all(tmp_path / "new", answer=2)
    assert "has other bytes than the log says" in said["message"]
    for wheel in wheels:
        wheel.unlink()
    assert len(lost.restore_all(tmp_path / "new")["missing"]) == 1


def test_no_room_for_it(lost: Lost, tmp_path: Path) -> None:
    """However much there is, it fails for now, and goes on from there."""
    lost.lose()
    with mounted(tmp_path / "disk") as disk:
        target = disk.folder / "new"
        for left_bytes in (0, 40_000, 120_000):
            disk.make_room()
            disk.fill(left_bytes=left_bytes)
            lost.restore_all(target, answer=75)
        assert not (target / "public").exists()
        disk.make_room()
        assert lost.restore_all(target)["differences"] == []
        go_on(target, lost)


def test_keys_are_asked_for_on_a_terminal(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    ours, theirs = pty.openpty()
    arguments = command("restore-backup", lost.copy, "--to", tmp_path / "new", "--files", lost.store)
    with subprocess.Popen(
        arguments, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
    ) as process:
        os.close(theirs)
        os.write(ours, f"{lost.keys}\n".encode())
        said = process.communicate()[0].decode()
    os.close(ours)
    assert process.returncode == 0, said
    assert "Folder with copies of the online keys" in said
    assert "an online key is missing" not in said
    go_on(tmp_path / "new", lost)


def test_the_log_alone(lost: Lost) -> None:
    shutil.rmtree(lost.index.folder / "log")
    done = lost.restore(lost.index.folder)
    assert (done["keyids"], done["differences"]) == ([], [])
    go_on(lost.index.folder, lost)


@pytest.mark.parametrize("consumer", ["signer", "publisher", "verifier"])
def test_while_something_runs(lost: Lost, consumer: str) -> None:
    """A signer would go on appending to the log that was deleted."""
    shutil.rmtree(lost.index.folder / "log")
    with lock_path(lost.index.context.reading_store(consumer).path).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = lost.restore(lost.index.folder, answer=75)
        assert (said["error"], f"the {consumer} of {lost.index.folder} runs." in said["message"]) == ("in-use", True)
        assert not (lost.index.folder / "log").exists()
        lost.restore(lost.index.folder, "--dry-run")
    lost.restore(lost.index.folder)


def test_one_of_two_logs(lost: Lost) -> None:
    """Events that came after the backup are there, and wait for a publication."""
    lost.index.upload("pending")
    (lost.index.folder / "log/publications.sqlite").unlink()
    done = lost.restore(lost.index.folder)
    assert (done["events"], done["publications"]) == (0, done["sizes"]["publications"])
    go_on(lost.index.folder, lost)
    assert "pending" in lost.index.check().projects
    (lost.index.folder / "log/events.sqlite").unlink()
    said = lost.restore(lost.index.folder, "--lost", answer=2)["message"]
    assert "publications.sqlite is ahead" in said
    assert not (lost.index.folder / "log/events.sqlite").exists(), "publications without their events stop everybody"


def test_an_older_one_is_refused_and_says_what_is_lost(lost: Lost, tmp_path: Path) -> None:
    index = lost.index
    number = index.info()["last"]["publication"]
    ceremonies = "and the ceremonies of the roots after 1 (up to 2)"
    index.run("ceremony", "--renew")
    index.upload("four")
    index.publish_and_check()
    said = lost.restore(index.folder, answer=1)
    assert said["error"] == "older-backup"
    assert f"publications {number + 1} to {number + 2} with their events, {ceremonies}" in said["message"]
    assert lost.restore(index.folder, "--lost", answer=2)["error"] == "copy-conflict", "its log is still there"
    shutil.rmtree(index.folder / "log")
    assert lost.restore(index.folder, answer=1)["error"] == "older-backup"
    assert not (index.folder / "log").exists(), "nothing was written"
    shutil.rmtree(index.folder / "public")
    assert "the state of the signer" in lost.restore(index.folder, answer=1)["message"]


def test_a_ceremony_alone_is_lost(lost: Lost, tmp_path: Path) -> None:
    """Its root is served, and no publication was made under it."""
    lost.index.run("ceremony", "--renew")
    lost.lose()
    for name in ("timestamp.json", "3.timestamp.json"):
        shutil.copy(lost.store / "metadata/2.timestamp.json", lost.store / "metadata" / name)
    said = lost.restore_all(tmp_path / "new", "--served", lost.store, answer=1)
    assert said["error"] == "older-backup"
    assert "is lost: the ceremonies of the roots after 1 (up to 2). Look" in said["message"]
    assert not (tmp_path / "new").exists()


def test_what_is_there_stays_as_it_is(lost: Lost) -> None:
    """A key in another form, another place of the log, and what is served and damaged."""
    index = lost.index
    (key,) = (index.folder / "keys/online").iterdir()
    key.write_bytes(b"# ours\n" + key.read_bytes())
    (index.public / "metadata/timestamp.json").write_bytes(b"{}")
    before = [tree(index.folder / name) for name in ("keys", "public")]
    said = lost.restore(index.folder, "--log", "sqlite:elsewhere", answer=2)["message"]
    assert f"{index.folder}/ledger.toml names the log sqlite:log, and not sqlite:elsewhere" in said
    damaged = lost.restore(index.folder, "--keys", lost.keys, answer=1)
    assert "the ledger is restored, but what was in its public folder is not what the log says" in damaged["message"]
    assert [each["path"] for each in damaged["differences"]] == ["metadata/timestamp.json"]
    assert [tree(index.folder / name) for name in ("keys", "public")] == before


def test_a_server_that_has_any_number_of_roots(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    for number in range(2, MOST_ROOTS + 10):
        (lost.store / f"metadata/{number}.root.json").write_bytes(b"{}")
    said = lost.restore_all(tmp_path / "new", "--served", lost.store, answer=1)
    assert f"the roots after 1 (up to {1 + MOST_ROOTS})" in said["message"]


def test_the_configuration_of_the_folder_wins(lost: Lost, tmp_path: Path) -> None:
    """It says where files are, and which keys are elsewhere."""
    lost.configure('[ledger]\nlog = "sqlite:log"\n[signer]\ninterval_seconds = 7\n')
    lost.lose()
    (keyid,) = lost.restore(tmp_path / "first")["keyids"]
    assert (tmp_path / "first/ledger.toml").stat().st_mode & 0o777 == 0o600
    (tmp_path / "new").mkdir()
    config = f'[ledger]\nlog = "sqlite:logs"\npublic = "site"\n[signer.uris]\n{keyid} = "awskms:x"\n'
    (tmp_path / "new/ledger.toml").write_text(config)
    assert lost.restore_all(tmp_path / "new")["keyids"] == []
    assert (tmp_path / "new/ledger.toml").read_text() == config
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["ledger.toml", "logs", "site"]


def test_clients_are_asked_too(lost: Lost, tmp_path: Path) -> None:
    lost.index.publish("--renew")
    lost.lose()
    with serving(lost.store) as url:
        said = lost.restore_all(tmp_path / "new", "--served", url, answer=1)
        assert said["message"].startswith(f"{url} has publication 3, and the backup ends with 2.")
        done = lost.restore_all(tmp_path / "new", "--served", url, "--lost")
    assert done["above"] == 3
    restored = Index(tmp_path / "new", clients=tmp_path / "index-client")
    assert "clients have seen publication 3, and the log, as it was restored, ends with 2" in restored.run(
        "publish", "--renew", answer=2
    ), "though what this machine serves is as old as the log"
    assert "clients have seen publication 3: give --above 3" in restored.run("resume", "--above", 2, answer=1)
    restored.run("resume", "--above", 3, "--forged")
    restored.upload("later")
    assert restored.publish_and_check().number == 4
    restored.publish("--renew")
    assert not [each for each in (tmp_path / "new/state").iterdir() if each.name in {"lost-up-to", "resumed-above"}]


def test_what_clients_saw_cannot_be_asked(lost: Lost, tmp_path: Path) -> None:
    """The machine that is lost served it."""
    lost.lose()
    lost.configure('[signer]\nserved = "http://127.0.0.1:1"\n')
    said = lost.restore_all(tmp_path / "new", answer=75)
    assert "If it is gone, too, name something else with --served" in said["message"]
    assert not (tmp_path / "new").exists()
    for nothing in (tmp_path / "mistyped", lost.keys, lost.copy / "ledger.toml"):
        said = lost.restore_all(tmp_path / "new", "--served", nothing, answer=2)
        assert said["message"].startswith(f"{nothing} has no metadata/timestamp.json that can be read")
        assert not (tmp_path / "new").exists()
    assert lost.restore_all(tmp_path / "new", "--served", lost.store)["differences"] == []


def test_nobody_can_be_asked_any_more(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    with serving(lost.keys) as url:
        lost.configure(f'[signer]\nserved = "{url}"\n')
        said = lost.restore_all(tmp_path / "new", answer=2)["message"]
    assert f"{url} has no metadata/timestamp.json" in said
    assert said.endswith(f"or {tmp_path}/new/public if nobody has that any more")
    assert lost.restore_all(tmp_path / "new", "--served", tmp_path / "new/public")["differences"] == []


def test_what_is_no_good_backup(lost: Lost, tmp_path: Path) -> None:
    lost.lose()
    said = invoke("restore-backup", lost.keys, "--to", tmp_path / "new", answer=2).output
    assert "is no backup: log/events.sqlite and log/publications.sqlite is missing" in said
    for within in (lost.copy, lost.copy / "new"):
        invoke("restore-backup", lost.copy, "--to", within, answer=2)
    refused = lost.restore_all(tmp_path / "new", "--log", f"sqlite:{lost.copy}/log", answer=2)
    assert "itself, and would be no copy of it" in refused["message"], "what is appended later would spoil the backup"
    assert not (tmp_path / "new").exists()
    other = Index.create(tmp_path / "other")
    root = other.public / "metadata/1.root.json"
    lost.restore(tmp_path / "new", "--root", root, answer=1)
    assert lost.restore_all(other.folder, answer=2)["error"] == "copy-conflict"
    (lost.copy / "SHA256SUMS").unlink()
    with closing(sqlite3.connect(lost.copy / "log/events.sqlite")) as log, log:
        log.execute("DROP TRIGGER records_are_never_updated")
        log.execute("UPDATE records SET value = x'00' WHERE idx = 2")
        log.execute(
            "CREATE TRIGGER records_are_never_updated BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, ''); END"
        )
    # Its last publication does not follow from its events any more: who has seen that publication knows it.
    assert lost.restore(tmp_path / "new", "--served", lost.store, answer=1)["error"] == "older-backup"
    assert lost.restore(tmp_path / "new", "--dry-run")["publication"] == 1
    (lost.copy / "log/events.sqlite").write_bytes(b"SQLite format 3\0" + b"garbage" * 5000)
    lost.restore(tmp_path / "new", answer=2)
    assert not (tmp_path / "new").exists()


NAMES = ("log/events.sqlite", "log/publications.sqlite", "1.root.json", "ledger.toml")


@pytest.mark.parametrize("name", NAMES)
def test_a_backup_of_which_a_byte_was_altered(lost: Lost, tmp_path: Path, name: str) -> None:
    """Cut, altered anywhere, or lost: nobody who has seen the end of its log need be there to say so."""
    lost.lose()
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=lost.copy, check=True)
    path = lost.copy / name
    content = path.read_bytes()
    for other in (content[:-1], content[:-1] + b"~", b"~" + content[1:], content + b"~", b""):
        path.write_bytes(other)
        said = lost.restore_all(tmp_path / "new", answer=1)["message"]
        assert said.startswith(f"{path} is not what it was when the backup was made (SHA256SUMS).")
    path.unlink()
    lost.restore_all(tmp_path / "new", answer=2 if name.startswith("log") else 1)
    path.write_bytes(content)
    (lost.copy / "SHA256SUMS").write_bytes(b"\xff garbage\n")
    lost.restore_all(tmp_path / "new", answer=1)
    assert not (tmp_path / "new").exists()
    (lost.copy / "SHA256SUMS").unlink()
    assert lost.restore_all(tmp_path / "new")["differences"] == [], "earlier backups have none"


def test_its_configuration_comes_back(lost: Lost, tmp_path: Path) -> None:
    config = (
        '# ours\n[ledger]\nlog = "kafka://broker:9092/x"  # there\npublic = "site"\n[signer]\ninterval_seconds = 7\n'
    )
    lost.configure(config)
    lost.lose()
    assert "Say where it goes: --log sqlite:log" in lost.restore(tmp_path / "new", answer=2)["message"]
    lost.restore_all(tmp_path / "new", "--log", "sqlite:logs")
    expected = config.replace('log = "kafka://broker:9092/x"  # there', 'log = "sqlite:logs"')
    assert (tmp_path / "new/ledger.toml").read_text() == expected
    assert (tmp_path / "new/site/metadata/timestamp.json").exists()
    lost.configure("[signer]\ninterval_seconds = 7\n")
    lost.restore_all(tmp_path / "newer", "--log", "sqlite:logs")
    assert (tmp_path / "newer/ledger.toml").read_text() == (
        '[signer]\ninterval_seconds = 7\n\n[ledger]\nlog = "sqlite:logs"\n'
    )
    for written in ('ledger.log = "sqlite:x"\n', '[ "ledger" ]\n', '[ledger]\n"log" = "sqlite:x"\n', "ledger = {}\n"):
        lost.configure(written)
        said = lost.restore_all(tmp_path / "newest", "--log", "sqlite:logs", answer=2)["message"]
        assert f"Write {tmp_path}/newest/ledger.toml yourself" in said
    (lost.copy / "ledger.toml").write_bytes(b"# \xff\n")
    assert "ledger.toml is not valid TOML" in lost.restore_all(tmp_path / "newest", answer=2)["message"]
    assert not (tmp_path / "newest").exists()
    (lost.copy / "ledger.toml").unlink()
    assert "are not UTF-8" in lost.restore_all(tmp_path / "newest", "--log", "sqlite:\udcff", answer=2)["message"]
    assert not (tmp_path / "newest").exists()
    lost.restore_all(tmp_path / "newest", "--log", "sqlite:läger 😀")
    go_on(tmp_path / "newest", lost)
