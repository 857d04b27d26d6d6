"""The gateway as a loop: opened, served until stopped, closed."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from consumers.context import Context
from consumers.gateway.addresses import Address, is_loopback, listening
from ledger.config import ConfigError, GatewaySection

log = structlog.get_logger()


async def run_gateway(public: Path, context: Context | None, address: Address, stop: asyncio.Event) -> None:
    """Serve until stopped.

    Args:
        public: the folder that is served.
        context: the ledger that it belongs to; None: there is only the folder.
        address: where to listen.
        stop: set when it shall end.

    Raises:
        ConfigError: what it needs is not installed, or the address cannot be used.
        InUseError: another process listens at the address.
    """
    try:
        from consumers.gateway.app import open_app  # noqa: PLC0415  # an extra: only this consumer needs it
        from consumers.gateway.connections import Certificate, serve  # noqa: PLC0415
        from consumers.gateway.event_routes import open_event_routes  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"what serves over HTTP is not installed ({error.name}): in the project's folder run pip install '.[serve]'"
        ) from error
    section = GatewaySection() if context is None else context.config.gateway
    async with AsyncExitStack() as closing:
        sockets = closing.enter_context(listening(address))
        more = [] if context is None else await closing.enter_async_context(open_event_routes(context, stop))
        certificate = None
        if context is not None and section.certfile:
            keyfile = section.keyfile or section.certfile
            certificate = Certificate(str(context.path(section.certfile)), str(context.path(keyfile)))
            certificate.check()
        elif section.keyfile:
            raise ConfigError("[gateway] keyfile is the key of a certificate: name that as certfile, or leave both out")
        app = await closing.enter_async_context(open_app(public, context, more=more))
        scheme = "http" if certificate is None else "https"
        urls = [f"{scheme}://{Address(*each.getsockname()[:2])}/" for each in sockets]
        log.info("gateway started", urls=urls, public=str(public), takes_events=bool(more))
        if certificate is None and not is_loopback(sockets):
            log.warning("others can connect, over plain HTTP: put a server with TLS before this one", urls=urls)
        await serve(app, sockets, stop, certificate=certificate)
