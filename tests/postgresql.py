"""A real PostgreSQL server as a local process, from Debian's package `postgresql`.

The server refuses to run as root. Whoever tests as root runs it as the user that the package makes, `postgres`.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.supervised import SupervisedProcess, free_ports

START_SECONDS = 120
STOP_SECONDS = 30
BINARIES = Path("/usr/lib/postgresql")
"""Where Debian has them, by major version: only some are in the path."""
USER = "postgres"

_SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=50", "timezone=UTC")


class PostgresMissingError(Exception):
    """There is no PostgreSQL on this machine, or it cannot be run."""


class Postgres:
    """One server with its data in a folder of its own. Whoever reaches it may do anything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binaries = find_binaries()
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            try:
                entry = pwd.getpwnam(USER)
            except KeyError as error:
                raise PostgresMissingError(f"PostgreSQL does not run as root, and there is no user {USER}") from error
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            folder.chmod(0o755)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        (self.port,) = free_ports(1)
        self._process: SupervisedProcess | None = None

    @property
    def url(self) -> str:
        """Where a database is."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, with the data and the port it had, and wait until it is ready."""
        data = self._folder / "data"
        if not data.exists():
            options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={USER}", "--no-sync"]
            self._run([str(self._binaries / "initdb"), "-D", str(data), *options])
        log = self._folder / "server.log"
        settings = [part for each in _SETTINGS for part in ("-c", each)]
        command = [str(self._binaries / "postgres"), "-D", str(data), "-p", str(self.port), "-k", str(self._folder)]
        command += ["-h", "127.0.0.1", *settings]
        self._process = SupervisedProcess(command, log, signal.SIGINT, cwd=self._folder, **self._user)
        deadline = time.monotonic() + START_SECONDS
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline or not self._process.is_alive():
                raise PostgresMissingError(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it (SIGQUIT: at once, and the next start recovers)."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Shut it down."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(number, STOP_SECONDS)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, check=False, cwd=self._folder, **self._user)
        if done.returncode:
            raise PostgresMissingError((done.stdout + done.stderr).decode(errors="replace"))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that runs, with its data in a temporary folder; gone afterwards.

    Raises:
        PostgresMissingError: it is not on this machine, or cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def new_schema() -> str:
    """The name of a schema that nobody has."""
    return f"catalog_{secrets.token_hex(6)}"


def find_binaries() -> Path:
    """The folder of the server's programs, of the newest version.

    Raises:
        PostgresMissingError: there is none.
    """
    found = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    inside = shutil.which("postgres")
    if inside is None:
        raise PostgresMissingError("no PostgreSQL: install Debian's package `postgresql`")
    return Path(inside).parent
