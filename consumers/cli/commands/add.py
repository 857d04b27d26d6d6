"""`tuf-ledger add`: distribution files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import click

from consumers.cli.answers import find_rejected, refuse, report, tell_held, tell_refused
from consumers.cli.options import EVENT_MOMENT, Acting, acting_options, anyway_option, on_ledger, wait_options
from consumers.cli.shared import Usage, plural, progress, say
from consumers.context import Context
from consumers.produce.appending import Appended, NewEvent, append_in_batches, make_event
from consumers.produce.foreseeing import Refusal
from consumers.produce.lookup import KnownProject, look_up
from consumers.produce.own_events import read_own_upload
from consumers.produce.storing import refuse_withheld, store
from consumers.reading.end import prefix_at_end
from consumers.state.furthest import open_events, open_furthest
from ledger.clock import SystemClock
from ledger.distributions.distribution import Distribution, DistributionError, find_distributions, read_distribution
from ledger.storage import Storage
from projections.metadata.paths import hashed_path, is_reserved, package_target
from schemas.errors import LedgerError, NegativeAnswerError

STORED_AT_ONCE = 100
"""The most files that are stored before their events are appended."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--as", "target", metavar="PATH", help="Add one file of any kind as this target path.")
@click.option(
    "--event",
    "own",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append this event, one `file.uploaded` as JSON, as it is, and store its file.",
)
@click.option("--keep-going", is_flag=True, help="Leave out refused files, and say at the end which and why.")
@click.option(
    "--legacy",
    is_flag=True,
    help="The names are of older forms, and may be taken for others: allowed while root says `importing`.",
)
@click.option(
    "--uploaded-at",
    type=EVENT_MOMENT,
    metavar="TIME",
    help="When the files were uploaded: shown as it is while root says `importing`.  [default: now]",
)
@anyway_option
@wait_options
@on_ledger
@acting_options
async def add(
    *,
    paths: tuple[Path, ...],
    context: Context,
    target: str | None,
    own: Path | None,
    keep_going: bool,
    legacy: bool,
    uploaded_at: str | None,
    anyway: bool,
    acting: Acting,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Add wheels and source distributions to the index.

    Stores each FILE and appends a `file.uploaded` event. Folders are searched. Name, version, Requires-Python
    and metadata are read from the file. Adding a file again does no harm: a lost file is stored again. If one file is
    refused, or this machine knows that the rules will reject it, nothing is stored or appended; --keep-going leaves out
    that file alone, and exits with 1.

    \b
    Example:
      tuf-ledger add --ledger my-index dist/
      tuf-ledger add --keep-going wheels/
      tuf-ledger add --legacy --uploaded-at 2019-05-04T10:20:30.5Z old/
      tuf-ledger add --event upload.json six-1.16.0.tar.gz
      tuf-ledger add --as tools/list.txt list.txt
      tuf-ledger add --actor user:alice --credential token-7 dist/
    """
    storage = context.storage("add")
    refusals: list[Refusal] = []
    _check_options(paths)
    if target is not None:
        event, put = _read_target(storage, paths[0], target, acting)
        appended = await _store_one(context, event, put)
    elif own is not None:
        event, distribution = await _read_own(context, own, paths[0], anyway=anyway, as_json=as_json)
        appended = await _store_one(context, event, partial(store, storage, distribution))
    else:
        upload = _Upload(acting, uploaded_at, legacy=legacy)
        await _tell_importing(context, upload)
        read = _read(paths, upload, refusals if keep_going else None)
        fresh = await _without_published(context, read)
        found = [] if anyway else await find_rejected(context, [each.event for each in fresh])
        if found and not keep_going:
            refuse(found, events=0, as_json=as_json)
        left_out = {each.label for each in found}
        refusals += found
        read = [each for each in read if each.path.name not in left_out]
        kept = _without_withheld(storage, read, refusals if keep_going else None)
        appended = await _store_and_append(context, storage, kept, {each.path for each in fresh})
    try:
        await _report(context, appended, refusals, wait=wait, wait_seconds=wait_seconds, as_json=as_json)
    except LedgerError:
        tell_refused(refusals, as_json=as_json)
        raise
    if refusals:
        refuse(refusals, events=len(appended), as_json=as_json)


def _check_options(paths: Sequence[Path]) -> None:
    """Check that options fit together.

    Raises:
        Usage: they do not.
    """
    given = click.get_current_context().params
    for option, name in (("--as", "target"), ("--event", "own")):
        if given[name] is None:
            continue
        if len(paths) != 1:
            raise Usage(f"{option} takes exactly one file")
        others = [
            *("keep_going", "legacy", "uploaded_at"),
            *(("target", "actor", "credential", "incident") if name == "own" else ()),
        ]
        if wrong := [each for each in others if given[each]]:
            raise Usage(f"{option} does not go with --{wrong[0].replace('target', 'as').replace('_', '-')}")


async def _read_own(
    context: Context, own: Path, path: Path, *, anyway: bool, as_json: bool
) -> tuple[NewEvent, Distribution]:
    """Read a producer's own event and its file."""
    event, distribution = read_own_upload(own, path)
    found = [] if anyway else await find_rejected(context, [event])
    if found:
        refuse(found, events=0, as_json=as_json)
    return event, distribution


async def _store_one(context: Context, event: NewEvent, put: Callable[[], object]) -> list[Appended]:
    """Store a file, and append its event. Nothing is stored before the log is open."""
    async with open_events(context) as log:
        put()
        return [each async for batch in append_in_batches(log, [event]) for each in batch]


async def _report(
    context: Context,
    appended: Sequence[Appended],
    refusals: Sequence[Refusal],
    *,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    if as_json or (wait and appended):
        await report(context, appended, wait=wait, wait_seconds=wait_seconds, as_json=as_json, is_end=not refusals)
    elif appended:
        them = "it" if len(appended) == 1 else "them"
        what = "`tuf-ledger publish`" if context.has_online_keys() else "the next publication"
        click.echo(f"Added {plural(len(appended), 'file')}; {what} makes {them} visible.")
        await tell_held(context, as_json=False)
    elif not refusals:
        click.echo("Nothing to add: every file is already published.")


async def _without_published(context: Context, read: Sequence["_Read"]) -> list["_Read"]:
    """The files that the index does not offer."""
    async with open_furthest(context) as furthest:
        # Without a state every file is appended: adding a file again does no harm.
        projects = sorted({each.project for each in read})
        known = {} if furthest is None else await look_up(furthest.store, projects)
    return [each for each in read if not _is_published(each, known)]


def _without_withheld(storage: Storage, read: Sequence["_Read"], refusals: list[Refusal] | None) -> list["_Read"]:
    """The files that are not withheld. With a list of `refusals`, those that are withheld are added to it.

    Raises:
        NegativeAnswerError: one is withheld.
    """
    kept: list[_Read] = []
    for each in read:
        try:
            refuse_withheld(storage, each.hashed, f"restore it first (`tuf-ledger restore {each.path.name}`)")
            kept.append(each)
        except NegativeAnswerError as error:
            if refusals is None:
                raise
            refusals.append(_refusal(each.path, error))
    return kept


async def _store_and_append(
    context: Context, storage: Storage, files: Sequence["_Read"], fresh: set[Path]
) -> list[Appended]:
    """Store files, and append the events of the `fresh` ones.

    Published files are stored too, so adding a lost file brings it back. Nothing is stored before the log is open.
    A file waits for its event no longer than a few others take: `verify` finds a file without an event unknown.
    """
    appended: list[Appended] = []
    async with open_events(context) as log:
        with progress("Storing") as advance:
            for start in range(0, len(files), STORED_AT_ONCE):
                some = files[start : start + STORED_AT_ONCE]
                for each in some:
                    again = read_distribution(each.path)
                    if again.sha256 != each.sha256:
                        raise NegativeAnswerError(
                            f"{each.path} changed while it was added: add it again", events=len(appended)
                        )
                    store(storage, again)
                async for batch in append_in_batches(log, [each.event for each in some if each.path in fresh]):
                    appended.extend(batch)
                advance(start + len(some), len(files))
    return appended


def _refusal(path: Path, error: LedgerError) -> Refusal:
    return Refusal(path.name, {"file": path.name}, "", str(error))


class _Upload(NamedTuple):
    """What is said of all uploads of a command: who acts, when they were, and whether they are legacy."""

    acting: Acting
    uploaded_at: str | None
    legacy: bool


async def _tell_importing(context: Context, upload: _Upload) -> None:
    """Say what the rules make of what is said of uploads, if anything is, and root does not say `importing`."""
    if not (upload.legacy or upload.uploaded_at):
        return
    authority = (await prefix_at_end(context)).authority
    if authority is not None and authority.settings.importing:
        return
    if upload.uploaded_at:
        say(
            "note:",
            "root does not say `importing`: the upload time that is shown will not be before the last publication, nor "
            "after the one that shows the files",
        )
    if upload.legacy:
        say("note:", "root does not say `importing`: --legacy allows nothing")


class _Read(NamedTuple):
    """A file that was read: its event, and what is needed to look for it and to store it."""

    path: Path
    project: str
    sha256: str
    hashed: str
    event: NewEvent


def _read(paths: Sequence[Path], upload: _Upload, refusals: list[Refusal] | None) -> list[_Read]:
    """Read files, each name once. With a list of `refusals`, what is refused is added to it and left out.

    Raises:
        NegativeAnswerError: there are none, or two of them have one name and different bytes.
        DistributionError: an index should not publish one of them.
    """
    found = _find(paths, refusals)
    if not found and not refusals:
        raise NegativeAnswerError("no wheels or source distributions (*.whl, *.tar.gz, *.zip) were found there")
    read: dict[str, _Read] = {}
    with progress("Reading") as advance:
        for number, path in enumerate(found, 1):
            try:
                each = read_distribution(path)
                _check_twin(path, each.sha256, read.get(each.filename))
                event = _event(each, upload)
            except (DistributionError, NegativeAnswerError) as error:
                if refusals is None:
                    raise
                refusals.append(_refusal(path, error))
            else:
                hashed = hashed_path(package_target(each.blake2b_256, each.filename), each.sha256)
                read.setdefault(each.filename, _Read(path, each.project, each.sha256, hashed, event))
            advance(number, len(found))
    return list(read.values())


def _find(paths: Sequence[Path], refusals: list[Refusal] | None) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        try:
            found.extend(find_distributions([path]))
        except DistributionError as error:
            if refusals is None:
                raise
            refusals.append(_refusal(path, error))
    return found


def _check_twin(path: Path, digest: str, twin: _Read | None) -> None:
    if twin is not None and twin.sha256 != digest:
        raise NegativeAnswerError(
            f"{path} and {twin.path} have the same name but different bytes. A filename can be used only once: "
            "leave one of them out"
        )


def _is_published(each: _Read, known: Mapping[str, KnownProject]) -> bool:
    """Whether the index offers these bytes under this name."""
    facts = known[each.project].files.get(each.path.name) if each.project in known else None
    return facts is not None and not facts.removed and facts.sha256 == each.sha256


def _event(each: Distribution, upload: _Upload) -> NewEvent:
    data = {
        "filename": each.filename,
        "version": each.version,
        "length": each.length,
        "hashes": {"sha256": each.sha256, "blake2b_256": each.blake2b_256},
        "requires_python": each.requires_python,
        "core_metadata_sha256": each.core_metadata_sha256,
        "legacy": True if upload.legacy else None,
    }
    kind, now = "file.uploaded.v1", SystemClock().now()
    value = make_event(kind, each.project, data, now=now, time=upload.uploaded_at, **upload.acting._asdict())
    return NewEvent(value, kind, each.filename, {"project": each.project, "file": each.filename})


def _read_target(storage: Storage, path: Path, target: str, acting: Acting) -> tuple[NewEvent, Callable[[], object]]:
    """The event of a target of any kind, and what stores its file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NegativeAnswerError(f"{path} cannot be read: {error.strerror}") from error
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
    return NewEvent(value, kind, target, {"target": target}), partial(storage.put_file, path, digest, hashed)
