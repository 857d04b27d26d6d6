"""`tuf-ledger sweep`: delete old metadata and pages that no client can reach."""

from datetime import timedelta

import click

from consumers.cli.options import Duration, on_ledger
from consumers.cli.shared import plural, print_json, progress, say
from consumers.context import Context
from consumers.sweep.sweeping import sweep as sweep_tree
from ledger.clock import SystemClock
from ledger.state.sweep_memory import Marks


@click.command()
@click.option("--dry-run", is_flag=True, help="Show which files would be deleted; delete and mark nothing.")
@click.option(
    "--grace",
    type=Duration(),
    default="7d",
    show_default=True,
    help="How long a file must have been marked as unreachable before a sweep deletes it.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Search every folder, not only those changed since the last sweep. Finds leftover files, too.",
)
@on_ledger
async def sweep(*, dry_run: bool, grace: timedelta, full: bool, context: Context, as_json: bool) -> None:
    """Delete old metadata and pages that no client can reach.

    A client can reach the files that the served timestamp leads to. A sweep marks all other versions; a later sweep
    deletes files that have been marked for the grace period (PEP 458, mark and sweep). The grace period must be longer
    than any client or cache holds on to a timestamp. Run a sweep once a day, and now and then with --full. Roots and
    distribution files are never deleted. Every deleted file can be rebuilt from the log.

    \b
    Example:
      tuf-ledger sweep --dry-run
      tuf-ledger sweep --grace 3d
      tuf-ledger sweep --full
    """
    with progress("Sweeping") as advance:
        async with Marks(context.state / "sweep.sqlite") as marks:
            swept = await sweep_tree(
                context.storage("sweep"),
                marks,
                now=SystemClock().now(),
                grace=grace,
                dry_run=dry_run,
                full=full,
                report=advance,
            )
    if as_json:
        print_json({"ok": True, **swept._asdict(), "dry_run": dry_run})
        return
    for path in swept.deleted[:20] if dry_run else ():
        say("would delete:", path)
    done, marked = ("Would delete", "more would be") if dry_run else ("Deleted", "were")
    click.echo(
        f"{done} {plural(len(swept.deleted), 'file')} ({swept.bytes / 2**20:,.1f} MiB); {swept.marked:,} {marked}"
        f" marked for a later sweep, {swept.kept:,} in use."
    )
