"""What strangers send: bytes that are no request, paths that lead elsewhere, and too much, or too slowly, of either."""

import http.client
import io
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.scale import memory_of
from consumers.gateway.connections import DEFAULT_LIMITS
from consumers.gateway.negotiating import JSON_TYPE
from tests.client.index import Index
from tests.client.processes import start, until
from tests.gateway.running import gateway

HEAD_END = b"\r\nHost: x\r\n\r\n"
SECRET = b"nobody may read this"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to a gateway, closed at the end."""
    where = httpx.URL(url)
    with socket.create_connection((where.host, where.port or 80), timeout=60) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            found += more
    return found


def ask(url: str, request: bytes) -> bytes:
    """All answers to what is sent; nothing more is sent."""
    with connected(url) as connection:
        with suppress(OSError):  # it may be refused before all of it was sent
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


class _Read:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def check_answer(answer: bytes, method: str = "GET") -> int:
    """Make sure that an answer is one, and no failure; return its status (0: there is none)."""
    assert SECRET not in answer
    if not answer:
        return 0
    found = http.client.HTTPResponse(_Read(answer), method=method)  # type: ignore[arg-type]
    found.begin()
    body = found.read()
    assert found.status < 500, answer
    if found.status >= 400:
        assert found.getheader("content-type") == "application/problem+json"
        assert found.getheader("cache-control") == "no-store"
        assert method == "HEAD" or json.loads(body)["status"] == found.status
    return found.status


@pytest.fixture(scope="module")
def guarded(served: Index, url: str) -> str:
    """The URL of a ledger with secrets in all folders beside the public one."""
    for name in ("keys", "state", "log", "public-evidence", ".public.staging-add"):
        (served.folder / name).mkdir(exist_ok=True)
        (served.folder / name / "secret.json").write_bytes(SECRET)
    (served.folder / "secret.json").write_bytes(SECRET)
    return url


# --- any bytes ---------------------------------------------------------------------------------------------------

METHODS = st.sampled_from(
    ["GET"] * 6 + ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 70]
)
PARTS = """
. .. simple metadata targets packages at 1 2 99999999999999999999 2026-11-28T00:00:00Z my-demo My.Demo index.json
timestamp.json 1.root.json secret.json keys public state public-evidence .public.staging-add %2e%2e %2E ..%2f %5c..
%00 % %zz %ff \\ ~ %c0%ae%c0%ae %252e%252e * ? # ; http: %0d%0aX:y
"""
SEGMENTS = st.sampled_from(PARTS.split()) | st.sampled_from(["", "a" * 300, "b" * 3000, " "])
PATHS = st.lists(SEGMENTS, max_size=8).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=30)
HEADERS = st.sampled_from(
    f"""
