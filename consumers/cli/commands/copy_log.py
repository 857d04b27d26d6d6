"""`tuf-ledger copy-log`: a ledger moves to other logs."""

from pathlib import Path

import click
from msgspec.structs import replace

from consumers.backup.moving import Copied, StillGrowsError, moving
from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option
from consumers.cli.shared import Usage, plural, print_json, progress, runs_async
from consumers.context import Context
from ledger.config import LedgerSection, load_config
from ledger.logs.urls import absolute_log

WAIT_SECONDS = 1.0


_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--from-settings",
    metavar="DIR",
    type=_FOLDER,
    help="Take the section [kafka] for FROM from DIR/ledger.toml, and not from the environment.  "
    "[default: the environment, and ledger.toml in the working directory]",
)
@click.option("--to-settings", metavar="DIR", type=_FOLDER, help="The same for TO.")
@click.option(
    "--replication-factor", default=3, show_default=True, help="Number of copies of each Kafka topic that is created."
)
@click.option("--follow", is_flag=True, help="Go on copying what is appended to FROM, until Ctrl-C or SIGTERM.")
@click.option("--dry-run", is_flag=True, help="Compare, say what would be copied, and change nothing.")
@json_option
@runs_async
async def copy_log(
    *,
    source: str,
    target: str,
    from_settings: Path | None,
    to_settings: Path | None,
    replication_factor: int,
    follow: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy both logs of a ledger to another place, where it goes on: from SQLite to Kafka, back, or to a new cluster.

    FROM and TO are sqlite:FOLDER or kafka://HOST:PORT/PREFIX. What does not exist at TO is created: topics get the
    settings of `tuf-ledger init`. Records come there unchanged, in the same order, and each is read back and compared.
    So it is the same ledger, with the same identity, and every proof about it holds.

    Run the command again after an interruption: it compares what is there, and goes on. It refuses logs at TO that have
    another ledger, other records, or more records than FROM.

    Whoever appends to FROM may go on meanwhile. Exit code 75 says that FROM has grown: stop what appends and signs, and
    run the command once more. Then switch everything over to TO (docs/operators.md, "Moving to Kafka").

    \b
    Example:
      tuf-ledger copy-log sqlite:my-index/log kafka://broker:9092/my-index
      tuf-ledger copy-log --from-settings old kafka://old:9092/my-index kafka://new:9092/my-index
    """
    if follow and dry_run:
        raise Usage("--follow and --dry-run exclude each other: use one of them")
    before, after = _context(source, from_settings), _context(target, to_settings)
    if before.config.ledger.log == after.config.ledger.log:
        raise Usage("FROM and TO are the same logs")
    configure_logging(after.config.logging, default_level="warning")
    with progress("Copying") as advance:
        async with moving(before, after, replication_factor, advance, rehearses=dry_run) as move:
            done = await move.go_on()
            while follow:
                if done.is_new:
                    _print(done, target, as_json=as_json, dry_run=False)
                await move.wait(WAIT_SECONDS)
                done = await move.go_on()
    if done.grown and not dry_run:
        raise StillGrowsError(
            f"{source} has grown by {plural(done.grown, 'record')} meanwhile, which the copy does not have yet. Stop "
            "what appends and signs there, and give the same command again: it goes on from here",
            **_facts(done),
        )
    _print(done, target, as_json=as_json, dry_run=dry_run)


def _context(url: str, settings: Path | None) -> Context:
    folder = settings or Path()
    config = load_config(folder) if settings is None else load_config(folder, {})
    section = LedgerSection(log=absolute_log(url))
    context = Context(folder, replace(config, ledger=section), is_elsewhere=True)
    context.check_log()
    return context


def _facts(done: Copied) -> dict[str, object]:
    return {"ledger": done.ledger, **done.appended, "sizes": done.sizes, "root_hash": done.root_hash}


def _print(done: Copied, target: str, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        print_json({"ok": True, **_facts(done), "dry_run": dry_run})
        return
    events, records = plural(done.appended["events"], "event"), plural(done.appended["publications"], "record")
    if dry_run:
        click.echo(f"{events} and {records} of publications would be copied to {target}. Nothing was changed.")
        return
    if done.is_new:
        click.echo(f"Copied {events} and {records} of publications; each was read back and compared.")
    else:
        click.echo("Nothing was missing.")
    click.echo(
        f"{target} holds {plural(done.sizes['events'], 'event')} and {plural(done.sizes['publications'], 'record')} of "
        "publications, as FROM does."
    )
    click.echo(f"  identity      {done.ledger}")
    click.echo(f"  Merkle root   {done.root_hash}")
    first = (
        "stop what appends and signs, run this once more"
        if done.is_new
        else "see that nothing appends or signs any more"
    )
    click.echo(f'Next: {first}, and name the copy in every ledger.toml (docs/operators.md, "Moving to Kafka").')
