"""`tuf-ledger add`: distribution files."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import click

from consumers.cli.answers import report, tell_held
from consumers.cli.options import Acting, acting_options, on_ledger, wait_options
from consumers.cli.shared import Usage, plural, progress
from consumers.context import Context
from consumers.produce.appending import NewEvent, append_all, make_event
from consumers.produce.lookup import KnownProject, look_up
from consumers.produce.storing import refuse_withheld, store
from consumers.state.furthest import open_furthest
from ledger.clock import SystemClock
from ledger.distributions.distribution import Distribution, find_distributions, read_distribution
from ledger.storage import Storage
from projections.index.distributions import TakenRows, distribution_key
from projections.index.names import split_filename
from projections.metadata.paths import hashed_path, is_reserved
from schemas.errors import NegativeAnswerError


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--as", "target", metavar="PATH", help="Add one file of any kind as this target path.")
@wait_options
@on_ledger
@acting_options
async def add(
    *,
    paths: tuple[Path, ...],
    context: Context,
    target: str | None,
    acting: Acting,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Add wheels and source distributions to the index.

    Stores each FILE and appends a `file.uploaded` event. Folders are searched. Name, version, Requires-Python
    and metadata are read from the file. Adding a file again does no harm: a lost file is stored again.

    \b
    Example:
      tuf-ledger add --ledger my-index dist/
      tuf-ledger add --as tools/list.txt list.txt
      tuf-ledger add --actor user:alice --credential token-7 dist/
    """
    storage = context.storage("add")
    if target is not None:
        events = [_add_target(storage, paths, target, acting)]
    else:
        events = await _read_all(context, storage, paths, acting)
    appended = await append_all(context, events)
    if as_json or (wait and appended):
        await report(context, appended, wait=wait, wait_seconds=wait_seconds, as_json=as_json)
    elif appended:
        them = "it" if len(appended) == 1 else "them"
        what = "`tuf-ledger publish`" if context.has_online_keys() else "the next publication"
        click.echo(f"Added {plural(len(appended), 'file')}; {what} makes {them} visible.")
        await tell_held(context, as_json=False)
    else:
        click.echo("Nothing to add: every file is already published.")


async def _read_all(context: Context, storage: Storage, paths: tuple[Path, ...], acting: Acting) -> list[NewEvent]:
    """Read and store files, and return the events to append for the new ones.

    All files are read before the first one is stored or appended, so a damaged file changes nothing.
    """
    found = list(find_distributions(paths))
    if not found:
        raise NegativeAnswerError("no wheels or source distributions (*.whl, *.tar.gz, *.zip) were found there")
    digests: dict[str, tuple[Path, str]] = {}
    projects: set[str] = set()
    with progress("Reading") as advance:
        for number, path in enumerate(found, 1):
            each = read_distribution(path)
            twin = digests.setdefault(each.filename, (path, each.sha256))
            if twin[1] != each.sha256:
                raise NegativeAnswerError(
                    f"{path} and {twin[0]} have the same name but different bytes. A filename can be used only once: "
                    "leave one of them out"
                )
            projects.add(each.project)
            advance(number, len(found))
    async with open_furthest(context) as furthest:
        # Without a state every file is appended: adding a file again does no harm.
        known = {} if furthest is None else await look_up(furthest.store, sorted(projects))
    fresh = set(_without_known(digests, known))
    _check_names(sorted(path.name for path in fresh), known)
    events = []
    with progress("Storing") as advance:
        # Published files are stored too, so adding a lost file again brings it back.
        for number, (path, _) in enumerate(digests.values(), 1):
            each = read_distribution(path)
            store(storage, each)
            if path in fresh:
                events.append(_event(each, acting))
            advance(number, len(digests))
    return events


def _without_known(digests: dict[str, tuple[Path, str]], known: Mapping[str, KnownProject]) -> list[Path]:
    """The files that are not published yet.

    Raises:
        NegativeAnswerError: a filename is already published with other bytes.
    """
    published = {name: facts for project in known.values() for name, facts in project.files.items()}
    fresh = []
    for filename, (path, digest) in digests.items():
        facts = published.get(filename)
        if facts is not None and facts.freed and facts.sha256 != digest:
            facts = None  # other bytes may have the name
        if facts is not None and facts.freed:
            raise NegativeAnswerError(f"{filename} was freed: these bytes (SHA-256 {digest}) never come back")
        if facts is not None and facts.sha256 != digest:
            raise NegativeAnswerError(
                f"{filename} is already published with other bytes (SHA-256 {facts.sha256}). A filename is never used "
                "again: give the file another version or build number"
            )
        if facts is None or facts.removed:
            fresh.append(path)
    return fresh


def _check_names(fresh: Sequence[str], known: Mapping[str, KnownProject]) -> None:
    """Check that installers can tell the new files from each other and from those that are published.

    Raises:
        NegativeAnswerError: installers would take a file for another one.
    """
    published = {
        (project.name, filename): False
        for project in known.values()
        for filename, facts in project.files.items()
        if not facts.freed
    }
    new = {((split_filename(filename) or ("",))[0], filename): True for filename in fresh}
    taken: dict[str, TakenRows] = {}
    # Removed files keep their names, and may be added again.
    for (project, filename), is_new in [
        *published.items(),
        *(each for each in new.items() if each[0] not in published),
    ]:
        key = distribution_key(project, filename)
        row = taken.setdefault(project, TakenRows(project, {})).row(key.row)
        if is_new and row.is_taken(key.tags):
            raise NegativeAnswerError(
                f"installers take {filename} for another file of {project}: a release has one source distribution, and "
                "one wheel for each build number and tag. Give the file another version or build number"
            )
        row.take(key.tags)


def _event(each: Distribution, acting: Acting) -> NewEvent:
    data = {
        "filename": each.filename,
        "version": each.version,
        "length": each.length,
        "hashes": {"sha256": each.sha256, "blake2b_256": each.blake2b_256},
        "requires_python": each.requires_python,
        "core_metadata_sha256": each.core_metadata_sha256,
    }
    kind, now = "file.uploaded.v1", SystemClock().now()
    value = make_event(kind, each.project, data, now=now, **acting._asdict())
    return NewEvent(value, kind, each.filename, {"project": each.project, "file": each.filename})


def _add_target(storage: Storage, paths: tuple[Path, ...], target: str, acting: Acting) -> NewEvent:
    if len(paths) != 1:
        raise Usage("--as takes exactly one file")
    try:
        data = paths[0].read_bytes()
    except OSError as error:
        raise NegativeAnswerError(f"{paths[0]} cannot be read: {error.strerror}") from error
    digest = sha256(data).hexdigest()
    facts = {"length": len(data), "sha256": digest}
    kind = "target.added.v1"
    value = make_event(kind, target, facts, now=SystemClock().now(), **acting._asdict())
    if is_reserved(target):
        raise NegativeAnswerError(
            f"--as {target}: paths of pages and packages are reserved for the index; choose another path"
        )
    hashed = hashed_path(target, digest)
    refuse_withheld(storage, hashed, "move them back from where evidence is kept, if they shall be served again")
    storage.put_file(paths[0], digest, hashed)
    return NewEvent(value, kind, target, {"target": target})
