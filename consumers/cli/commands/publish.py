"""`tuf-ledger publish`: one publication now."""

import click

from consumers.cli.answers import held_facts
from consumers.cli.options import on_ledger
from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context
from consumers.produce.waiting import describe_held
from consumers.service.publishing import publish_once, warn_of_own_folder
from consumers.sign.schedule import Schedule
from projections.publications import held


@click.command()
@click.option(
    "--clock-checked",
    is_flag=True,
    help="Trust the clock although it is behind, or far ahead of, the last publication.",
)
@click.option("--renew", is_flag=True, help="Publish a new timestamp and snapshot even if nothing is new.")
@on_ledger
async def publish(*, context: Context, clock_checked: bool, renew: bool, as_json: bool) -> None:
    """Make one publication of everything appended so far, and exit.

    Claims a number, signs the files and places them. Does nothing if nothing is new and nothing is about to expire.

    \b
    Example:
      tuf-ledger publish --ledger my-index
    """
    schedule = Schedule(
        interval_seconds=0,
        grace_seconds=0,
        clock_days=context.config.signer.clock_days,
        clock_checked=clock_checked,
        renew_now=renew,
    )
    warn_of_own_folder(context)
    with progress("Publishing") as advance:
        made, follower = await publish_once(context, schedule, report=advance)
    head, now = follower.head, held(follower.head.content_size, follower.tail.end)
    if as_json:
        facts = {"publication": head.number, "time": head.time, "size": head.size, "content_size": head.content_size}
        print_json({"ok": True, "made": made, **facts, **held_facts(now)})
    elif made:
        click.echo(f"Publication {head.number} covers {plural(head.size, 'event')}, as of {head.time}.")
    else:
        click.echo(f"Nothing is new since publication {head.number} ({plural(head.size, 'event')}, {head.time}).")
    if now is not None and not as_json:
        click.echo(f"{describe_held(now).capitalize()}. `tuf-ledger unhold` releases a hold.")
