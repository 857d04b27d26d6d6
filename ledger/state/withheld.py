"""Served paths that are withheld."""

import json
from collections.abc import Sequence

from ledger.state.statements import State


def save_withheld(state: State, withheld: Sequence[str], free: Sequence[str]) -> None:
    """Add served paths that are withheld, and drop those that are not."""
    state.many("DELETE FROM withheld WHERE path = ?", [(path,) for path in free])
    state.many("INSERT OR IGNORE INTO withheld VALUES (?)", [(path,) for path in withheld])


def load_withheld(state: State, paths: Sequence[str]) -> set[str]:
    """The served paths among these that are withheld."""
    rows = state.rows(
        "SELECT w.path FROM json_each(?) AS j CROSS JOIN withheld AS w ON w.path = j.value", json.dumps(list(paths))
    )
    return {path for (path,) in rows}


def withheld_after(state: State, path: str, limit: int) -> list[str]:
    """Served paths that are withheld, after a path, in order, at most `limit`."""
    rows = state.rows("SELECT path FROM withheld WHERE path > ? ORDER BY path LIMIT ?", path, limit)
    return [path for (path,) in rows]
