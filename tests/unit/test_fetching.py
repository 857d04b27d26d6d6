"""`ledger.http.fetching`: whatever a server answers, a call ends, and takes little memory."""

import asyncio
import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.context import Context
from ledger.config import Config
from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.http import fetching
from ledger.http.fetching import HttpStorage
from ledger.storage import ServedFiles
from tests.serving import Asked, answering, serving

OK = b"HTTP/1.1 200 OK\r\n"


def answer(asked: Asked, body: bytes, *headers: bytes, length: int | None = None) -> None:
    """A complete answer."""
    lines = [*headers, b"Content-Length: %d" % (len(body) if length is None else length)]
    asked.send(OK + b"\r\n".join(lines) + b"\r\n\r\n" + body)


def for_ever(asked: Asked, piece: bytes, seconds: float = 0.01) -> None:
    """The same bytes again and again, until the client is gone."""
    while True:
        asked.send(piece)
        time.sleep(seconds)


def drip_body(asked: Asked) -> None:
    answer(asked, b"", length=10**6)
    for_ever(asked, b"x")


def drip_chunks(asked: Asked) -> None:
    asked.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    for_ever(asked, b"1\r\nx\r\n")


def drip_headers(asked: Asked) -> None:
    asked.send(OK + b"X: ")
    for_ever(asked, b"x")


def drip_status(asked: Asked) -> None:
    for_ever(asked, b"HTTP/1.1 103 Early Hints\r\n\r\n")


def drip_redirects(asked: Asked) -> None:
    asked.send(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 1000000\r\n\r\n")
    for_ever(asked, b"x")


def say_nothing(asked: Asked) -> None:
    threading.Event().wait(600)


def say_six(asked: Asked) -> None:
    """A length of six bytes, and none of them."""
    answer(asked, b"", length=6)
    say_nothing(asked)


SLOW: list[Callable[[Asked], None]] = [drip_body, drip_chunks, drip_headers, drip_status, say_nothing]


def read(storage: HttpStorage) -> object:
    return storage.read("metadata/timestamp.json")


def digest(storage: HttpStorage) -> object:
    return storage.digest("metadata/timestamp.json")


both = pytest.mark.parametrize("call", [read, digest])


def test_files_are_read_and_digested(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "empty").touch()
    with serving(tmp_path) as url:
        storage: ServedFiles = HttpStorage(f"{url}/")
        assert storage.paths() is None, "nobody can list them"
        assert storage.read("file") == content
        assert storage.digest("file") == hashlib.sha256(content).hexdigest()
        assert storage.read("empty") == b""
        assert (storage.read("missing"), storage.digest("missing")) == (None, None)


@both
@pytest.mark.parametrize("respond", SLOW)
def test_a_server_below_the_least_rate_is_given_up(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[HttpStorage], object], respond: Callable[[Asked], None]
) -> None:
    monkeypatch.setattr(fetching, "GRACE_SECONDS", 0.3)
    with answering(respond) as url, pytest.raises(StorageUnavailableError, match="too slow"):
        call(HttpStorage(url))


@both
def test_a_server_above_the_least_rate_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[HttpStorage], object]
) -> None:
    monkeypatch.setattr(fetching, "LEAST_BYTES_A_SECOND", 1)
    monkeypatch.setattr(fetching, "MAX_READ_SECONDS", 0.5)
    monkeypatch.setattr(fetching, "MAX_DIGEST_SECONDS", 0.5)
    with answering(drip_chunks) as url, pytest.raises(StorageUnavailableError, match="too slow"):
        call(HttpStorage(url))


@both
def test_a_file_that_comes_fast_enough_may_take_longer_than_an_answer(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[HttpStorage], object]
) -> None:
    monkeypatch.setattr(fetching, "GRACE_SECONDS", 1.0)
    body = b"x" * 64 * 1024

    def respond(asked: Asked) -> None:
        answer(asked, b"", length=15 * len(body))
        for _ in range(15):
            time.sleep(0.1)
            asked.send(body)

    with answering(respond) as url:
        assert call(HttpStorage(url)) in {body * 15, hashlib.sha256(body * 15).hexdigest()}


@both
def test_redirects_are_followed_a_few_times_and_their_bodies_are_not_read(
    call: Callable[[HttpStorage], object],
) -> None:
    paths: list[str] = []

    def respond(asked: Asked) -> None:
        paths.append(asked.path)
        if asked.path == "moved":
            answer(asked, b"found")
        elif asked.path == "once/metadata/timestamp.json":
            asked.send(b"HTTP/1.1 301 Moved\r\nLocation: /moved\r\nContent-Length: 1000000\r\n\r\n")
            for_ever(asked, b"x")
        else:
            drip_redirects(asked)

    with answering(respond) as url:
        assert call(HttpStorage(f"{url}/once")) in {b"found", hashlib.sha256(b"found").hexdigest()}
        paths.clear()
        with pytest.raises(StorageError, match="redirects more than 5 times"):
            call(HttpStorage(url))
        assert len(paths) == 6


