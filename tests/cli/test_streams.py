"""Commands among other programs: pipes that close, signals, other users, odd arguments. All real processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.index import Index, check_output, invoke, lines
from tests.client.processes import command, environment, execute
from tests.factory import Make

NOBODY = 54_321
"""A user without a name, as containers have them."""


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
        line = f'"{sys.executable}" -m consumers.main publish --renew --ledger "$1" {closed}'
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment(index: Index, tmp_path: Path, number: signal.Signals) -> None:
    """Commands that are not services may end by the signal, but in order: the next one works."""
    for moment in range(4):
        for name, *options in (("publish", "--renew"), ("rebuild", "--to", str(tmp_path / f"rebuilt-{moment}"))):
            process = subprocess.Popen(
                command(name, "--ledger", index.folder, *options),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
            time.sleep(0.45 + 0.15 * moment)
            process.send_signal(number)
            output, _ = process.communicate()
            if moment:  # before, Python itself was starting
                check_output(output.decode())
    index.publish("--renew")
    index.check()
    index.verify()


# --- users and names ---------------------------------------------------------------------------------------------


@pytest.fixture
def others(index: Index) -> Iterator[Index]:
    """A ledger that belongs to a user without a name; only root can test that."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in index.folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    for path in (index.folder, *index.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    yield index
    shutil.rmtree(index.folder)


def as_nobody(*arguments: object, answer: int | None = 0) -> str:
    """Run a command as that user."""
    done = execute(*arguments, answer=answer, user=NOBODY, group=NOBODY, extra_groups=[], env={"HOME": "/nonexistent"})
    return done.stdout + done.stderr


@pytest.mark.xfail(
    strict=True, reason="DEFECT: the name of a user without an entry cannot be had, and comes out as a defect"
)
def test_a_user_without_a_name(others: Index) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    as_nobody("yank", "--ledger", others.folder, "one==1.0")


READING = (("info",), ("status", "one"), ("rejected",))


def make_read_only(index: Index) -> None:
    """Take the right to write from its owner."""
    for path in (index.folder, *index.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.parametrize("arguments", [("publish",), ("yank", "one==1.0"), ("add", "--as", "x", __file__), ("verify",)])
def test_a_folder_that_cannot_be_written(others: Index, arguments: tuple[str, ...]) -> None:
    make_read_only(others)
    name, *rest = arguments
    output = as_nobody(name, "--ledger", others.folder, *rest, answer=2)
    assert "readonly" in output or "cannot be" in output or "unable to open" in output


@pytest.mark.xfail(strict=True, reason="DEFECT: reading a log needs the right to write it")
def test_a_log_that_can_only_be_read_is_verified(others: Index) -> None:
    make_read_only(others)
    as_nobody("verify", "--ledger", others.folder)


@pytest.mark.xfail(strict=True, reason="DEFECT: PermissionError comes out as a defect")
def test_a_place_where_nothing_can_be_made(others: Index, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    assert "closed" in as_nobody("init", tmp_path / "closed/index", answer=2)
    assert "closed" in as_nobody("rebuild", "--ledger", others.folder, "--to", tmp_path / "closed/tree", answer=2)


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a [b] c", "[/]", "[red]x", "back\\[/x]", "-dash", "new\nline"])
def test_names_that_could_be_markup(tmp_path: Path, name: str) -> None:
    if name in {"[/]", "back\\[/x]"}:
        pytest.xfail("DEFECT: a path is taken for markup (rich.errors.MarkupError)")
    folder = tmp_path / "new" / name
    output = invoke("init", folder).output
    assert name in output.replace("\n", "\n")
    output = invoke("add", "--ledger", folder, tmp_path / f"{name}.whl", answer=2).output
    assert "does not exist" in output


@pytest.mark.xfail(strict=True, reason="DEFECT: bytes that are no UTF-8 come out as a defect")
def test_a_reason_in_another_encoding(index: Index) -> None:
    """A yank must not fail over its reason."""
    arguments = [*command("yank", "--ledger", index.folder, "one==1.0", "--reason"), b"caf\xe9"]
    done = subprocess.run(arguments, capture_output=True, env=environment(), check=False)
    check_output((done.stdout + done.stderr).decode(errors="replace"))
    assert done.returncode == 0
    index.publish_and_check()


def test_a_reason_of_any_kind(index: Index) -> None:
    for reason in ("", " ", "\x1b[31mred", "x" * 5_000, "[/]", "über\u2028", '"<&>'):
        index.run("yank", "two==1.0", "--reason", reason)
        index.publish_and_check()
    assert index.check().yanked()["two-1.0-py3-none-any.whl"] == '"<&>'
