"""What became of an event, as a state knows it."""

from typing import NamedTuple

from ledger.state.position import load_position
from ledger.state.publications import publication_covering, publication_showing
from ledger.state.statements import State
from ledger.state.verdicts import load_judged


class ShownEvent(NamedTuple):
    """An event that a publication shows: its index, the verdict (`accepted`, `no effect` or `rejected`), its code and a
    sentence for people (both empty if it was simply accepted), and the first publication that shows it, or covers it if
    holds do not concern it.
    """

    event: int
    verdict: str
    code: str
    why: str
    publication: int


def load_shown(state: State, event: int, *, is_authority: bool) -> ShownEvent | None:
    """What became of an event; None: no publication that this state has applied shows it.

    Args:
        state: the state.
        event: the index of the event.
        is_authority: its type is one of `schemas.codec.AUTHORITY_TYPES`, so that it counts as soon as it is covered.
    """
    position = load_position(state)
    if position is None or event >= (position.size if is_authority else position.content_size):
        return None
    publication = (publication_covering if is_authority else publication_showing)(state, event)
    number = publication.number if publication else 0
    judged = load_judged(state, "events", event)
    if judged is None:
        return ShownEvent(event, "accepted", "", "", number)
    return ShownEvent(event, judged.verdict, judged.code, judged.detail, number)
