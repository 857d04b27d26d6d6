"""Read access to what a server serves."""

import hashlib

import httpx

from ledger.storage import StorageError

TIMEOUT_SECONDS = 30.0


class HttpStorage:
    """Files below a URL: those of the public folder, under the same paths. Methods block; several threads may call."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True)

    def read(self, path: str) -> bytes | None:
        """The contents of a file, or None where the server answers 404."""
        try:
            response = self._client.get(f"{self._url}/{path}")
        except httpx.HTTPError as error:
            raise StorageError(f"{self._url}/{path}: {error}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.is_error:
            raise StorageError(f"{self._url}/{path}: the server answers {response.status_code}")
        return response.content

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file, or None where the server answers 404."""
        digest = hashlib.sha256()
        try:
            with self._client.stream("GET", f"{self._url}/{path}") as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    return None
                if response.is_error:
                    raise StorageError(f"{self._url}/{path}: the server answers {response.status_code}")
                for block in response.iter_bytes():
                    digest.update(block)
        except httpx.HTTPError as error:
            raise StorageError(f"{self._url}/{path}: {error}") from error
        return digest.hexdigest()
