"""Answers with bytes: whole, packed, in part, or not at all (RFC 9110, sections 8.8, 13 and 14)."""

import asyncio
import gzip
import os
import re
from collections.abc import Mapping
from concurrent.futures import Executor
from email.utils import formatdate
from hashlib import sha256
from io import BufferedReader
from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from consumers.gateway.negotiating import accepts_gzip
from consumers.gateway.problems import problem

FOREVER_CACHED: Final = "public, max-age=31536000, immutable"
"""For what never has other bytes: a name that tells the content, or a version (RFC 8246)."""
SECONDS_CACHED: Final = "public, max-age=5"
"""For what the next publication replaces."""
HOUR_CACHED: Final = "public, max-age=3600"

BLOCK_BYTES = 256 * 2**10
WORTH_PACKING_BYTES = 1024
_PACKING_LEVEL = 6

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_ETAG = re.compile(r'(?:W/)?("[^"]*")')


class Rendition:
    """Bytes that are sent from memory, packed too if that is worth it.

    Args:
        data: the bytes.
        media_type: what they are.
        modified_at: when they were written, in seconds since 1970; None: that says nothing about them.
    """

    def __init__(self, data: bytes, media_type: str, modified_at: float | None = None) -> None:
        self.data = data
        self.media_type = media_type
        self.modified_at = modified_at
        self.etag = f'"{sha256(data).hexdigest()[:32]}"'
        packed = gzip.compress(data, _PACKING_LEVEL, mtime=0) if len(data) >= WORTH_PACKING_BYTES else data
        self.packed = packed if len(packed) < len(data) else None

    @property
    def size(self) -> int:
        """The memory that it takes, in bytes."""
        return len(self.data) + len(self.packed or b"")


def answer_rendition(request: Request, found: Rendition, cache: str, vary: str = "Accept-Encoding") -> Response:
    """Send bytes from memory, as far as the client wants them."""
    headers = {"Cache-Control": cache, "Vary": vary, "X-Content-Type-Options": "nosniff"}
    if found.media_type.endswith("html"):
        headers["Content-Security-Policy"] = "default-src 'none'"
    asked = request.headers
    data, etag = found.data, found.etag
    # A part is always one of the bytes as they are: few clients could put packed parts together.
    if found.packed is not None and "range" not in asked and accepts_gzip(asked.get("accept-encoding")):
        data, etag = found.packed, f'{found.etag[:-1]}-gzip"'
        headers["Content-Encoding"] = "gzip"
    part = read_part(asked, len(data), etag, found.modified_at, headers)
    if isinstance(part, Response):
        return part
    headers["Content-Type"] = _with_charset(found.media_type)
    if part.end - part.first <= BLOCK_BYTES:
        return Response(data[part.first : part.end], part.status, headers)
    return _BytesInBlocks(data, part, headers)


class Part(NamedTuple):
    """What is sent of some bytes, with which status."""

    status: int
    first: int
    end: int


def read_part(
    asked: Headers, length: int, etag: str, modified_at: float | None, headers: dict[str, str]
) -> Part | Response:
    """What a client gets of so many bytes, or the answer that it gets instead. `headers` are added to."""
    headers["ETag"] = etag
    modified = None if modified_at is None else formatdate(int(modified_at), usegmt=True)
    if modified is not None:
        headers["Last-Modified"] = modified
    if not _still_holds(asked, etag, modified):
        return problem(412, "it is not, or no longer, what the request expects")
    if _has_already(asked, etag, modified):
        kept = {"Cache-Control", "Vary", "ETag", "Last-Modified"}  # RFC 9110, section 15.4.5
        return Response(status_code=304, headers={name: value for name, value in headers.items() if name in kept})
    headers["Accept-Ranges"] = "bytes"
    return _read_range(asked, length, etag, modified, headers)


def _still_holds(asked: Headers, etag: str, modified: str | None) -> bool:
    if (match := asked.get("if-match")) is not None:
        return match.strip() == "*" or etag in _ETAG.findall(match)
    unmodified = asked.get("if-unmodified-since")
    return unmodified is None or modified is None or unmodified == modified


