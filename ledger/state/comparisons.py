"""What is compared: published files, those that differ from the log, and what paths have shown since."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table

FileRow = tuple[str, str, int]
"""A published file: path, SHA-256, and the number of its publication; 0 for a distribution file. The SHA-256 of a plain
page that is gone is empty."""


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


def _file(path: str, sha256: str, number: int) -> FileRow:
    return path, sha256, number


def _shown(path: str, sha256: str) -> tuple[str, str]:
    return path, sha256


_FILES = Table("files", ("path", "sha256", "number"), _file, is_checked=False)
_DIFFERENCES = Table("differences", DifferenceRow._fields, DifferenceRow, is_checked=False)
_SHOWN = Table("shown", ("path", "sha256"), _shown, is_checked=False)


def save_files(state: State, rows: Iterable[FileRow]) -> None:
    """Remember published files."""
    state.put(_FILES, list(rows))


def load_files(state: State, paths: Sequence[str]) -> list[FileRow]:
    """Published files among these paths."""
    return state.among(_FILES, paths)


def unchecked_files(state: State, number: int, limit: int) -> list[FileRow]:
    """Files of publications up to a number that were never compared, at most `limit`."""
    return state.select(_FILES, "WHERE checked = 0 AND number <= ? ORDER BY number LIMIT ?", number, limit)


def count_files(state: State) -> tuple[int, int]:
    """The numbers of published files, and of those that were never compared."""
    rows = state.rows("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM files WHERE checked = 0)")
    files, unchecked = rows[0]
    return int(files), int(unchecked)


def files_after(state: State, path: str, limit: int) -> list[FileRow]:
    """Published files after a path, in order, at most `limit`."""
    return state.select(_FILES, "WHERE path > ? ORDER BY path LIMIT ?", path, limit)


def set_checked(state: State, paths: Sequence[str]) -> None:
    """Note that files were compared."""
    state.many("UPDATE files SET checked = 1 WHERE path = ?", [(path,) for path in paths])


def save_differences(state: State, rows: Sequence[DifferenceRow]) -> None:
    """Remember files that differ, or differed."""
    state.put(_DIFFERENCES, rows)


def load_differences(state: State, paths: Sequence[str]) -> list[DifferenceRow]:
    """Files among these paths that ever differed."""
    return state.among(_DIFFERENCES, paths)


def differences_after(state: State, path: str, limit: int) -> list[DifferenceRow]:
    """Files that differ now, after a path, in order, at most `limit`."""
    return state.select(_DIFFERENCES, "WHERE is_now = 1 AND path > ? ORDER BY path LIMIT ?", path, limit)


def count_differences(state: State) -> tuple[int, int]:
    """The numbers of files that differ now, and that ever differed."""
    rows = state.rows("SELECT (SELECT count(*) FROM differences WHERE is_now = 1), (SELECT count(*) FROM differences)")
    now, ever = rows[0]
    return int(now), int(ever)


def save_shown(state: State, rows: Sequence[tuple[str, str]]) -> None:
    """Remember what is at paths, and what was there before by the list of files, if nothing is remembered of them. An
    empty SHA-256 is no file. To be called before the list changes.
    """
    state.many(
        "INSERT INTO shown SELECT ?1, coalesce((SELECT sha256 FROM files WHERE path = ?1), '')"
        " WHERE NOT EXISTS (SELECT 1 FROM shown WHERE path = ?1)",
        [(path,) for path in dict.fromkeys(path for path, _ in rows)],
    )
    state.put(_SHOWN, rows)


def load_shown(state: State, paths: Sequence[str]) -> dict[str, set[str]]:
    """All that is remembered of these paths."""
    shown: dict[str, set[str]] = {}
    for path, digest in state.among(_SHOWN, paths):
        shown.setdefault(path, set()).add(digest)
    return shown


def forget_comparison(state: State) -> None:
    """Forget what differed, what paths showed, and files that no publication made."""
    state.execute("DELETE FROM differences")
    state.execute("DELETE FROM shown")
    state.execute("DELETE FROM files WHERE checked = 0 AND number = 0")
