"""Read access to the files of a server."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from ledger.disk.files import StorageError, StorageUnavailableError

TIMEOUT_SECONDS = 30.0
MAX_READ_BYTES = 64 * 2**20
"""Longest file that is read into memory, far longer than any metadata. For digests, files are streamed."""


class HttpStorage:
    """Files below a URL, under the paths of the public folder. Methods block; several threads may call them."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True)

    def read(self, path: str) -> bytes | None:
        """The contents of a file; None if the server answers 404."""
        data = bytearray()
        with self._get(path) as blocks:
            if blocks is None:
                return None
            for block in blocks:
                data += block
                if len(data) > MAX_READ_BYTES:
                    raise StorageError(
                        f"{self._url}/{path} is longer than {MAX_READ_BYTES:,} bytes, as no metadata is: check the URL"
                    )
        return bytes(data)

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file; None if the server answers 404."""
        digest = hashlib.sha256()
        with self._get(path) as blocks:
            if blocks is None:
                return None
            for block in blocks:
                digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def _get(self, path: str) -> Iterator[Iterator[bytes] | None]:
        url = f"{self._url}/{path}"
        try:
            with self._client.stream("GET", url) as response:
                if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
                    kind = StorageUnavailableError if response.is_server_error else StorageError
                    raise kind(f"{url}: the server answers {response.status_code}")
                yield None if response.is_error else response.iter_bytes()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = StorageError if isinstance(error, httpx.InvalidURL) else StorageUnavailableError
            raise kind(f"{url}: {error}") from error
