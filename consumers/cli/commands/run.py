"""`tuf-ledger run`: consumers until stopped."""

from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import ledger_options
from consumers.cli.shared import open_context, runs_async
from consumers.service import run as server
from consumers.sign.schedule import Schedule


@click.command()
@click.argument("consumers", nargs=-1, type=click.Choice(server.CONSUMERS))
@ledger_options
@click.option(
    "--clock-checked", is_flag=True, help="The clock is right although it is far ahead of the last publication."
)
@runs_async
async def run(*, consumers: tuple[str, ...], folder: Path, log: str | None, clock_checked: bool) -> None:
    """Run consumers (default: all) in this process until SIGTERM or Ctrl-C.

    \b
    signer      claims, signs and appends publications
    publisher   places published files into the public folder; in one process with the signer they share their work
    verifier    recomputes every publication without keys, and watches what is served

    Each also works as a process of its own, on its own machine.

    \b
    Example:
      tuf-ledger run --ledger my-index
      tuf-ledger run verifier --ledger my-index
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging)
    config = context.config.signer
    schedule = Schedule(
        interval_seconds=config.interval_seconds,
        grace_seconds=config.grace_seconds,
        clock_days=config.clock_days,
        clock_checked=clock_checked,
    )
    await server.run(context, consumers or server.CONSUMERS, schedule)