Host: x
Host: evil.example
Accept: */*;q=0
Accept: {JSON_TYPE}
Accept: ,;=
Accept-Encoding: gzip
Range: bytes=0-0
Range: bytes=-0
Range: bytes=99999999999999999999-
Range: bytes=1-,2-
If-Range: x
If-None-Match: *
If-None-Match: "
If-Match: *
If-Modified-Since: yesterday
Expect: 100-continue
Content-Length: 0
Content-Length: 5
Content-Length: 99999999999
Content-Length: -1
Content-Length: x
Transfer-Encoding: chunked
Transfer-Encoding: gzip, chunked
Connection: close
Connection: upgrade
Upgrade: websocket
Upgrade: h2c
no colon
: no name
 folded""".splitlines()
) | st.integers(1, 20_000).map(lambda length: f"X: {'y' * length}")
VERSIONS = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "", "FTP/1.1"])
BODIES = st.sampled_from(
    [b"", b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"GET / HTTP/1.1\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method, and the bytes of a request with it: a good one, or one that somebody hopes will do harm."""
    method, path, version = draw(METHODS), draw(PATHS), draw(VERSIONS)
    end = draw(st.sampled_from(["\r\n"] * 5 + ["\n", "\r"]))
    lines = [f"{method} {path} {version}", *draw(st.lists(HEADERS, max_size=5)), "", ""]
    return method, end.join(lines).encode("utf-8", "surrogatepass") + draw(BODIES)


@given(requests())
@example(("GET", b"GET /../secret.json HTTP/1.1" + HEAD_END))
@example(("GET", b"GET /metadata/..%2f..%2fsecret.json HTTP/1.1" + HEAD_END))
@example(("GET", b"GET //secret.json HTTP/1.1" + HEAD_END))
@example(("GET", b"GET /packages/../../../keys/secret.json HTTP/1.0\r\n\r\n"))
@example(("HEAD", b"HEAD /simple/my-demo/ HTTP/1.1" + HEAD_END))
def test_whatever_is_asked_has_a_right_answer(guarded: str, made: tuple[str, bytes]) -> None:
    method, data = made
    check_answer(ask(guarded, data), method)


@given(st.lists(st.binary(max_size=60) | requests().map(lambda made: made[1]), max_size=4).map(b"".join))
def test_whatever_is_sent_ends_no_server(guarded: str, data: bytes) -> None:
    answer = ask(guarded, data)
    assert SECRET not in answer
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in answer.split(b"\r\n", 1)[0]
    assert check_answer(ask(guarded, b"GET /healthz HTTP/1.1" + HEAD_END)) == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /simple/../simple/ HTTP/1.1" + HEAD_END, 400),
        (b"GET /metadata/%2e%2e/keys HTTP/1.1" + HEAD_END, 400),
        (b"GET /packages/a%2fb HTTP/1.1" + HEAD_END, 400),
        (b"GET /packages/a%5Cb HTTP/1.1" + HEAD_END, 400),
        (b"GET /metadata/%00 HTTP/1.1" + HEAD_END, 400),
        (b"GET /metadata/%ff HTTP/1.1" + HEAD_END, 400),
        (b"GET /metadata/%0a HTTP/1.1" + HEAD_END, 400),
        (b"GET /" + b"a" * 2048 + b" HTTP/1.1" + HEAD_END, 414),
        (b"GET /metadata/" + b"a" * 300 + b" HTTP/1.1" + HEAD_END, 404),
        (b"GET /simple/ HTTP/1.1\r\nX: " + b"a" * 20_000 + HEAD_END, 431),
        (b"GET /simple/ HTTP/1.1\r\nX: " + b"a" * 300_000, 431),
        (b"GET /simple/ HTTP/1.1\r\nContent-Length: 5" + HEAD_END + b"hello", 413),
        (b"POST /simple/ HTTP/1.1\r\nContent-Length: 99999999" + HEAD_END + b"hello", 405),
        (b"GET http://elsewhere/simple/ HTTP/1.1" + HEAD_END, 200),
        (b"garbage\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_refused(guarded: str, request_: bytes, status: int) -> None:
    assert check_answer(ask(guarded, request_)) == status


def test_requests_behind_each_other(guarded: str) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(guarded) as connection:
        connection.sendall(one * 20 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 21


def test_what_is_in_the_folder_may_be_anything(tmp_path: Path) -> None:
    simple = tmp_path / "targets/simple"
    garbage = (
        b"",
        b"{",
        b"[]",
        b'{"files":7}',
        b'{"files":[{}]}',
        b'{"files":[{"url":1}]}',
        b"\xff",
        b"null",
        b"[" * 5000,
    )
    for number, data in enumerate(garbage):
        (simple / f"odd-{number}").mkdir(parents=True)
        (simple / f"odd-{number}/index.json").write_bytes(data)
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/timestamp.json").write_bytes(b'{"signed":{"version":"x","expires":7,"meta":[]}}')
    os.mkfifo(tmp_path / "targets/pipe")
    (tmp_path / "targets/folder").mkdir()
    (tmp_path / "targets/loop").symlink_to("loop")
    with gateway(tmp_path) as url, httpx.Client(base_url=url, trust_env=False) as client:
        for number in range(len(garbage)):
            for accept in (JSON_TYPE, "text/html"):
                answer = client.get(f"/simple/odd-{number}/", headers={"Accept": accept})
                assert answer.headers["content-type"] in {JSON_TYPE, "application/problem+json"}
                assert answer.status_code in {200, 500}
        for path in ("pipe", "folder", "loop"):
            assert client.get(f"/targets/{path}").status_code == 404
        assert client.get("/metadata/timestamp.json").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/metrics").status_code == client.get("/healthz").status_code == 200


# --- too slow, too many ------------------------------------------------------------------------------------------


def in_work(url: str) -> int:
    """How many requests are being answered, besides this one."""
    lines = httpx.get(f"{url.rstrip('/')}/metrics", trust_env=False).text.splitlines()
    return int(float(next(line for line in lines if line.startswith("tuf_ledger_requests_in_work ")).split()[1])) - 1


def test_a_head_that_comes_too_slowly(served: Index) -> None:
    with gateway(served.public, limits=DEFAULT_LIMITS._replace(request_seconds=0.2)) as url:
        for begin in (b"", b"GET /sim", b"GET /simple/ HTTP/1.1\r\nX: y\r\n"):
            with connected(url) as connection:
                connection.sendall(begin)
                assert check_answer(read_all(connection)) == 408
        until(_answers(url), lambda: "a request that comes in time")


def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/large").touch()
    os.truncate(tmp_path / "targets/large", 64 * 2**20)
    with (
        gateway(tmp_path, limits=DEFAULT_LIMITS._replace(reader_seconds=0.2)) as url,
        connected(url) as connection,
    ):
        connection.sendall(b"GET /targets/large HTTP/1.1" + HEAD_END)
        connection.recv(1)
        until(lambda: in_work(url) == 0, lambda: "the answer to be given up")
        assert len(read_all(connection)) < 64 * 2**20


def test_a_client_that_reads_slowly_but_steadily(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/large").touch()
    os.truncate(tmp_path / "targets/large", 32 * 2**20)
    with (
        gateway(tmp_path, limits=DEFAULT_LIMITS._replace(reader_seconds=0.5)) as url,
        connected(url) as connection,
    ):
        connection.sendall(b"GET /targets/large HTTP/1.1\r\nConnection: close" + HEAD_END)
        length = 0
        while more := connection.recv(2**20):
            length += len(more)
            sleep(0.02)
        assert length > 32 * 2**20


def test_what_waits_for_clients_who_do_not_read_is_little(tmp_path: Path) -> None:
    page = tmp_path / "targets/simple/large/index.json"
    page.parent.mkdir(parents=True)
    page.write_bytes(b'{"files":[],"meta":{"_last-serial":1},"name":"%b"}' % (b"x" * 16 * 2**20))
    with start(tmp_path / "log", "serve", "--public", tmp_path, "--listen", "127.0.0.1:0") as running:
        (url,) = running.wait_for("gateway started")["urls"]
        with ExitStack() as closing:
            for _ in range(50):
                connection = closing.enter_context(connected(url))
                connection.sendall(f"GET /simple/large/ HTTP/1.1\r\nHost: x\r\nAccept: {JSON_TYPE}\r\n\r\n".encode())
                connection.recv(1)
            until(lambda: in_work(url) == 50, lambda: "all of them to be answered")
            assert memory_of(running.process.pid) < 400 * 2**20, "one page for all, and a block for each"
        running.stop()


def test_a_new_page_is_read_once_for_all_who_wait(tmp_path: Path) -> None:
    page = {"name": "demo", "files": [], "padding": "x" * 16 * 2**20}
    (tmp_path / "targets/simple/demo").mkdir(parents=True)
    (tmp_path / "targets/simple/demo/index.json").write_bytes(json.dumps(page).encode())
    with gateway(tmp_path) as url, ExitStack() as closing:
        before = read_bytes()
        connections = [closing.enter_context(connected(url)) for _ in range(10)]
        for each in connections:
            each.sendall(f"GET /simple/demo/ HTTP/1.1\r\nAccept: {JSON_TYPE}".encode() + HEAD_END)
        for each in connections:
            each.recv(1)
        assert read_bytes() - before < 2 * 17 * 2**20


def read_bytes() -> int:
    """How much this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/large").touch()
    os.truncate(tmp_path / "targets/large", 2**40)
    with gateway(tmp_path) as url:
        with connected(url) as connection:
            connection.sendall(b"GET /targets/large HTTP/1.1" + HEAD_END)
            connection.recv(1)
        until(lambda: in_work(url) == 0, lambda: "the answer to be given up")


def test_too_many_connections(served: Index) -> None:
    with gateway(served.public, limits=DEFAULT_LIMITS._replace(connections=3)) as url:
        held = [socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 80)) for _ in range(3)]
        for each in held:  # an answer says that it counts
            each.sendall(b"GET /healthz HTTP/1.1" + HEAD_END)
            assert each.recv(15) == b"HTTP/1.1 200 OK"
        with connected(url) as connection:
            assert read_all(connection).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        for each in held:
            each.close()
        until(_answers(url), lambda: "places to be free")


def _answers(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
