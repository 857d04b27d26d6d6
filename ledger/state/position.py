"""Where a follower is: its position, how far it has read on, and notes for its next start."""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.file import StateFile
from ledger.state.statements import State, Table, with_checksums
from ledger.state.verdicts import JudgedRow, save_judged


class Position(NamedTuple):
    """The position of a follower: its last publication, and its memory of the logs up to there.

    `digest` is that of the last publication's record, `last_event` that of the last event it covers. `content_size` is
    the size up to which it shows content. `next_record` is the index of the first record of `publications` behind it.
    Tokens are those of `ledger.logs.Log`: for the records that these digests are of, which are the first that a
    follower looks at when it starts, and for the last event that is shown, since later events are read again.
    """

    number: int
    digest: str
    time: str
    size: int
    content_size: int
    content_token: int
    last_event: str
    events_token: int
    next_record: int
    publications_token: int
    prefix: bytes


class ReadingRow(NamedTuple):
    """How far a follower has read `publications` beyond its last publication: what it need not judge again.

    `next_record` is the index of the next record, `digest` that of the record before it, and `publications_token` that
    record's token. `state` is what the records between have led to.
    """

    next_record: int
    digest: str
    publications_token: int
    state: bytes


_POSITION = Table("position", Position._fields, Position)
_READING = Table("reading", ReadingRow._fields, ReadingRow)


def load_position(state: State) -> Position | None:
    """The position, or None if the follower has not applied a publication yet."""
    return state.first(_POSITION)


def save_position(state: State, position: Position) -> None:
    """Set the position. This must be the last change of a transaction."""
    rows = with_checksums([position])
    state.many("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def load_reading(state: State) -> ReadingRow | None:
    """How far `publications` was read when this was last saved. A position may be further."""
    return state.first(_READING)


def save_reading(state: StateFile, judged: Sequence[JudgedRow], reading: ReadingRow) -> None:
    """Remember verdicts on records beyond the position, and how far these go, in a transaction of its own."""
    with state.transaction():
        save_judged(state, judged)
        state.many("INSERT OR REPLACE INTO reading VALUES (1, ?, ?, ?, ?, ?)", with_checksums([reading]))


def forget_reading(state: StateFile, log: str, first: int) -> None:
    """Forget how far `publications` was read, and verdicts on records from an index on, in one transaction."""
    with state.transaction():
        state.execute("DELETE FROM reading")
        state.execute("DELETE FROM judged WHERE log = ? AND idx >= ?", log, first)


def load_note(state: State, name: str) -> str | None:
    """A note that a consumer left for its next start."""
    rows = state.rows("SELECT value FROM notes WHERE name = ?", name)
    return rows[0][0] if rows else None


def save_note(state: State, name: str, value: str | None) -> None:
    """Leave a note, or delete it (None)."""
    if value is None:
        state.execute("DELETE FROM notes WHERE name = ?", name)
    else:
        state.many("INSERT OR REPLACE INTO notes VALUES (?, ?)", [(name, value)])
