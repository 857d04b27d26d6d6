"""Comparing served files with the log, file by file, by digest."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Literal, NamedTuple

import orjson

from consumers.follow.examining import Examiner
from consumers.follow.follower import Follower
from consumers.state import records
from consumers.state.kept_bins import LastBins
from consumers.state.published import published_files
from consumers.work.workers import Workers, run_each
from ledger.state.aggregates import keys_between
from ledger.state.comparisons import files_after, load_files, save_files
from ledger.state.publications import load_publication
from ledger.state.roles import load_ceremonies, load_marks
from ledger.state.store import Store
from ledger.state.withheld import load_withheld
from ledger.storage import ServedFiles
from projections.index.other_aggregates import read_target
from projections.log.operations import TARGET_KEYS, Operation, TargetAct, Upload
from projections.metadata.forgeries import Finding, Kind
from projections.metadata.paths import (
    TIMESTAMP,
    companion_path,
    hashed_path,
    is_metadata,
    is_page,
    is_reserved,
    metadata_path,
    package_target,
    plain_path,
)

BATCH = 512
FEW = 64

Problem = Literal["differs", "missing", "unknown", "withheld"]


class Difference(NamedTuple):
    """A served file that differs from the log.

    Of metadata, `finding` and `keyids` say what the file is (`projections.metadata.forgeries`), and `detail` says it in
    words.
    """

    path: str
    problem: Problem
    detail: str = ""
    finding: Kind | Literal[""] = ""
    keyids: tuple[str, ...] = ()

    @classmethod
    def found(cls, path: str, problem: Problem, finding: Finding) -> "Difference":
        """The difference of a metadata file that was examined."""
        return cls(path, problem, finding.detail, finding.kind, finding.keyids)


class Expected(NamedTuple):
    """A file that must be served, with its SHA-256."""

    path: str
    sha256: str


def readable(path: str) -> str:
    """Make a path fit to be shown: a stranger may have chosen it to move the cursor, or it may not be text."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


async def reachable(follower: Follower, store: Store, *, files: bool) -> AsyncIterator[list[Expected]]:
    """All files that clients can reach from the last publication, and every root, in batches.

    Args:
        follower: the follower, at that publication.
        store: the follower's state.
        files: include distribution files and other targets, besides metadata and pages.
    """
    yield await _metadata(follower, store)
    authority = follower.base.authority
    if authority is None:
        return
    layout = authority.layout
    last = LastBins(store.kept, layout, follower.table.entries)
    for start in range(0, layout.count, BATCH):
        bins = range(start, min(start + BATCH, layout.count))
        marks = await store.run(load_marks, last.names(bins))
        yield _targets(last, bins, marks, files=files)


def _targets(last: LastBins, bins: Iterable[int], marks: Mapping[str, bytes], *, files: bool) -> list[Expected]:
    """The files that bins list."""
    expected = []
    for index in bins:
        for path, target in orjson.loads(b"{%s}" % last.targets(index, marks).copy()).items():
            if not (is_page(path) or files):
                continue
            digest = target["hashes"]["sha256"]
            expected.append(Expected(hashed_path(path, digest), digest))
            if is_reserved(path):
                expected.append(Expected(plain_path(path), digest))
    return expected


async def _metadata(follower: Follower, store: Store) -> list[Expected]:
    head, authority = follower.head, follower.base.authority
    published = await store.run(load_publication, head.number)
    if published is None or authority is None:
        return []
    expected = [
        Expected(TIMESTAMP, published.timestamp_sha256),
        Expected(metadata_path("snapshot", head.number), published.snapshot_sha256),
    ]
    for _, role, version, file in await store.run(load_ceremonies):
        if role == "root" or version == {"targets": authority.targets, "bins": authority.bins}[role].version:
            expected.append(Expected(metadata_path(role, version), _sha256(file)))
    expected.extend(
        Expected(metadata_path(name, entry.version), entry.sha256)
        for name, entry in follower.table.entries.items()
        if authority.layout.index(name) is not None
    )
    return expected


async def compare(served: ServedFiles, expected: Sequence[Expected], workers: Workers) -> list[Difference]:
    """Compare served files with their expected digests."""
    digests = await run_each(workers, served.digest, [item.path for item in expected])
    differences = []
    for (path, wanted), found in zip(expected, digests, strict=True):
        if found is None:
            differences.append(Difference(path, "missing"))
        elif found != wanted:
            differences.append(Difference(path, "differs", f"SHA-256 {found}, the log says {wanted}"))
    return differences


