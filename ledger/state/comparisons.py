"""What a verifier compares: published files, and those that differ from the log."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table


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


def _file(path: str, sha256: str, number: int) -> tuple[str, str, int]:
    return path, sha256, number


_FILES = Table("files", ("path", "sha256", "number"), _file, is_checked=False)
_DIFFERENCES = Table("differences", DifferenceRow._fields, DifferenceRow, is_checked=False)


def save_files(state: State, rows: Iterable[tuple[str, str, int]]) -> None:
    """Remember published files, each as `(path, SHA-256, number of the publication)`."""
    state.put(_FILES, list(rows))


def load_files(state: State, paths: Sequence[str]) -> list[tuple[str, str, int]]:
    """Published files among these paths, as `save_files` has them."""
    return state.among(_FILES, paths)


def unchecked_files(state: State, number: int, limit: int) -> list[tuple[str, str, int]]:
    """Files of publications up to a number that were never compared, at most `limit`."""
    return state.select(_FILES, "WHERE checked = 0 AND number <= ? ORDER BY number LIMIT ?", number, limit)


def count_files(state: State) -> tuple[int, int]:
    """The numbers of published files, and of those that were never compared."""
    rows = state.rows("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM files WHERE checked = 0)")
    files, unchecked = rows[0]
    return int(files), int(unchecked)


def files_after(state: State, path: str, limit: int) -> list[tuple[str, str, int]]:
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
