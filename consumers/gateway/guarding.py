"""What stands before every route: requests that are not what they must be, errors, and the count of requests."""

from time import monotonic
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.gateway.metrics import Metrics
from consumers.gateway.problems import problem
from ledger.disk.files import may_pass
from schemas.errors import LedgerError, TemporaryError

MOST_HEAD_BYTES: Final = 16 * 2**10
MOST_PATH_BYTES: Final = 2048
ROUTES: Final = ("metadata", "targets", "packages", "simple", "at", "events", "healthz", "readyz", "metrics")
"""The first segments of all paths; figures tell them apart."""

_HIDDEN: Final = (b"%2f", b"%5c", b"%00")
"""What must not be written so in a path: it would be read as something else behind a proxy."""

log = structlog.get_logger()


class Guard:
    """An ASGI application around another.

    It refuses what no route understands: paths that go up or that two servers could read differently, and bodies where
    nobody reads them. Every error is a problem document (RFC 9457).
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        sending = _Sending(send, has_body=_has_body(scope))
        began_at, route = monotonic(), "other"
        self._metrics.begin()
        try:
            path = read_path_of(scope["raw_path"])
            first = path[1:].partition("/")[0]
            route = first if first in ROUTES else "other"
            if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MOST_HEAD_BYTES:
                raise HTTPException(431, f"the head of a request has at most {MOST_HEAD_BYTES} bytes")
            if sending.has_body and scope["method"] in {"GET", "HEAD"}:
                raise HTTPException(413, "a request of this kind has no body")
            # With an `app`, routes raise errors; without, they answer with plain text.
            await self._app({**scope, "path": path, "root_path": "", "app": self._app}, receive, sending)
        except Exception as error:
            if sending.status:
                raise  # half of an answer was sent: nothing but the end of the connection says that it is not whole
            await answer_of(error)(scope, receive, sending)
        finally:
            self._metrics.end(route, sending.status or 499, monotonic() - began_at)


class _Sending:
    """Sends, and remembers the status. After an error, nobody reads the rest of a body."""

    def __init__(self, send: Send, *, has_body: bool) -> None:
        self._send = send
        self.has_body = has_body
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.has_body and self.status >= 400:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)


def read_path_of(raw: bytes) -> str:
    """The path of a request, decoded.

    Raises:
        HTTPException: it is too long, or not a path that has one meaning.
    """
    if raw.lower().startswith((b"http://", b"https://")):  # for a proxy (RFC 9112, section 3.2.2)
        raw = b"/" + raw.partition(b"//")[2].partition(b"/")[2]
    if len(raw) > MOST_PATH_BYTES:
        raise HTTPException(414, f"a path has at most {MOST_PATH_BYTES} bytes")
    lower = raw.lower()
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        path = ""
    bad = any(each in lower for each in _HIDDEN) or "\\" in path or not path.isprintable()
    if bad or not path.startswith("/") or not {".", ".."}.isdisjoint(path.split("/")):
        raise HTTPException(400, "this path could be read in several ways")
    return path


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


def answer_of(error: Exception) -> Response:
    """The answer to a request that ended with an error."""
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, error.headers)
    if isinstance(error, TemporaryError) or (isinstance(error, OSError) and may_pass(error)):
        log.warning("a request failed for now", why=str(error))
        return problem(503, "this cannot be done now: try again soon", {"Retry-After": "5"})
    if isinstance(error, LedgerError | OSError):
        log.error("a request failed", why=str(error))
    else:
        log.error("a request failed: this is a defect", error=type(error).__name__, why=str(error))
    return problem(500, "this server failed; its log says why")
