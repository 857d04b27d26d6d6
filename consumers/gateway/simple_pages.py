"""Pages for installers: `/simple/` and `/simple/NAME/`, in the form that the client wants (PEP 503, PEP 691).

A page is the plain page that is served as a target, in JSON; HTML is rendered from that. An entry that says that core
metadata or provenance is beside its file says so only if it is: pip fails where it is not.
"""

import asyncio
import re
from collections.abc import Callable, Hashable
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consumers.gateway.answering import HOUR_CACHED, SECONDS_CACHED, Rendition, answer_rendition
from consumers.gateway.negotiating import JSON_TYPE, PAGE_TYPES, choose_page_type
from consumers.gateway.public_files import PublicFiles
from projections.index.names import normalise
from projections.index.pages import html_of_json
from projections.metadata.paths import JSON_LIST, Companion, companion_path, page_target, plain_path

MISSING_SECONDS = 60.0
"""How long a page is kept that leaves out what was missing: it may come."""

VARIES = "Accept, Accept-Encoding"

_ABOVE = "../../"
"""From the page of a project to what target paths are relative to."""
_NAME = re.compile("[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST_NAME_CHARACTERS = 255


class SimplePages:
    """The pages of a public folder. Used by one event loop."""

    def __init__(self, files: PublicFiles) -> None:
        self._files = files

    async def project_list(self, request: Request) -> Response:
        """`/simple/`."""
        return await self._answer(request, JSON_LIST)

    async def project(self, request: Request) -> Response:
        """`/simple/NAME/`."""
        name = request.path_params["name"]
        return redirect_to_normal(name) or await self._answer(request, page_target(name))

    async def _answer(self, request: Request, target: str) -> Response:
        form = wanted_form(request)
        found = await self._files.open(plain_path(target))
        if found is None:
            raise HTTPException(404, "there is no such project")
        with found.file:
            rendition = await self.render((*found.identity, form), found.file.read, form, found.modified_ns / 1e9)
        return answer_rendition(request, rendition, SECONDS_CACHED, VARIES)

    async def render(
        self, key: Hashable, read: Callable[[], bytes], form: str, modified_at: float | None = None
    ) -> Rendition:
        """A page in a form, of its bytes in JSON, read only if it is not kept. The key differs if the result may."""

        def render() -> tuple[Rendition, float | None]:
            page = read()
            shown = only_what_is_there(self._files, page)
            data = shown if form == JSON_TYPE else html_of_json(shown)
            is_whole = shown is page
            return Rendition(data, form, modified_at if is_whole else None), None if is_whole else MISSING_SECONDS

        loop = asyncio.get_running_loop()
        return await self._files.renditions.make(key, lambda: loop.run_in_executor(self._files.hard_threads, render))


def only_what_is_there(files: PublicFiles, page: bytes) -> bytes:
    """A page in JSON that mentions no core metadata and no provenance that is not served; the same, if all is. Blocks.

    Raises:
        ValueError: it is no page.
    """
    found = orjson.loads(page)
    changed = [_forget_missing(files, entry) for entry in found.get("files", ())]
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS) if any(changed) else page


def _forget_missing(files: PublicFiles, entry: dict[str, Any]) -> bool:
    """Change an entry; return whether something was missing."""
    path = unquote(entry["url"].removeprefix(_ABOVE))
    changed = False
    companions: tuple[tuple[Companion, bool, dict[str, Any]], ...] = (
        ("metadata", bool(entry["core-metadata"]), {"core-metadata": False, "data-dist-info-metadata": False}),
        ("provenance", bool(entry["provenance"]), {"provenance": None}),
    )
    for companion, is_said, nothing in companions:
        if is_said and not files.has(companion_path(path, companion)):
            entry |= nothing
            changed = True
    return changed


def wanted_form(request: Request) -> str:
    """The form of a page that a client wants.

    Raises:
        HTTPException: none that there is.
    """
    accept = ",".join(request.headers.getlist("accept")) if "accept" in request.headers else None
    form = choose_page_type(accept)
    if form is None:
        raise HTTPException(406, f"pages are served as {', '.join(PAGE_TYPES)}", {"Vary": VARIES})
    return form


def redirect_to_normal(name: str) -> Response | None:
    """The redirection of a name that is not normalised; None: it is (PEP 503).

    Raises:
        HTTPException: no project can have this name.
    """
    if len(name) > _MOST_NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise HTTPException(404, "no project can have this name")
    return None if normalise(name) == name else _redirect(f"../{normalise(name)}/")


async def redirect_to_folder(request: Request) -> Response:
    """The redirection of a page without a slash at its end."""
    name = request.path_params.get("name", "simple")
    redirect_to_normal(name)
    return _redirect(f"{normalise(name)}/")


async def redirect_to_list(_: Request) -> Response:
    """The redirection of whoever opens the address of the server alone, as people do."""
    return _redirect("simple/")


def _redirect(relative: str) -> Response:
    """Relative, so that it is right below any path and name of a server."""
    return RedirectResponse(relative, 301, {"Cache-Control": HOUR_CACHED})
