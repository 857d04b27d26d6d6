"""docs/auditing.md: an auditor with an empty home follows it word for word, and sees what it shows."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from consumers.cli.main import GROUPS
from tests.client.index import check_output, invoke
from tests.client.processes import PATIENCE_SECONDS, environment, until
from tests.distributions import build_sdist, build_wheel
from tests.serving import serving

DOCUMENT = Path(__file__).parents[2] / "docs/auditing.md"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEMONSTRATION = "tuf-ledger demo --keep tour"
SERVER = "http://127.0.0.1:8000"
STOPPED = "^C"
EXIT_CODE = "[exit code 1]"
PACKAGES = (("idna", "3.10"), ("iniconfig", "2.1.0"), ("packaging", "25.0"), ("six", "1.17.0"))
"""What the demonstration downloads: releases that the page names."""


class Step(NamedTuple):
    """A block of commands, and the lines of their output that the page shows: `…` stands for anything."""

    commands: list[str]
    lines: list[str]
    marks: list[str]
    """How the last command ends, if not by itself and with exit code 0."""


def read_steps() -> list[Step]:
    """The steps of the page, in order."""
    steps: list[Step] = []
    for kind, text in BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")):
        if kind == "sh":
            steps.append(Step(text.splitlines(), [], []))
            continue
        for line in text.splitlines():
            (steps[-1].marks if line in {STOPPED, EXIT_CODE} else steps[-1].lines).append(line)
    return steps


class Auditor:
    """Who follows the page, in an empty folder and with an empty home, where this process is, too."""

    def __init__(self, folder: Path) -> None:
        self._output = folder / "output"
        self._environment = environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})

    def run(self, command: str, answer: int) -> str:
        """Run a command as the page means it; return what it prints. A process of its own costs half a second."""
        if command.startswith("tuf-ledger") and ">" not in command:
            return invoke(*shlex.split(command)[1:], answer=answer).output
        done = subprocess.run(
            ["sh", "-c", command],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        check_output(done.stdout + done.stderr)
        assert done.returncode == answer, f"{command}\n{done.stderr}"
        return done.stdout

    def run_until(self, command: str, lines: list[str]) -> str:
        """Run a command until it has printed these lines; then Ctrl-C is pressed."""
        with (
            self._output.open("wb") as output,
            subprocess.Popen(["sh", "-c", f"exec {command}"], env=self._environment, stdout=output) as running,
        ):
            try:
                until(lambda: not missing(lines, self._output.read_text()) or None, self._output.read_text)
                running.send_signal(signal.SIGINT)
                assert running.wait(PATIENCE_SECONDS) == 128 + signal.SIGINT
            finally:
                running.kill()
        return self._output.read_text()


def missing(lines: list[str], printed: str) -> list[str]:
    """The first of these lines that is not printed after the ones before, if there is one."""
    rest = iter(printed.splitlines())
    for line in lines:
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(pattern, each) for each in rest):
            return [line]
    return []


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """Files as the demonstration downloads them."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name, version in PACKAGES:
        build_wheel(folder, name, version)
    build_sdist(folder, *PACKAGES[-1])
    return folder


def test_an_auditor_follows_the_page(tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    auditor = Auditor(tmp_path)
    with ExitStack() as stack:
        url = SERVER
        for step in read_steps():
            printed = ""
            for command in step.commands:
                is_last = command is step.commands[-1]
                if command == DEMONSTRATION:
                    printed += auditor.run(f"{command} {downloads}", 0)
                    url = stack.enter_context(serving(Path("tour/index/public")))
                elif is_last and STOPPED in step.marks:
                    printed += auditor.run_until(command, step.lines)
                else:
                    printed += auditor.run(command.replace(SERVER, url), int(is_last and EXIT_CODE in step.marks))
            assert missing(step.lines, printed) == [], f"{step.commands}\n{printed}"
    assert len(list((tmp_path / "home").rglob("*.sqlite"))) == 1, "the auditor's own catalog"


def test_the_page_has_every_command_of_an_audit() -> None:
    used = {
        command.split()[1] for command in chain(*(step.commands for step in read_steps())) if "tuf-ledger" in command
    }
    assert used >= {*GROUPS["Audit"], "verify", "catalog", "info"}
