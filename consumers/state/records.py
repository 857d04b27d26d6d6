"""A follower's state as types of `projections`; `ledger.state` stores the same as bytes under keys."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

import msgspec

from consumers.state.kept_bins import KeptBin
from ledger.disk.syncing import Synced
from ledger.state import StateDamagedError, aggregates, position, publications, roles, signing, verdicts, withheld
from ledger.state.aggregates import ChunkRow, PageRow
from ledger.state.file import StateFile
from ledger.state.position import Position, ReadingRow
from ledger.state.publications import AppliedPublication
from ledger.state.roles import DocumentRow, RoleRow
from ledger.state.signing import SigningRow
from ledger.state.statements import State
from ledger.state.verdicts import JudgedRow
from projections.index import project_list
from projections.index.chunks import Aggregate, Change, Chunk
from projections.index.fold import Seen
from projections.index.pages import page_bodies
from projections.log import prefix as prefixes
from projections.log.holds import SigningEvent
from projections.log.prefix import AcceptedCeremony, Extension, Prefix
from projections.log.reading import Routed
from projections.metadata.holders import Withholding
from projections.metadata.repository import RoleEntry
from projections.outcomes import Judged

_decode_index = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode
_encode_index = msgspec.msgpack.Encoder().encode


class Loaded(NamedTuple):
    """Stored aggregates by key, without those never stored. `filed` holds the kept files of their pages by key."""

    states: dict[str, Aggregate]
    filed: dict[str, str]


def load_aggregates(
    state: State,
    keys: Sequence[str],
    filenames: Mapping[str, Collection[str]] | None = None,
    rows_beside: Sequence[str] = (),
) -> Loaded:
    """Load aggregates.

    Args:
        state: the state to load from.
        keys: the keys of the aggregates.
        filenames: projects of which only these files' facts are needed, with others in the same chunks.
        rows_beside: the keys of rows beside projects, which have a header alone.

    Raises:
        StateDamagedError: a row or file has changed since it was written.
    """
    headers = dict(aggregates.load_headers(state, [*keys, *rows_beside]))
    pages = {page.key: page for page in aggregates.load_pages(state, keys)}
    indexes = {key: _decode_index(page.chunks) for key, page in pages.items()}
    some = {key: names for key, names in (filenames or {}).items() if key in pages}
    rows = aggregates.load_chunks(state, [key for key in keys if key not in some])
    if some:
        pairs = {(key, _lower_of(indexes[key], name)) for key, names in some.items() for name in names}
        rows += aggregates.load_chunks(state, sorted(pairs))
    files = state.read_kept([(page.file, page.mark) for page in pages.values()]) if pages else []
    data = dict(zip(pages, files, strict=True))
    chunks = {key: {row.lower: row for row in group} for key, group in groupby(rows, key=attrgetter("key"))}
    states = {key: Aggregate(key, headers[key]) for key in rows_beside if key in headers}
    for key in keys:
        of_key = chunks.get(key, {})
        if key in pages:
            chunks_of = _in_page(state, data[key], indexes[key], of_key, whole=key not in some)
            states[key] = Aggregate(key, headers.get(key, b""), chunks_of)
        elif key in headers or of_key:
            whole = tuple(Chunk(row.lower, row.facts, row.body, row.html) for _, row in sorted(of_key.items()))
            states[key] = Aggregate(key, headers.get(key, b""), whole)
    return Loaded(states, {key: page.file for key, page in pages.items()})


def _lower_of(index: Sequence[tuple[str, int]], name: str) -> str:
    """The lower bound of the chunk that holds a file."""
    return index[bisect_right(index, name, key=itemgetter(0)) - 1][0]


def _in_page(
    state: State, page: bytes, index: Sequence[tuple[str, int]], rows: Mapping[str, ChunkRow], *, whole: bool
) -> tuple[Chunk, ...]:
    """Chunks whose bodies are in a kept page, given the rows of all chunks or of some."""
    nothing = ChunkRow("", "", None, b"", b"")
    try:
        bodies = page_bodies(page, [length for _, length in index])
        if whole and len(rows) != len(index):
            raise ValueError(f"a page of {len(index)} chunks has {len(rows)} stored")
    except ValueError as error:
        raise StateDamagedError(
            f"{state.path} is damaged: {error}. Stop its consumer and delete the file; it is rebuilt from the logs"
        ) from error
    return tuple(
        Chunk(lower, rows.get(lower, nothing).facts, body, rows.get(lower, nothing).html)
        for (lower, _), body in zip(index, bodies, strict=True)
    )


def load_project_list(state: State, names: Sequence[str]) -> tuple[bytes, dict[str, bool]]:
    """The header of the list of projects, and those of these names that wait for it."""
    headers = dict(aggregates.load_headers(state, [project_list.KEY]))
    return headers.get(project_list.KEY, b""), load_waiting(state, names)


def load_facts(state: State, keys: Sequence[str]) -> dict[str, Aggregate]:
    """Stored aggregates by key, with facts but without rendered bodies."""
    rows = aggregates.load_chunks(state, keys)
    chunks = {
        key: tuple(Chunk(row.lower, row.facts) for row in group) for key, group in groupby(rows, key=attrgetter("key"))
    }
    return {key: Aggregate(key, header, chunks.get(key, ())) for key, header in aggregates.load_headers(state, keys)}


class Rows(msgspec.Struct, array_like=True):
    """The changes of a fold, as rows. `unfiled` are keys whose page is gone; `replaced` are kept files that are no
    longer needed.
    """

    headers: list[tuple[str, bytes]]
    chunks: list[ChunkRow] = []
    dropped: list[tuple[str, str]] = []
    pages: list[PageRow] = []
    unfiled: list[str] = []
    replaced: list[str] = []

    def add(self, other: "Rows") -> None:
        """Add the rows of other aggregates."""
        self.headers += other.headers
        self.chunks += other.chunks
        self.dropped += other.dropped
        self.pages += other.pages
        self.unfiled += other.unfiled
        self.replaced += other.replaced


def rows_of(changes: Iterable[Change], loaded: Loaded | None = None, pages: Iterable[PageRow] = ()) -> Rows:
    """The rows to store for changes.

    Args:
        changes: changes of aggregates.
        loaded: the aggregates before the changes.
        pages: the pages that are kept as files.
    """
    states, filed = loaded or Loaded({}, {})
    kept = {page.key: page for page in pages}
    rows = Rows([])
    for change in changes:
        key, page = change.key, kept.get(change.key)
        if change.header is not None:
            rows.headers.append((key, change.header))
        rows.dropped.extend((key, lower) for lower in change.drop)
        for chunk in change.put:
            body = bytes(chunk.body) if page is None else b""
            rows.chunks.append(ChunkRow(key, chunk.lower, chunk.facts, body, chunk.html))
        if page is not None:
            rows.pages.append(page._replace(chunks=_encode_index(_index(states.get(key), change))))
        if key in filed and (page is not None or change.header is not None):
            rows.replaced.append(filed[key])
            rows.unfiled.extend([key] if page is None else [])
    return rows


def _index(before: Aggregate | None, change: Change) -> list[tuple[str, int]]:
    """The lower bounds and body lengths of an aggregate's chunks after a change."""
    lengths = {chunk.lower: len(chunk.body) for chunk in (before.chunks if before else ())}
    for lower in change.drop:
        del lengths[lower]
    lengths.update((chunk.lower, len(chunk.body)) for chunk in change.put)
    return sorted(lengths.items())


