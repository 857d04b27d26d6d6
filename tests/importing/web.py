"""A web server over a mirror's folder, as indexes have it: TLS, a password, ETags, compression. It counts requests."""

import base64
import gzip
import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from tests.certificates import Authority

USER, PASSWORD = "builder", "s3cret:ü"


class Asked:
    """What was asked: method and path; and the answers' statuses, as many."""

    def __init__(self) -> None:
        self.paths: list[tuple[str, str]] = []
        self.statuses: list[int] = []
        self.authorizations: list[str | None] = []

    def clear(self) -> None:
        """Forget it."""
        self.__init__()  # type: ignore[misc]


class _Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, folder: Path, asked: Asked, password: bool) -> None:
        self._folder = folder
        self._asked = asked
        self._password = password
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self._asked.paths.append((self.command, path))
        self._asked.authorizations.append(self.headers["Authorization"])
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self._password and self.headers["Authorization"] != wanted:
            self._answer(401, b"", {"WWW-Authenticate": "Basic"})
            return
        file = self._folder / path.lstrip("/")
        kind = "application/octet-stream"
        if (file / "moved-to").is_file():
            self._answer(302, b"", {"Location": (file / "moved-to").read_text()})
            return
        if path.startswith("/simple/"):
            if not path.endswith("/"):
                self._answer(301, b"", {"Location": f"{path}/"})
                return
            found = [each for each in (file / "index.json", file / "index.html") if each.is_file()]
            file = found[0] if found else file
            kind = "text/html" if file.suffix == ".html" else "application/vnd.pypi.simple.v1+json"
        if not file.is_file():
            self._answer(404, b"", {})
            return
        body = file.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        if self.headers["If-None-Match"] == etag:
            self._answer(304, b"", {"ETag": etag})
            return
        more = {"ETag": etag, "Content-Type": kind}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body, more["Content-Encoding"] = gzip.compress(body), "gzip"
        self._answer(200, body, more)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._asked.statuses.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def web(folder: Path, asked: Asked, *, certificate: Path | None = None, password: bool = False) -> Iterator[str]:
    """The URL of a server over a folder: with a certificate `https`."""
    handler = partial(_Web, folder=folder, asked=asked, password=password)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate of a server here, and the authority that issued it."""
    authority = Authority(folder, "authority")
    return authority.issue("server", hosts=("127.0.0.1",)), authority.certificate
