"""Roles: the last version of each bin with the mark of its kept file, and all offline documents."""

import json
from collections.abc import Sequence

from ledger.state.statements import State, with_checksums


def kept_name(role: str, version: int) -> str:
    """The name of the kept file of a version of a role."""
    return f"{version}.{role}.json"


def load_roles(state: State) -> list[tuple[str, int, str, int, str]]:
    """All bins ever signed: `(name, version, expires, length, sha256)`."""
    rows = state.checked_rows("SELECT name, version, expires, length, sha256, mark, crc32 FROM roles ORDER BY name")
    return [row[:-1] for row in rows]


def load_marks(state: State, names: Sequence[str]) -> list[tuple[str, bytes]]:
    """The marks `(name, mark)` of the kept files of bins."""
    rows = state.checked_rows(
        "SELECT r.name, r.version, r.expires, r.length, r.sha256, r.mark, r.crc32"
        " FROM json_each(?) AS j CROSS JOIN roles AS r ON r.name = j.value",
        json.dumps(list(names)),
    )
    return [(row[0], row[-1]) for row in rows]


def save_roles(state: State, rows: Sequence[tuple[str, int, str, int, str, bytes]]) -> None:
    """Put versions of bins: as `load_roles` gives them, and the mark of the kept file (empty: there is none)."""
    state.many("INSERT OR REPLACE INTO roles VALUES (?, ?, ?, ?, ?, ?, ?)", with_checksums(rows))


def load_ceremonies(state: State) -> list[tuple[int, str, int, bytes]]:
    """All offline documents `(index of the event, role, version, file)` in order."""
    return state.rows("SELECT idx, role, version, file FROM ceremonies ORDER BY idx, role")


def save_ceremonies(state: State, rows: Sequence[tuple[int, str, int, bytes]]) -> None:
    """Add offline documents."""
    state.many("INSERT OR REPLACE INTO ceremonies VALUES (?, ?, ?, ?)", rows)
