"""Who was allowed to act, since when and by whose grant, what was done, and what is odd about that."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from packaging.utils import canonicalize_name

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.times import since, until
from ledger.catalog import FOREVER, event_rows, rights
from ledger.catalog.database import Connection
from ledger.catalog.rights import AccessRow, ActsRow, Subjects

T = TypeVar("T")

What = Literal["revoked without a grant", "used without a grant"]

FIRST_PAGE, PAGE = 20, 500
"""Number of events about access that are read at a time."""


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

    what: What
    event: EventAnswer


class Note(NamedTuple):
    """An event about access that changes nothing."""

    event: EventAnswer


AccessItem = Oddity | Grant | Note | Acts


class _Moment(NamedTuple):
    """A time among events: all before `first` came earlier for sure, and all from `end` on later."""

    first: int
    end: int


class _Rows(NamedTuple):
    """What is known of the access of something, before events are read: rows, and oddities with their indices."""

    oddities: Sequence[tuple[int, What]]
    grants: Sequence[AccessRow]
    notes: Sequence[AccessRow]
    acts: Sequence[Acts]
    moment: _Moment


async def find_access(asked: Asked, name: str, at: str | None) -> AsyncIterator[AccessItem]:
    """The access of an actor, with a credential, or to a project, whichever has that name; now, or at a time. First
    comes what no grant explains, then grants, notes, and acts.

    At a time, what may have held is there; what came after it for sure is not.
    """
    found = await asked.database.run(_read, asked, name, at)
    for some in _paged(found.oddities):
        events = await _events(asked, [index for index, _ in some])
        for index, what in some:
            yield Oddity(what, events[index])
    for grants in _paged(found.grants):
        events = await _events(asked, [index for each in grants for index in (each.idx, each.ended_idx)])
        for each in grants:
            yield _grant(each, events, None if at is None else found.moment)
    for notes in _paged(found.notes):
        events = await _events(asked, [each.idx for each in notes])
        for each in notes:
            yield Note(events[each.idx])
    for acts in found.acts:
        yield acts


def _paged(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Items page by page: few at first, so that they are seen at once."""
    at, count = 0, FIRST_PAGE
    while at < len(items):
        yield items[at : at + count]
        at, count = at + count, PAGE


async def _events(asked: Asked, indices: Iterable[int | None]) -> dict[int, EventAnswer]:
    return await asked.database.run(_load, asked, {index for index in indices if index is not None})


def _load(connection: Connection, asked: Asked, indices: Iterable[int]) -> dict[int, EventAnswer]:
    return {each.row.idx: each for each in answers(connection, asked, event_rows.load_events(connection, indices))}


def _grant(row: AccessRow, events: Mapping[int, EventAnswer], moment: _Moment | None) -> Grant:
    end = row.ended_idx
    certain = moment is None or (row.idx < moment.first and (end is None or end >= moment.end))
    return Grant(row, events[row.idx], None if end is None else events[end], certain)


def _read(connection: Connection, asked: Asked, name: str, at: str | None) -> _Rows:
    project, moment = str(canonicalize_name(name)), _moment(connection, asked, at)
    rows = [each for each in rights.access_rows(connection, project, name) if each.idx < moment.end]
    acts = _acts(connection, rights.subjects_of(connection, project, name), moment)
    used = {each.credential for each in acts if each.credential is not None}
    explained = {each.ended_idx for each in rows if each.act == "granted"}
    ungranted = [index for index in rights.ungranted_uses(connection, used) if index < moment.end]
    unexplained = [each.idx for each in rows if each.act == "revoked" and each.idx not in explained]
    return _Rows(
        sorted(
            [
                *((index, "revoked without a grant") for index in unexplained),
                *((index, "used without a grant") for index in ungranted),
            ],
            key=lambda each: each[0],
        ),
        [
            each
            for each in rows
            if each.act == "granted" and (at is None or each.ended_idx is None or each.ended_idx >= moment.first)
        ],
        [each for each in rows if each.act == "noted"],
        acts,
        moment,
    )


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
