"""`ledger.http.polite`: patient with a server, bounded whatever it answers."""

import asyncio
import gzip
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest

from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.http import fetching, polite
from ledger.http.page_cache import KeptPage, PageCache
from ledger.http.polite import FetchedDocument, PoliteClient
from tests.serving import Asked, answering

LIMIT = 10_000


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polite, "FIRST_PAUSE_SECONDS", 0.01)


def answer(asked: Asked, status: str, body: bytes = b"", *headers: str) -> None:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    asked.send("\r\n".join(lines).encode() + body)


def fetch(
    respond: Callable[[Asked], None],
    ask: Callable[[PoliteClient, str], object] | None = None,
    *,
    cache: PageCache | None = None,
) -> object:
    """What a client gets from a server that answers as a function likes."""

    async def get() -> object:
        with answering(respond) as url:
            client = PoliteClient(url, ca_file=None, requests=4, cache=cache)
            try:
                found = client.read(f"{url}/page", LIMIT) if ask is None else ask(client, f"{url}/page")
                return await found  # type: ignore[misc]
            finally:
                await client.close()

    return asyncio.run(get())


def page(client: PoliteClient, url: str) -> object:
    return client.page(url, "text/html", LIMIT)


@pytest.mark.parametrize("status", ["429 Slow Down", "500 Error", "502 Bad", "503 Away", "504 Late"])
def test_what_may_pass_is_tried_again(status: str) -> None:
    seen: list[str] = []

    def respond(asked: Asked) -> None:
        seen.append(asked.path)
        answer(asked, status) if len(seen) < 3 else answer(asked, "200 OK", b"page")

    assert fetch(respond) == b"page"
    assert len(seen) == 3


def test_a_connection_that_breaks_is_tried_again() -> None:
    seen: list[str] = []

    def respond(asked: Asked) -> None:
        seen.append(asked.path)
        if len(seen) == 1:
            asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        else:
            answer(asked, "200 OK", b"whole")

    assert fetch(respond) == b"whole"


def test_what_does_not_pass_is_given_up_and_said() -> None:
    seen: list[str] = []

    def respond(asked: Asked) -> None:
        seen.append(asked.path)
        answer(asked, "503 Away")

    with pytest.raises(StorageUnavailableError, match="tried 6 times: the server answers 503"):
        fetch(respond)
    assert len(seen) == polite.TRIES


@pytest.mark.parametrize("status", ["400 No", "403 No", "418 No"])
def test_a_refusal_is_not_tried_again(status: str) -> None:
    seen: list[str] = []

    def respond(asked: Asked) -> None:
        seen.append(asked.path)
        answer(asked, status)

    with pytest.raises(StorageError, match=status[:3]):
        fetch(respond)
    assert len(seen) == 1


def test_a_server_that_asks_to_wait_is_left_alone_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def respond(asked: Asked) -> None:
        times.append(time.monotonic())
        answer(asked, "429 Slow Down", b"", "Retry-After: 1") if len(times) == 1 else answer(asked, "200 OK", b"x")

    async def ask(client: PoliteClient, url: str) -> object:
        first = asyncio.create_task(client.read(url, LIMIT))
        while not client._not_before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return await asyncio.gather(first, client.read(url, LIMIT))

    assert fetch(respond, ask) == [b"x", b"x"]
    assert min(times[1:]) - times[0] >= 0.95


@pytest.mark.parametrize("text", ["100000", format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)])
def test_a_server_that_asks_to_wait_very_long_is_given_up(text: str) -> None:
    with pytest.raises(StorageUnavailableError, match="asks to come again in"):
        fetch(lambda asked: answer(asked, "503 Away", b"", f"Retry-After: {text}"))


@pytest.mark.parametrize("text", ["soon", "-1", "Thu, 99 Foo 2020", "¹"])
def test_a_pause_that_is_none_is_no_harm(text: str) -> None:
    with pytest.raises(StorageUnavailableError, match="tried 6 times"):
        fetch(lambda asked: answer(asked, "503 Away", b"", f"Retry-After: {text}"))


