"""An index on the web, by its Simple API: JSON where it has that, else HTML."""

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from ledger.http.page_cache import PageCache
from ledger.http.polite import FetchedDocument, PoliteClient
from ledger.simple.html_pages import read_html_list, read_html_page
from ledger.simple.json_pages import read_json_list, read_json_page
from ledger.simple.package_sources import (
    MAX_BESIDE_BYTES,
    MAX_FILE_BYTES,
    MAX_LIST_BYTES,
    MAX_PAGE_BYTES,
    Beside,
    PackageSourceError,
    is_name,
    normalised,
    of_project,
)
from ledger.simple.source_pages import ENDINGS, SourceFile, SourcePage

ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, "
    "application/json;q=0.05"
)


class HttpSource:
    """Implements `PackageSource` over HTTP.

    Args:
        url: the address of the list of projects: what pip calls `--index-url`.
        ca_file: see `PoliteClient`.
        requests: how many requests at a time.
        cache: the folder where pages are kept; None: nowhere.
    """

    def __init__(self, url: str, *, ca_file: Path | None = None, requests: int = 8, cache: Path | None = None) -> None:
        kept = None if cache is None else PageCache(cache)
        self._client = PoliteClient(url, ca_file=ca_file, requests=requests, cache=kept)
        self.name = self._client.url.rstrip("/") + "/"

    async def projects(self) -> list[str]:
        """The normalised names of all projects (PEP 503), sorted, each once."""
        found = await self._client.page(self.name, ACCEPT, MAX_LIST_BYTES)
        if found is None:
            raise PackageSourceError(
                f"{self.name} is not there (404): name the address of the list of projects, as for pip's --index-url"
            )
        return await asyncio.to_thread(_read_list, found)

    async def page(self, project: str) -> SourcePage | None:
        """The page of a project; None if there is none."""
        if not is_name(project):
            return None
        found = await self._client.page(f"{self.name}{project}/", ACCEPT, MAX_PAGE_BYTES)
        if found is None:
            return None
        page = await asyncio.to_thread(_read_page, found, project)
        host = urlsplit(found.url).hostname or ""
        return page if host == urlsplit(self.name).hostname else replace(page, answered_by=host)

    async def length(self, file: SourceFile) -> int | None:
        """The length of a file in bytes; None if the server does not say it, or has no such file."""
        return await self._client.length(file.url)

    async def beside(self, file: SourceFile, what: Beside) -> bytes | None:
        """What is beside a file; None if there is none."""
        url = file.provenance_url if what == "provenance" else f"{file.url}.metadata"
        return None if url is None else await self._client.read(url, MAX_BESIDE_BYTES)

    async def download(self, file: SourceFile, to: Path) -> bool:
        """Write the bytes of a file; whether there is such a file."""
        most = MAX_FILE_BYTES if file.size is None else min(file.size, MAX_FILE_BYTES)
        return await self._client.download(file.url, to, most)

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()


def _read_list(found: FetchedDocument) -> list[str]:
    if _is_json(found):
        return normalised(read_json_list(found.body, found.url))
    names = read_html_list(found.body, found.url)
    # Not one alone: on an index, anybody may register a project with such a name.
    if 2 * sum(name.endswith(ENDINGS) for name in names) > len(names):
        raise PackageSourceError(
            f"{found.url} lists files, not projects: that is for pip's --find-links, and no index. Import the folder "
            "that has these files, where it is or from a copy"
        )
    return normalised(names)


def _read_page(found: FetchedDocument, project: str) -> SourcePage:
    if _is_json(found):
        return of_project(read_json_page(found.body, found.url), project, found.url)
    return read_html_page(found.body, found.url, project)


def _is_json(found: FetchedDocument) -> bool:
    """Whether a page is JSON. Some servers give every file one media type."""
    media = found.content_type.partition(";")[0].strip().lower()
    return media.endswith(("+json", "/json")) or (not media.endswith("html") and found.body.lstrip()[:1] == b"{")
