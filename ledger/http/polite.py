"""A client for somebody else's index: few requests at a time, none needless, and a pause where one is asked for.

Like `ledger.http.fetching`, it takes bounded time and memory whatever a server answers.
"""

import asyncio
import random
import ssl
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx

from ledger.config import ConfigError
from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.http.credentials import Credentials
from ledger.http.fetching import AnswerLimits, check_status, exchange, new_client, new_request, too_long
from ledger.http.page_cache import KeptPage, PageCache

TRIES = 6
FIRST_PAUSE_SECONDS = 0.5
"""The pause after a first failure, doubled after each further one, and shortened at random by at most a half."""
MOST_PAUSE_SECONDS = 120.0
"""The longest pause that a server may ask for (`Retry-After`, RFC 9110, 10.2.3). One that asks for more is given up."""
MAX_SECONDS = 3600.0
USER_AGENT = "tuf-ledger"

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_GZIP = frozenset({"gzip", "x-gzip"})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_NO_HEAD = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


class _Question(NamedTuple):
    """A request: what is asked, the longest answer, and the content encodings in which it is taken as it is sent."""

    method: str
    url: str
    max_bytes: int
    headers: Mapping[str, str] = MappingProxyType({})
    encodings: frozenset[str] = frozenset()


class FetchedDocument(NamedTuple):
    """What a server answered: its address after redirects, its media type, and its bytes."""

    url: str
    content_type: str
    body: bytes


