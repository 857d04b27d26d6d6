"""What two things are compared: publications, or the ledger as of an event, given as people write them."""

import re
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.placing import Places
from ledger.catalog import publication_rows
from ledger.catalog.ceremonies import document_version
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import load_event
from ledger.catalog.writing import PublicationRow
from schemas.errors import LedgerError, NegativeAnswerError
from schemas.fields import is_instant

SNAPSHOT, TIMESTAMP = "snapshot", "timestamp"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"(?:#|publication:)?([0-9]{1,18})")
_EVENT = re.compile(r"event:([0-9]{1,18})")
_ROLE = re.compile(r"([^@]{1,64})@([0-9]{1,18})")


class SideError(LedgerError):
    """A text names nothing that can be compared."""


class Side(NamedTuple):
    """One of two things that are compared: how a ledger was.

    Attributes:
        text: what it is, for people.
        publication: its row; None for the ledger as of an event, or before the first publication.
        size: the number of events whose offline roles count.
        content_size: the number of events whose projects and targets count.
        list_size: the number of events that the list of projects is made of.
        role: the role that alone is compared; empty for everything.
        version: its version; 0 for everything.
    """

    text: str
    publication: PublicationRow | None
    size: int
    content_size: int
    list_size: int
    role: str = ""
    version: int = 0

    @property
    def number(self) -> int:
        """The number of the publication; 0: it is none."""
        return 0 if self.publication is None else self.publication.number


def is_side(text: str) -> bool:
    """Whether a text has the form of a side, whether it exists or not."""
    return is_instant(text) or any(form.fullmatch(text) for form in (_NUMBER, _EVENT, _DAY, _ROLE))


def find_side(connection: Connection, asked: Asked, text: str) -> Side:
    """Find what a text names: `7` or `#7`, `role@version`, a UTC time or day, `event:120`. `0` is before everything.

    Raises:
        NegativeAnswerError: there is no such thing.
        SideError: the text names nothing of a ledger.
    """
    if found := _NUMBER.fullmatch(text):
        return _numbered(connection, int(found[1]))
    if found := _EVENT.fullmatch(text):
        index = int(found[1])
        event = load_event(connection, index)
        if event is None:
            raise NegativeAnswerError(f"there is no event {index} on the log")
        place = Places(connection, asked).of(index, event.type)
        return Side(f"event {index}, {place.status}", None, index + 1, index + 1, index + 1)
    if _DAY.fullmatch(text) or is_instant(text):
        return _at(connection, text)
    if found := _ROLE.fullmatch(text):
        return _of_role(connection, found[1], int(found[2]))
    raise SideError(
        f"{text!r} is no publication (7), role (root@2), UTC time (2026-11-21T10:00:00Z), event (event:120), "
        "folder or URL"
    )


def _of(row: PublicationRow, text: str = "") -> Side:
    name = f"publication {row.number} of {row.time}"
    return Side(f"{text}, {name}" if text else name, row, row.size, row.content_size, row.list_size)


def _numbered(connection: Connection, number: int) -> Side:
    if number == 0:
        return Side("before the first publication", None, 0, 0, 0)
    row = publication_rows.load_publication(connection, number)
    if row is not None:
        return _of(row)
    last = publication_rows.last_publication(connection)
    up_to = "nothing was published yet" if last is None else f"the last one is {last.number}"
    raise NegativeAnswerError(f"there is no publication {number}: {up_to}")


def _at(connection: Connection, text: str) -> Side:
    time = text if "T" in text else f"{text}T00:00:00Z"
    if not is_instant(time):
        raise SideError(f"{text} is no date of the calendar")
    row = publication_rows.publication_at(connection, time)
    if row is None:
        raise NegativeAnswerError(f"nothing was published up to {time}")
    return _of(row, f"at {time}")


def _of_role(connection: Connection, role: str, version: int) -> Side:
    text = f"{role} {version}"
    document = document_version(connection, role, version)
    if document is not None:
        size = document.idx + 1
        return Side(text, None, size, size, size, role, version)
    row = publication_rows.load_publication(connection, version)
    if row is None or publication_rows.role_version(connection, role, version) is None:
        raise NegativeAnswerError(f"no publication signed {role} with version {version}")
    if role in {SNAPSHOT, TIMESTAMP}:  # they speak of everything
        return _of(row, text)
    return _of(row, text)._replace(role=role, version=version)
