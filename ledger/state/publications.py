"""Publications that were applied."""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table


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


_COLUMNS = tuple("idx" if name == "record" else name for name in AppliedPublication._fields)
_PUBLICATIONS = Table("publications", _COLUMNS, AppliedPublication, is_checked=False)


def save_publications(state: State, publications: Sequence[AppliedPublication]) -> None:
    """Add applied publications."""
    state.put(_PUBLICATIONS, publications)


def load_publication(state: State, number: int) -> AppliedPublication | None:
    """A publication by its number."""
    return state.first(_PUBLICATIONS, "WHERE number = ?", number)


def publication_covering(state: State, index: int) -> AppliedPublication | None:
    """The first publication that covers an event."""
    return state.first(_PUBLICATIONS, "WHERE size > ? ORDER BY size, number LIMIT 1", index)


def publication_showing(state: State, index: int) -> AppliedPublication | None:
    """The first publication that shows an event."""
    return state.first(_PUBLICATIONS, "WHERE content_size > ? ORDER BY content_size, number LIMIT 1", index)


def publication_above(state: State, number: int) -> AppliedPublication | None:
    """The first publication above a number."""
    return state.first(_PUBLICATIONS, "WHERE number > ? ORDER BY number LIMIT 1", number)


def count_publications(state: State, above: int = 0) -> int:
    """How many publications above a number were applied."""
    return int(state.rows("SELECT count(*) FROM publications WHERE number > ?", above)[0][0])
