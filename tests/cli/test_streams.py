"""Commands among other programs: pipes that close, signals, other users, odd arguments. All real processes."""

import ctypes
import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import encode_event
from tests.client.index import Index, check_output, invoke, lines
from tests.client.processes import PATIENCE_SECONDS, command, environment, execute
from tests.factory import Make

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
"""From Linux' `prctl.h` and `capability.h`."""


@pytest.mark.parametrize("arguments", [("rejected", "--all", "--json"), ("info",), ("--help",)])
def test_a_reader_that_has_enough(index: Index, arguments: tuple[str, ...]) -> None:
    make = Make()
    index.run("append", stdin=lines(make.file_yanked("none", "none-1.0.zip") for _ in range(2_000)))
    index.publish()
    options = () if arguments == ("--help",) else ("--ledger", str(index.folder))
    process = subprocess.Popen(
        command(*arguments, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(), errors) == (0, "")


def test_no_output_at_all(index: Index) -> None:
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        line = f'"{sys.executable}" -m consumers.cli.main publish --renew --ledger "$1" {closed}'
        done = subprocess.run(
            ["sh", "-c", line, "sh", str(index.folder)], capture_output=True, env=environment(), text=True, check=False
        )
        check_output(done.stdout + done.stderr)
        assert done.returncode == 0, (closed, done.stderr)


def test_output_that_cannot_be_written(index: Index) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("info", "--ledger", index.folder),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    check_output(done.stderr.decode())
    assert done.returncode != 0


ANNOUNCED = """
import asyncio, consumers.cli.main as cli
run = asyncio.run
async def announced(main):
    print("begun", flush=True)
    await main
asyncio.run = lambda main: run(announced(main))
cli.main(prog_name="tuf-ledger")
"""
"""The command, which says when it begins: before that, Python itself is starting."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment(index: Index, tmp_path: Path, number: signal.Signals) -> None:
    """Commands that are not services may end by the signal, but in order: the next one works."""
    for moment in range(4):
        for name, *options in (("publish", "--renew"), ("rebuild", "--to", str(tmp_path / f"rebuilt-{moment}"))):
            process = subprocess.Popen(
                [sys.executable, "-c", ANNOUNCED, name, "--ledger", str(index.folder), *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(0.1 * moment)
            process.send_signal(number)
            output, _ = process.communicate()
            check_output(output.decode())
    index.publish("--renew")
    index.check()
    index.verify()


# --- users and names ---------------------------------------------------------------------------------------------


def test_a_user_without_a_name(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run programs as users that no database knows."""

    def getpwuid(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    index.run("yank", "one==1.0", "--reason", "again")
    connection = sqlite3.connect(index.folder / "log/events.sqlite")
    (last,) = connection.execute("SELECT value FROM records ORDER BY idx DESC LIMIT 1").fetchone()
    connection.close()
    assert json.loads(last)["actorid"] == f"uid-{os.getuid()}"


def give_up_privileges() -> None:
    """Called in a child of root's: what it may do to files is what their modes say, as for everybody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def execute_as_owner(*arguments: object, answer: int | None = 0) -> str:
    """Run a command as a user who owns the files and has no rights beyond their modes."""
    prepare = give_up_privileges if os.geteuid() == 0 else None
    done = execute(*arguments, answer=answer, preexec_fn=prepare)
    return done.stdout + done.stderr


@pytest.fixture
def sealed(index: Index) -> Iterator[Index]:
    """A ledger whose owner has taken the right to write from himself."""
    paths = (index.folder, *index.folder.rglob("*"))
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield index
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize(
    "arguments",
    [("publish",), ("yank", "one==1.0"), ("add", "--as", "x", __file__), ("append",), ("ceremony", "--renew")],
)
def test_a_folder_that_cannot_be_written(sealed: Index, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    if name == "append":
        rest.append(str(tmp_path / "events"))
        (tmp_path / "events").write_bytes(lines([Make().project_created("three")]))
    assert "cannot be" in execute_as_owner(name, "--ledger", sealed.folder, *rest, answer=2)


@pytest.mark.parametrize(
    "arguments", [("info",), ("status", "one"), ("rejected",), ("verify", "--served", "{}/public")]
)
def test_a_ledger_that_can_only_be_read_is_read(sealed: Index, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    execute_as_owner(name, "--ledger", sealed.folder, *(each.format(sealed.folder) for each in rest))


def test_a_state_that_may_not_be_read(index: Index) -> None:
    """SQLite says of it what it says where there is no room for another open file."""
    path = index.folder / "state/signer.sqlite"
    path.chmod(0o000)
    assert "cannot be read by this user" in execute_as_owner("rejected", "--ledger", index.folder, answer=2)
    path.chmod(0o444)
    assert "cannot be read and written" in execute_as_owner("publish", "--ledger", index.folder, answer=2)
    path.chmod(0o644)


def test_a_log_that_can_only_be_read_is_verified(sealed: Index, tmp_path: Path) -> None:
    assert "Publications 1 to 4 (6 events)" in execute_as_owner("verify", "--ledger", sealed.folder)
    execute_as_owner("rebuild", "--ledger", sealed.folder, "--to", tmp_path / "rebuilt")


FOLLOW = """
import asyncio, sys
from pathlib import Path
from ledger.logs.sqlite import SqliteLog

async def follow():
    log = SqliteLog(Path(sys.argv[1]))
    await log.open()
    size = await log.size()
    print(size, flush=True)
    while await log.size() == size:
        await log.wait(size, 30)
    print(len(await log.read(0)), flush=True)
    await log.close()

asyncio.run(follow())
"""


def test_a_log_that_can_only_be_read_is_followed(sealed: Index) -> None:
    """Nobody wrote when it was opened; what is written later is seen all the same."""
    path = sealed.folder / "log/events.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(path)],
        stdout=subprocess.PIPE,
        env=environment(),
        preexec_fn=give_up_privileges if os.geteuid() == 0 else None,  # noqa: PLW1509  # it allocates nothing
    )
    assert process.stdout is not None
    size = int(process.stdout.readline())
    for each in (path.parent, path):
        each.chmod(0o755)
    sealed.run("yank", "one==1.0", "--reason", "again")
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == b"%d\n" % (size + 1)
    assert process.returncode == 0


def test_what_was_left_behind_is_read_too(index: Index, tmp_path: Path) -> None:
    """A process that was killed leaves records in the write-ahead log: who only reads must not miss them."""
    path = index.folder / "log/events.sqlite"
    writer = sqlite3.connect(path)
    size = index.info()["sizes"]["events"]
    make = Make()
    writer.execute("INSERT INTO records VALUES (?, ?)", (size, encode_event(make.project_created("left-behind"))))
    writer.commit()
    shutil.copytree(index.folder, tmp_path / "copy")
    writer.close()
    copy = Index(tmp_path / "copy")
    for each in (copy.folder / "log").iterdir():
        each.chmod(0o444)
    (copy.folder / "log").chmod(0o555)
    output = execute_as_owner("info", "--ledger", copy.folder)
    assert f"{size + 1} events" in output
    (copy.folder / "log").chmod(0o755)
    (copy.folder / "log/events.sqlite-shm").unlink()
    (copy.folder / "log").chmod(0o555)
    assert "cannot be read by this user" in execute_as_owner("info", "--ledger", copy.folder, answer=2)
    (copy.folder / "log").chmod(0o755)


def test_a_place_where_nothing_can_be_made(index: Index, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    assert "closed" in execute_as_owner("init", tmp_path / "closed/index", answer=2)
    assert "closed" in execute_as_owner("rebuild", "--ledger", index.folder, "--to", tmp_path / "closed/tree", answer=2)


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a [b] c", "[/]", "[red]x", "back\\[/x]", "-dash", "new\nline"])
def test_names_that_could_be_markup(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "new" / name
    output = invoke("init", folder).output
    assert name in output.replace("\n", "\n")
    output = invoke("add", "--ledger", folder, tmp_path / f"{name}.whl", answer=2).output
    assert "does not exist" in output


def test_a_reason_in_another_encoding(index: Index) -> None:
    """A yank must not fail over its reason."""
    arguments: list[str | bytes] = [*command("yank", "--ledger", index.folder, "one==1.0", "--reason"), b"caf\xe9"]
    done = subprocess.run(arguments, capture_output=True, env=environment(), check=False)
    check_output((done.stdout + done.stderr).decode(errors="replace"))
    assert done.returncode == 0
    index.publish_and_check()


def test_a_reason_of_any_kind(index: Index) -> None:
    for reason in ("", " ", "\x1b[31mred", "x" * 5_000, "[/]", "über\u2028", '"<&>'):
        index.run("yank", "two==1.0", "--reason", reason)
        index.publish_and_check()
    assert index.check().yanked()["two-1.0-py3-none-any.whl"] == '"<&>'
