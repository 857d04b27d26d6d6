"""`tuf-ledger init`: a new ledger."""

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import click

from consumers.ceremonies.development import DevelopmentKeys, ledger_created, make_plan, roles_signed, sign_plan
from consumers.cli.shared import Duration, Usage, configure_logging, json_option, print_json, runs_async, say
from consumers.context import Context
from consumers.service.run import publish_once
from consumers.sign.schedule import Schedule
from ledger.clock import SystemClock
from ledger.config import Config, ConfigError, LedgerSection, write_config
from projections.metadata.bins import Layout
from projections.roles.authority import MAX_BITS_PREFIXES, MAX_BITS_SUCCINCT, Settings
from schemas.codec import encode_event
from schemas.fields import is_origin


class Wish(NamedTuple):
    """What the new ledger is to be."""

    folder: Path
    origin: str
    log: str
    layout: Layout
    settings: Settings
    replication_factor: int


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--origin", metavar="NAME", help="The ledger's name: a URL without its scheme.  [default: localhost/DIR]")
@click.option(
    "--log",
    "log_url",
    default="sqlite:log",
    show_default=True,
    metavar="URL",
    help="Where the logs are: sqlite:FOLDER or kafka://HOST:PORT/PREFIX.",
)
@click.option(
    "--bins",
    default=16,
    show_default=True,
    help="Number of bins, a power of two from 2 to 65,536. PyPI's size needs 16,384.",
)
@click.option(
    "--delegation",
    type=click.Choice(["succinct", "prefixes"]),
    default="succinct",
    show_default=True,
    help="How bins are delegated: by succinct roles (TAP 15), or by path hash prefixes (for tough; at most 256 bins).",
)
@click.option("--bin-expiry", type=Duration(), default="7d", show_default=True, help="How long a bin is valid.")
@click.option("--snapshot-expiry", type=Duration(), default="1d", show_default=True, help="How long a snapshot is.")
@click.option("--timestamp-expiry", type=Duration(), default="1d", show_default=True, help="How long a timestamp is.")
@click.option("--html/--no-html", default=True, show_default=True, help="Whether pages are targets as HTML too.")
@click.option(
    "--project-list-interval",
    type=Duration(),
    default="0s",
    show_default=True,
    help="Least time between two lists of all projects: an hour, from some ten thousand projects on.",
)
@click.option("--replication-factor", default=3, show_default=True, help="Copies of each Kafka topic.")
@json_option
@runs_async
async def init(
    *,
    folder: Path,
    origin: str | None,
    log_url: str,
    bins: int,
    delegation: Literal["succinct", "prefixes"],
    bin_expiry: timedelta,
    snapshot_expiry: timedelta,
    timestamp_expiry: timedelta,
    html: bool,
    project_list_interval: timedelta,
    replication_factor: int,
    as_json: bool,
) -> None:
    """Make a new ledger in DIR, and its first publication.

    The offline roles are signed in a development ceremony with keys in DIR/keys: good for trying things out, worth
    nothing in production. Nothing that exists is overwritten.

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
    )
    layout = read_layout(bins, succinct=delegation == "succinct")
    name = origin or "localhost/" + (re.sub(r"[^A-Za-z0-9._-]", "-", folder.absolute().name).lstrip("._-") or "ledger")
    if not is_origin(name):
        raise Usage(f"{name!r} is no origin: letters, digits, and . _ : / - after the first character")
    configure_logging(Config().logging, default_level="warning")
    context = await _create(Wish(folder, name, log_url, layout, settings, replication_factor))
    _, follower = await publish_once(context, Schedule(interval_seconds=0))
    if as_json:
        print_json(
            {
                "ledger": follower.ledger.digest,
                "origin": name,
                "root_sha256": follower.ledger.root_sha256,
                "publication": follower.head.number,
            }
        )
        return
    click.echo(f"Ledger {name} is in {folder}.")
    click.echo(f"  identity      {follower.ledger.digest}")
    click.echo(f"  first root    {context.public / 'metadata' / '1.root.json'}")
    click.echo(f"                SHA-256 {follower.ledger.root_sha256}")
    click.echo("                Hand it to clients and auditors over a channel they trust.")
    lie = f"they lie in {context.path('keys')} without a password."
    say("Its keys are development keys:", lie, style="yellow")
    where = "" if folder == Path() else f" --ledger {folder}"
    click.echo(f"Next: `tuf-ledger add{where} FILE…`, then `tuf-ledger publish{where}`.")


def read_layout(bins: int, *, succinct: bool) -> Layout:
    """A layout with so many bins.

    Raises:
        Usage: that is no power of two, or too many.
    """
    bits = bins.bit_length() - 1
    most = MAX_BITS_SUCCINCT if succinct else MAX_BITS_PREFIXES
    if bins != 1 << max(bits, 0) or not 1 <= bits <= most:
        raise Usage(f"{bins} bins: it must be a power of two from 2 to {1 << most:,}")
    return Layout(bits, succinct=succinct)


def seconds(duration: timedelta, option: str, *, least: int = 10, most: int = 366) -> int:
    """A duration in seconds.

    Raises:
        Usage: it is shorter than so many seconds, or longer than so many days.
    """
    count = int(duration.total_seconds())
    if not least <= count <= most * 86_400:
        raise Usage(f"{option} must be from {least} seconds to {most} days")
    return count


async def _create(wish: Wish) -> Context:
    """Keys, logs with their first two records, and the configuration, which is written last."""
    folder = wish.folder
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; a ledger needs a folder of its own")
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(folder, Config(ledger=LedgerSection(log=wish.log)))
    try:
        keys, now = DevelopmentKeys(folder / "keys"), SystemClock().now()
        keys.create()
        plan = make_plan(keys, keys.online_keys(), wish.layout, wish.settings, now=now)
        documents = sign_plan(keys, plan, None)
        logs = await context.create_logs(wish.replication_factor)
        first = ledger_created(wish.origin, documents, now)
        ceremony = roles_signed(documents, now, "development ceremony of `tuf-ledger init`")
        try:
            await logs.events.append([encode_event(first), encode_event(ceremony)])
        finally:
            await logs.close()
        write_config(folder, wish.log)
    except BaseException:
        # Half a ledger is of no use, and what is in the folder is all ours.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not existed:
            folder.rmdir()
        raise
    return context
