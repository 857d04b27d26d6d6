"""`tuf-ledger import`: another index, and keeping in step with it."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from consumers.cli.answers import tell_refused
from consumers.cli.options import Acting, acting_options, on_ledger, source_options
from consumers.cli.paging import shown
from consumers.cli.shared import plural, print_json, progress, say
from consumers.context import Context
from consumers.importing.gathering import Gathering
from consumers.importing.import_run import UPLOAD_TIME, ImportOptions, ImportReport, ImportRun
from consumers.importing.judging import Maker
from consumers.importing.ledger_side import open_ledger_side
from ledger.clock import SystemClock
from ledger.simple.any_source import open_source
from projections.log.operations import type_of
from schemas.errors import LedgerError, NegativeAnswerError, TemporaryError
from schemas.events import FileUploaded

_NAMED_AT_MOST = 50
"""The most missing files that people are told by name."""


@click.command("import")
@click.argument("source")
@click.argument("projects", nargs=-1, metavar="[PROJECT…]")
@click.option("--dry-run", is_flag=True, help="Append nothing; say what would be, and how many bytes to download.")
@click.option("--download", is_flag=True, help="Store the files, too, each checked.")
@click.option(
    "--remove-missing",
    is_flag=True,
    help="Remove files and projects that the source does not list. Without it they are named.",
)
@click.option(
    "--keep-yanks",
    is_flag=True,
    help="Take back no yank. Without it, yanks follow the source, also those that were made here.",
)
@click.option(
    "--not-importing",
    is_flag=True,
    help="Go on although root does not say `importing`: upload times are then those of publication, and older forms of "
    "names are refused.",
)
@source_options
@on_ledger
@acting_options
async def import_index(
    *,
    source: str,
    projects: tuple[str, ...],
    context: Context,
    dry_run: bool,
    download: bool,
    remove_missing: bool,
    keep_yanks: bool,
    not_importing: bool,
    ca_file: Path | None,
    requests: int,
    acting: Acting,
    as_json: bool,
) -> None:
    """Import another index, or what has changed in it since.

    SOURCE is the URL that pip's --index-url would have, a folder with `simple` in it as mirrors write it, or a folder
    of files. Its pages become the events that reproduce them: hashes, sizes, upload times, yanks, Requires-Python,
    status, provenance, core metadata. A second run appends what has changed. An import may be ended and started again.

    Passwords come from the URL, from netrc, or from the command `keyring`. BLAKE2b-256 is taken from addresses as
    mirrors have them (`/packages/2/2/60 digits/NAME`); other files are downloaded and hashed: --dry-run says how many
    bytes that will be.

    \b
    Example:
      tuf-ledger init my-index --origin packages.example.org --importing
      tuf-ledger import --ledger my-index --dry-run https://index.example.org/simple/
      tuf-ledger import --ledger my-index --download https://index.example.org/simple/
      tuf-ledger ceremony --ledger my-index --end-importing
      tuf-ledger import --download --not-importing https://index.example.org/simple/ six
      tuf-ledger import wheels/
    """
    async with AsyncExitStack() as closing:
        cache = context.state / "sources" if context.may_write_states() else None
        reads = open_source(source, ca_file=ca_file, requests=requests, cache=cache)
        closing.push_async_callback(reads.close)
        with progress("Reading the logs") as advance:
            side = await closing.enter_async_context(open_ledger_side(context, advance))
        importing = side.authority.settings.importing
        _check_importing(importing=importing, goes_on=not_importing or dry_run)
        folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="tuf-ledger-import-"))
        gathering = Gathering(reads, context.storage("import") if download else None, Path(folder))
        maker = Maker(SystemClock().now(), acting._asdict())
        options = ImportOptions(dry_run, remove_missing, requests, keep_yanks)
        run = ImportRun(reads, side, gathering, maker, options)
        try:
            with progress("Importing") as advance:
                done = await run.run(projects, advance)
        except LedgerError as error:
            error.facts |= _facts(run.report, dry_run=dry_run)
            raise
    _tell(done, options, importing=importing, stores=download, as_json=as_json)


def _check_importing(*, importing: bool, goes_on: bool) -> None:
    """Check that root says `importing`.

    Raises:
        NegativeAnswerError: it does not.
    """
    if importing:
        return
    what = "root does not say `importing`: upload times would be those of publication, and older forms of names refused"
    if not goes_on:
        raise NegativeAnswerError(
            f"{what}. Begin with `tuf-ledger ceremony --begin-importing`, and end with --end-importing when all is "
            "published; or, to keep in step with a source, say --not-importing"
        )
    say("note:", what)


def _facts(done: ImportReport, *, dry_run: bool) -> dict[str, Any]:
    """What was done, for machines."""
    return {
        "projects": done.projects,
        "events": sum(done.events.values()),
        "by_type": {kind: count for kind, count in sorted(done.events.items()) if count},
        "files": done.uploads,
        "legacy": done.legacy,
        "bytes": done.bytes,
        "unknown_lengths": done.unknown_lengths,
        "unlearnt": dict(done.unlearnt),
        "missing": done.missing_count,
        "stay_removed": done.removed_here,
        "other_hosts": dict(done.other_hosts),
        "refused": done.refused_count,
        "dry_run": dry_run,
    }


def _tell(done: ImportReport, options: ImportOptions, *, importing: bool, stores: bool, as_json: bool) -> None:
    """Print what became of an import: what is missing and refused by name, then the counts.

    Raises:
        NegativeAnswerError: something was refused.
        TemporaryError: something could not be read now, and nothing else was refused.
    """
    facts = _facts(done, dry_run=options.dry_run)
    if as_json:
        for each in done.missing:
            print_json(
                {"project": each.project, "problem": "missing"} | ({"file": each.filename} if each.filename else {})
            )
    tell_refused(done.refused, as_json=as_json)
    if not as_json:
        _tell_people(done, options, importing=importing, stores=stores)
    if done.refused_count:
        kind = TemporaryError if done.failed == done.refused_count else NegativeAnswerError
        again = " Some may pass: start the command again" if done.failed else ""
        raise kind(f"{plural(done.refused_count, 'refusal')}, see above.{again}", **facts)
    if as_json:
        print_json({"ok": True, **facts})


def _tell_people(done: ImportReport, options: ImportOptions, *, importing: bool, stores: bool) -> None:
    dry_run = options.dry_run
    _name_missing(done)
    events = sum(done.events.values())
    would = "Would append" if dry_run else "Appended"
    click.echo(f"{plural(done.projects, 'project')} read. {would} {plural(events, 'event')}.")
    for kind, count in sorted(done.events.items()):
        older = f", {done.legacy:,} of them as `legacy`" if kind == type_of(FileUploaded) and done.legacy else ""
        click.echo(f"  {count:,} {kind}{older}")
    if done.bytes or done.unknown_lengths or dry_run:
        read = "To download" if dry_run else "Downloaded"
        unknown = f", and {plural(done.unknown_lengths, 'file')} of unknown length" if done.unknown_lengths else ""
        click.echo(f"{read}: {done.bytes:,} bytes{unknown}.")
    for fact, count in sorted(done.unlearnt.items()):
        instead = ": they get the time of the import" if fact == UPLOAD_TIME else ""
        click.echo(f"The source does not say the {fact} of {plural(count, 'file')}{instead}.")
    for host, count in sorted(done.other_hosts.items()):
        say("note:", f"{plural(count, 'page')} came from {shown(host)}, where the source sends on to: is that meant?")
    if done.removed_here:
        click.echo(f"{plural(done.removed_here, 'file')} that the source lists were removed here, and stay so.")
    if done.missing_count and not options.remove_missing:
        click.echo("What is missing in the source stays here; --remove-missing removes it.")
    if done.uploads and not dry_run and not stores:
        click.echo("No file was stored: start the command again with --download, or bring them to the public folder.")
    if events and not dry_run:
        click.echo("The next publication shows it (`tuf-ledger publish`).")
    if importing:
        click.echo("Root says `importing`. When all is published, end that: `tuf-ledger ceremony --end-importing`.")


def _name_missing(done: ImportReport) -> None:
    for each in done.missing[:_NAMED_AT_MOST]:
        say("missing in the source:", shown(f"{each.project} {each.filename}".rstrip()))
    if done.missing_count > _NAMED_AT_MOST:
        say("missing in the source:", f"{done.missing_count - _NAMED_AT_MOST:,} more (--json names them)")