async def every_file(store: Store, *, files: bool) -> AsyncIterator[list[tuple[str, str, int]]]:
    """All files of a verifier's state as `(path, SHA-256, number of the publication)`, a few at a time.

    Args:
        store: the state.
        files: include distribution files, with the number 0; removed ones are left out, since nobody needs them.
    """
    last = ""
    while rows := await store.run(files_after, last, FEW):
        last = rows[-1][0]
        yield rows
    if not files:
        return
    async for batch in published_files(store):
        paths = [
            (path, facts.sha256, 0)
            for facts in batch
            if not facts.removed
            for path in (hashed_path(facts.path, facts.sha256), plain_path(facts.path))
        ]
        for start in range(0, len(paths), FEW):
            yield paths[start : start + FEW]


async def waiting_files(follower: Follower, store: Store) -> None:
    """Add files of events that no publication shows yet, as `known_files` does: an index stores a file before its event
    is published, and a hold may last for weeks. Whether the event will be accepted is not known yet.
    """
    end = await follower.tail.read_known()
    first = max(follower.head.content_size, end.first_root_size)
    await follower.tail.read_again(first, end.size)
    async for extension in follower.tail.extensions(end.size, (first, end.size)):
        rows = [row for item in extension.routed for row in _files_of(item.operation)]
        first_of = {row[0]: row for row in reversed(rows)}  # a name is taken by who comes first
        known = {path for path, _, _ in await store.run(load_files, list(first_of))}
        await store.run(save_files, [row for path, row in first_of.items() if path not in known])


def _files_of(operation: Operation) -> list[tuple[str, str, int]]:
    """The files of an event that adds some, as rows of a store's list of files."""
    if isinstance(operation, Upload):
        path = package_target(operation.blake2b_256, operation.filename)
        metadata, provenance = operation.core_metadata_sha256, operation.provenance_sha256
        return _rows_of(path, operation.sha256, metadata, provenance)
    if isinstance(operation, TargetAct) and operation.sha256 and not is_reserved(operation.path):
        return [(hashed_path(operation.path, operation.sha256), operation.sha256, 0)]
    return []


def _rows_of(path: str, digest: str, metadata: str | None, provenance: str | None) -> list[tuple[str, str, int]]:
    """The files of a distribution, as rows of a store's list of files."""
    rows = [(hashed_path(path, digest), digest, 0), (plain_path(path), digest, 0)]
    if metadata:
        rows.append((companion_path(path, "metadata"), metadata, 0))
    if provenance:
        rows.append((companion_path(path, "provenance"), provenance, 0))
    return rows


async def known_files(store: Store) -> None:
    """Add distribution files, the metadata files beside them and other targets to the store's list of files."""
    async for batch in published_files(store):
        rows = []
        for facts in batch:
            if facts.withheld:  # `load_withheld` knows it, or its path belongs to another project's file
                continue
            rows += _rows_of(facts.path, facts.sha256, facts.core_metadata_sha256, facts.provenance_sha256)
        await store.run(save_files, rows)
    last = TARGET_KEYS
    while keys := await store.run(keys_between, last, "target;", BATCH):
        last = keys[-1]
        aggregates = await store.run(records.load_facts, keys)
        facts_by_path = {key.removeprefix(TARGET_KEYS): read_target(each.header) for key, each in aggregates.items()}
        await store.run(
            save_files, [(hashed_path(path, facts.sha256), facts.sha256, 0) for path, facts in facts_by_path.items()]
        )


async def examine(
    served: ServedFiles, differences: Sequence[Difference], examiner: Examiner, workers: Workers
) -> list[Difference]:
    """Find out what those of these files are that are metadata and are there."""
    examined = []
    for each in differences:
        file = None
        if each.problem != "missing" and is_metadata(each.path) and not each.finding:
            file = await workers.run(served.read, each.path)
        if file is not None:
            each = Difference.found(each.path, each.problem, await examiner.examine(each.path, file))  # noqa: PLW2901
        examined.append(each)
    return examined


async def unknown_files(
    served: ServedFiles, paths: Iterable[str], store: Store, workers: Workers, *, files: bool
) -> AsyncIterator[Difference]:
    """Served files that are unknown to the log, or that have other bytes than the log last gave them.

    Args:
        served: the served files.
        paths: all served paths.
        store: a verifier's state, with the list of all files ever published.
        workers: for hashing.
        files: compare distribution files and other targets, besides metadata and pages.
    """
    for batch in _batches(paths):
        known = {path: (digest, since) for path, digest, since in await store.run(load_files, batch)}
        withheld = await store.run(load_withheld, batch)  # what is withheld by now need not have been before
        expected = []
        for path in batch:
            digest, since = known.get(path, ("", 0))
            if path == TIMESTAMP or path in withheld:
                continue
            if not digest:
                yield Difference(readable(path), "unknown")
            elif files or since:
                expected.append(Expected(path, digest))
        for difference in await compare(served, expected, workers):
            yield difference


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(paths)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()
