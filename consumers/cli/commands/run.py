"""`tuf-ledger run`: run consumers until they are stopped."""

from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import ledger_options
from consumers.cli.shared import open_context, runs_async
from consumers.gateway.addresses import read_address
from consumers.service import run as server
from consumers.sign.schedule import Schedule


@click.command()
@click.argument("consumers", nargs=-1, type=click.Choice(server.CONSUMERS))
@ledger_options
@click.option(
    "--clock-checked",
    is_flag=True,
    help="Trust the clock although it is behind, or far ahead of, the last publication.",
)
@click.option(
    "--listen",
    metavar="ADDR",
    help="Serve the public folder over HTTP, too, as `tuf-ledger serve` does: HOST:PORT, [ADDRESS]:PORT or PORT.",
)
@runs_async
async def run(
    *, consumers: tuple[str, ...], folder: Path, log: str | None, clock_checked: bool, listen: str | None
) -> None:
    """Run consumers (default: all) until SIGTERM or Ctrl-C.

    \b
    signer      claims, signs and appends publications
    publisher   places published files into the public folder
    verifier    recomputes every publication without keys, and watches the served files
    catalog     fills the database that auditors ask: log, show, diff, blame, find, access

    Each consumer can run alone, on its own machine. A signer and a publisher in one process share their work.

    \b
    Example:
      tuf-ledger run --ledger my-index
      tuf-ledger run verifier --ledger my-index
      tuf-ledger run --listen 127.0.0.1:8080
    """
    listen_at = None if listen is None else read_address(listen)
    context = open_context(folder, log)
    configure_logging(context.config.logging)
    config = context.config.signer
    schedule = Schedule(
        interval_seconds=config.interval_seconds,
        grace_seconds=config.grace_seconds,
        clock_days=config.clock_days,
        clock_checked=clock_checked,
    )
    await server.run(context, consumers or server.CONSUMERS, schedule, listen_at=listen_at)
