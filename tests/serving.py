"""Web servers: over a folder, as anybody would run one, and one that answers as an attacker likes."""

import http.server
import os
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


class _Simple(_Quiet):
    """Answers `/simple/NAME/` with the JSON page, as an index does."""

    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        return f"{found}index.json" if found.endswith("/") else found

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        is_page = str(path).endswith("/index.json")
        return "application/vnd.pypi.simple.v1+json" if is_page else super().guess_type(path)


@contextmanager
def serving(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler] = _Quiet) -> Iterator[str]:
    """The URL of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def simple_index(public: Path) -> Iterator[str]:
    """The URL of an index for installers, of what is served in a folder."""
    with serving(public / "targets", _Simple) as url:
        yield f"{url}/simple/"


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
