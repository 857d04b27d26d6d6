"""Connections: served by uvicorn until they are done, and not to be held up by anybody (RFC 9112).

uvicorn limits the length of a head, and how long a connection is idle. What it does not limit is limited here: how long
a request may take to come, how long an answer may wait for its reader, and how many connections there are.
"""

import asyncio
import resource
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Final, NamedTuple

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from consumers.gateway.guarding import MOST_HEAD_BYTES
from consumers.gateway.problems import problem
from ledger.config import ConfigError


class ConnectionLimits(NamedTuple):
    """What one client, and all together, may take.

    `connections`: how many there are at most. `request_seconds`: how long a request may take to come, from its first
    byte to its last. `reader_seconds`: how long a client may take to read what waits for it, some 64 KiB.
    `idle_seconds`: how long a connection waits for the next request. `stop_seconds`: how long answers may take that are
    being sent when it stops; less than a supervisor waits.
    """

    connections: int = 1000
    request_seconds: float = 30.0
    reader_seconds: float = 30.0
    idle_seconds: int = 30
    stop_seconds: int = 20


DEFAULT_LIMITS: Final = ConnectionLimits()

_FILES_PER_CONNECTION = 2
_OTHER_FILES = 256


class Certificate(NamedTuple):
    """The files by which the server proves who it is: a chain of certificates, and its key."""

    certfile: str
    keyfile: str

    def check(self) -> None:
        """Make sure that a server can start with them.

        Raises:
            ConfigError: they cannot be used. A key with a password cannot: nobody is there to type it.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self, password="")
        except (OSError, ValueError) as error:  # ssl.SSLError, too
            raise ConfigError(
                f"[gateway] certfile or keyfile cannot be used ({self.certfile}, {self.keyfile}): {error}"
            ) from error


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    *,
    certificate: Certificate | None = None,
) -> None:
    """Serve an application until stopped; then answers that are being sent are sent to their end.

    With a certificate, which was checked, it speaks HTTPS.
    """
    _allow_files(limits.connections * _FILES_PER_CONNECTION + _OTHER_FILES)
    config = uvicorn.Config(
        app,
        http=type("LimitedConnection", (_Connection,), {"limits": limits}),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.stop_seconds,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ssl_certfile=certificate and certificate.certfile,
        ssl_keyfile=certificate and certificate.keyfile,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(list(sockets)))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        serving.cancel()


def _allow_files(wanted: int) -> None:
    """Let this process have so many open files, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class _Server(uvicorn.Server):
    """uvicorn, without handlers of signals: who runs it has some."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """A connection that ends when its client is too slow, or when there are too many."""

    limits = DEFAULT_LIMITS
    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # until a first request has come, there is none
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "too many connections: try again soon")
        else:
            self._arriving = self.loop.call_later(self.limits.request_seconds, self._came_too_slowly)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            if self._arriving is not None:
                self._arriving.cancel()
                self._arriving = None
        elif self._arriving is None and not self.transport.is_closing():
            self._arriving = self.loop.call_later(self.limits.request_seconds, self._came_too_slowly)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Send an answer to its end, though its client has nothing more to say."""
        if self._is_idle:
            return False
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._leaving is None:
            self._leaving = self.loop.call_later(self.limits.reader_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closed, it would wait for its reader
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request. Called while the error of h11 is handled."""
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._refuse(431, f"the head of a request has at most {MOST_HEAD_BYTES} bytes")
        else:
            self._refuse(400, "this is no HTTP request")

    def _came_too_slowly(self) -> None:
        self._refuse(408, f"a request must come within {self.limits.request_seconds:g} seconds")

    def _refuse(self, status: int, why: str) -> None:
        """Answer where no route does, and close the connection."""
        self._stop_timers()
        if self._is_idle and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = problem(status, why, {"Connection": "close"})
            headers = [*self.server_state.default_headers, *response.raw_headers]
            head = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            # Closed, it still waits for its reader.
            self.loop.call_later(self.limits.reader_seconds, self.transport.abort)
        else:
            self.transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._arriving, self._leaving):
            if timer is not None:
                timer.cancel()
        self._arriving = self._leaving = None