def test_a_server_that_asks_for_no_pause_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six requests within milliseconds would be no help to it."""
    monkeypatch.setattr(polite, "FIRST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(polite, "TRIES", 2)
    times: list[float] = []

    def respond(asked: Asked) -> None:
        times.append(time.monotonic())
        answer(asked, "503 Away", b"", "Retry-After: 0")

    with pytest.raises(StorageUnavailableError):
        fetch(respond)
    assert times[1] - times[0] >= 0.09


def test_pages_are_unpacked_up_to_their_limit() -> None:
    packed = gzip.compress(b"a" * LIMIT)
    found = fetch(lambda asked: answer(asked, "200 OK", packed, "Content-Encoding: gzip"), page)
    assert found[2] == b"a" * LIMIT  # type: ignore[index]
    bomb = gzip.compress(b"a" * 10**6)
    with pytest.raises(StorageError, match="longer than 10,000 bytes"):
        fetch(lambda asked: answer(asked, "200 OK", bomb, "Content-Encoding: gzip"), page)
    with pytest.raises(StorageError, match="cut"):
        fetch(lambda asked: answer(asked, "200 OK", packed[:-4], "Content-Encoding: gzip"), page)
    with pytest.raises(StorageError, match="goes on"):
        fetch(lambda asked: answer(asked, "200 OK", packed + packed, "Content-Encoding: gzip"), page)
    with pytest.raises(StorageError, match="no gzip"):
        fetch(lambda asked: answer(asked, "200 OK", b"plain", "Content-Encoding: gzip"), page)
    with pytest.raises(StorageError, match="content encoding"):
        fetch(lambda asked: answer(asked, "200 OK", packed, "Content-Encoding: br"), page)


def test_files_are_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(b"archive")

    def respond(asked: Asked) -> None:
        assert "gzip" not in asked.head.lower()
        answer(asked, "200 OK", packed)

    assert fetch(respond, lambda client, url: client.download(url, tmp_path / "file", LIMIT)) is True
    assert (tmp_path / "file").read_bytes() == packed


def test_the_compression_that_is_a_files_own_may_be_called_that_of_the_answer(tmp_path: Path) -> None:
    packed = gzip.compress(b"archive")

    def respond(asked: Asked) -> None:
        answer(asked, "200 OK", packed, "Content-Encoding: x-gzip")

    def download(name: str, client: PoliteClient, url: str) -> object:
        return client.download(f"{url}/{name}", tmp_path / "file", LIMIT)

    for name in ("six-1.0.tar.gz", "six-1.0.tgz?signature=x"):
        assert fetch(respond, partial(download, name))
        assert (tmp_path / "file").read_bytes() == packed
    with pytest.raises(StorageError, match="content encoding"):
        fetch(respond, lambda client, url: client.download(f"{url}/six-1.0.zip", tmp_path / "file", LIMIT))


def test_a_download_that_breaks_begins_anew(tmp_path: Path) -> None:
    seen: list[str] = []

    def respond(asked: Asked) -> None:
        seen.append(asked.path)
        if len(seen) == 1:
            asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nlonger than the whole")
        else:
            answer(asked, "200 OK", b"whole")

    assert fetch(respond, lambda client, url: client.download(url, tmp_path / "file", LIMIT)) is True
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    def gone(asked: Asked) -> None:
        answer(asked, "404 No")

    asks: list[Callable[[PoliteClient, str], object]] = [
        lambda client, url: client.read(url, LIMIT),
        page,
        lambda client, url: client.length(url),
    ]
    assert [fetch(gone, ask) for ask in asks] == [None] * 3
    assert fetch(gone, lambda client, url: client.download(url, tmp_path / "file", LIMIT)) is False


def test_a_length_that_is_not_said_is_none() -> None:
    def length(client: PoliteClient, url: str) -> object:
        return client.length(url)

    assert fetch(lambda asked: asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"), length) == 77
    assert fetch(lambda asked: asked.send(b"HTTP/1.1 200 OK\r\n\r\n"), length) is None
    assert fetch(lambda asked: answer(asked, "405 No"), length) is None
    assert fetch(lambda asked: answer(asked, "200 OK", b""), length) is None, "as servers say that do not know it"
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 77\r\n\r\n"
    assert fetch(lambda asked: asked.send(packed), length) is None, "the length of something else"


def test_redirects_have_an_end_and_leave_the_web_for_nothing() -> None:
    with pytest.raises(StorageError, match="redirects more than 5 times"):
        fetch(lambda asked: answer(asked, "302 Found", b"", "Location: /elsewhere"))
    with pytest.raises(StorageError, match="no address of the web"):
        fetch(lambda asked: answer(asked, "302 Found", b"", "Location: file:///etc/passwd"))
    with pytest.raises(StorageError):
        fetch(lambda asked: answer(asked, "302 Found", b"", "Location: http://127.0.0.1:99999/"))


def test_a_password_stays_at_its_origin() -> None:
    heads: list[str] = []

    def elsewhere(asked: Asked) -> None:
        heads.append(asked.head)
        answer(asked, "200 OK", b"there")

    with answering(elsewhere) as other:

        def respond(asked: Asked) -> None:
            heads.append(asked.head)
            answer(asked, "302 Found", b"", f"Location: {other.replace('://', '://user:secret@')}/there")

        async def ask() -> object:
            with answering(respond) as url:
                client = PoliteClient(url.replace("://", "://me:secret@"), ca_file=None, requests=1, cache=None)
                try:
                    return await client.read(f"{url}/page", LIMIT)
                finally:
                    await client.close()

        assert asyncio.run(ask()) == b"there"
    assert ["authorization" in head.lower() for head in heads] == [True, False]


def test_slow_servers_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(polite, "TRIES", 2)

    def respond(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        time.sleep(3)

    with pytest.raises(StorageUnavailableError, match="too slow"):
        fetch(respond)


def test_a_page_is_asked_for_only_if_it_has_changed(tmp_path: Path) -> None:
    cache = PageCache(tmp_path / "cache")
    heads: list[str] = []

    def respond(asked: Asked) -> None:
        heads.append(asked.head)
        if 'If-None-Match: "1"' in asked.head or "if-none-match" in asked.head.lower():
            answer(asked, "304 Not Modified")
        else:
            answer(asked, "200 OK", b"page", 'ETag: "1"', "Content-Type: text/html")

    async def twice(client: PoliteClient, url: str) -> object:
        return [await client.page(url, "text/html", LIMIT) for _ in range(2)]

    found = fetch(respond, twice, cache=cache)
    assert isinstance(found, list)
    first: FetchedDocument = found[0]
    assert found[1] == first
    assert len(heads) == 2
    (kept,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    kept.write_bytes(kept.read_bytes()[:-3])
    assert cache.get(first.url, "text/html") is None, "what is damaged is not there"


def test_kept_pages_are_known_by_address_and_form(tmp_path: Path) -> None:
    cache = PageCache(tmp_path / "cache")
    kept = KeptPage("https://index.example.org/a", "text/html", "1", "", b"page")
    cache.put("https://index.example.org/a", "text/html", kept)
    assert cache.get("https://index.example.org/a", "text/html") == kept
    assert cache.get("https://index.example.org/a", "application/json") is None
    assert cache.get("https://index.example.org/b", "text/html") is None
