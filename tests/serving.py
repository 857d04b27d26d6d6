"""Web servers: over a folder, as anybody would run one, and one that answers as an attacker likes."""

import http.server
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Asked:
    """One request, and what sends its answer. `send` raises `OSError` when the client, or the server, is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        head = b""
        while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
            head += more
        self.head = head.decode("latin-1")
        self.path = self.head.split(" ")[1].lstrip("/") if head else ""
        self.send = connection.sendall


@contextmanager
def answering(answer: Callable[[Asked], None]) -> Iterator[str]:
    """The URL of a server that answers each connection as a function likes, and then closes it."""
    connections: list[socket.socket] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connections.append(self.request)
            with suppress(OSError):
                asked = Asked(self.request)
                if asked.head:
                    answer(asked)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            for each in connections:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            thread.join()
