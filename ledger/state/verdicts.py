"""What became of records that were not simply accepted."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State


class JudgedRow(NamedTuple):
    """The verdict on a record of a log (`events` or `publications`) that was not simply accepted."""

    log: str
    record: int
    digest: str
    kind: str
    verdict: str
    code: str
    detail: str


def save_judged(state: State, rows: Sequence[JudgedRow]) -> None:
    """Remember the outcome of records that were not simply accepted."""
    state.many("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def load_judged(state: State, log: str, index: int) -> JudgedRow | None:
    """The outcome of a record, or None if it was accepted or not judged yet."""
    rows = state.rows("SELECT * FROM judged WHERE log = ? AND idx = ?", log, index)
    return JudgedRow(*rows[0]) if rows else None


def load_judged_after(state: State, verdicts: Sequence[str], after: tuple[str, int], limit: int) -> list[JudgedRow]:
    """Outcomes with these verdicts, in order of log and index, from after a place on."""
    rows = state.rows(
        "SELECT * FROM judged WHERE (log, idx) > (?, ?) AND verdict IN (SELECT value FROM json_each(?))"
        " ORDER BY log, idx LIMIT ?",
        *after,
        json.dumps(list(verdicts)),
        limit,
    )
    return [JudgedRow(*row) for row in rows]


def count_judged(state: State) -> list[tuple[str, str, int]]:
    """The numbers of outcomes: `(log, verdict, count)`."""
    return state.rows("SELECT log, verdict, count(*) FROM judged GROUP BY log, verdict ORDER BY log, verdict")
