"""The tasks of a window that is verified by columns. Each is a pure function of its arguments and of the state before.

    events ──fold──▶ targets by bin and version ──check──▶ lengths of bins ──check──▶ snapshots

A *version* is the place of a publication in its window: 0 is the first. A column goes through all its versions in
memory: a project, a bin, or the snapshot. What `step` loads and saves for each publication is loaded once.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumers.render.edition import DivergenceError
from consumers.render.rounds.job import warn_of_stuffed
from consumers.render.sealing import SNAPSHOT, CheckingSealer
from consumers.render.tasks import few_aggregates, hidden_pages, needed_files
from consumers.state.kept_bins import LastBins
from consumers.state.open_state import open_state
from projections.index.chunks import Aggregate
from projections.index.distributions import rows_read_by
from projections.index.fold import fold_events
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes
from projections.log.reading import Routed
from projections.metadata.bins import StoredBin, fold_bin
from projections.metadata.paths import plain_path
from projections.metadata.repository import LENGTH_ABOVE_BYTES, RoleEntry, SnapshotTable, bin_payload, bin_targets
from projections.metadata.targets import Page, TargetChange
from projections.roles.authority import Authority, Terms
from projections.roles.keys import RoleKeys
from projections.roles.layout import Layout
from schemas.publications import Claim

_PROJECTS_AT_ONCE = 64

MOST_CHANGES = 200_000
"""How many changes of targets a task may make. The removal of a project makes one for each of its files, so a few
events can make more than fit into memory."""

VersionedFile = tuple[str, str, int]
"""A file that a version made: its path, its SHA-256 (empty: it is gone), and the version."""

VersionedChange = tuple[int, TargetChange]
"""A change of a target, and the version that makes it."""

_decode_events = msgspec.msgpack.Decoder(list[Routed]).decode
_decode_changes = msgspec.msgpack.Decoder(list[VersionedChange]).decode
_encode = msgspec.msgpack.Encoder().encode


class Folding(NamedTuple):
    """The common input of folding. `sizes` are the content sizes of the versions, `times` their packed brackets."""

    state: Path
    layout: Layout
    sizes: Sequence[int]
    html: bool
    terms: Sequence[Terms]
    times: bytes

    def version_of(self, index: int) -> int:
        """The version that shows an event first."""
        return bisect_right(self.sizes, index)


class FoldedColumns(NamedTuple):
    """Projects and facts through all versions: packed changes of targets by bin, the listings, and the pages. None of
    it counts if they `are_too_many`.
    """

    changes: dict[int, bytes]
    listings: list[Listing]
    pages: list[VersionedFile]
    are_too_many: bool = False


def fold_columns(folding: Folding, packed: bytes) -> FoldedColumns:
    """Fold the events of some aggregates, packed by `consumers.render.tasks.pack_events`, version by version."""
    state, times = open_state(folding.state), UploadTimes(folding.times)
    changes: dict[int, list[VersionedChange]] = {}
    done, count = FoldedColumns({}, [], []), 0
    for keys, items in few_aggregates(_decode_events(packed), _PROJECTS_AT_ONCE):
        loaded = state.load(keys, needed_files(items, html=folding.html), rows_read_by(items))
        seen = dict(state.seen(items))
        of_versions: dict[int, list[Routed]] = {}
        for item in items:
            of_versions.setdefault(folding.version_of(item.index), []).append(item)
        for version, some in sorted(of_versions.items()):
            folded = fold_events(loaded.states, seen, some, html=folding.html, terms=folding.terms, times=times)
            for change in folded.changes:
                before = loaded.states.get(change.key, Aggregate(change.key))
                loaded.states[change.key] = change.of(before)
            seen.update(((each.key, each.id), each.digest) for each in folded.seen)
            done.listings.extend(folded.listings)
            done.pages.extend(rows_of_pages(version, folded.pages, folded.targets))
            count += len(folded.targets)
            if count > MOST_CHANGES and len(folding.sizes) > 1:
                return FoldedColumns({}, [], [], are_too_many=True)
            for target in folded.targets:
                changes.setdefault(folding.layout.index_of_target(target.path), []).append((version, target))
    done.changes.update((index, pack_changes(some)) for index, some in changes.items())
    return done


def pack_changes(changes: Sequence[VersionedChange]) -> bytes:
    """Encode the changes of a bin."""
    return _encode(changes)


def rows_of_pages(version: int, pages: Sequence[Page], changes: Sequence[TargetChange]) -> list[VersionedFile]:
    """The files of pages that a version wrote, and of those that it hid."""
    written = [(path, page.sha256, version) for page in pages for path in (page.hashed_path, plain_path(page.path))]
    return [*written, *((plain_path(path), "", version) for path in hidden_pages(changes))]


# --- bins ------------------------------------------------------------------------------------------------------------


class BinColumn(NamedTuple):
    """A bin in a window: packed changes of its targets, its seals by version, and the versions that renew it."""

    changes: Sequence[bytes]
    seals: Mapping[int, tuple[str, Sequence[str]]]
    renewed: frozenset[int]


class Checking(NamedTuple):
    """The common input of checking bins. `stamps` are the number and the expiry that each version gives its bins."""

    state: Path
    layout: Layout
    online: RoleKeys
    stamps: Sequence[tuple[int, str]]


class CheckedBins(NamedTuple):
    """Bins through all versions: the first version that diverges, if any does, and the lengths of very long files by
    version and name.
    """

    diverging: int | None
    long: dict[tuple[int, str], int]


def check_bins(checking: Checking, last: LastBins, bins: Mapping[int, BinColumn]) -> CheckedBins:
    """Check every version of some bins. Every seal must be of a version of its bin that had to be signed, and the other
    way round.
    """
    state, layout = open_state(checking.state), checking.layout
    headers = state.headers([layout.key(index) for index in bins])
    marks = state.marks(last.names(bins))
    done: dict[tuple[int, str], int] = {}
    diverging: list[int] = []
    for index, column in bins.items():
        stored = StoredBin(headers.get(layout.key(index), b""), last.targets(index, marks))
        found = _check_bin(checking, layout.name(index), stored, column, done)
        if found is not None:
            diverging.append(found)
    return CheckedBins(min(diverging, default=None), done)


def _check_bin(
    checking: Checking, name: str, stored: StoredBin, column: BinColumn, long: dict[tuple[int, str], int]
) -> int | None:
    """The first version of a bin that diverges, or None."""
    changes: dict[int, list[TargetChange]] = {}
    for version, change in (each for packed in column.changes for each in _decode_changes(packed)):
        changes.setdefault(version, []).append(change)
    for version in sorted({*changes, *column.seals, *column.renewed}):
        folded = fold_bin(stored, changes.get(version, ()))
        header = stored.header if folded.header is None else folded.header
        is_signed = folded.differs or version in column.renewed
        if is_signed != (version in column.seals):
            return version
        if not is_signed:
            stored = StoredBin(header, stored.targets)
            continue
        payload = bin_payload(folded.targets, *checking.stamps[version])
        try:
            file = CheckingSealer(checking.online, {name: column.seals[version]}).seal(name, payload)
        except DivergenceError:
            return version
        if len(file) > LENGTH_ABOVE_BYTES:
            long[version, name] = len(file)
            warn_of_stuffed(name, len(file), b",".join(folded.targets))
        stored = StoredBin(header, bin_targets(file))
    return None


# --- snapshots -------------------------------------------------------------------------------------------------------


class SnapshotVersion(NamedTuple):
    """A version of the snapshot: what it is made of, the bins that its publication signed, its seal and its length."""

    claim: Claim
    authority: Authority
    content_size: int
    signed: Mapping[str, RoleEntry]
    seal: tuple[str, Sequence[str]]
    length: int


def check_snapshots(before: Mapping[str, RoleEntry], first: int, versions: Sequence[SnapshotVersion]) -> int | None:
    """The first version of the snapshot that diverges, or None.

    Args:
        before: the bins that the snapshot before lists.
        first: the first version.
        versions: this and the following ones.
    """
    table = SnapshotTable(before)
    for version, each in enumerate(versions, first):
        table.update(each.signed)
        payload = table.payload(each.claim, each.authority, each.content_size)
        try:
            file = CheckingSealer(each.authority.online, {SNAPSHOT: each.seal}).seal(SNAPSHOT, payload)
        except DivergenceError:
            return version
        if len(file) != each.length:
            return version
    return None
