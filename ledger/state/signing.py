"""Events about signing: holds and what releases them."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.file import StateFile
from ledger.state.position import load_note, save_note
from ledger.state.statements import State, Table

_AHEAD = "signing"
"""The note of the size up to which events about signing were put, perhaps beyond the position."""
_FORGOTTEN_TOGETHER = 10_000
"""Number of events about signing that are forgotten in one transaction."""

# Two queries, each by its index: a million holds may be open, and as many released.
LOWEST_HELD = """
SELECT min(size) FROM (
    SELECT * FROM (SELECT size FROM signing WHERE size IS NOT NULL AND released IS NULL AND idx >= ?1 AND idx < ?2
        AND id NOT IN (SELECT value FROM json_each(?3)) ORDER BY size LIMIT 1)
    UNION ALL SELECT min(size) FROM signing WHERE size IS NOT NULL AND released >= ?2 AND idx >= ?1 AND idx < ?2
        AND id NOT IN (SELECT value FROM json_each(?3)))
"""


class SigningRow(NamedTuple):
    """A remembered event about signing: its id, digest and index. A hold has the size that it holds, and its lock
    (empty: none); `released` is the index of the event that released it.
    """

    id: str
    digest: str
    record: int
    size: int | None
    lock: str
    released: int | None


_SIGNING = Table("signing", ("id", "digest", "idx", *SigningRow._fields[3:]), SigningRow)


def save_signing(state: State, rows: Sequence[SigningRow]) -> None:
    """Put remembered events about signing."""
    state.put(_SIGNING, rows)


def save_signing_ahead(state: StateFile, rows: Sequence[SigningRow], size: int) -> bool:
    """Put remembered events about signing up to a size beyond the position, in a transaction of its own.

    Returns:
        False, and nothing is put, while the transaction of a publication waits for its commit.
    """
    if state.is_begun:
        return False
    with state.transaction():
        save_signing(state, rows)
        save_note(state, _AHEAD, f"{size}")
    return True


def forget_signing_ahead(state: StateFile, size: int) -> None:
    """Forget what was put beyond the position, which is at this size: the log need not go on as it did then."""
    ahead = load_note(state, _AHEAD)
    if ahead is None or int(ahead) <= size:
        return
    with state.transaction():
        state.execute("DELETE FROM signing WHERE idx >= ?", size)
    while rows := state.select(_SIGNING, "WHERE released >= ? LIMIT ?", size, _FORGOTTEN_TOGETHER):
        with state.transaction():
            save_signing(state, [row._replace(released=None) for row in rows])


def load_signing(state: State, names: Sequence[str]) -> list[SigningRow]:
    """The remembered events about signing with these ids."""
    return state.among(_SIGNING, names)


def lowest_held(state: State, first: int, end: int, released: Sequence[str]) -> int | None:
    """The lowest size held by a hold among the records from `first` to `end` (exclusive), as of `end`.

    Args:
        state: the state.
        first: holds of earlier records have ended.
        end: the number of records; later releases do not count.
        released: ids of holds that count as released.
    """
    rows = state.rows(LOWEST_HELD, first, end, json.dumps(list(released)))
    lowest: int | None = rows[0][0]
    return lowest


def open_holds(state: State, first: int, end: int, limit: int) -> list[SigningRow]:
    """The holds that are open at the size `end` and whose index is at least `first`, the lowest size first."""
    return state.select(
        _SIGNING,
        "WHERE size IS NOT NULL AND idx >= ? AND idx < ? AND (released IS NULL OR released >= ?)"
        " ORDER BY size, idx LIMIT ?",
        first,
        end,
        end,
        limit,
    )
