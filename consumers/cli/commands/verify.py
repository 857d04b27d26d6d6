"""`tuf-ledger verify`: replay and compare."""

from hashlib import sha256
from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options
from consumers.cli.shared import Usage, open_context, plural, print_json, progress, runs_async, say
from consumers.context import Context
from consumers.verify.interrupted import Resume
from consumers.verify.since import read_earlier
from consumers.verify.verifying import Verified, VerifyOptions
from consumers.verify.verifying import verify as verify_log
from schemas.errors import DisagreementError, NegativeAnswerError

SHOWN = 50


@click.command()
@click.option(
    "--root",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Root that you trust, from your own source. Without it, only the log's own consistency is checked.",
)
@click.option("--served", metavar="DIR|URL", help="Compare the files in this folder or on this server with the log.")
@click.option(
    "--since",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A snapshot, timestamp or saved answer of `verify --json` that you kept: nothing up to it was rewritten.",
)
@click.option("--files/--no-files", default=None, help="Compare distribution files too.  [default: yes for a folder]")
@click.option("--from", "first", type=click.IntRange(min=1), metavar="N", help="Verify from this publication on.")
@click.option("--to", "last", type=click.IntRange(min=1), metavar="N", help="Verify up to this publication.")
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep everything in this new file. After an interruption, the same command goes on from it.",
)
@ledger_options
@json_option
@runs_async
async def verify(
    *,
    root: Path | None,
    served: str | None,
    since: Path | None,
    files: bool | None,
    first: int | None,
    last: int | None,
    resume: Path | None,
    folder: Path,
    log: str | None,
    as_json: bool,
) -> None:
    """Replay both logs and check every publication against its events.

    Recomputes every publication and checks digests, signatures, thresholds and rules. No key is needed. With --served,
    names every file that differs, is unknown to the log, or is missing; of metadata, it says what the file is. With
    --since, proves by the Merkle tree that nothing was rewritten since you kept that file. Exit code 1 means a
    disagreement; the message names it.

    \b
    Example:
      tuf-ledger verify --root trusted-root.json --served public
      tuf-ledger verify --log kafka://broker:9092/index --served https://packages.example.org
      tuf-ledger verify --json >2031-01.json; later: tuf-ledger verify --since 2031-01.json
      tuf-ledger verify --resume verification.sqlite  (and the same again if it was interrupted)
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="error")
    if first is not None and last is not None and first > last:
        raise Usage("--from must not be above --to")
    if served is not None and last is not None:
        raise Usage("--served compares files with the end of the log: leave out --to")
    wanted = _wanted(context, root, served, files=files, first=first, last=last)
    if since is not None:
        wanted = wanted._replace(since=read_earlier(since.read_bytes()))
    kept = None if resume is None else Resume(resume.resolve(), _options(wanted, served, since))
    if kept is not None and (number := await kept.prepare()):
        say("going on:", f"everything up to publication {number} was verified before")
    with progress("Verifying") as advance:
        try:
            verified = await verify_log(context, wanted, advance, kept)
        except DisagreementError as error:  # other commands need a person; this one was asked to find it
            raise NegativeAnswerError(str(error)) from error
    facts = {**verified._asdict(), "differences": [each._asdict() for each in verified.differences]}
    if not as_json:
        _print(verified, files=wanted.files)
    if verified.differences:
        message = "; ".join(["what is served is not what the log says", *verified.advice])
        raise NegativeAnswerError(message, **facts)
    if as_json:
        print_json({"ok": True, **facts})


def _wanted(
    context: Context, root: Path | None, served: str | None, *, files: bool | None, first: int | None, last: int | None
) -> VerifyOptions:
    storage, is_listed = None, False
    if served is not None:
        is_url = _is_url(served)
        if not is_url and not Path(served).is_dir():
            raise Usage(f"--served: no folder {served} exists")
        storage = context.served(served if is_url else str(Path(served).resolve()))
        is_listed = storage.paths() is not None
    return VerifyOptions(
        first=first,
        last=last,
        root=root.read_bytes() if root else None,
        served=storage,
        files=is_listed if files is None else files,
    )


def _options(wanted: VerifyOptions, served: str | None, since: Path | None) -> dict[str, str | int | bool | None]:
    """The options by which a verification is known again."""
    if served is not None and not _is_url(served):
        served = str(Path(served).resolve())
    return {
        "--root": sha256(wanted.root).hexdigest() if wanted.root else None,
        "--served": served,
        "--since": sha256(since.read_bytes()).hexdigest() if since else None,
        "--files": wanted.files,
        "--from": wanted.first,
        "--to": wanted.last,
    }


def _is_url(served: str) -> bool:
    return served.startswith(("http://", "https://"))


def _print(verified: Verified, *, files: bool) -> None:
    for path, problem, detail, *_ in verified.differences[:SHOWN]:
        click.echo(f"{problem}: {path}{f' ({detail})' if detail else ''}")
    if len(verified.differences) > SHOWN:
        click.echo(f"… and {len(verified.differences) - SHOWN} more (--json lists all)")
    size = plural(verified.size, "event")
    click.echo(
        f"Publications {verified.first} to {verified.last} ({size}) are what their events make, and are signed as the "
        "offline roles require."
    )
    if verified.rejected:
        click.echo(f"Rejected: {plural(verified.rejected, 'record')} (`tuf-ledger rejected` lists them).")
    if verified.since is not None:
        publication, size = verified.since["publication"], plural(verified.since["size"], "event")
        click.echo(f"Nothing was rewritten up to publication {publication} ({size}), which the file of --since is of.")
    if verified.served is not None and not verified.differences:
        left = "" if files else " Distribution files were not compared (--files does)."
        click.echo(f"The served files are those of publication {verified.served}, complete and unchanged.{left}")
    if not verified.anchored:
        click.echo("The log is consistent with itself but not anchored: give --root with a first root that you trust.")
