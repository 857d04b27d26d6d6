"""`tuf-ledger compare`: metadata found somewhere, held against the log."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import click

from consumers.catalog.asking import Asked
from consumers.catalog.matching import Match, Matcher, Named
from consumers.cli.options import on_catalog
from consumers.cli.paging import shown
from consumers.cli.shared import plural, print_json, progress
from consumers.context import Context, found_files, give_up
from consumers.reading.trees import TOP_LEVEL, MetadataFile, MetadataTree, NoMetadataError, read_name, signed_of
from ledger.disk.files import StorageError
from ledger.storage import ServedFiles
from projections.metadata.facts import FactsError
from projections.metadata.forgeries import advice
from projections.metadata.paths import METADATA, TIMESTAMP, metadata_path
from schemas.errors import NegativeAnswerError

SHOWN = 50


class _Compared(NamedTuple):
    path: str
    match: Match


class _Counts:
    """How many files were found, and of which kind."""

    def __init__(self) -> None:
        self.files = self.same = self.older = self.skipped = self.missing = 0
        self.wrong: list[Match] = []

    def add(self, match: Match) -> None:
        """Count a file."""
        self.files += 1
        if match.finding is None:
            self.same += 1
        elif match.finding.kind == "older":
            self.older += 1
        else:
            self.wrong.append(match)

    def facts(self) -> dict[str, int]:
        """The counts for machines."""
        wrong = len(self.wrong)
        found = {"files": self.files, "same": self.same, "older": self.older, "wrong": wrong}
        return {**found, "missing": self.missing, "skipped": self.skipped}


@click.command()
@click.argument("where", metavar="DIR|URL|FILE")
@on_catalog
async def compare(*, context: Context, asked: Asked, where: str, as_json: bool) -> None:
    """Say what metadata is that was found somewhere: a mirror, the cache of a TUF client, one suspicious file.

    Each file is looked up by its role and version among all versions that the log has. Whatever is not the log's is
    named: altered, forged with a key of this ledger, or not signed by any. Nothing else on the machine and no state is
    needed.

    Of a server, or a folder with the names that servers use, all files are looked for that clients need of the
    publication that its timestamp is of. The cache of a client has only those that it needed.

    Exit code 1 means that something is forged, altered, unknown or missing.

    \b
    Example:
      tuf-ledger compare ~/.local/share/my-client/metadata
      tuf-ledger compare suspicious/12.snapshot.json
      tuf-ledger compare https://mirror.example.org/ --log kafka://broker:9092/index
    """
    files, name = found_files(where)
    matcher, counts = Matcher(asked), _Counts()
    printed = 0
    missing = await _needed((files, where, name), matcher)
    with progress("Comparing") as advance:
        async for path, match in _matches((files, where, name), matcher, counts):
            counts.add(match)
            missing -= {read_name(path)}
            advance(counts.files, None)
            if match.finding is None and not name:
                continue
            if as_json:
                print_json(await _facts(path, match, matcher))
            elif printed < SHOWN:
                what = f"{match.role} {match.version}, as on the log" if match.finding is None else match.finding.detail
                click.echo(f"{shown(path)}: {shown(what)}")
                printed += 1
    counts.missing = len(missing)
    printed += _tell_missing(missing, SHOWN - printed, as_json=as_json)
    if not as_json:
        _print(counts, printed)
    await _judge(counts, matcher)
    if as_json:
        print_json({"ok": True, **counts.facts(), "publication": asked.number})


def _tell_missing(missing: set[Named], most: int, *, as_json: bool) -> int:
    """Print what is missing, for people at most so much; return how much was printed for them."""
    ordered = sorted(missing, key=lambda each: (each[0], each[1] or 0))
    if as_json:
        for role, version in ordered:
            print_json({"path": _path(role, version), "role": role, "version": version, "finding": "missing"})
        return 0
    for role, version in ordered[:most]:
        click.echo(f"{shown(_path(role, version))}: missing, and clients need it")
    return len(ordered[:most])


async def _judge(counts: _Counts, matcher: Matcher) -> None:
    """Raise what is wrong.

    Raises:
        NegativeAnswerError: anything is.
    """
    why = ["what was found is not what the log has"] if counts.wrong else []
    if counts.missing:
        why.append(f"{plural(counts.missing, 'metadata file')} that clients need cannot be had there")
    if why:
        advices = {advice(each.finding, await matcher.history()) for each in counts.wrong if each.finding}
        raise NegativeAnswerError("; ".join([*why, *sorted(advices)]), **counts.facts())


def _print(counts: _Counts, printed: int) -> None:
    listed = len(counts.wrong) + counts.older + counts.missing
    if listed > printed:
        click.echo(f"… and {listed - printed} more (--json lists all)")
    click.echo(
        f"{plural(counts.files, 'metadata file')}: {counts.same:,} as on the log, {counts.older:,} older than the "
        f"newest, {len(counts.wrong):,} not as on the log, {counts.missing:,} missing."
    )
    if counts.skipped:
        click.echo(f"No metadata: {plural(counts.skipped, 'other file')}.")


async def _facts(path: str, match: Match, matcher: Matcher) -> dict[str, Any]:
    """A file for machines."""
    facts: dict[str, Any] = {"path": path}
    if match.role:
        facts |= {"role": match.role, "version": match.version}
    finding = match.finding
    if finding is None:
        return facts | {"finding": "same"}
    facts |= {"finding": finding.kind, "detail": finding.detail, "keyids": list(finding.keyids)}
    if finding.kind != "older":
        facts["advice"] = advice(finding, await matcher.history())
    return facts


async def _matches(place: tuple[ServedFiles, str, str], matcher: Matcher, counts: _Counts) -> AsyncIterator[_Compared]:
    """All metadata files of a place: its files, what it is called, and the name of the only file that is meant."""
    files, where, name = place
    try:
        found = await asyncio.to_thread(_metadata, files, where, name)
        while (file := await asyncio.to_thread(next, found, None)) is not None:
            role = file.role if file.role in TOP_LEVEL or await matcher.knows(file.role) else ""
            if not role and not name and signed_of(file.data) is None:
                counts.skipped += 1
                continue
            yield _Compared(file.path, await matcher.match(role, file.version, file.data))
    finally:
        give_up(files)
    if not counts.files:
        raise NegativeAnswerError(f"there is no TUF metadata in {where}")


async def _needed(place: tuple[ServedFiles, str, str], matcher: Matcher) -> set[Named]:
    """The metadata files that must be in a place, by what their names state; none if it is not there to serve clients,
    or if its timestamp is not the log's.
    """
    files, where, name = place
    with suppress(NoMetadataError, StorageError):  # whatever is there is read again, and then named
        tree = None if name else await asyncio.to_thread(MetadataTree, files, where)
        timestamp = None if tree is None else await asyncio.to_thread(tree.find, "timestamp", None)
        if tree is None or timestamp is None:
            return set()
        found = await matcher.match("timestamp", None, timestamp.data)
        snapshot = await asyncio.to_thread(tree.find, "snapshot", found.version)
        is_cache = snapshot is not None and snapshot.version is None
        return set() if is_cache or not found.version else await matcher.needed(found.version)
    return set()


def _path(role: str, version: int | None) -> str:
    return TIMESTAMP if version is None else metadata_path(role, version)


def _metadata(files: ServedFiles, where: str, name: str) -> Iterator[MetadataFile]:
    """All metadata files of a place: those of a folder, or those that the metadata on a server lists."""
    if name:
        data = files.read(name)
        return iter([] if data is None else [MetadataFile(name, *(read_name(name) or ("", None)), data)])
    paths = files.paths()
    if paths is None:
        return _followed(MetadataTree(files, where))
    below = files.paths(METADATA)
    first = None if below is None else next(below, None)
    return _listed(files, paths if first is None or below is None else chain([first], below))


def _listed(files: ServedFiles, paths: Iterator[str]) -> Iterator[MetadataFile]:
    for path in paths:
        named = read_name(path)
        data = None if named is None else files.read(path)
        if named is not None and data is not None:
            yield MetadataFile(path, *named, data)


def _followed(tree: MetadataTree) -> Iterator[MetadataFile]:
    """What the metadata on a server lists. Where a file is no metadata, nobody can follow it; it is yielded itself."""
    yield from tree.roots()
    with suppress(FactsError):
        for role in ("timestamp", "snapshot"):
            file = tree.current(role)
            if file is not None:
                yield file
        for role, version in tree.versions().items():
            file = tree.find(role, version)
            if file is not None:
                yield file
