"""Read access to the files of a server that nobody trusts.

Whatever a server answers, a call ends: it takes bounded time and memory, and another thread can end it at any moment.
"""

import asyncio
import hashlib
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from functools import cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NamedTuple

import httpx

from ledger.disk.files import StorageError, StorageUnavailableError
from schemas.errors import LedgerError

GRACE_SECONDS = 30.0
"""How long a server may take to answer. Afterwards it must send at least `LEAST_BYTES_A_SECOND`, from the start on."""
LEAST_BYTES_A_SECOND = 16 * 2**10
MAX_READ_BYTES = 64 * 2**20
"""Longest file that is read into memory, far longer than any metadata. For digests, files are streamed."""
MAX_READ_SECONDS = 300.0
MAX_DIGEST_BYTES = 2**34
MAX_DIGEST_SECONDS = 3600.0
MAX_REDIRECTS = 5


class AnswerLimits(NamedTuple):
    """The longest answer in bytes and in seconds, from the first look for the server to the last byte."""

    length: int
    seconds: float


def new_client(**settings: Any) -> httpx.AsyncClient:
    """A client that keeps nothing of an answer, and asks for bodies as they are.

    Whatever a server compresses, it can compress a thousandfold: metadata is compared as it is.
    """
    return httpx.AsyncClient(
        timeout=GRACE_SECONDS,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # or every answer could leave some
        **settings,
    )


class HttpStorage:
    """Files below a URL, under the paths of the public folder. Methods block; several threads may call them.

    Raises:
        StorageUnavailableError: the server does not answer, or too slowly, or `give_up` was called.
        StorageError: the answer cannot be used: its length, its encoding, its status, its redirects.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = new_client()
        self._lock = threading.Lock()
        self._pending: set[Future[bool]] = set()
        self._is_given_up = False
        weakref.finalize(self, _close, self._client).atexit = False

    def read(self, path: str) -> bytes | None:
        """The contents of a file; None if the server answers 404."""
        data = bytearray()
        found = self._fetch(path, AnswerLimits(MAX_READ_BYTES, MAX_READ_SECONDS), data.extend)
        return bytes(data) if found else None

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file; None if the server answers 404."""
        digest = hashlib.sha256()
        found = self._fetch(path, AnswerLimits(MAX_DIGEST_BYTES, MAX_DIGEST_SECONDS), digest.update)
        return digest.hexdigest() if found else None

    def paths(self, _folder: str = "") -> None:
        """Nobody can list the files of a web server."""

    def give_up(self) -> None:
        """End all pending calls, and later ones, with a `StorageUnavailableError`. Any thread may call this."""
        with self._lock:
            self._is_given_up = True
            pending = list(self._pending)
        for each in pending:
            each.cancel()

    def _fetch(self, path: str, limits: AnswerLimits, take: Callable[[bytes], object]) -> bool:
        """Fetch a file block by block; return whether it exists."""
        url = f"{self._url}/{path}"
        with self._lock:
            if self._is_given_up:
                raise StorageUnavailableError(f"{url}: given up, since this process is to end")
            pending = _submit(_fetch(self._client, url, limits, take))
            self._pending.add(pending)
        try:
            return pending.result()
        except CancelledError as error:
            raise StorageUnavailableError(f"{url}: given up, since this process is to end") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = StorageError if isinstance(error, httpx.InvalidURL) else StorageUnavailableError
            raise kind(f"{url}: {str(error) or type(error).__name__}") from error
        finally:
            with self._lock:
                self._pending.discard(pending)


# --- in the thread that fetches ------------------------------------------------------------------------------------


async def _fetch(client: httpx.AsyncClient, url: str, limits: AnswerLimits, take: Callable[[bytes], object]) -> bool:
    """Fetch a file; return whether it exists."""
    request = new_request(client, "GET", url)
    response = await exchange(client, request, limits=limits, wants=partial(_exists, url), take=take)
    return response.status_code != httpx.codes.NOT_FOUND


def new_request(
    client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str] | None = None
) -> httpx.Request:
    """A request, not sent.

    Raises:
        StorageError: no server can have such an address.
        httpx.InvalidURL: see there.
    """
    try:
        return client.build_request(method, url, headers=headers)
    except httpx.InvalidURL:
        raise
    except Exception as error:
        raise _impossible(url) from error


def _exists(url: str, response: httpx.Response) -> bool:
    """Whether there is such a file.

    Raises:
        StorageError: it is no answer to what was asked.
    """
    if response.status_code == httpx.codes.NOT_FOUND:
        return False
    check_status(url, response)
    return True


