"""Where the gateway listens: addresses of this machine, of either kind."""

import errno
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

from ledger.config import ConfigError
from schemas.errors import InUseError

DEFAULT_ADDRESS: Final = "127.0.0.1:8080"
BACKLOG: Final = 1024

_ADDRESS = re.compile(r"(?:(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\[\]:/@\s]+)):)?([0-9]{1,5})")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Read `HOST:PORT`, `[ADDRESS]:PORT` for IPv6, or `PORT` for this machine alone.

    Raises:
        ConfigError: it has another form.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65_535:
        raise ConfigError(
            f"--listen {text!r}: write HOST:PORT, [ADDRESS]:PORT for IPv6, or PORT for this machine alone"
        )
    return Address(found[1] or found[2] or "127.0.0.1", int(found[3]))


def is_loopback(sockets: Sequence[socket.socket]) -> bool:
    """Whether only this machine can connect."""
    hosts = [str(each.getsockname()[0]) for each in sockets]
    return all(host.startswith("127.") or host == "::1" for host in hosts)


@contextmanager
def listening(address: Address) -> Iterator[list[socket.socket]]:
    """Sockets that listen at an address; a name may have several addresses. They are closed at the end.

    Raises:
        InUseError: another process listens there.
        ConfigError: nobody can listen there.
    """
    with ExitStack() as closing:
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--listen {address}: {address.host} is no address of this machine ({error})") from error
        sockets = [
            closing.enter_context(_bind(address, family, where))
            for family, where in dict.fromkeys((each[0], each[4]) for each in found)
        ]
        yield sockets


def _bind(address: Address, family: int, where: Any) -> socket.socket:
    try:
        # `::` is all addresses of both kinds.
        both = family == socket.AF_INET6 and where[0] == "::" and socket.has_dualstack_ipv6()
        found = socket.create_server(where[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise ConfigError(f"--listen {address}: this user may not listen there: take a port above 1023") from error
        if error.errno == errno.EADDRINUSE:
            raise InUseError(
                f"--listen {address}: another process listens there: stop it, or take another port"
            ) from error
        raise ConfigError(f"--listen {address}: nobody can listen there: {error.strerror}") from error
    # Inherited by connections: else the system keeps a short body back until the client has confirmed the head.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
