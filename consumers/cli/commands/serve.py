"""`tuf-ledger serve`: the gateway alone."""

from pathlib import Path

import click
from click.core import ParameterSource

from consumers.cli.logs import configure_logging
from consumers.cli.options import ledger_options
from consumers.cli.shared import Usage, open_context, runs_async
from consumers.gateway.addresses import DEFAULT_ADDRESS, read_address
from consumers.service import run as server
from ledger.config import LoggingSection


@click.command()
@click.option(
    "--listen",
    metavar="ADDR",
    default=DEFAULT_ADDRESS,
    show_default=True,
    help="Where to listen: HOST:PORT, [ADDRESS]:PORT for IPv6, or PORT for this machine alone.",
)
@click.option(
    "--public",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Serve this folder, without a ledger: there are no earlier pages, and no figures about the log.",
)
@ledger_options
@runs_async
async def serve(*, listen: str, public: Path | None, folder: Path, log: str | None) -> None:
    """Serve the public folder over HTTP, to installers, browsers and TUF clients, until SIGTERM or Ctrl-C.

    \b
    /simple/                    the index for pip and uv, as JSON or HTML
    /packages/                  distribution files, with metadata and provenance beside them
    /metadata/, /targets/       for TUF clients
    /at/PUBLICATION/simple/     the index as it was, also /at/TIME/simple/
    /healthz, /readyz, /metrics for monitors

    It speaks plain HTTP, or HTTPS if `[gateway] certfile` is set. For others than this machine, put a server with TLS
    before it, such as nginx or Caddy (files for both are in `deploy`). It needs the extra `serve`: in the project's
    folder, run pip install '.[serve]'.

    \b
    Example:
      tuf-ledger serve --ledger my-index
      tuf-ledger serve --public public --listen '[::1]:8080'
      pip install --index-url http://127.0.0.1:8080/simple/ six
    """
    listen_at = read_address(listen)
    if public is not None:
        given = click.get_current_context().get_parameter_source
        if {given("folder"), given("log")} & {ParameterSource.COMMANDLINE}:
            raise Usage("--public serves a folder without a ledger: leave out --ledger and --log, or --public")
        configure_logging(LoggingSection())
        await server.serve(public, None, listen_at)
        return
    context = open_context(folder, log)
    configure_logging(context.config.logging)
    await server.serve(context.public, context, listen_at)
