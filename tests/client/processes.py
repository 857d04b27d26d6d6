"""Commands as real processes: started, watched by what they log, stopped by signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests import unsynced
from tests.client.index import check_output

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
PATIENCE_SECONDS = 600.0
"""How long a test waits for something that takes a moment: only what is dead takes so long, on a busy machine too."""


def command(*arguments: object, module: str = "consumers.cli.main") -> list[str]:
    """The words of a command line; `module` is what runs it."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without settings of this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUF_LEDGER_")}
    return {**kept, "PYTHONPATH": unsynced.path(), **(extra or {})}


def execute(
    *arguments: object,
    answer: int | None = 0,
    env: Mapping[str, str] | None = None,
    module: str = "consumers.cli.main",
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    done = subprocess.run(
        command(*arguments, module=module),
        capture_output=True,
        text=True,
        check=False,
        env=environment(env),
        timeout=PATIENCE_SECONDS,
        **options,
    )
    check_output(done.stdout + done.stderr)
    assert answer is None or done.returncode == answer, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
    return done


# The process in between is small: Linux counts what a process had before it became another one.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""


def run_for_memory(*arguments: object, stdin: Iterable[bytes] = ()) -> tuple[int, str, int]:
    """Run a command; return its exit code, what it says, and the most memory that it took, in bytes."""
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURE, *command(*arguments)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    limit = threading.Timer(PATIENCE_SECONDS, process.kill)
    limit.start()
    try:
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin:
                for block in stdin:
                    process.stdin.write(block)
            said = process.stdout.read().decode()
    finally:
        limit.cancel()
    *lines, peak = said.splitlines()
    return process.returncode, "\n".join(lines), int(peak)


class Running:
    """A process that logs JSON lines into a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def events(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def output(self) -> str:
        """Everything that it has printed."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait until it logs an event with these fields."""

        def find() -> dict[str, Any] | None:
            for each in self.events():
                if each.get("message") == event and fields.items() <= each.items():
                    return each
            assert self.process.poll() is None, f"it has ended, without {event}:\n{self.output()}"
            return None

        return until(find, lambda: f"{event} {fields} in\n{self.output()}")

    def stop(self, number: signal.Signals = signal.SIGTERM, *, answer: int = 0) -> None:
        """Send a signal, and wait for a clean end. Before it has come up, a signal would just kill it."""
        until(lambda: any(str(each.get("message")).endswith(" started") for each in self.events()), self.output)
        self.process.send_signal(number)
        self.wait(answer)

    def wait(self, answer: int) -> None:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_SECONDS)
        check_output(self.output())
        assert code == answer, f"it ended with {code}:\n{self.output()}"

    def kill(self) -> None:
        """End it as a power failure does."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


@contextmanager
def start(
    log: Path, *arguments: object, env: Mapping[str, str] | None = None, module: str = "consumers.cli.main"
) -> Iterator[Running]:
    """A process; it is killed at the end if it still runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(*arguments, module=module),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment({"TUF_LEDGER_SIGNER_INTERVAL_SECONDS": "0", **(env or {})}),
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


def until(found: Callable[[], T | None], what: Callable[[], str]) -> T:
    """Wait until a function finds something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} seconds for {what()}"
        time.sleep(0.02)
    return result
