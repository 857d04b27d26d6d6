"""Aggregates: headers, chunks, the kept files of their pages, ids that were seen, and names that wait for the list."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State, with_checksums

# Updated in place: REPLACE would delete the row and add another at the end of the table, which writes the index twice
# and scatters rows that are read together.
_PUT_CHUNK = """
INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, lower)
DO UPDATE SET facts = excluded.facts, body = excluded.body, html = excluded.html, crc32 = excluded.crc32
"""


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


def load_headers(state: State, keys: Sequence[str]) -> list[tuple[str, bytes]]:
    """Headers `(key, header)` of aggregates, without their chunks."""
    return state.checked_rows(
        "SELECT a.key, a.header, a.crc32 FROM json_each(?) AS j CROSS JOIN aggregates AS a ON a.key = j.value",
        json.dumps(list(keys)),
    )


def load_chunks(state: State, keys: Sequence[str]) -> list[ChunkRow]:
    """All chunks of aggregates, grouped by aggregate."""
    rows = state.checked_rows(
        "SELECT c.key, c.lower, c.facts, c.body, c.html, c.crc32"
        " FROM json_each(?) AS j CROSS JOIN chunks AS c ON c.key = j.value",
        json.dumps(list(keys)),
    )
    return [ChunkRow(*row) for row in rows]


def load_some_chunks(state: State, pairs: Sequence[tuple[str, str]]) -> list[ChunkRow]:
    """Chunks, given by key and lower bound."""
    rows = state.checked_rows(
        "SELECT c.key, c.lower, c.facts, c.body, c.html, c.crc32 FROM json_each(?) AS j CROSS JOIN chunks AS c"
        " ON c.key = json_extract(j.value, '$[0]') AND c.lower = json_extract(j.value, '$[1]')",
        json.dumps(list(pairs)),
    )
    return [ChunkRow(*row) for row in rows]


def save(
    state: State,
    headers: Sequence[tuple[str, bytes]] = (),
    chunks: Sequence[ChunkRow] = (),
    dropped: Sequence[tuple[str, str]] = (),
) -> None:
    """Put headers and chunks, and drop chunks by key and lower bound."""
    state.many("DELETE FROM chunks WHERE key = ? AND lower = ?", dropped)
    state.many("INSERT OR REPLACE INTO aggregates VALUES (?, ?, ?)", with_checksums(headers))
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
    rows = state.checked_rows(
        "SELECT p.key, p.file, p.mark, p.chunks, p.crc32 FROM json_each(?) AS j CROSS JOIN pages AS p"
        " ON p.key = j.value",
        json.dumps(list(keys)),
    )
    return [PageRow(*row) for row in rows]


def load_page_files(state: State) -> set[str]:
    """The names of all kept files that are pages."""
    return {file for _, file, *_ in state.checked_rows("SELECT key, file, mark, chunks, crc32 FROM pages")}


def load_page_sizes(state: State, keys: Sequence[str]) -> list[tuple[str, int]]:
    """The sizes of kept pages of aggregates, as lengths of their indexes in bytes."""
    return state.rows(
        "SELECT p.key, length(p.chunks) FROM json_each(?) AS j CROSS JOIN pages AS p ON p.key = j.value",
        json.dumps(list(keys)),
    )


def save_pages(state: State, pages: Sequence[PageRow], dropped: Sequence[str]) -> None:
    """Put pages, and drop those with these keys."""
    state.many("DELETE FROM pages WHERE key = ?", [(key,) for key in dropped])
    state.many("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", with_checksums(pages))


def load_seen(state: State, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Remembered ids `(key, id, digest)` among these pairs of key and id."""
    return state.rows(
        "SELECT s.key, s.id, s.digest FROM json_each(?) AS j CROSS JOIN seen AS s"
        " ON s.key = json_extract(j.value, '$[0]') AND s.id = json_extract(j.value, '$[1]')",
        json.dumps(list(pairs)),
    )


def save_seen(state: State, rows: Sequence[tuple[str, str, str]]) -> None:
    """Remember ids."""
    state.many("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)


def load_waiting(state: State, names: Sequence[str] | None) -> list[tuple[str, int]]:
    """Names among these (None: all) that wait for the list of projects: `(name, whether added)`."""
    if names is None:
        return state.checked_rows("SELECT name, came, crc32 FROM waiting")
    if not names:
        return []
    statement = "SELECT w.name, w.came, w.crc32 FROM json_each(?) AS j CROSS JOIN waiting AS w ON w.name = j.value"
    return state.checked_rows(statement, json.dumps(list(names)))


def save_waiting(state: State, rows: Sequence[tuple[str, int]], dropped: Sequence[str]) -> None:
    """Put names that wait, and drop others."""
    state.many("DELETE FROM waiting WHERE name = ?", [(name,) for name in dropped])
    state.many("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", with_checksums(rows))


def clear_waiting(state: State) -> None:
    """Delete all waiting names."""
    state.execute("DELETE FROM waiting")
