"""Connections: served by uvicorn until they are done, and not to be held up by anybody (RFC 9112).

uvicorn limits the length of a head, and how long a connection is idle. What it does not limit is limited here: how long
a request may take to come, how long an answer may wait for its reader, and how many connections there are.
"""

import asyncio
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from consumers.gateway.problems import problem

MOST_HEAD_BYTES: Final = 16 * 2**10
MOST_CONNECTIONS: Final = 1000
REQUEST_SECONDS: Final = 30.0
"""How long a request may take to come, from its first byte to its last."""
READER_SECONDS: Final = 30.0
"""How long a client may take to read what waits for it: some 64 KiB."""
IDLE_SECONDS: Final = 30
STOP_SECONDS: Final = 20
"""How long answers may take that are being sent when it stops: less than a supervisor waits."""

_FILES_PER_CONNECTION = 2
_OTHER_FILES = 256


async def serve(app: ASGIApp, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
    """Serve an application until stopped; then answers that are being sent are sent to their end."""
    _allow_files()
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
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


def _allow_files() -> None:
    """Let this process have as many open files as it may have connections, as far as the system allows."""
    wanted = MOST_CONNECTIONS * _FILES_PER_CONNECTION + _OTHER_FILES
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

    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(503, "too many connections: try again soon")
        else:
            self._arriving = self.loop.call_later(REQUEST_SECONDS, self._came_too_slowly)

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
            self._arriving = self.loop.call_later(REQUEST_SECONDS, self._came_too_slowly)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._leaving is None:
            self._leaving = self.loop.call_later(READER_SECONDS, self.transport.abort)

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
        self._refuse(408, f"a request must come within {REQUEST_SECONDS:g} seconds")

    def _refuse(self, status: int, why: str) -> None:
        """Answer where no route does, and close the connection."""
        self._stop_timers()
        cycle: RequestResponseCycle | None = self.cycle  # until a first request has come, there is none
        is_idle = cycle is None or cycle.response_complete
        if is_idle and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = problem(status, why, {"Connection": "close"})
            head = h11.Response(status_code=status, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            # Closed, it still waits for its reader.
            self.loop.call_later(READER_SECONDS, self.transport.abort)
        else:
            self.transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._arriving, self._leaving):
            if timer is not None:
                timer.cancel()
        self._arriving = self._leaving = None
