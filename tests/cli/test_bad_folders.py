"""Bad folders: configurations, logs and states that are missing, damaged, locked or another's."""

import fcntl
import os
import random
import shutil
import sqlite3
import threading
from pathlib import Path

import click.testing
import pytest

from consumers.cli.main import main
from ledger.logs import LogSettingsError
from tests.client.index import Index, check_output, invoke, silence
from tests.client.processes import PATIENCE_SECONDS
from tests.distributions import build_wheel
from tests.golden.records import create_log

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("info",),
    ("status", "one"),
    ("rejected", "--all"),
    ("yank", "one==1.0"),
    ("restore", "one==1.0"),
    ("append",),
    ("verify", "--served", "{index}/public"),
    ("rebuild", "--to", "{index}-rebuilt"),
    ("publish", "--renew"),
    ("ceremony", "--renew"),
    ("resume", "--above", "1"),
)


def run_all(index: Index, *, answers: tuple[int, ...] = (0, 1, 2)) -> None:
    """Run every command on a ledger that may be in any state: each ends with an answer and a message."""
    rebuilt = index.folder.with_name("index-rebuilt")
    for command, *rest in COMMANDS:
        arguments = [each.format(index=index.folder) for each in rest]
        shutil.rmtree(rebuilt, ignore_errors=True)
        result = _run(command, "--ledger", index.folder, *arguments)
        assert result[0] in answers, (command, *result)
        assert result[0] == 0 or result[1].strip(), f"{command} says nothing"


def _run(*arguments: object) -> tuple[int, str]:
    try:
        result = click.testing.CliRunner().invoke(main, [str(each) for each in arguments])
    finally:
        silence()
    assert not isinstance(result.exception, Exception), repr(result.exception)
    check_output(result.output)
    return result.exit_code, result.output


# --- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [each[0] for each in COMMANDS])
def test_a_folder_without_a_ledger(tmp_path: Path, command: str) -> None:
    rest = next(each[1:] for each in COMMANDS if each[0] == command)
    arguments = [each.format(index=tmp_path / "x") for each in rest if not each.startswith("{index}/")]
    arguments = [each for each in arguments if each != "--served"]
    output = invoke(command, "--ledger", tmp_path, *arguments, answer=2).output
    assert "there is no ledger in" in output
    assert list(tmp_path.iterdir()) == []