def save_rows(state: StateFile, rows: Rows) -> None:
    """Save the changes of a fold."""
    state.keep([page.file for page in rows.pages], rows.replaced)
    aggregates.save(state, rows.headers, rows.chunks, rows.dropped)
    aggregates.save_pages(state, rows.pages, rows.unfiled)


def save_folded(state: StateFile, rows: Rows, seen: Iterable[Seen], judged: Iterable[Judged]) -> None:
    """Save what a fold made: changes, ids of events, and verdicts."""
    save_rows(state, rows)
    save_seen(state, seen)
    save_judged(state, "events", judged)


def load_seen(state: State, routed: Iterable[Routed]) -> dict[tuple[str, str], str]:
    """Digests of remembered events that have the ids of these events, by aggregate key and id."""
    pairs = sorted({(item.key, item.operation.id) for item in routed if item.operation.id})
    return {(key, name): digest for key, name, digest in aggregates.load_seen(state, pairs)}


def save_seen(state: State, seen: Iterable[Seen]) -> None:
    """Remember ids of events."""
    aggregates.save_seen(state, [(each.key, each.id, each.digest) for each in seen])


def load_waiting(state: State, names: Sequence[str] | None = None) -> dict[str, bool]:
    """The names, among these or all, that wait for the list of projects, each with whether the project was added."""
    return {name: bool(came) for name, came in aggregates.load_waiting(state, names)}


def save_waiting(state: State, left: Mapping[str, bool | None], *, is_rendered: bool) -> None:
    """Save the names that wait for the list of projects, given by `ProjectList.left`."""
    if is_rendered:
        aggregates.clear_waiting(state)
    kept = [(name, int(came)) for name, came in left.items() if came is not None]
    aggregates.save_waiting(state, kept, [name for name, came in left.items() if came is None])


def save_project_list(state: StateFile, change: Change, left: Mapping[str, bool | None], *, is_rendered: bool) -> None:
    """Save a change of the list of projects, and the names that wait for it."""
    save_waiting(state, left, is_rendered=is_rendered)
    save_rows(state, rows_of([change]))


def save_withholdings(state: State, withholdings: Iterable[Withholding]) -> None:
    """Save what is withheld since, or no longer."""
    last = {each.path: each.is_withheld for each in withholdings}
    added = [path for path, is_withheld in last.items() if is_withheld]
    withheld.save_withheld(state, added, [path for path in last if not last[path]])


