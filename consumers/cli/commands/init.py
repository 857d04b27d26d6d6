"""`tuf-ledger init`: a new ledger."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

import click

from consumers.ceremonies.creating import Wish, create, prepare
from consumers.cli.logs import configure_logging
from consumers.cli.options import Duration, json_option, read_layout, seconds
from consumers.cli.shared import Usage, print_json, runs_async, say
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from projections.metadata.paths import metadata_path
from projections.roles.authority import Settings
from schemas.fields import is_origin


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--origin", metavar="NAME", help="The ledger's name: a URL without its scheme.  [default: localhost/DIR]")
@click.option(
    "--log",
    "log_url",
    metavar="URL",
    help="Location of the logs: sqlite:FOLDER or kafka://HOST:PORT/PREFIX.  "
    "[default: TUF_LEDGER_LEDGER_LOG, or sqlite:log]",
)
@click.option(
    "--bins",
    default=16,
    show_default=True,
    help="Number of bins, a power of two from 2 to 65,536. An index of PyPI's size needs 16,384.",
)
@click.option(
    "--delegation",
    type=click.Choice(["succinct", "prefixes"]),
    default="succinct",
    show_default=True,
    help="How bins are delegated: succinct roles (TAP 15), or path hash prefixes (for tough; at most 256 bins).",
)
@click.option("--bin-expiry", type=Duration(), default="7d", show_default=True, help="How long a bin is valid.")
@click.option(
    "--snapshot-expiry", type=Duration(), default="1d", show_default=True, help="How long a snapshot is valid."
)
@click.option(
    "--timestamp-expiry", type=Duration(), default="1d", show_default=True, help="How long a timestamp is valid."
)
@click.option(
    "--html/--no-html", default=True, show_default=True, help="Whether to publish pages as HTML, besides JSON."
)
@click.option(
    "--project-list-interval",
    type=Duration(),
    default="0s",
    show_default=True,
    help="Shortest time between two lists of all projects. From about ten thousand projects on, use 1h.",
)
@click.option(
    "--importing",
    is_flag=True,
    help="For `import`: allow filenames and versions of older forms (`legacy`), and show upload times as uploads say "
    "them, until `ceremony --end-importing`.",
)
@click.option("--replication-factor", default=3, show_default=True, help="Number of copies of each Kafka topic.")
@json_option
@runs_async
async def init(
    *,
    folder: Path,
    origin: str | None,
    log_url: str | None,
    bins: int,
    delegation: Literal["succinct", "prefixes"],
    bin_expiry: timedelta,
    snapshot_expiry: timedelta,
    timestamp_expiry: timedelta,
    html: bool,
    project_list_interval: timedelta,
    importing: bool,
    replication_factor: int,
    as_json: bool,
) -> None:
    """Create a new ledger in DIR and make its first publication.

    Signs the offline roles with development keys, and leaves these in DIR/keys. Development keys are for trying things
    out; do not use them in production. Existing files are never overwritten. Existing topics are used if they are
    empty. Set the environment variables TUF_LEDGER_KAFKA_… to reach a broker.

    \b
    Example:
      tuf-ledger init my-index --origin packages.example.org --bins 256
    """
    settings = Settings(
        ruleset=0,
        bin_expiry_seconds=seconds(bin_expiry, "--bin-expiry"),
        snapshot_expiry_seconds=seconds(snapshot_expiry, "--snapshot-expiry"),
        timestamp_expiry_seconds=seconds(timestamp_expiry, "--timestamp-expiry"),
        html_pages=html,
        project_list_seconds=seconds(project_list_interval, "--project-list-interval", least=0, most=7),
        importing=importing,
    )
    layout = read_layout(bins, succinct=delegation == "succinct")
    name = origin or "localhost/" + (re.sub(r"[^A-Za-z0-9._-]", "-", folder.absolute().name).lstrip("._-") or "ledger")
    if not is_origin(name):
        raise Usage(f"{name!r} is not an origin: use letters, digits, and . _ : / - after the first character")
    context = prepare(folder, log_url)
    configure_logging(context.config.logging, default_level="warning")
    await create(context, Wish(name, layout, settings, replication_factor))
    _, follower = await publish_once(context, Schedule(interval_seconds=0))
    if as_json:
        print_json(
            {
                "ok": True,
                "ledger": follower.ledger.digest,
                "origin": name,
                "root_sha256": follower.ledger.root_sha256,
                "publication": follower.head.number,
            }
        )
        return
    click.echo(f"Ledger {name} is in {folder}.")
    click.echo(f"  identity      {follower.ledger.digest}")
    click.echo(f"  first root    {context.public / metadata_path('root', 1)}")
    click.echo(f"                SHA-256 {follower.ledger.root_sha256}")
    click.echo("                Hand this file to clients and auditors over a channel they trust.")
    lie = f"they are stored in {context.path('keys')} without a password."
    say("Its keys are development keys:", lie, style="yellow")
    where = "" if folder == Path() else f" --ledger {folder}"
    first = f"import{where} SOURCE" if importing else f"add{where} FILE…"
    click.echo(f"Next: `tuf-ledger {first}`, then `tuf-ledger publish{where}`.")