async def exchange(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    limits: AnswerLimits,
    wants: Callable[[httpx.Response], bool],
    take: Callable[[bytes], object],
    prepare: Callable[[httpx.Request], object] | None = None,
    encodings: frozenset[str] = frozenset(),
) -> httpx.Response:
    """Send a request, follow redirects, and take the body of the answer block by block, as it is sent.

    One clock runs from beginning to end. Time-outs of single operations are no limit: a byte every two seconds, or one
    interim response after another, goes on for ever.

    Args:
        client: sends it.
        request: what is asked. A redirect repeats it elsewhere.
        limits: those of the body.
        wants: whether the body of an answer is read. It may raise an error of its own.
        take: is called with each block.
        prepare: is called with each request before it is sent. It may change it, or raise an error of its own.
        encodings: content encodings that are taken as they are, beside `identity`.

    Raises:
        StorageUnavailableError: the server is too slow.
        StorageError: the answer cannot be used: its length, its encoding, its redirects.
        httpx.HTTPError, httpx.InvalidURL: see there.
    """
    url = str(request.url)
    received, started = 0, asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(started + GRACE_SECONDS) as clock:
            response = await _answer(client, request, prepare)
            async with aclosing(response):
                if not wants(response):
                    return response
                _check_body(url, response, limits, encodings)
                async for block in response.aiter_raw():
                    received += len(block)
                    if received > limits.length:
                        raise too_long(url, limits.length)
                    take(block)
                    clock.reschedule(started + min(limits.seconds, GRACE_SECONDS + received / LEAST_BYTES_A_SECOND))
    except TimeoutError as error:
        seconds = asyncio.get_running_loop().time() - started
        raise StorageUnavailableError(
            f"{url}: the server is too slow: {received:,} bytes came in {seconds:.0f} seconds"
        ) from error
    return response


async def _answer(
    client: httpx.AsyncClient, request: httpx.Request, prepare: Callable[[httpx.Request], object] | None
) -> httpx.Response:
    """The response after redirects."""
    try:
        return await _follow(client, request, prepare)
    except (httpx.HTTPError, httpx.InvalidURL, LedgerError):
        raise
    # What comes of a port beyond 65535, or of a name that is none, httpx neither foresees nor documents.
    except Exception as error:
        raise _impossible(str(request.url)) from error


def _impossible(url: str) -> StorageError:
    return StorageError(f"{url} is, or redirects to, an address that no server can have")


async def _follow(
    client: httpx.AsyncClient, request: httpx.Request, prepare: Callable[[httpx.Request], object] | None
) -> httpx.Response:
    """The response after redirects. httpx would read, and unpack, the bodies of redirects without a limit."""
    url = request.url
    for _ in range(MAX_REDIRECTS + 1):
        if prepare is not None:
            prepare(request)
        response = await _send(client, request)
        if response.next_request is None:
            return response
        await response.aclose()
        request = response.next_request
    raise StorageError(f"{url}: the server redirects more than {MAX_REDIRECTS} times")


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The response, without its body."""
    try:
        return await client.send(request, stream=True)
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        # A server may close a kept connection just when it is used again: ask once more (RFC 9112, section 9.3.1).
        return await client.send(request, stream=True)


def check_status(url: str, response: httpx.Response) -> None:
    """Check that an answer is a success.

    Raises:
        StorageUnavailableError: the server failed.
        StorageError: it refuses.
    """
    if not response.is_success:
        kind = StorageUnavailableError if response.is_server_error else StorageError
        raise kind(f"{url}: the server answers {response.status_code}")


def _check_body(url: str, response: httpx.Response, limits: AnswerLimits, encodings: frozenset[str]) -> None:
    """Check what is known of the body of an answer before its first byte.

    Raises:
        StorageError: it is no answer to what was asked.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity", *encodings}:
        raise StorageError(
            f"{url}: the server answers in the content encoding {encoding[:100]!r}, which was not asked "
            "for. Turn off its compression for clients that do not accept it"
        )
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > limits.length:
        raise too_long(url, limits.length)


def too_long(url: str, length: int) -> StorageError:
    """The error for an answer of more bytes than this."""
    return StorageError(f"{url} is longer than {length:,} bytes, as no such file is: check the URL")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of the one thread that fetches for all others: only there, every wait can be ended."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="fetch", daemon=True).start()
    return loop


def _submit(operation: Coroutine[object, object, bool]) -> "Future[bool]":
    return asyncio.run_coroutine_threadsafe(operation, _loop())


def _close(client: httpx.AsyncClient) -> None:
    """Close the connections of a source that nobody uses any more."""
    asyncio.run_coroutine_threadsafe(client.aclose(), _loop())
