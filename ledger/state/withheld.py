"""Served paths that are withheld."""

from collections.abc import Sequence

from ledger.state.statements import State, Table

_WITHHELD = Table("withheld", ("path",), str, is_checked=False)


def save_withheld(state: State, withheld: Sequence[str], free: Sequence[str]) -> None:
    """Add served paths that are withheld, and drop those that are not."""
    state.drop(_WITHHELD, [(path,) for path in free])
    state.put(_WITHHELD, [(path,) for path in withheld])


def load_withheld(state: State, paths: Sequence[str]) -> set[str]:
    """The served paths among these that are withheld."""
    return set(state.among(_WITHHELD, paths))


def withheld_after(state: State, path: str, limit: int) -> list[str]:
    """Served paths that are withheld, after a path, in order, at most `limit`."""
    return state.select(_WITHHELD, "WHERE path > ? ORDER BY path LIMIT ?", path, limit)
