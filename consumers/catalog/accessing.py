"""Who was allowed to act, since when and by whose grant, what was done, and what is odd about that."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.times import since, until
from ledger.catalog import FOREVER, event_rows, rights
from ledger.catalog.database import Connection
from ledger.catalog.rights import AccessRow, ActsRow, Subjects


class Grant(NamedTuple):
    """A grant, the event that made it, and the one that ended it.

    `is_certain` says whether it held at the time that was asked for, whenever in its bracket each event came.
    """

    row: AccessRow
    granted: EventAnswer
    revoked: EventAnswer | None
    is_certain: bool


class Acts(NamedTuple):
    """What somebody did with a credential: the numbers of events by type and of rejected ones, the first, the last."""

    actor_kind: str
    actor: str
    credential: str | None
    types: Mapping[str, int]
    rejected: int
    first: int
    last: int

    @property
    def events(self) -> int:
        """How many events these are."""
        return sum(self.types.values())


class Oddity(NamedTuple):
    """An event that no grant explains: it revokes what was not granted, or is the first use of a credential that was
    not granted before.
    """

    what: Literal["revoked without a grant", "used without a grant"]
    event: EventAnswer


class AccessAnswer(NamedTuple):
    """All about the access of somebody, or to something. `notes` are events about access that change nothing."""

    grants: Sequence[Grant]
    notes: Sequence[EventAnswer]
    acts: Sequence[Acts]
    oddities: Sequence[Oddity]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not (self.grants or self.notes or self.acts or self.oddities)


class _Moment(NamedTuple):
    """A time among events: all before `first` came earlier for sure, and all from `end` on later."""

    first: int
    end: int


async def find_access(asked: Asked, name: str, at: str | None) -> AccessAnswer:
    """The access of an actor, with a credential, or to a project, whichever has that name; now, or at a time.

    At a time, what may have held is there; what came after it for sure is not.
    """
    return await asked.database.run(_read, asked, name, at)


def _read(connection: Connection, asked: Asked, name: str, at: str | None) -> AccessAnswer:
    project, moment = str(canonicalize_name(name)), _moment(connection, asked, at)
    rows = [each for each in rights.access_rows(connection, project, name) if each.idx < moment.end]
    acts = _acts(connection, rights.subjects_of(connection, project, name), moment)
    used = {each.credential for each in acts if each.credential is not None}
    ungranted = [index for index in rights.ungranted_uses(connection, used) if index < moment.end]
    explained = {each.ended_idx for each in rows if each.act == "granted"}
    unexplained = [each.idx for each in rows if each.act == "revoked" and each.idx not in explained]
    wanted = {index for each in rows for index in (each.idx, each.ended_idx) if index is not None} | set(ungranted)
    events = {each.row.idx: each for each in answers(connection, asked, event_rows.load_events(connection, wanted))}
    grants = [
        Grant(
            each,
            events[each.idx],
            None if each.ended_idx is None else events[each.ended_idx],
            at is None or (each.idx < moment.first and (each.ended_idx is None or each.ended_idx >= moment.end)),
        )
        for each in rows
        if each.act == "granted" and (at is None or each.ended_idx is None or each.ended_idx >= moment.first)
    ]
    notes = [events[each.idx] for each in rows if each.act == "noted"]
    oddities = [
        *(Oddity("revoked without a grant", events[index]) for index in unexplained),
        *(Oddity("used without a grant", events[index]) for index in ungranted),
    ]
    return AccessAnswer(grants, notes, acts, sorted(oddities, key=lambda each: each.event.row.idx))


def _moment(connection: Connection, asked: Asked, at: str | None) -> _Moment:
    if at is None:
        return _Moment(asked.size, FOREVER)
    (first, _), (end, _) = since(connection, at), until(connection, at)
    return _Moment(first, FOREVER if end is None else end)


def _acts(connection: Connection, subjects: Subjects, moment: _Moment) -> list[Acts]:
    found: dict[tuple[str, str, str | None], list[ActsRow]] = {}
    for each in rights.count_acts(connection, subjects, moment.end):
        found.setdefault((each.actor_kind, each.actor, each.credential), []).append(each)
    acts = [
        Acts(
            *who,
            {each.type: each.events for each in sorted(rows, key=lambda each: each.type)},
            sum(each.rejected for each in rows),
            min(each.first for each in rows),
            max(each.last for each in rows),
        )
        for who, rows in found.items()
    ]
    return sorted(acts, key=lambda each: each.first)
