"""The index as it was: `/at/PUBLICATION/simple/…` and `/at/TIME/simple/…`, of the catalog.

A page is the one of that publication, but for files that are withheld now: their bytes are not to be had. The catalog
is opened when somebody first asks, and filled up to the publication that is served.
"""

import asyncio
from collections.abc import Hashable
from contextlib import AsyncExitStack
from typing import Final, NamedTuple
from weakref import finalize

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from consumers.catalog.asking import choose_catalog, open_filling
from consumers.catalog.filling import Filling
from consumers.catalog.remaking import Remaking
from consumers.context import Context
from consumers.gateway.answering import HOUR_CACHED, SECONDS_CACHED, Rendition, answer_rendition
from consumers.gateway.public_files import PublicFiles
from consumers.gateway.simple_pages import VARIES, SimplePages, redirect_to_normal, wanted_form
from consumers.render.outlets import served_version
from ledger.catalog import publication_rows
from ledger.catalog.database import Connection, Database
from ledger.catalog.writing import PublicationRow
from ledger.clock import Clock, to_instant
from projections.metadata.paths import TIMESTAMP
from schemas.errors import LedgerError
from schemas.fields import is_instant

RETRY_SECONDS: Final = 5


class PastLimits(NamedTuple):
    """What earlier pages may take.

    `at_once`: how many questions are asked of the catalog at a time. `waiting`: how many there are at most, with those
    that wait; more are sent away. `patience_seconds`: how long a request waits for the catalog to be filled.
    `memory_bytes`: how much pages may take that are kept or are being sent; while they take more, none is made.
    """

    at_once: int = 4
    waiting: int = 64
    patience_seconds: float = 5.0
    memory_bytes: int = 256 * 2**20


PAST_LIMITS: Final = PastLimits()

log = structlog.get_logger()


class PagesState(NamedTuple):
    """What the bytes of an earlier page depend on: its publication, and the last one, which says what is withheld."""

    number: int
    last: int


class PastPages:
    """Pages of earlier publications. Used by one event loop."""

    def __init__(
        self,
        context: Context,
        files: PublicFiles,
        pages: SimplePages,
        clock: Clock,
        *,
        limits: PastLimits = PAST_LIMITS,
    ) -> None:
        self._context = context
        self._files = files
        self._pages = pages
        self._clock = clock
        self._limits = limits
        self._open = AsyncExitStack()
        self._filling: Filling | None = None
        self._database: Database | None = None
        self._task: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(limits.at_once)
        self._waiting = 0
        self._bytes = 0

    async def close(self) -> None:
        """Close catalog and logs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._open.aclose()

    # --- routes --------------------------------------------------------------------------------------------------

    async def project_list(self, request: Request) -> Response:
        """`/at/WHEN/simple/`."""
        return await self._answer(request, None)

    async def project(self, request: Request) -> Response:
        """`/at/WHEN/simple/NAME/`."""
        name = request.path_params["name"]
        return redirect_to_normal(name) or await self._answer(request, name)

    async def _answer(self, request: Request, name: str | None) -> Response:
        form, when = wanted_form(request), request.path_params["when"]
        self._check(when)
        if self._waiting >= self._limits.waiting:
            raise _later("too many ask for earlier pages")
        self._waiting += 1
        try:
            async with self._places:
                moment, rendition = await self._find(await self._filled(), when, name, form)
        finally:
            self._waiting -= 1
        # Only what is withheld later changes an earlier page.
        cache = HOUR_CACHED if moment.number < moment.last else SECONDS_CACHED
        return answer_rendition(request, rendition, cache, VARIES)

    async def _find(self, database: Database, when: str, name: str | None, form: str) -> tuple[PagesState, Rendition]:
        found = await database.run(_find_moment, when)
        if found is None:
            raise HTTPException(404, f"there is no publication {when}" if when.isdigit() else "there was no index yet")
        rendition = self._files.renditions.get(_key(found, name, form))
        if rendition is not None:
            return found, rendition
        # Each of them may be a large one, and its reader a slow one.
        if self._bytes >= self._limits.memory_bytes:
            raise _later("too many read earlier pages")
        moment, page = await database.run(_ask, found.number, name)
        if page is None:
            raise HTTPException(404, f"publication {moment.number} has no such project")
        rendition = await self._pages.render(_key(moment, name, form), lambda: page, form)
        self._bytes += rendition.size
        finalize(rendition, self._forget, rendition.size).atexit = False
        return moment, rendition

    def _forget(self, size: int) -> None:
        """A page is no longer in memory."""
        self._bytes -= size

    def _check(self, when: str) -> None:
        if is_instant(when):
            if when > to_instant(self._clock.now()):
                raise HTTPException(404, f"{when} is yet to come")
        elif not (when.isascii() and when.isdigit() and len(when) < 16 and when[0] != "0"):
            raise HTTPException(404, "after /at/, write a publication's number or a UTC time as 2026-11-21T10:00:00Z")

    # --- the catalog ---------------------------------------------------------------------------------------------

    async def _filled(self) -> Database:
        """The catalog, filled up to what is served.

        Raises:
            HTTPException: it takes longer.
            LedgerError: logs or catalog cannot be used.
        """
        served = served_version(await self._files.read(TIMESTAMP))
        if self._filling is None or self._filling.number < served:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._fill(served))
                self._task.add_done_callback(_retrieve)
            try:
                await asyncio.wait_for(asyncio.shield(self._task), self._limits.patience_seconds)
            except TimeoutError:
                raise _later("the catalog is being filled") from None
        if self._database is None:
            raise AssertionError("it was opened")
        return self._database

    async def _fill(self, number: int) -> None:
        """Open the catalog, and fill it up to a publication, if there is one; after an error, close it."""
        try:
            if self._filling is None:
                database, is_private = await choose_catalog(self._context)
                filling = await self._open.enter_async_context(
                    open_filling(self._context, database, is_private=is_private)
                )
                self._database, self._filling = database, filling
                log.info("catalog opened for earlier pages", publication=filling.number)
            while self._filling.number < number and await self._filling.step():
                pass
        except (LedgerError, OSError):
            self._filling = self._database = None
            await self._open.aclose()
            self._open = AsyncExitStack()
            raise


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take note of an error that no request waited for: the next one tries again."""
    if not task.cancelled() and task.exception() is not None:
        log.warning("the catalog for earlier pages cannot be filled", why=str(task.exception()))


def _key(moment: PagesState, name: str | None, form: str) -> Hashable:
    return ("at", *moment, name, form)


def _find_moment(connection: Connection, when: str) -> PagesState | None:
    row, last = _publication(connection, when), publication_rows.last_publication(connection)
    return None if row is None or last is None else PagesState(row.number, last.number)


def _ask(connection: Connection, number: int, name: str | None) -> tuple[PagesState, bytes | None]:
    """The page of a project, or the list of all, in a publication; None: it shows none."""
    row, last = publication_rows.load_publication(connection, number), publication_rows.last_publication(connection)
    if row is None or last is None:  # voided, in this moment
        return PagesState(number, number), None
    remaking = Remaking(connection)
    page = remaking.project_list(row) if name is None else remaking.page(name, row, without_withheld=True)
    return PagesState(number, last.number), page


def _publication(connection: Connection, when: str) -> PublicationRow | None:
    if when.isdigit():
        return publication_rows.load_publication(connection, int(when))
    return publication_rows.publication_at(connection, when)


def _later(why: str) -> HTTPException:
    return HTTPException(503, f"{why}: try again soon", {"Retry-After": f"{RETRY_SECONDS}"})
