"""Following a ledger for somebody whom some of its events concern."""

from collections.abc import AsyncGenerator, Collection
from typing import NamedTuple

from consumers.catalog.asking import Asked, asked_of, choose_catalog, open_filling
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.context import Context
from ledger.catalog import ceremonies
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted, events_from
from schemas.codec import AUTHORITY_TYPES

REST_SECONDS = 0.5
PAGE = 500


class Concern(NamedTuple):
    """What concerns somebody: events of these projects, ceremonies that list or drop these keys, events by these
    actors; and always holds, ceremonies and releases of holds. If nothing is named, everything concerns him.
    """

    projects: Collection[str] = ()
    keyids: Collection[str] = ()
    actors: Collection[str] = ()

    def is_about(self, answer: EventAnswer, keys: Collection[str]) -> bool:
        """Whether an event concerns him, given the keys that a ceremony listed or dropped."""
        if not (self.projects or self.keyids or self.actors) or answer.row.type in AUTHORITY_TYPES - {_ROLES}:
            return True
        if answer.row.type == _ROLES:
            return not self.keyids or any(key.startswith(wanted) for key in keys for wanted in self.keyids)
        data = answer.data or {}
        names = {answer.row.actor, f"{answer.row.actor_kind}:{answer.row.actor}", data.get("account")}
        return bool({answer.row.project, data.get("project")} & set(self.projects) or names & set(self.actors))


_ROLES = "roles.signed.v1"


class Watched(NamedTuple):
    """An event that concerns somebody. `notes` say what is odd about it."""

    answer: EventAnswer
    notes: list[str]


async def watch_events(context: Context, concern: Concern, first: int | None) -> AsyncGenerator[Watched, None]:
    """The events that concern somebody, as they come to the log; never ends.

    Args:
        context: the ledger.
        concern: what concerns him.
        first: the index of the first event to look at; None: the next that comes.
    """
    database, is_private = await choose_catalog(context)
    async with open_filling(context, database, is_private=is_private) as filling:
        while await filling.step():
            pass
        at = filling.size if first is None else first
        while True:
            while at < filling.size:
                asked, end = await asked_of(context, database, filling), min(at + PAGE, filling.size)
                for each in await database.run(_look, asked, concern, at, end):
                    yield each
                at = end
            if not await filling.step():
                await filling.rest(REST_SECONDS)


def _look(connection: Connection, asked: Asked, concern: Concern, first: int, end: int) -> list[Watched]:
    some = Wanted(first=first, end=end)
    rows = events_from(connection, some, first, end - first)
    odd: dict[int, list[str]] = {}
    for wanted, note in (
        (some._replace(unattested=True), "unattested"),
        (some._replace(first_use=True), "never-granted"),
    ):
        for row in events_from(connection, wanted, first, end - first):
            odd.setdefault(row.idx, []).append(note)
    found = []
    for answer in answers(connection, asked, rows):
        keys = ceremonies.keys_touched(connection, answer.row.idx) if answer.row.type == _ROLES else ()
        if concern.is_about(answer, keys):
            found.append(Watched(answer, odd.get(answer.row.idx, [])))
    return found
