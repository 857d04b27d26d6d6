"""Passwords of an index, found where pip and uv find them: in its URL, in netrc, or by the command `keyring`."""

import asyncio
import netrc
import os
import shutil
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx

from ledger.config import ConfigError

KEYRING_SECONDS = 60.0
"""How long the command `keyring` may take."""

_Origin = tuple[str, str, int | None]


class _Login(NamedTuple):
    user: str
    password: str


class Credentials:
    """What is sent to whom.

    - A user and a password in the URL of the source are for its own origin alone (scheme, host and port).
    - netrc is asked by the name of the host. Its `default` is for the host of the source alone.
    - When a server answers 401, `keyring` is asked once for its origin.

    Nothing is sent in plain text to another origin than that of the source.

    Raises:
        ConfigError: netrc cannot be read.
    """

    def __init__(self, url: httpx.URL) -> None:
        self._source = _origin(url)
        self._service = str(url.copy_with(userinfo=b""))
        self._url_user = url.username
        self._found: dict[_Origin, _Login | None] = {}
        self._asked: set[_Origin] = set()
        self._lock = asyncio.Lock()
        if url.username and url.password:
            self._found[self._source] = _Login(url.username, url.password)
        self._netrc = _read_netrc()

    def header(self, url: httpx.URL) -> str | None:
        """What a request to this URL says about who asks; None: nothing."""
        origin = _origin(url)
        if url.scheme != "https" and origin != self._source:
            return None
        if origin not in self._found:
            self._found[origin] = self._from_netrc(origin)
        login = self._found[origin]
        return None if login is None else f"Basic {b64encode(f'{login.user}:{login.password}'.encode()).decode()}"

    async def ask(self, url: httpx.URL, sent: str | None) -> bool:
        """Ask `keyring`, since a server answered 401 to what was sent; whether there is something else to send now."""
        async with self._lock:  # one question for all requests that wait
            origin = _origin(url)
            if url.scheme != "https" and origin != self._source:
                return False
            if origin not in self._asked:
                self._asked.add(origin)
                user = self._user(origin)
                services = [url.netloc.decode()]
                if origin == self._source:
                    services.insert(0, self._service)
                login = await _ask_keyring(services, user)
                if login is not None:
                    self._found[origin] = login
            return self.header(url) not in {None, sent}

    def _user(self, origin: _Origin) -> str:
        login = self._found.get(origin)
        return login.user if login is not None else self._url_user if origin == self._source else ""

    def _from_netrc(self, origin: _Origin) -> _Login | None:
        host = origin[1]
        if self._netrc is None or (origin != self._source and host not in self._netrc.hosts):
            return None
        found = self._netrc.authenticators(host)
        if found is None or not found[2]:
            return None
        if origin == self._source and self._url_user and found[0] != self._url_user:
            return None
        return _Login(found[0], found[2])


def _origin(url: httpx.URL) -> _Origin:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def _read_netrc() -> netrc.netrc | None:
    """The file that `NETRC` names, or `.netrc` in the home folder; None if there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    named = os.environ.get("NETRC")
    path = Path(named) if named else Path.home() / ".netrc"
    if not path.is_file():
        return None
    try:
        return netrc.netrc(str(path))
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, where passwords of hosts are, cannot be read: {error}") from error


async def _ask_keyring(services: Sequence[str], user: str) -> _Login | None:
    """What the command `keyring` has: for the URL of an index as it was given, then for its host, as pip and uv ask."""
    program = shutil.which("keyring")
    if program is None:
        return None
    for service in services:
        if user:
            lines = await _run(program, "get", service, user)
            if lines:
                return _Login(user, lines[0])
        else:
            lines = await _run(program, "--mode", "creds", "get", service)
            if len(lines) >= 2:
                return _Login(lines[0], lines[1])
    return None


async def _run(*command: str) -> list[str]:
    """The lines that a command prints; none if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(KEYRING_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        return []
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return output.decode("utf-8", "replace").splitlines() if process.returncode == 0 else []
