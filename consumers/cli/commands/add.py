"""`tuf-ledger add`: distribution files."""

from hashlib import sha256
from pathlib import Path

import click

from consumers.cli.answers import report_answers
from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options, wait_options
from consumers.cli.shared import open_context, plural, print_json, progress, runs_async
from consumers.context import Context
from consumers.produce.appending import Appended, actor, append_in_batches, make_event, wait_for
from consumers.produce.lookup import Lookup, look_up
from consumers.produce.storing import store
from consumers.state.furthest import open_events
from ledger.clock import SystemClock
from ledger.distributions.distribution import Distribution, find_distributions, read_distribution
from ledger.storage.directory import DirectoryStorage
from projections.metadata.paths import hashed_path, is_reserved
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@ledger_options
@click.option("--as", "target", metavar="PATH", help="Add one file of any kind as this target path.")
@wait_options
@json_option
@runs_async
async def add(
    *,
    paths: tuple[Path, ...],
    folder: Path,
    log: str | None,
    target: str | None,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Store wheels and source distributions and append `file.uploaded` for each. Folders are searched.

    Name, version, Requires-Python and metadata are read from the file. Adding a file again does no harm,
    and stores it again if it was lost.

    \b
    Example:
      tuf-ledger add --ledger my-index dist/
      tuf-ledger add --as tools/list.txt list.txt
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    storage = context.storage("add")
    if target is not None:
        events = [_add_target(storage, paths, target)]
    else:
        events = await _read_all(context, storage, paths)
    appended: list[Appended] = []
    async with open_events(context) as (event_log, _):
        async for batch in append_in_batches(event_log, events):
            appended.extend(batch)
    if wait and appended:
        report_answers(await wait_for(context, appended, wait_seconds), as_json=as_json)
    elif as_json:
        for each in appended:
            print_json({"file": each.label, "record": each.record, "digest": each.digest})
    elif appended:
        them = "it" if len(appended) == 1 else "them"
        click.echo(f"Added {plural(len(appended), 'file')}; `tuf-ledger publish` makes {them} visible.")
    else:
        click.echo("Nothing is new: all of it is published already.")


async def _read_all(context: Context, storage: DirectoryStorage, paths: tuple[Path, ...]) -> list[tuple[bytes, str]]:
    """Read and store files; the events to append, for those that are new.

    All are read before the first is stored or appended: a damaged one among them changes nothing.
    """
    found = list(find_distributions(paths))
    if not found:
        raise NegativeAnswerError("there are no wheels or source distributions (*.whl, *.tar.gz, *.zip) there")
    digests: dict[str, tuple[Path, str]] = {}
    projects: set[str] = set()
    with progress("Reading") as advance:
        for number, path in enumerate(found, 1):
            each = read_distribution(path)
            twin = digests.setdefault(each.filename, (path, each.sha256))
            if twin[1] != each.sha256:
                raise NegativeAnswerError(
                    f"{path} and {twin[0]} have one name and other bytes; a filename is used once"
                )
            projects.add(each.project)
            advance(number, len(found))
    fresh = set(_without_known(digests, await look_up(context, sorted(projects))))
    events = []
    with progress("Storing") as advance:
        # What is published is stored too, if it is not there: adding files again brings lost ones back.
        for number, (path, _) in enumerate(digests.values(), 1):
            each = read_distribution(path)
            store(storage, each)
            if path in fresh:
                events.append((_event(each), each.filename))
            advance(number, len(digests))
    return events


def _without_known(digests: dict[str, tuple[Path, str]], known: Lookup) -> list[Path]:
    """Leave out what is published already.

    Raises:
        NegativeAnswerError: a filename is taken by other bytes.
    """
    published = {name: facts for project in known.projects.values() for name, facts in project.files.items()}
    fresh = []
    for filename, (path, digest) in digests.items():
        facts = published.get(filename)
        if facts is not None and facts.sha256 != digest:
            raise NegativeAnswerError(
                f"{filename} is published with other bytes (SHA-256 {facts.sha256}). A filename is never used again: "
                "give the file another version or build number"
            )
        if facts is None or facts.removed:
            fresh.append(path)
    return fresh


def _event(each: Distribution) -> bytes:
    data = {
        "filename": each.filename,
        "version": each.version,
        "length": each.length,
        "hashes": {"sha256": each.sha256, "blake2b_256": each.blake2b_256},
        "requires_python": each.requires_python,
        "core_metadata_sha256": each.core_metadata_sha256,
    }
    return make_event("file.uploaded.v1", each.project, data, now=SystemClock().now(), actor=actor())


def _add_target(storage: DirectoryStorage, paths: tuple[Path, ...], target: str) -> tuple[bytes, str]:
    if len(paths) != 1:
        raise NegativeAnswerError("--as takes one file")
    try:
        data = paths[0].read_bytes()
    except OSError as error:
        raise NegativeAnswerError(f"{paths[0]} cannot be read: {error.strerror}") from error
    digest = sha256(data).hexdigest()
    facts = {"length": len(data), "sha256": digest}
    event = make_event("target.added.v1", target, facts, now=SystemClock().now(), actor=actor())
    if is_reserved(target):
        raise NegativeAnswerError("the paths of pages and packages are not free")
    storage.copy(paths[0], hashed_path(target, digest), digest)
    return event, target
