"""Servers as local processes that die with the tests, however these end."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# The shell ends the server when its own standard input is closed, which the system does where nobody else could.
_SHELL = '"$@" >>"$LOG" 2>&1 & server=$!; echo $server; cat >/dev/null; kill -$LAST $server 2>/dev/null; wait'

GONE_SECONDS = 30


class SupervisedProcess:
    """A process that runs from the beginning on, until it ends, is ended, or the tests are gone.

    Args:
        command: the program and its arguments.
        log: the file that gets what it prints.
        last: the signal that it gets where the tests are gone.
        options: those of `subprocess.Popen`: the folder and the user.
    """

    def __init__(self, command: Sequence[str], log: Path, last: signal.Signals, **options: Any) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", _SHELL, "sh", *command],
            env={**os.environ, "LOG": str(log), "LAST": str(last.value)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
        assert self._shell.stdout is not None
        with self._shell.stdout as pid:
            self._pid = int(pid.readline())

    def is_alive(self) -> bool:
        """Whether it runs, or hangs."""
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. Harmless where it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def end(self, number: signal.Signals, seconds: float) -> None:
        """Send it a signal, and wait until it has ended; after so long, the shell ends it."""
        self.send(number)
        deadline = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(timeout=GONE_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, from below those that systems give to clients.

    A client that connects again and again to a port of its own kind, while the server is down, can be given that very
    port, and talks to itself.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(range(15_000, 32_000))
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []
    return ports