def _has_already(asked: Headers, etag: str, modified: str | None) -> bool:
    if (match := asked.get("if-none-match")) is not None:
        return match.strip() == "*" or etag in _ETAG.findall(match)
    # Compared exactly, as nginx does: what comes back from evidence is older than what a client saw in between.
    return modified is not None and asked.get("if-modified-since") == modified


def _read_range(
    asked: Headers, length: int, etag: str, modified: str | None, headers: dict[str, str]
) -> Part | Response:
    """A part, where one is asked for; several parts are not: the whole is a right answer, too."""
    whole = Part(200, 0, length)
    found = _RANGE.fullmatch(asked.get("range", "").strip())
    if found is None or asked.get("if-range", etag) not in {etag, modified}:
        return whole
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, length - int(suffix)), length
    else:
        start, end = int(first), min(int(last) + 1 if last else length, length)
        if last and int(last) < int(first):
            return whole
    if start >= length or start >= end:
        return problem(416, f"it has {length} bytes", {"Content-Range": f"bytes */{length}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{length}"
    return Part(206, start, end)


def _with_charset(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


# --- block by block --------------------------------------------------------------------------------------------------


class _InBlocks(Response):
    """Sends a part of something long: the next block when the client has read the one before. So what waits for a
    client who does not read is one block.
    """

    def __init__(self, part: Part, headers: Mapping[str, str]) -> None:
        super().__init__(None, part.status, {**headers, "Content-Length": str(part.end - part.first)})
        self._part = part

    async def read(self, at: int, length: int) -> bytes:
        """The next block: at least one byte, and at most so many."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Reading ends when the client is gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        at, end = self._part.first, self._part.end
        if scope["method"] == "HEAD" or at == end:
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.create_task(_until_gone(receive)) if end - at > BLOCK_BYTES else None
        try:
            while at < end and not (gone and gone.done()):
                data = await self.read(at, min(BLOCK_BYTES, end - at))
                at += len(data)
                await send({"type": "http.response.body", "body": data, "more_body": at < end})
        finally:
            if gone is not None:
                gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _BytesInBlocks(_InBlocks):
    """Sends a part of some bytes."""

    def __init__(self, data: bytes, part: Part, headers: Mapping[str, str]) -> None:
        super().__init__(part, headers)
        self._data = data

    async def read(self, at: int, length: int) -> bytes:
        """A block of the bytes."""
        return self._data[at : at + length]


# --- files -----------------------------------------------------------------------------------------------------------


class OpenedFile(NamedTuple):
    """An open file, and the facts by which it is the same as one that was seen before."""

    file: BufferedReader
    device: int
    inode: int
    modified_ns: int
    length: int

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """Differs if the bytes may."""
        return self[1:]


def opened(file: BufferedReader) -> OpenedFile:
    """An open file with its facts."""
    facts = os.fstat(file.fileno())
    return OpenedFile(file, facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)


def answer_file(request: Request, found: OpenedFile, threads: Executor, media_type: str, cache: str) -> Response:
    """Send an open file, as far as the client wants it, and close it."""
    headers = {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}
    etag = f'"{found.modified_ns:x}-{found.length:x}"'
    part = read_part(request.headers, found.length, etag, found.modified_ns / 1e9, headers)
    if isinstance(part, Response):
        found.file.close()
        return part
    headers["Content-Type"] = _with_charset(media_type)
    return _FileInBlocks(found.file, threads, part, headers)


class _FileInBlocks(_InBlocks):
    """Sends a part of an open file, and closes it."""

    def __init__(self, file: BufferedReader, threads: Executor, part: Part, headers: Mapping[str, str]) -> None:
        super().__init__(part, headers)
        self._file = file
        self._threads = threads

    async def read(self, at: int, length: int) -> bytes:
        """A block of the file."""
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._threads, os.pread, self._file.fileno(), length, at)
        if not data:
            raise OSError("a served file has become shorter while it was sent")
        return data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)
