"""What is served as it stands in the public folder: metadata, targets, and distribution files.

/metadata/…     metadata: from memory, packed
/targets/…      targets by all their names
/packages/…     the distribution files among them, and what is beside them (PEP 658, PEP 740)
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from consumers.gateway.answering import (
    FOREVER_CACHED,
    HOUR_CACHED,
    SECONDS_CACHED,
    OpenedFile,
    Rendition,
    answer_file,
    answer_rendition,
    opened,
)
from consumers.gateway.renditions import Renditions
from ledger.disk.reading import open_below
from projections.metadata.paths import PACKAGES, TARGETS, MetadataPlace, TargetPlace, hashed_path, read_path

BYTES_TYPE = "application/octet-stream"
"""For what anybody may have uploaded: no browser shows it, and no installer unpacks it on the way."""

MOST_KEPT_BYTES = 16 * 2**20
"""The longest file that is sent from memory."""

_MOST_SEGMENT_BYTES = 255
_ATTESTATIONS_TYPE = "application/vnd.pypi.integrity.v1+json"


class Kind(NamedTuple):
    """How a served file is sent: what it is, how long caches keep it, and whether from memory."""

    media_type: str
    cache: str
    is_kept: bool = False


class PublicFiles:
    """The files of a public folder, read by threads of its own. Used by one event loop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.renditions = Renditions()
        self.threads = ThreadPoolExecutor(8, "gateway")
        """For what takes microseconds, as far as the disk lets it."""
        self.hard_threads = ThreadPoolExecutor(2, "gateway-hard")
        """For what takes milliseconds: rendering and packing."""

    def close(self) -> None:
        """Wait for what threads do, and end them."""
        self.threads.shutdown(cancel_futures=True)
        self.hard_threads.shutdown(cancel_futures=True)

    async def open(self, path: str) -> OpenedFile | None:
        """An open served file; None if there is none. The caller closes it.

        Raises:
            StorageError: it cannot be read.
        """
        if not is_servable(path):
            return None
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._open, path)

    def _open(self, path: str) -> OpenedFile | None:
        file = open_below(self._root, path)
        return None if file is None else opened(file)

    def has(self, path: str) -> bool:
        """Whether a file is there to be served. Blocks; fast, for the thousands of files of one page."""
        return is_servable(path) and os.path.isfile(f"{self._root}/{path}")  # noqa: PTH113  # a hot path

    async def read(self, path: str) -> bytes | None:
        """A short served file; None if there is none.

        Raises:
            StorageError: it cannot be read.
        """
        found = await self.open(path)
        if found is None:
            return None
        with found.file:
            return await asyncio.get_running_loop().run_in_executor(self.threads, found.file.read)

    async def answer(self, request: Request, path: str) -> Response:
        """Send a served file.

        Raises:
            HTTPException: there is none.
            StorageError: it cannot be read.
        """
        found, kind = await self.open(path), kind_of(path)
        if found is None:
            raise HTTPException(404, "there is no such file")
        if not kind.is_kept or found.length > MOST_KEPT_BYTES:
            return answer_file(request, found, self.threads, kind.media_type, kind.cache)
        with found.file:
            make = partial(self._make, found, kind.media_type)
            rendition = await self.renditions.make((*found.identity, kind.media_type), make)
        return answer_rendition(request, rendition, kind.cache)

    async def _make(self, found: OpenedFile, media_type: str) -> tuple[Rendition, None]:
        def make() -> Rendition:
            return Rendition(found.file.read(), media_type, found.modified_ns / 1e9)

        return await asyncio.get_running_loop().run_in_executor(self.hard_threads, make), None

    # --- routes --------------------------------------------------------------------------------------------------

    async def metadata(self, request: Request) -> Response:
        """`/metadata/…`."""
        return await self.answer(request, f"metadata/{request.path_params['path']}")

    async def targets(self, request: Request) -> Response:
        """`/targets/…`. Clients that write HASH.FOLDER/NAME for FOLDER/HASH.NAME get what they mean."""
        path = f"{TARGETS}/{request.path_params['path']}"
        folder, slash, rest = path.removeprefix(f"{TARGETS}/").partition("/")
        first = read_path(f"{TARGETS}/{folder}")
        if slash and isinstance(first, TargetPlace) and first.sha256 is not None:
            path = hashed_path(f"{first.target}/{rest}", first.sha256)
        return await self.answer(request, path)

    async def packages(self, request: Request) -> Response:
        """`/packages/…`, at any time too: all files but those that are withheld are there."""
        return await self.answer(request, f"{TARGETS}/{PACKAGES}{request.path_params['path']}")


def is_servable(path: str) -> bool:
    """Whether a file of this path can be served: none that is hidden, and none with a name that no disk has."""
    segments = path.split("/")
    return all(each and each[0] != "." and len(each.encode()) <= _MOST_SEGMENT_BYTES for each in segments)


def kind_of(path: str) -> Kind:
    """How the file at a served path is sent."""
    place = read_path(path)
    if isinstance(place, MetadataPlace):
        return Kind("application/json", SECONDS_CACHED if place.version is None else FOREVER_CACHED, is_kept=True)
    if isinstance(place, TargetPlace) and place.is_page:
        media_type = "text/html" if path.endswith(".html") else "application/json"
        return Kind(media_type, SECONDS_CACHED if place.sha256 is None else FOREVER_CACHED, is_kept=True)
    if isinstance(place, TargetPlace) and place.target.startswith(PACKAGES):
        if path.endswith(".metadata"):
            return Kind("text/plain", HOUR_CACHED)
        if path.endswith(".provenance"):
            return Kind(_ATTESTATIONS_TYPE, HOUR_CACHED)
        return Kind(BYTES_TYPE, FOREVER_CACHED)  # the path has the digest of the bytes
    is_hashed = isinstance(place, TargetPlace) and place.sha256 is not None
    return Kind(BYTES_TYPE, FOREVER_CACHED if is_hashed else SECONDS_CACHED)
