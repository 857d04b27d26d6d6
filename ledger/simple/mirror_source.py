"""An index in a folder: pages below `simple`, and files where they link to, as mirrors and ledgers write it."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ledger.disk.files import reading
from ledger.simple.html_pages import read_html_list, read_html_page
from ledger.simple.json_pages import read_json_list, read_json_page
from ledger.simple.package_sources import (
    MAX_LIST_BYTES,
    MAX_PAGE_BYTES,
    Beside,
    PackageSourceError,
    is_name,
    normalised,
    of_project,
)
from ledger.simple.source_pages import SourceFile, SourcePage

PAGES = "simple"
_PACKAGES = "/packages/"
_JSON = ("index.v1_json", "index.json")
_HTML = ("index.v1_html", "index.html")
_BASE = "file:///"


class MirrorSource:
    """Implements `PackageSource` on a folder with a folder `simple`.

    Links lead to files of the folder. A link to another host counts as one to the same path below `packages`. No link
    leads out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = str(folder)

    async def projects(self) -> list[str]:
        """The normalised names of all projects (PEP 503), sorted, each once."""
        return await asyncio.to_thread(self._projects)

    async def page(self, project: str) -> SourcePage | None:
        """The page of a project; None if there is none."""
        return await asyncio.to_thread(self._page, project) if is_name(project) else None

    async def length(self, file: SourceFile) -> int | None:
        """The length of a file in bytes; None if there is none."""
        path = self._path(file.url)
        return None if path is None else path.stat().st_size

    async def beside(self, file: SourceFile, what: Beside) -> bytes | None:
        """What is beside a file; None if there is none."""
        url = file.provenance_url if what == "provenance" else f"{file.url}.metadata"
        path = None if url is None else self._path(url)
        if path is None:
            return None
        with reading(path):
            return await asyncio.to_thread(path.read_bytes)

    async def download(self, file: SourceFile, to: Path) -> bool:
        """Copy a file; whether there is one."""
        path = self._path(file.url)
        if path is None:
            return False
        with reading(path):
            await asyncio.to_thread(shutil.copyfile, path, to)
        return True

    async def close(self) -> None:
        """Nothing is open."""

    def _projects(self) -> list[str]:
        pages = self._folder / PAGES
        for names, read in ((_JSON, read_json_list), (_HTML, read_html_list)):
            for name in names:
                if (body := _read(pages / name, MAX_LIST_BYTES)) is not None:
                    return normalised(read(body, str(pages / name)))
        with reading(pages):
            folders = [each for each in pages.iterdir() if each.is_dir()]
        if folders and not any(has_page(each) for each in folders):
            raise PackageSourceError(f"no folder in {pages} has a page (index.html): if files are there, name {pages}")
        return normalised([each.name for each in folders])

    def _page(self, project: str) -> SourcePage | None:
        # Some mirrors put the folders of projects in folders by their first character (bandersnatch: `hash-index`).
        # Links in such pages are from where a server shows them all the same.
        pages = (self._page_in(each, project) for each in (project, f"{project[0]}/{project}"))
        return next((each for each in pages if each is not None), None)

    def _page_in(self, folder: str, project: str) -> SourcePage | None:
        """The page of a project that is in a folder below `simple`; None if there is none."""
        base = f"{_BASE}{PAGES}/{project}/"
        in_json = in_html = None
        if (found := _first(self._folder / PAGES / folder, _JSON)) is not None:
            in_json = of_project(read_json_page(found[1], base), project, str(found[0]))
            # Some mirrors write the reasons of yanks into HTML alone.
            if all(each.yanked != "" for each in in_json.files):
                return in_json
        if (found := _first(self._folder / PAGES / folder, _HTML)) is not None:
            in_html = read_html_page(found[1], base, project)
        return in_html if in_json is None else in_json if in_html is None else _with_reasons(in_json, in_html)

    def _path(self, url: str) -> Path | None:
        """The file of the folder that a link leads to; None if there is none."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        below = parts.path if parts.scheme == "file" else parts.path[parts.path.find(_PACKAGES) :]
        segments = [each for each in unquote(below).split("/") if each]
        if not segments or ".." in segments or any("\0" in each for each in segments):
            return None
        path = self._folder.joinpath(*segments)
        return path if _is_file(path) else None


def has_page(folder: Path) -> bool:
    """Whether a page, or the list of projects, is in a folder."""
    return any(_is_file(folder / name) for name in (*_JSON, *_HTML))


def _first(folder: Path, names: Sequence[str]) -> tuple[Path, bytes] | None:
    """The first page of these names that there is."""
    paths = (folder / name for name in names)
    return next(((path, body) for path in paths if (body := _read(path, MAX_PAGE_BYTES)) is not None), None)


def _with_reasons(page: SourcePage, other: SourcePage) -> SourcePage:
    """The page, with the reasons of yanks that only another form of it has."""
    reasons = {each.filename: each.yanked for each in other.files if each.yanked}
    files = (replace(each, yanked=reasons.get(each.filename, "")) if each.yanked == "" else each for each in page.files)
    return replace(page, files=tuple(files))


def _is_file(path: Path) -> bool:
    """Whether there is such a file: there is none whose name is too long for a file system."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path, max_bytes: int) -> bytes | None:
    """The bytes of a file; None if there is none.

    Raises:
        PackageSourceError: it is longer.
        StorageError: it cannot be read.
    """
    if not _is_file(path):
        return None
    with reading(path), path.open("rb") as file:
        found = file.read(max_bytes + 1)
    if len(found) > max_bytes:
        raise PackageSourceError(f"{path} is longer than {max_bytes:,} bytes, as no page is")
    return found