@both
@pytest.mark.parametrize(
    "headers", [(b"Content-Encoding: gzip",), (b"Content-Encoding: GZIP, gzip",), (b"Content-Encoding: br",)]
)
def test_an_encoding_is_not_asked_for_and_refused(
    call: Callable[[HttpStorage], object], headers: tuple[bytes, ...]
) -> None:
    heads: list[str] = []

    def respond(asked: Asked) -> None:
        heads.append(asked.head.lower())
        answer(asked, gzip.compress(b"small"), *headers)

    with answering(respond) as url, pytest.raises(StorageError, match="content encoding") as caught:
        call(HttpStorage(url))
    assert not isinstance(caught.value, StorageUnavailableError)
    assert [line for line in heads[0].split("\r\n") if line.startswith("accept-encoding")] == [
        "accept-encoding: identity"
    ]


def test_an_encoding_that_is_none_is_read() -> None:
    with answering(lambda asked: answer(asked, b"plain", b"Content-Encoding: Identity")) as url:
        assert HttpStorage(url).read("file") == b"plain"


@both
def test_a_length_beyond_the_limit_is_refused_before_and_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[HttpStorage], object]
) -> None:
    monkeypatch.setattr(fetching, "MAX_READ_BYTES", 5)
    monkeypatch.setattr(fetching, "MAX_DIGEST_BYTES", 5)
    with answering(lambda asked: answer(asked, b"fives")) as url:
        call(HttpStorage(url))
    for respond in (say_six, drip_chunks):
        with answering(respond) as url, pytest.raises(StorageError, match="is longer than 5 bytes") as caught:
            call(HttpStorage(url))
        assert not isinstance(caught.value, StorageUnavailableError)


@both
@pytest.mark.parametrize("respond", SLOW)
def test_another_thread_can_end_a_call(call: Callable[[HttpStorage], object], respond: Callable[[Asked], None]) -> None:
    asked = threading.Event()

    def tell(request: Asked) -> None:
        asked.set()
        respond(request)

    with answering(tell) as url:
        storage = HttpStorage(url)

        def end_it() -> None:
            asked.wait()
            storage.give_up()

        thread = threading.Thread(target=end_it)
        thread.start()
        with pytest.raises(StorageUnavailableError, match="given up"):
            call(storage)
        thread.join()
        with pytest.raises(StorageUnavailableError, match="given up"):
            call(storage)


async def test_a_command_that_is_ended_ends_its_call(tmp_path: Path) -> None:
    """The thread that waits for the server would else keep the process from ending."""
    asked = threading.Event()

    def tell(request: Asked) -> None:
        asked.set()
        say_nothing(request)

    with answering(tell) as url:
        context = Context(tmp_path, Config())
        served = context.served(url)
        reading = asyncio.create_task(context.read(served, "metadata/timestamp.json"))
        await asyncio.to_thread(asked.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        with pytest.raises(StorageUnavailableError, match="given up"):
            served.read("metadata/timestamp.json")


@pytest.mark.parametrize(
    ("status", "error"), [(b"500 X", StorageUnavailableError), (b"403 X", StorageError), (b"304 X", StorageError)]
)
def test_other_answers_are_errors(status: bytes, error: type[Exception]) -> None:
    with answering(lambda asked: asked.send(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)) as url:
        with pytest.raises(StorageError, match=f"the server answers {status[:3].decode()}") as caught:
            HttpStorage(url).read("file")
        assert type(caught.value) is error


ADDRESSES = ["http://127.0.0.1:99999/", "http://xn--/", "http://127.0.0.1:80:80/", "file:///etc/passwd", "http://[::1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_no_machine_has_is_said(address: str) -> None:
    """It is given, or a server redirects to it."""
    with pytest.raises(StorageError, match=r"^\S+file(:| is, or redirects to,) "):
        HttpStorage(address).read("file")
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % address.encode()
    with answering(lambda asked: asked.send(head)) as url, pytest.raises(StorageError, match=f"^{url}/file"):
        HttpStorage(url).read("file")


def test_a_server_leaves_no_cookies() -> None:
    heads: list[str] = []

    def respond(asked: Asked) -> None:
        heads.append(asked.head.lower())
        answer(asked, b"x", b"Set-Cookie: a=%s" % (b"x" * 1000))

    with answering(respond) as url:
        storage = HttpStorage(url)
        for _ in range(2):
            storage.read("file")
    assert "cookie" not in heads[1]


def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    """A server may close a kept connection at any moment."""
    asked_before: list[str] = []

    def respond(asked: Asked) -> None:
        asked_before.append(asked.path)
        if len(asked_before) != 2:
            answer(asked, b"x")

    with answering(respond) as url:
        storage = HttpStorage(url)
        assert [storage.read("a"), storage.read("b")] == [b"x", b"x"]
    assert asked_before == ["a", "b", "b"]


def test_what_is_no_server_and_no_url_is_said() -> None:
    with answering(lambda asked: asked.send(b"220 mail\r\n")) as url, pytest.raises(StorageUnavailableError):
        HttpStorage(url).read("file")
    with pytest.raises(StorageUnavailableError):
        HttpStorage(url).read("file")  # nobody listens there any more
    with pytest.raises(StorageError):
        HttpStorage("http://[::1").read("file")
