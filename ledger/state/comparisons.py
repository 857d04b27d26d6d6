"""What a verifier compares: published files, and those that differ from the log."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.state.statements import State


class DifferenceRow(NamedTuple):
    """A served file that differed from the log: its expected digest, its publication, and the problem. `is_now` is 1 if
    it still differed at the last comparison.
    """

    path: str
    sha256: str
    number: int
    problem: str
    detail: str
    is_now: int


def save_files(state: State, rows: Iterable[tuple[str, str, int]]) -> None:
    """Remember published files: `(path, sha256, number of the publication)`."""
    state.many("INSERT OR REPLACE INTO files (path, sha256, number) VALUES (?, ?, ?)", list(rows))


def load_files(state: State, paths: Sequence[str]) -> list[tuple[str, str, int]]:
    """Published files among these paths."""
    return state.rows(
        "SELECT f.path, f.sha256, f.number FROM json_each(?) AS j CROSS JOIN files AS f ON f.path = j.value",
        json.dumps(list(paths)),
    )


def unchecked_files(state: State, number: int, limit: int) -> list[tuple[str, str, int]]:
    """Files of publications up to a number that were never compared, as rows of `load_files`."""
    return state.rows(
        "SELECT path, sha256, number FROM files WHERE checked = 0 AND number <= ? ORDER BY number LIMIT ?",
        number,
        limit,
    )


def count_files(state: State) -> tuple[int, int]:
    """The numbers of published files, and of those that were never compared."""
    rows = state.rows("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM files WHERE checked = 0)")
    files, unchecked = rows[0]
    return int(files), int(unchecked)


def files_after(state: State, path: str, limit: int) -> list[tuple[str, str, int]]:
    """Published files `(path, sha256, number of the publication)` after a path, in order, at most `limit`."""
    return state.rows("SELECT path, sha256, number FROM files WHERE path > ? ORDER BY path LIMIT ?", path, limit)


def set_checked(state: State, paths: Sequence[str]) -> None:
    """Note that files were compared."""
    state.many("UPDATE files SET checked = 1 WHERE path = ?", [(path,) for path in paths])


def save_differences(state: State, rows: Sequence[DifferenceRow]) -> None:
    """Remember files that differ, or differed."""
    state.many("INSERT OR REPLACE INTO differences VALUES (?, ?, ?, ?, ?, ?)", rows)


def load_differences(state: State, paths: Sequence[str]) -> list[DifferenceRow]:
    """Files among these paths that ever differed."""
    rows = state.rows(
        "SELECT d.* FROM json_each(?) AS j CROSS JOIN differences AS d ON d.path = j.value", json.dumps(list(paths))
    )
    return [DifferenceRow(*row) for row in rows]


def differences_after(state: State, path: str, limit: int) -> list[DifferenceRow]:
    """Files that differ now, after a path, in order, at most `limit`."""
    rows = state.rows("SELECT * FROM differences WHERE is_now = 1 AND path > ? ORDER BY path LIMIT ?", path, limit)
    return [DifferenceRow(*row) for row in rows]


def count_differences(state: State) -> tuple[int, int]:
    """The numbers of files that differ now, and that ever differed."""
    rows = state.rows("SELECT (SELECT count(*) FROM differences WHERE is_now = 1), (SELECT count(*) FROM differences)")
    now, ever = rows[0]
    return int(now), int(ever)
