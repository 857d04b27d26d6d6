"""`tuf-ledger restore-backup`: a ledger comes back from what `tuf-ledger backup` wrote."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from msgspec.structs import replace
from securesystemslib.signer import SSlibKey

from consumers.backup.backing_up import FIRST_ROOT
from consumers.backup.moving import moving
from consumers.backup.restoring import (
    Backup,
    check_stopped,
    choose_log,
    choose_settings,
    find_keys,
    newest_seen,
    read_backup,
    refuse_older,
    served_setting,
    take_keys,
    write_settings,
)
from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option
from consumers.cli.shared import Usage, plural, print_json, progress, runs_async, say, wants_json
from consumers.context import Context
from consumers.reading.end import prefix_at_end
from consumers.rebuild.choosing import At
from consumers.rebuild.rebuilding import rebuild
from consumers.sign.resuming import note_lost
from consumers.verify.verifying import Verified, VerifyOptions, verify
from ledger.config import load_config
from ledger.disk.files import writing
from ledger.storage import ServedFiles
from schemas.errors import DisagreementError, NegativeAnswerError

SHOWN = 20
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


class _Order(NamedTuple):
    """What is restored, and how."""

    backup: Backup
    target: Context
    root: bytes | None
    keys: Path | None
    files: Path | None
    copies: int
    needed: Sequence[SSlibKey]


@click.command()
@click.argument("backup", metavar="DIR", type=_FOLDER)
@click.option(
    "--to",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="The ledger's folder: a new one, or one that has lost something.",
)
@click.option(
    "--log",
    "log_url",
    metavar="URL",
    help="Where the logs go: sqlite:FOLDER or kafka://HOST:PORT/PREFIX.  [default: as ledger.toml says]",
)
@click.option("--replication-factor", default=3, show_default=True, help="Number of copies of each Kafka topic.")
@click.option(
    "--keys",
    metavar="FOLDER",
    type=_FOLDER,
    help="Where copies of the online keys are (KEYID.pem). Asked for on a terminal.",
)
@click.option(
    "--files",
    metavar="FOLDER",
    type=_FOLDER,
    help="A public folder to take distribution files from; no backup has them.",
)
@click.option(
    "--root",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The first root that you handed out.  [default: the one in the backup]",
)
@click.option(
    "--served",
    metavar="FOLDER|URL",
    help="What clients see now.  [default: [signer] served if that is a URL, else the public folder]",
)
@click.option("--lost", is_flag=True, help="Go on although clients have seen what the backup does not have.")
@click.option("--dry-run", is_flag=True, help="Check everything, and write nothing.")
@json_option
@runs_async
async def restore_backup(
    *,
    backup: Path,
    folder: Path,
    log_url: str | None,
    replication_factor: int,
    keys: Path | None,
    files: Path | None,
    root: Path | None,
    served: str | None,
    lost: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring a ledger back into FOLDER from DIR, which `tuf-ledger backup` wrote.

    First the backup is verified, and compared with what clients and this machine have seen: an older one is refused.
    Then its logs are copied, each record compared, and never over other or more publications; events that are there
    and that the backup does not have stay. Configuration and online keys are put in place. What is served is rebuilt
    and verified. What FOLDER has already is left as it is.

    Stop everything that appends and signs before. Nothing is signed. After an interruption, give the command again.

    \b
    Example:
      tuf-ledger restore-backup my-index-copy --to my-index --keys my-index-keys --files my-index-store
      tuf-ledger restore-backup my-index-copy --to my-index --log kafka://broker:9092/my-index --dry-run
    """
    if folder.resolve().is_relative_to(backup.resolve()):
        raise Usage("--to must be another folder than the backup, and not in it")
    found = await read_backup(backup)
    url = choose_log(found, folder, log_url)
    config = load_config(folder) if (folder / "ledger.toml").exists() else found.config
    target = Context(folder, replace(config, ledger=replace(config.ledger, log=url)))
    target.check_log()
    settings = choose_settings(found, folder, url)
    if not dry_run:
        check_stopped(target)
    configure_logging(config.logging, default_level="error")
    trusted = found.root if root is None else root.read_bytes()
    checked = await _verify(found.context, trusted, None, files=False)
    authority = (await prefix_at_end(found.context)).authority
    root_version = authority.root.version if authority else 0
    needed = [key for key in authority.online.keys if key.keyid not in config.signer.uris] if authority else []
    if keys is not None:
        find_keys(keys, needed)
    order = _Order(found, target, trusted, keys, files, replication_factor, needed)
    seen = await newest_seen(target, served_setting(found, served), root_version)
    facts: dict[str, Any] = {"ledger": checked.ledger, "publication": checked.last, "anchored": checked.anchored}
    if not lost:
        refuse_older(seen, checked.last, root_version)
    facts |= await _copy(order, rehearses=dry_run) | {"dry_run": dry_run}
    if not dry_run:
        _note_lost(target, seen.number, checked.last)
        write_settings(settings, folder, url)
        facts |= await _put_in_place(order)
    above = max(seen.number, checked.last)
    if above > checked.last:
        facts["above"] = above
    if not as_json:
        _print(facts, folder, trusted)
    if facts.get("differences") and not lost:
        raise NegativeAnswerError(
            "the ledger is restored, but what was in its public folder is not what the log says (docs/operators.md, "
            "'What is served is damaged')",
            **facts,
        )
    if as_json:
        print_json({"ok": True, **facts})


