"""Publications that were applied."""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State


class AppliedPublication(NamedTuple):
    """An applied publication; `record` is its index in the `publications` log. `stepped` is 1 if the follower rendered
    this publication itself, and 0 if it skipped over it.
    """

    number: int
    record: int
    digest: str
    time: str
    size: int
    content_size: int
    signed: int
    snapshot_sha256: str
    timestamp_sha256: str
    stepped: int


def save_publications(state: State, publications: Sequence[AppliedPublication]) -> None:
    """Add applied publications."""
    state.many("INSERT OR REPLACE INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", publications)


def load_publication(state: State, number: int) -> AppliedPublication | None:
    """A publication by its number."""
    return _first(state, "SELECT * FROM publications WHERE number = ?", number)


def publication_covering(state: State, index: int) -> AppliedPublication | None:
    """The first publication that covers an event."""
    return _first(state, "SELECT * FROM publications WHERE size > ? ORDER BY size, number LIMIT 1", index)


def publication_showing(state: State, index: int) -> AppliedPublication | None:
    """The first publication that shows an event."""
    statement = "SELECT * FROM publications WHERE content_size > ? ORDER BY content_size, number LIMIT 1"
    return _first(state, statement, index)


def publication_above(state: State, number: int) -> AppliedPublication | None:
    """The first publication above a number."""
    return _first(state, "SELECT * FROM publications WHERE number > ? ORDER BY number LIMIT 1", number)


def count_publications(state: State, above: int = 0) -> int:
    """How many publications above a number were applied."""
    return int(state.rows("SELECT count(*) FROM publications WHERE number > ?", above)[0][0])


def _first(state: State, statement: str, *parameters: int | str) -> AppliedPublication | None:
    rows = state.rows(statement, *parameters)
    return AppliedPublication(*rows[0]) if rows else None
