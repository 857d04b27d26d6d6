"""What became of records that were not simply accepted."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ledger.state.statements import State, Table


class JudgedRow(NamedTuple):
    """The verdict on a record of a log (`events` or `publications`) that was not simply accepted."""

    log: str
    record: int
    digest: str
    kind: str
    verdict: str
    code: str
    detail: str


_JUDGED = Table("judged", ("log", "idx", *JudgedRow._fields[2:]), JudgedRow, is_checked=False)


def save_judged(state: State, rows: Sequence[JudgedRow]) -> None:
    """Remember the outcome of records that were not simply accepted."""
    state.put(_JUDGED, rows)


def load_judged(state: State, log: str, index: int) -> JudgedRow | None:
    """The outcome of a record, or None if it was accepted or not judged yet."""
    return state.first(_JUDGED, "WHERE log = ? AND idx = ?", log, index)


def load_judged_after(state: State, verdicts: Sequence[str], after: tuple[str, int], limit: int) -> list[JudgedRow]:
    """Outcomes with these verdicts, in order of log and index, from after a place on."""
    return state.select(
        _JUDGED,
        "WHERE (log, idx) > (?, ?) AND verdict IN (SELECT value FROM json_each(?)) ORDER BY log, idx LIMIT ?",
        *after,
        json.dumps(list(verdicts)),
        limit,
    )


def count_judged(state: State) -> list[tuple[str, str, int]]:
    """The numbers of outcomes: `(log, verdict, count)`."""
    return state.rows("SELECT log, verdict, count(*) FROM judged GROUP BY log, verdict ORDER BY log, verdict")
