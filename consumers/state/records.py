"""A follower's state as types of `projections`; `ledger.state.store` stores the same as bytes under keys."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

import msgspec

from consumers.state.kept_bins import KeptBin
from ledger.state import StateDamagedError
from ledger.state.store import ChunkRow, JudgedRow, PageRow, ReadingRow, SigningRow, Store
from projections.index.chunks import Aggregate, Change, Chunk
from projections.index.fold import Seen
from projections.index.pages import page_bodies
from projections.log import prefix as prefixes
from projections.log.holds import SigningEvent
from projections.log.prefix import AcceptedCeremony, Prefix
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


async def load_aggregates(
    store: Store,
    keys: Sequence[str],
    filenames: Mapping[str, Collection[str]] | None = None,
    rows_beside: Sequence[str] = (),
) -> Loaded:
    """Load aggregates.

    Args:
        store: the state to load from.
        keys: the keys of the aggregates.
        filenames: projects of which only these files' facts are needed, with others in the same chunks.
        rows_beside: the keys of rows beside projects, which have a header alone.

    Raises:
        StateDamagedError: a row or file has changed since it was written.
    """
    headers = dict(await store.load_headers([*keys, *rows_beside]))
    pages = {page.key: page for page in await store.load_pages(keys)}
    indexes = {key: _decode_index(page.chunks) for key, page in pages.items()}
    some = {key: names for key, names in (filenames or {}).items() if key in pages}
    rows = await store.load_chunks([key for key in keys if key not in some])
    rows += await store.load_some_chunks(
        sorted({(key, _lower_of(indexes[key], name)) for key, names in some.items() for name in names})
    )
    files = await store.read_kept([(page.file, page.mark) for page in pages.values()]) if pages else []
    data = dict(zip(pages, files, strict=True))
    chunks = {key: {row.lower: row for row in group} for key, group in groupby(rows, key=attrgetter("key"))}
    states = {key: Aggregate(key, headers[key]) for key in rows_beside if key in headers}
    for key in keys:
        of_key = chunks.get(key, {})
        if key in pages:
            chunks_of = _in_page(store, data[key], indexes[key], of_key, whole=key not in some)
            states[key] = Aggregate(key, headers.get(key, b""), chunks_of)
        elif key in headers or of_key:
            whole = tuple(Chunk(row.lower, row.facts, row.body, row.html) for _, row in sorted(of_key.items()))
            states[key] = Aggregate(key, headers.get(key, b""), whole)
    return Loaded(states, {key: page.file for key, page in pages.items()})


def _lower_of(index: Sequence[tuple[str, int]], name: str) -> str:
    """The lower bound of the chunk that holds a file."""
    return index[bisect_right(index, name, key=itemgetter(0)) - 1][0]


def _in_page(
    store: Store, page: bytes, index: Sequence[tuple[str, int]], rows: Mapping[str, ChunkRow], *, whole: bool
) -> tuple[Chunk, ...]:
    """Chunks whose bodies are in a kept page, given the rows of all chunks or of some."""
    nothing = ChunkRow("", "", None, b"", b"")
    try:
        bodies = page_bodies(page, [length for _, length in index])
        if whole and len(rows) != len(index):
            raise ValueError(f"a page of {len(index)} chunks has {len(rows)} stored")
    except ValueError as error:
        raise StateDamagedError(
            f"{store.path} is damaged: {error}. Stop its consumer and delete the file; it is rebuilt from the logs"
        ) from error
    return tuple(
        Chunk(lower, rows.get(lower, nothing).facts, body, rows.get(lower, nothing).html)
        for (lower, _), body in zip(index, bodies, strict=True)
    )


async def load_facts(store: Store, keys: Sequence[str]) -> dict[str, Aggregate]:
    """Stored aggregates by key, with facts but without rendered bodies."""
    rows = await store.load_chunks(keys)
    chunks = {
        key: tuple(Chunk(row.lower, row.facts) for row in group) for key, group in groupby(rows, key=attrgetter("key"))
    }
    return {key: Aggregate(key, header, chunks.get(key, ())) for key, header in await store.load_headers(keys)}


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


async def save_rows(store: Store, rows: Rows) -> None:
    """Save the changes of a fold."""
    store.keep([page.file for page in rows.pages], rows.replaced)
    await store.save(rows.headers, rows.chunks, rows.dropped)
    await store.save_pages(rows.pages, rows.unfiled)


async def load_seen(store: Store, routed: Iterable[Routed]) -> dict[tuple[str, str], str]:
    """Digests of remembered events that have the ids of these events, by aggregate key and id."""
    pairs = sorted({(item.key, item.operation.id) for item in routed if item.operation.id})
    if not pairs:
        return {}
    return {(key, name): digest for key, name, digest in await store.load_seen(pairs)}


async def save_seen(store: Store, seen: Iterable[Seen]) -> None:
    """Remember ids of events."""
    await store.save_seen([(each.key, each.id, each.digest) for each in seen])


async def load_waiting(store: Store, names: Sequence[str] | None = None) -> dict[str, bool]:
    """The names, among these or all, that wait for the list of projects, each with whether the project was added."""
    return {name: bool(came) for name, came in await store.load_waiting(names)}


async def save_waiting(store: Store, left: Mapping[str, bool | None], *, is_rendered: bool) -> None:
    """Save the names that wait for the list of projects, given by `ProjectList.left`."""
    if is_rendered:
        await store.clear_waiting()
    kept = [(name, int(came)) for name, came in left.items() if came is not None]
    await store.save_waiting(kept, [name for name, came in left.items() if came is None])


async def save_withholdings(store: Store, withholdings: Iterable[Withholding]) -> None:
    """Save what is withheld since, or no longer."""
    last = {each.path: each.is_withheld for each in withholdings}
    withheld = [path for path, is_withheld in last.items() if is_withheld]
    await store.save_withheld(withheld, [path for path in last if not last[path]])


async def save_judged(store: Store, log: str, judged: Iterable[Judged]) -> None:
    """Remember the outcomes of records, except of those that were simply accepted."""
    await store.save_judged(_judged_rows(log, judged))


def _judged_rows(log: str, judged: Iterable[Judged]) -> list[JudgedRow]:
    return [
        JudgedRow(log, each.index, each.digest, each.kind, *each.outcome)
        for each in judged
        if each.outcome.verdict != "accepted"
    ]


async def save_reading(store: Store, judged: Sequence[Judged], reading: ReadingRow) -> None:
    """Remember verdicts on records beyond the position, and how far these go."""
    await store.save_reading(_judged_rows("publications", judged), reading)


async def save_ceremonies(store: Store, ceremonies: Iterable[AcceptedCeremony]) -> None:
    """Add the documents of ceremonies."""
    await store.save_ceremonies(
        [
            (ceremony.index, document.role, document.version, document.file)
            for ceremony in ceremonies
            for document in ceremony.documents
        ]
    )


async def save_signing(store: Store, prefix: Prefix, size: int) -> None:
    """Remember the events about signing that changed in a prefix at or after a size."""
    await store.save_signing(_signing_rows(prefix, size))


async def save_signing_ahead(store: Store, prefix: Prefix, size: int) -> bool:
    """As `save_signing`, beyond the position; False if that is not possible now."""
    return await store.save_signing_ahead(_signing_rows(prefix, size), prefix.size)


def _signing_rows(prefix: Prefix, size: int) -> list[SigningRow]:
    return [
        SigningRow(name, each.digest, each.index, each.size, each.lock, each.released_at)
        for name, each in prefix.signing.since(size)
    ]


def _event_of(row: SigningRow, size: int) -> SigningEvent:
    """A row as it was at a size."""
    released_at = None if row.released is None or row.released >= size else row.released
    return SigningEvent(row.digest, row.record, row.size, row.lock, released_at)


async def load_open_holds(store: Store, first: int, size: int, limit: int) -> dict[str, SigningEvent]:
    """The holds by id that are open at a size and whose index is at least `first`, the lowest size first."""
    return {row.id: _event_of(row, size) for row in await store.open_holds(first, size, limit)}


async def load_signing(store: Store, names: Collection[str], size: int) -> dict[str, SigningEvent]:
    """The remembered events about signing with these ids, as of the first `size` records."""
    rows = await store.load_signing(sorted(names))
    return {row.id: _event_of(row, size) for row in rows if row.record < size}


async def load_prefix(store: Store, saved: bytes) -> Prefix:
    """The prefix at the follower's position."""
    rows = await store.load_ceremonies()
    ceremonies = [
        (index, {role: file for _, role, _, file in group}) for index, group in groupby(rows, key=itemgetter(0))
    ]
    return prefixes.restore(saved, ceremonies)


async def load_roles(store: Store) -> dict[str, RoleEntry]:
    """The last version of every bin by role name, including retired bins."""
    rows = await store.load_roles()
    return {name: RoleEntry(version, expires, length, sha256) for name, version, expires, length, sha256 in rows}


async def save_roles(store: Store, bins: Mapping[str, KeptBin]) -> None:
    """Put the last versions of bins."""
    await store.save_roles(
        [(name, entry.version, entry.expires, entry.length, entry.sha256, mark) for name, (entry, mark) in bins.items()]
    )