class PoliteClient:
    """Reads from one index, and from wherever its pages link to. Coroutines of one event loop may share it.

    What may pass is tried again, with growing pauses. A server that says how long to wait is left alone by all requests
    meanwhile. Nothing of an index with `https` is asked for in plain text.

    Args:
        url: the index. A user and a password in it are for its origin alone.
        ca_file: certificates of authorities that are trusted beside the usual ones, in PEM.
        requests: how many requests at a time.
        cache: where pages are kept.

    Raises:
        StorageUnavailableError: a server does not answer, or not now.
        StorageError: a server refuses, or its answer cannot be used.
        ConfigError: the URL, the certificates, or netrc cannot be used.
    """

    def __init__(self, url: str, *, ca_file: Path | None, requests: int, cache: PageCache | None) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"the URL of the source cannot be used: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ConfigError("the URL of the source must begin with http:// or https://, and name a host")
        self._is_secure = parsed.scheme == "https"
        self._credentials = Credentials(parsed)
        self.url = str(parsed.copy_with(userinfo=b""))
        self._client = new_client(verify=_trusted(ca_file), limits=httpx.Limits(max_connections=requests))
        self._client.headers["User-Agent"] = USER_AGENT
        self._free = asyncio.Semaphore(requests)
        self._cache = cache
        self._not_before = 0.0

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def page(self, url: str, accept: str, max_bytes: int) -> FetchedDocument | None:
        """A page; None if there is none. A page that is kept is fetched only if it has changed."""
        kept = None if self._cache is None else self._cache.get(url, accept)
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if kept is not None and kept.etag:
            headers["If-None-Match"] = kept.etag
        elif kept is not None and kept.last_modified:
            headers["If-Modified-Since"] = kept.last_modified
        response, body = await self._ask(_Question("GET", url, max_bytes, headers, frozenset({"gzip"})))
        if response.status_code in _GONE:
            return None
        if response.status_code == HTTPStatus.NOT_MODIFIED and kept is not None:
            return FetchedDocument(kept.url, kept.content_type, kept.body)
        check_status(url, response)
        found = KeptPage(
            url=_without_user(response.url),
            content_type=response.headers.get("Content-Type", ""),
            etag=response.headers.get("ETag", ""),
            last_modified=response.headers.get("Last-Modified", ""),
            body=body,
        )
        if self._cache is not None and (found.etag or found.last_modified):
            await asyncio.to_thread(self._cache.put, url, accept, found)
        return FetchedDocument(found.url, found.content_type, body)

    async def read(self, url: str, max_bytes: int) -> bytes | None:
        """The bytes of a small file; None if there is none."""
        response, body = await self._ask(_Question("GET", url, max_bytes))
        if response.status_code in _GONE:
            return None
        check_status(url, response)
        return body

    async def length(self, url: str) -> int | None:
        """The length of a file in bytes; None if the server does not say it, or has no such file."""
        response, _ = await self._ask(_Question("HEAD", url, 0))
        if response.status_code in _GONE | _NO_HEAD:
            return None
        check_status(url, response)
        # The length of a compressed answer is not that of the file; and some servers say 0 whatever they would send.
        length = response.headers.get("Content-Length", "")
        said = "Content-Encoding" not in response.headers and length.isdecimal() and len(length) < 17
        return (int(length) or None) if said else None

    async def download(self, url: str, to: Path, max_bytes: int) -> bool:
        """Write the bytes of a file; whether there is such a file. The file may be there, cut, after an error."""
        with to.open("wb") as file:

            def begin() -> Callable[[bytes], object]:
                file.seek(0)
                file.truncate()
                return file.write

            # Some servers call the compression that is a file's own that of the answer.
            own = _GZIP if url.partition("?")[0].endswith((".gz", ".tgz")) else frozenset()
            response = await self._send(_Question("GET", url, max_bytes, encodings=own), begin)
        if response.status_code in _GONE:
            return False
        check_status(url, response)
        return True

    async def _ask(self, question: _Question) -> tuple[httpx.Response, bytes]:
        """Send a request until it is answered; return the answer, and its body if it is a success."""
        body = bytearray()

        def begin() -> Callable[[bytes], object]:
            body.clear()
            return body.extend

        response = await self._send(question, begin)
        if response.headers.get("Content-Encoding", "").strip().lower() == "gzip" and body:
            return response, await asyncio.to_thread(_unpack, question.url, bytes(body), question.max_bytes)
        return response, bytes(body)

    async def _send(self, question: _Question, begin: Callable[[], Callable[[bytes], object]]) -> httpx.Response:
        why = ""
        for number in range(1, TRIES + 1):
            async with self._free:
                await self._wait()
                response, why = await self._try(question, begin())
            if response is not None and response.status_code not in _AGAIN:
                return response
            if number < TRIES:
                pause = FIRST_PAUSE_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1)  # noqa: S311  # no secret
                await self._pause(question.url, response, pause)
        raise StorageUnavailableError(f"{question.url}: tried {TRIES} times: {why}")

    async def _try(self, question: _Question, take: Callable[[bytes], object]) -> tuple[httpx.Response | None, str]:
        """Send a request once, or twice if a password is asked for; return the answer, or why there is none."""
        url = question.url
        sent: list[str | None] = []

        def prepare(request: httpx.Request) -> None:
            self._prepare(request)
            sent.append(request.headers.get("Authorization"))

        async def send() -> httpx.Response:
            return await exchange(
                self._client,
                new_request(self._client, question.method, url, question.headers),
                limits=AnswerLimits(question.max_bytes, MAX_SECONDS),
                wants=_has_body,
                take=take,
                prepare=prepare,
                encodings=question.encodings,
            )

        try:
            response = await send()
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                if not await self._credentials.ask(response.url, sent[-1]):
                    raise StorageError(
                        f"{url}: the server asks for a user and a password, or refuses what it got (401). Name them "
                        "in the URL or in netrc, or keep them where the command `keyring` finds them"
                    )
                response = await send()
        except StorageUnavailableError as error:
            return None, str(error)
        except httpx.InvalidURL as error:
            raise StorageError(f"{url}: {error}") from error
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in why:
                raise StorageError(
                    f"{url}: {why}. If its certificate is of an authority of your own, name that with --ca-file"
                ) from error
            return None, why
        return response, f"the server answers {response.status_code}"

    def _prepare(self, request: httpx.Request) -> None:
        """Say who asks, and refuse what would leave TLS."""
        if request.url.scheme not in {"http", "https"}:
            raise StorageError(f"{_without_user(request.url)} is no address of the web")
        if self._is_secure and request.url.scheme != "https":
            raise StorageError(f"{_without_user(request.url)} is not asked for in plain text: the source has https")
        request.url = request.url.copy_with(userinfo=b"")
        request.headers.pop("Authorization", None)
        if (header := self._credentials.header(request.url)) is not None:
            request.headers["Authorization"] = header

    async def _wait(self) -> None:
        """Wait as long as a server has asked to be left alone."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))

    async def _pause(self, url: str, response: httpx.Response | None, seconds: float) -> None:
        asked = None if response is None else _retry_after(response)
        if asked is None:
            await asyncio.sleep(seconds)
            return
        if asked > MOST_PAUSE_SECONDS:
            raise StorageUnavailableError(f"{url}: the server asks to come again in {asked:,.0f} seconds")
        # At least as long as without being asked: some servers say 0.
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + max(seconds, asked))


def _has_body(response: httpx.Response) -> bool:
    return response.is_success and response.request.method != "HEAD"


def _retry_after(response: httpx.Response) -> float | None:
    """How many seconds a server asks to wait: `Retry-After`, as a number or as a time (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    now = datetime.now(UTC)
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def _unpack(url: str, body: bytes, max_bytes: int) -> bytes:
    """Unpack gzip, to at most so many bytes.

    Raises:
        StorageError: it is damaged, or longer.
    """
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise StorageError(f"{url}: the answer is no gzip, though the server says so: {error}") from error
    if len(found) > max_bytes:
        raise too_long(url, max_bytes)
    if not unpacking.eof or unpacking.unused_data:
        raise StorageError(f"{url}: the answer is cut, or goes on behind its end")
    return found


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    """The authorities whose certificates count.

    Raises:
        ConfigError: the file has none.
    """
    context = httpx.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"--ca-file {ca_file} cannot be used: {error}") from error
    return context


def _without_user(url: httpx.URL) -> str:
    return str(url.copy_with(userinfo=b""))