def _note_lost(context: Context, seen: int, last: int) -> None:
    """Let no signer of the folder use the number of a lost publication again, although nothing of it is left there."""
    if seen > last:
        note_lost(context.state, seen)


async def _verify(context: Context, root: bytes | None, served: ServedFiles | None, *, files: bool) -> Verified:
    with progress("Verifying") as advance:
        try:
            return await verify(context, VerifyOptions(None, None, root, served, files), advance)
        except DisagreementError as error:
            raise NegativeAnswerError(f"{error}. The backup is not good: use another one") from error


async def _copy(order: _Order, *, rehearses: bool) -> dict[str, Any]:
    with progress("Copying") as advance:
        async with moving(
            order.backup.context, order.target, order.copies, advance, rehearses=rehearses, keeps_events=True
        ) as move:
            copied = await move.go_on()
    return {**copied.appended, "sizes": copied.sizes, "root_hash": copied.root_hash}


async def _put_in_place(order: _Order) -> dict[str, Any]:
    """Keys and what is served; returns what is missing of both, and what differs from the log."""
    context, needed = order.target, order.needed
    keys = context.path(context.config.signer.keys)
    lacking = take_keys(order.keys, keys, needed)
    if lacking and order.keys is None and sys.stdin.isatty() and not wants_json():
        asked = click.prompt("Folder with copies of the online keys (empty: none)", default="", err=True)
        lacking = take_keys(Path(asked), keys, needed) if asked else lacking
    missing: list[str] = []
    if not context.public.exists() or not any(context.public.iterdir()):
        with writing(context.public):
            context.public.parent.mkdir(parents=True, exist_ok=True)
        with progress("Rebuilding") as advance:
            files = order.files or context.public  # which is empty: so it is said which files are missing
            rebuilt = await rebuild(context, context.public, At(), all_versions=False, files=files, report=advance)
        missing = rebuilt.missing
    verified = await _verify(context, order.root, context.served(str(context.public.resolve())), files=False)
    return {"keyids": lacking, "missing": missing, "differences": [each._asdict() for each in verified.differences]}


def _print(facts: dict[str, Any], folder: Path, root: bytes | None) -> None:
    sizes = facts["sizes"]
    held = f"{plural(sizes['events'], 'event')}, {plural(sizes['publications'], 'record')} of publications"
    if root is None or not facts["anchored"]:
        say(
            "not anchored:",
            f"the backup has no {FIRST_ROOT}: give --root with the one that you handed out",
            style="yellow",
        )
    if facts["dry_run"]:
        click.echo(
            f"The backup is good ({held}), and ends with publication {facts['publication']}. Nothing was written."
        )
        return
    click.echo(f"{folder} holds the ledger as of publication {facts['publication']} ({held}).")
    _list("no copy of this file was found:", facts["missing"])
    if facts["missing"]:
        click.echo("Store them with `tuf-ledger add`, or begin anew in another folder, with --files.")
    _list("not what the log says:", [f"{each['problem']}: {each['path']}" for each in facts["differences"]])
    for keyid in facts["keyids"]:
        say("an online key is missing:", f"put {keyid}.pem into the folder of [signer] keys", style="yellow")
    if "above" in facts:
        say(
            "publications are lost:",
            f"clients have seen {facts['above']}. Nothing may be signed before the steps of docs/operators.md, "
            "'A log was rolled back', are done",
            style="yellow",
        )
    else:
        click.echo(f"Next: `tuf-ledger publish --ledger {folder}`.")


def _list(label: str, texts: Sequence[str]) -> None:
    for text in texts[:SHOWN]:
        say(label, text, style="yellow")
    if len(texts) > SHOWN:
        say("…", f"and {len(texts) - SHOWN} more (--json lists all)")
