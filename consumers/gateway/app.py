"""The gateway as an ASGI application: all routes, over what one ledger serves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from consumers.context import Context
from consumers.gateway.guarding import Guard
from consumers.gateway.metrics import Metrics
from consumers.gateway.public_files import PublicFiles
from consumers.gateway.simple_pages import SimplePages, redirect_to_folder, redirect_to_list
from ledger.clock import Clock, SystemClock

if TYPE_CHECKING:
    from consumers.gateway.past_pages import PastLimits, PastPages


@asynccontextmanager
async def open_app(
    public: Path,
    context: Context | None = None,
    *,
    clock: Clock | None = None,
    more: Sequence[BaseRoute] = (),
    past_limits: "PastLimits | None" = None,
) -> AsyncIterator[ASGIApp]:
    """An application over a public folder; what it has opened is closed at the end.

    Args:
        public: the folder.
        context: the ledger that it belongs to: with it, there is the index as it was, and how far consumers are behind.
        clock: the clock.
        more: more routes.
        past_limits: what earlier pages may take.
    """
    async with AsyncExitStack() as closing:
        files = PublicFiles(public)
        closing.callback(files.close)
        pages, metrics = SimplePages(files), Metrics(files, context, clock or SystemClock())
        routes = [*_routes(files, pages, metrics), *more]
        if context is not None:
            # SQLAlchemy: not for a folder alone.
            from consumers.gateway.past_pages import PAST_LIMITS, PastPages  # noqa: PLC0415

            past = PastPages(context, files, pages, clock or SystemClock(), limits=past_limits or PAST_LIMITS)
            closing.push_async_callback(past.close)
            routes += _past_routes(past, files)
        # Redirecting slashes, it would redirect to whatever host the client names.
        yield Guard(Router(routes, redirect_slashes=False), metrics)


def _routes(files: PublicFiles, pages: SimplePages, metrics: Metrics) -> list[BaseRoute]:
    return [
        Route("/metadata/{path:path}", files.metadata),
        Route("/targets/{path:path}", files.targets),
        Route("/packages/{path:path}", files.packages),
        Route("/", redirect_to_list),
        Route("/simple", redirect_to_folder),
        Route("/simple/", pages.project_list),
        Route("/simple/{name}", redirect_to_folder),
        Route("/simple/{name}/", pages.project),
        Route("/healthz", metrics.healthz),
        Route("/readyz", metrics.readyz),
        Route("/metrics", metrics.metrics),
    ]


def _past_routes(past: "PastPages", files: PublicFiles) -> list[BaseRoute]:
    return [
        Route("/at/{when}/simple", redirect_to_folder),
        Route("/at/{when}/simple/", past.project_list),
        Route("/at/{when}/simple/{name}", redirect_to_folder),
        Route("/at/{when}/simple/{name}/", past.project),
        Route("/at/{when}/packages/{path:path}", files.packages),
    ]
