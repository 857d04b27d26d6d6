"""Aggregates: headers, chunks, the kept files of their pages, ids that were seen, and names that wait for the list."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table, with_checksums

# Updated in place: REPLACE would delete the row and add another at the end of the table, which writes the index twice
# and scatters rows that are read together.
_PUT_CHUNK = """
INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, lower)
DO UPDATE SET facts = excluded.facts, body = excluded.body, html = excluded.html, crc32 = excluded.crc32
"""


class HeaderRow(NamedTuple):
    """The header of an aggregate."""

    key: str
    header: bytes


class ChunkRow(NamedTuple):
    """A chunk of an aggregate. A body that is in a kept page is not stored again here."""

    key: str
    lower: str
    facts: bytes | None
    body: bytes
    html: bytes


class PageRow(NamedTuple):
    """The kept file of an aggregate's page, its mark, and the places of the chunks' bodies in it."""

    key: str
    file: str
    mark: bytes
    chunks: bytes


class SeenRow(NamedTuple):
    """A remembered id of an event: its aggregate, and the digest of its record."""

    key: str
    id: str
    digest: str


class WaitingRow(NamedTuple):
    """A name that waits for the list of projects; `came` is 1 if the project was added, and 0 if it was removed."""

    name: str
    came: int


_HEADERS = Table("aggregates", HeaderRow._fields, HeaderRow)
_CHUNKS = Table("chunks", ChunkRow._fields, ChunkRow)
_PAGES = Table("pages", PageRow._fields, PageRow)
_SEEN = Table("seen", SeenRow._fields, SeenRow, is_checked=False)
_WAITING = Table("waiting", WaitingRow._fields, WaitingRow)


def load_headers(state: State, keys: Sequence[str]) -> list[HeaderRow]:
    """Headers of aggregates, without their chunks."""
    return state.among(_HEADERS, keys)


def load_chunks(state: State, keys: Sequence[str] | Sequence[tuple[str, str]]) -> list[ChunkRow]:
    """Chunks of aggregates, grouped by aggregate: all of those with a key, or single ones by key and lower bound."""
    return state.among(_CHUNKS, keys)


def save(
    state: State,
    headers: Sequence[tuple[str, bytes]] = (),
    chunks: Sequence[ChunkRow] = (),
    dropped: Sequence[tuple[str, str]] = (),
) -> None:
    """Put headers and chunks, and drop chunks by key and lower bound."""
    state.drop(_CHUNKS, dropped)
    state.put(_HEADERS, headers)
    state.many(_PUT_CHUNK, with_checksums(chunks))


def keys_between(state: State, first: str, last: str, limit: int) -> list[str]:
    """Keys of aggregates from `first` (exclusive) to `last` (exclusive), in order, at most `limit`."""
    rows = state.rows("SELECT key FROM aggregates WHERE key > ? AND key < ? ORDER BY key LIMIT ?", first, last, limit)
    return [key for (key,) in rows]


def delete_range(state: State, first: str, last: str) -> None:
    """Delete the aggregates from `first` (inclusive) to `last` (exclusive), which have nothing but headers."""
    state.execute("DELETE FROM aggregates WHERE key >= ? AND key < ?", first, last)


def load_pages(state: State, keys: Sequence[str]) -> list[PageRow]:
    """The kept files that are pages of aggregates."""
    return state.among(_PAGES, keys)


def load_page_files(state: State) -> set[str]:
    """The names of all kept files that are pages."""
    return {page.file for page in state.select(_PAGES)}


def load_page_sizes(state: State, keys: Sequence[str]) -> list[tuple[str, int]]:
    """The sizes of kept pages of aggregates, as lengths of their indexes in bytes."""
    return state.rows(
        "SELECT p.key, length(p.chunks) FROM json_each(?) AS j CROSS JOIN pages AS p ON p.key = j.value",
        json.dumps(list(keys)),
    )


def save_pages(state: State, pages: Sequence[PageRow], dropped: Sequence[str]) -> None:
    """Put pages, and drop those with these keys."""
    state.drop(_PAGES, [(key,) for key in dropped])
    state.put(_PAGES, pages)


def load_seen(state: State, pairs: Sequence[tuple[str, str]]) -> list[SeenRow]:
    """Remembered ids among these pairs of key and id."""
    return state.among(_SEEN, pairs)


def save_seen(state: State, rows: Sequence[tuple[str, str, str]]) -> None:
    """Remember ids, as rows of `SeenRow`."""
    state.put(_SEEN, rows)


def load_waiting(state: State, names: Sequence[str] | None) -> list[WaitingRow]:
    """Names among these (None: all) that wait for the list of projects."""
    return state.select(_WAITING) if names is None else state.among(_WAITING, names)


def save_waiting(state: State, rows: Sequence[tuple[str, int]], dropped: Sequence[str]) -> None:
    """Put names that wait, as rows of `WaitingRow`, and drop others."""
    state.drop(_WAITING, [(name,) for name in dropped])
    state.put(_WAITING, rows)


def clear_waiting(state: State) -> None:
    """Delete all waiting names."""
    state.execute("DELETE FROM waiting")