def load_bins(state: State, keys: Sequence[str], names: Sequence[str]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The headers of bins by key, and the marks of their kept files by role name."""
    return dict(aggregates.load_headers(state, keys)), roles.load_marks(state, names)


def save_bins(state: State, headers: Sequence[tuple[str, bytes]], withholdings: Sequence[Withholding]) -> None:
    """Put headers of bins, and save what is withheld since, or no longer."""
    aggregates.save(state, headers)
    save_withholdings(state, withholdings)


def save_judged(state: State, log: str, judged: Iterable[Judged]) -> None:
    """Remember the outcomes of records, except of those that were simply accepted."""
    verdicts.save_judged(state, _judged_rows(log, judged))


def _judged_rows(log: str, judged: Iterable[Judged]) -> list[JudgedRow]:
    return [
        JudgedRow(log, each.index, each.digest, each.kind, *each.outcome)
        for each in judged
        if each.outcome.verdict != "accepted"
    ]


def save_reading(state: StateFile, judged: Sequence[Judged], reading: ReadingRow) -> None:
    """Remember verdicts on records beyond the position, and how far these go."""
    position.save_reading(state, _judged_rows("publications", judged), reading)


def save_ceremonies(state: State, ceremonies: Iterable[AcceptedCeremony]) -> None:
    """Add the documents of ceremonies."""
    roles.save_ceremonies(
        state,
        [
            DocumentRow(ceremony.index, document.role, document.version, document.file)
            for ceremony in ceremonies
            for document in ceremony.documents
        ],
    )


def save_extension(state: State, extension: Extension) -> None:
    """Save what a prefix judged: records, and documents of ceremonies."""
    save_judged(state, "events", extension.judged)
    save_ceremonies(state, extension.ceremonies)


def save_signing(state: State, prefix: Prefix, size: int) -> None:
    """Remember the events about signing that changed in a prefix at or after a size."""
    signing.save_signing(state, _signing_rows(prefix, size))


def save_signing_ahead(state: StateFile, prefix: Prefix, size: int) -> bool:
    """As `save_signing`, beyond the position; False if that is not possible now."""
    return signing.save_signing_ahead(state, _signing_rows(prefix, size), prefix.size)


def _signing_rows(prefix: Prefix, size: int) -> list[SigningRow]:
    return [
        SigningRow(name, each.digest, each.index, each.size, each.lock, each.released_at)
        for name, each in prefix.signing.since(size)
    ]


def _event_of(row: SigningRow, size: int) -> SigningEvent:
    """A row as it was at a size."""
    released_at = None if row.released is None or row.released >= size else row.released
    return SigningEvent(row.digest, row.record, row.size, row.lock, released_at)


def load_open_holds(state: State, first: int, size: int, limit: int) -> dict[str, SigningEvent]:
    """The holds by id that are open at a size and whose index is at least `first`, the lowest size first."""
    return {row.id: _event_of(row, size) for row in signing.open_holds(state, first, size, limit)}


def load_signing(state: State, names: Collection[str], size: int) -> dict[str, SigningEvent]:
    """The remembered events about signing with these ids, as of the first `size` records."""
    rows = signing.load_signing(state, sorted(names))
    return {row.id: _event_of(row, size) for row in rows if row.record < size}


def load_prefix(state: State, saved: bytes) -> Prefix:
    """The prefix at the follower's position."""
    rows = roles.load_ceremonies(state)
    ceremonies = [
        (index, {role: file for _, role, _, file in group}) for index, group in groupby(rows, key=itemgetter(0))
    ]
    return prefixes.restore(saved, ceremonies)


def load_roles(state: State) -> dict[str, RoleEntry]:
    """The last version of every bin by role name, including retired bins."""
    rows = roles.load_roles(state)
    return {row.name: RoleEntry(row.version, row.expires, row.length, row.sha256) for row in rows}


def save_roles(state: State, bins: Mapping[str, KeptBin]) -> None:
    """Put the last versions of bins."""
    roles.save_roles(
        state,
        [
            RoleRow(name, entry.version, entry.expires, entry.length, entry.sha256, mark)
            for name, (entry, mark) in bins.items()
        ],
    )


class Applied(NamedTuple):
    """What is saved of publications when they are applied: verdicts on records of `publications`, the publications, the
    prefix at the size of the last one, the size before, and the position.
    """

    judged: Sequence[Judged]
    publications: Sequence[AppliedPublication]
    prefix: Prefix
    size: int
    position: Position


def commit(state: StateFile, applied: Applied, after: Synced | None, save: Callable[[State], None]) -> None:
    """Commit the transaction of publications (`StateFile.commit`), with what is known of them. `save` saves more."""
    save(state)
    save_judged(state, "publications", applied.judged)
    publications.save_publications(state, applied.publications)
    save_signing(state, applied.prefix, applied.size)
    position.save_position(state, applied.position)
    state.commit(after=after)


def roll_back(state: StateFile) -> dict[str, RoleEntry]:
    """Undo the open transaction; return what `load_roles` returns."""
    state.rollback()
    return load_roles(state)