CONFIGURATIONS = {
    "not TOML": b"[ledger",
    "not text": b"\xff\xfe\x00",
    "empty": b"",
    "an unknown section": b"[nonsense]\nx = 1\n",
    "an unknown setting": b"[signer]\ninterval = 1\n",
    "another type": b"ledger = 3\n",
    "a number for a path": b"[ledger]\nlog = 3\n",
    "out of range": b"[signer]\ninterval_seconds = -1\n",
    "no log of ours": b'[ledger]\nlog = "postgresql:ledger"\n',
    "a secret in a URL": b'[ledger]\nlog = "kafka://user:hunter2@broker/prefix"\n',
    "twice": b'[ledger]\nlog = "a"\nlog = "hunter2"\n',
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_that_cannot_be_used(index: Index, name: str) -> None:
    (index.folder / "ledger.toml").write_bytes(CONFIGURATIONS[name])
    output = index.run("info", answer=0 if name == "empty" else 2)
    assert "hunter2" not in output


BAD_VARIABLES = {
    "TUF_LEDGER_SIGNER_INTERVAL_SECONDS": ["soon", "-1", "nan"],
    "TUF_LEDGER_SIGNER_CLOCK_DAYS": ["0", ""],
    "TUF_LEDGER_SIGNER_URIS": ["hunter2", "[]", "{ x = 1 }", '{ x = "hunter2" '],
    "TUF_LEDGER_LOGGING_LEVEL": ["loud"],
    "TUF_LEDGER_KAFKA_SECURITY_PROTOCOL": ["hunter"],
    "TUF_LEDGER_LEDGER_LOG": ["", "hunter2", "kafka://"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_VARIABLES.items() for value in values]
)
def test_environment_variables_that_cannot_be_used(
    index: Index, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "hunter2" not in index.run("publish", answer=2)


@pytest.mark.parametrize("case", ["inf days", "many days", "a table that is none", "deep"])
def test_settings_that_surprise_us(index: Index, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    if case == "inf days":
        monkeypatch.setenv("TUF_LEDGER_SIGNER_CLOCK_DAYS", "inf")
    elif case == "many days":
        monkeypatch.setenv("TUF_LEDGER_SIGNER_CLOCK_DAYS", "1e12")
    elif case == "a table that is none":
        (index.folder / "ledger.toml").write_text("ledger = 3\n")
        monkeypatch.setenv("TUF_LEDGER_LEDGER_LOG", "sqlite:log")
    else:
        (index.folder / "ledger.toml").write_text(f"a = {'[' * 5000}")
    index.run("publish", answer=2)


def test_environment_variables_win(index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.move(index.folder / "log", tmp_path / "moved")
    index.run("publish", answer=2)
    monkeypatch.setenv("TUF_LEDGER_LEDGER_LOG", f"sqlite:{tmp_path / 'moved'}")
    index.run("publish")
    (index.folder / "ledger.toml").unlink()
    index.run("info")


# --- logs and states ---------------------------------------------------------------------------------------------


def test_a_log_named_in_any_script(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--log", "sqlite:läger 😀")
    assert index.info()["last"]["publication"] == 1
    said = invoke("init", tmp_path / "other", "--log", "sqlite:\udcff", answer=2).output
    assert "has bytes that are not UTF-8: ledger.toml cannot name it" in said
    assert not (tmp_path / "other").exists()


def test_a_log_that_is_missing(index: Index) -> None:
    (index.folder / "log/events.sqlite").unlink()
    assert "there is no log at" in index.run("publish", answer=2)
    assert not (index.folder / "log/events.sqlite").exists(), "a mistyped path does not become an empty ledger"


def test_a_log_that_is_no_log(index: Index) -> None:
    path = index.folder / "log/events.sqlite"
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE records (x)").connection.close()
    assert "is not a log" in index.run("publish", answer=2)


def test_an_empty_log(index: Index) -> None:
    shutil.rmtree(index.folder / "log")
    for name in ("events", "publications"):
        create_log(index.folder / f"log/{name}.sqlite")
    shutil.rmtree(index.folder / "state")
    assert "so there is no ledger yet" in index.run("publish", answer=2)
    index.run("info")


def test_another_ledgers_state(index: Index, tmp_path: Path) -> None:
    other = Index.create(tmp_path / "other")
    shutil.copy(other.folder / "state/signer.sqlite", index.folder / "state/signer.sqlite")
    assert "another ledger" in index.run("publish", answer=2)
    index.verify()


def test_a_state_of_another_format(index: Index) -> None:
    connection = sqlite3.connect(index.folder / "state/signer.sqlite")
    connection.execute("UPDATE format SET number = 999")
    connection.commit()
    connection.close()
    index.run("info")
    before = index.check()
    assert index.publish() == before.number
    index.run("status", "one")


def test_a_state_that_is_in_use(index: Index) -> None:
    lock = os.open(index.folder / "state/signer.sqlite.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("publish", "resume"):
            options = ("--above", 99) if command == "resume" else ()
            assert "is in use by process" in index.run(command, *options, answer=75)
        assert index.info()["consumers"]["signer"]["running"]
    finally:
        os.close(lock)
    assert not index.info()["consumers"]["signer"]["running"]


def test_a_folder_where_a_state_should_be(index: Index) -> None:
    """SQLite calls that an I/O error, as if it could pass."""
    path = index.folder / "state/signer.sqlite"
    path.unlink()
    path.mkdir()
    for command in ("publish", "rejected", "status"):
        options = ("one",) if command == "status" else ()
        assert f"{path} is no file: move it away" in index.run(command, *options, answer=2)
    path.rmdir()
    index.publish()
    index.verify()


async def test_what_cannot_be_opened_leaves_nothing_open(index: Index) -> None:
    path = index.folder / "log/publications.sqlite"
    path.write_bytes(b"")
    before = set(threading.enumerate())
    logs = index.context.logs()
    with pytest.raises(LogSettingsError):
        await logs.open()
    # Those of the event loop's own pool stay for as long as it does.
    left = {each for each in set(threading.enumerate()) - before if not each.name.startswith("asyncio_")}
    for thread in left:
        thread.join(PATIENCE_SECONDS)  # closed, and about to end
    assert not any(thread.is_alive() for thread in left)


# --- garbage in every file ---------------------------------------------------------------------------------------

FILES = (
    "ledger.toml",
    "log/events.sqlite",
    "log/publications.sqlite",
    "state/signer.sqlite",
    "state/signer.sqlite.lock",
    "public/metadata/timestamp.json",
    "public/metadata/1.root.json",
    "public/metadata/4.snapshot.json",
    "public/metadata/4.timestamp.json",
    "public/targets/simple/index.json",
    "public/targets/simple/one/index.html",
    "keys/online/*.pem",
    "keys/root/*.pem",
    "keys/bins/*.pem",
)
KINDS = ("empty", "garbage", "cut", "spoiled", "folder", "missing")


def damage(path: Path, kind: str, chance: random.Random) -> None:
    """Damage a file."""
    data = path.read_bytes()
    path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(chance.randbytes(chance.choice([10, 5000])))
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "spoiled":
        spoiled = bytearray(data)
        for _ in range(200 if data else 0):
            spoiled[chance.randrange(len(data) // 3, len(data))] = chance.randrange(256)
        path.write_bytes(spoiled)
    elif kind == "folder":
        path.mkdir()
        (path / "inside").write_bytes(b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_garbage_in_a_file(index: Index, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    monkeypatch.setattr("consumers.cli.commands.ceremony.WAIT_SECONDS", 0.5)
    damage(min(index.folder.glob(name)), kind, random.Random(name + kind))
    run_all(index)


FOLDERS = ("log", "state", "public", "keys", "keys/online", "public/metadata", "public/targets")


OUTPUTS = (
    ("prove", "3", "--to"),
    ("prove", "--consistency", "1", "2", "--to"),
    ("show", "root@1", "--out"),
    ("diff", "1", "2", "--html"),
    ("hold", "--secret-file"),
    ("verify", "--resume"),
)


@pytest.mark.parametrize("command", OUTPUTS)
def test_no_command_makes_the_folder_of_a_file(index: Index, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A folder as a whole is made with the folders above it. A file in a folder that is missing may be a mistake."""
    file = tmp_path / "none" / "file"
    assert f"{file} cannot be written: its folder is missing" in index.run(*command, file, answer=2)
    assert not file.parent.exists()
    assert index.ask_list("log")[0]["event"] == 5


@pytest.mark.parametrize("command", [("rebuild", "--to"), ("backup",)])
def test_a_folder_is_made_with_those_above(index: Index, tmp_path: Path, command: tuple[str, ...]) -> None:
    index.run(*command, tmp_path / "none" / "above" / "folder")
    assert any((tmp_path / "none" / "above" / "folder").iterdir())


@pytest.mark.parametrize("kind", ["missing", "a file"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_missing_or_a_file(
    index: Index, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr("consumers.cli.commands.ceremony.WAIT_SECONDS", 0.5)
    shutil.rmtree(index.folder / name)
    if kind == "a file":
        (index.folder / name).write_bytes(b"")
    run_all(index)
    build_wheel(index.folder.parent, "new", "1.0")
    assert _run("add", "--ledger", index.folder, index.folder.parent / "new-1.0-py3-none-any.whl")[0] in {0, 1, 2}
