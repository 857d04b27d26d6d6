"""Which events made files what they are, who said so, and which publications offered them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.placing import Offering, Places
from consumers.catalog.standing import FileStanding, standings
from ledger.catalog import event_rows, states
from ledger.catalog.database import Connection

FIRST_PAGE, PAGE = 20, 500
"""Number of files that are read at a time."""


class Blame(NamedTuple):
    """A file, the events that made it what it is (its upload is the first), and the publications that offered it."""

    project: str
    standing: FileStanding
    events: Sequence[EventAnswer]
    offered: Sequence[Offering]


async def blame_project(asked: Asked, name: str, *, release: str | None = None) -> AsyncIterator[Blame]:
    """All files of a project, or of one release, given by its key, by name; there are none if no event is about it."""
    number = await asked.database.run(states.project_number, name)
    after, limit = ("", -1), FIRST_PAGE
    while number is not None:
        found = await asked.database.run(_page, asked, {number: name}, release, (after, limit))
        for each in found:
            yield each
        if len(found) < limit:
            return
        last = found[-1].standing.upload
        after, limit = (last.filename, last.upload_idx), PAGE


async def blame_file(asked: Asked, filename: str) -> list[Blame]:
    """All files of a name, in whatever project, in the order of their uploads."""
    return await asked.database.run(_named, asked, filename)


def blame_upload(connection: Connection, asked: Asked, index: int) -> Blame | None:
    """The file of the accepted upload at an index; None: there is no such upload."""
    upload = states.upload_at(connection, index)
    if upload is None:
        return None
    names = states.project_names(connection, [upload.project])
    (found,) = _blame(connection, asked, standings(connection, upload.project, [upload]), names)
    return found


def _page(
    connection: Connection,
    asked: Asked,
    of: Mapping[int, str],
    release: str | None,
    some: tuple[tuple[str, int], int],
) -> list[Blame]:
    (project,), (after, limit) = of, some
    uploads = states.uploads_of(connection, project, release=release, after=after, limit=limit)
    return _blame(connection, asked, standings(connection, project, uploads), of)


def _named(connection: Connection, asked: Asked, filename: str) -> list[Blame]:
    uploads = states.uploads_named(connection, filename)
    found = [each for upload in uploads for each in standings(connection, upload.project, [upload])]
    return _blame(connection, asked, found, states.project_names(connection, {each.project for each in uploads}))


def _blame(connection: Connection, asked: Asked, some: Sequence[FileStanding], names: Mapping[int, str]) -> list[Blame]:
    rows = event_rows.load_events(connection, {index for each in some for index in each.causes})
    events = {each.row.idx: each for each in answers(connection, asked, rows)}
    places = Places(connection, asked)
    return [
        Blame(
            names[each.upload.project],
            each,
            [events[index] for index in each.causes],
            places.offerings(each.listed),
        )
        for each in some
    ]
