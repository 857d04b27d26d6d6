"""What a page or a metadata file says that it is: that leads to its place, even if its bytes are altered."""

import re
from typing import Any, NamedTuple

import orjson

from consumers.catalog.asking import Asked
from consumers.catalog.placing import Offering
from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking
from consumers.catalog.showing import RoleAnswer, load_role
from ledger.catalog import event_rows, publication_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.writing import PublicationRow
from projections.metadata.paths import HTML_LIST, HTML_PAGE, JSON_LIST, JSON_PAGE, page_target

_TITLE = re.compile(rb"<title>(?:Links for ([^<]{1,512})|Simple index)</title>")
_SERIAL = re.compile(rb"<!--SERIAL ([0-9]{1,18})-->\s*\Z")


class PageVersion(NamedTuple):
    """A version of a page, by the serial that it states.

    Attributes:
        path: the target path.
        project: the project; None: it is the list of all projects.
        serial: the index of the last event that it shows.
        offered: the publications that offer these very bytes; None: none does.
        publication: the first one that shows that serial; None: none does.
    """

    path: str
    project: str | None
    serial: int
    offered: Offering | None
    publication: int | None


class Recognized(NamedTuple):
    """What a file says that it is, and whether its bytes are those that were published."""

    answer: RoleAnswer | PageVersion
    is_same: bool


def recognize(connection: Connection, asked: Asked, data: bytes) -> Recognized | None:
    """What a file says that it is; None if it is neither a page nor metadata of this ledger.

    Raises:
        CatalogDamagedError: see `load_role`.
    """
    try:
        document = orjson.loads(data)
    except ValueError:
        document = None
    if isinstance(document, dict):
        if isinstance(document.get("signed"), dict):
            return _metadata(connection, asked, data, document["signed"])
        meta = document.get("meta")
        serial = meta.get("_last-serial") if isinstance(meta, dict) else None
        name = document.get("name")
        is_list = "name" not in document and "projects" in document
        if isinstance(serial, int) and (is_list or isinstance(name, str)):
            return _page(connection, data, None if is_list else name, serial, html=False)
        return None
    title, comment = _TITLE.search(data), _SERIAL.search(data)
    if title is None or comment is None:
        return None
    name = None if title[1] is None else title[1].decode(errors="replace")
    return _page(connection, data, name, int(comment[1]), html=True)


# --- metadata --------------------------------------------------------------------------------------------------------


def _metadata(connection: Connection, asked: Asked, data: bytes, signed: dict[str, Any]) -> Recognized | None:
    version = signed.get("version")
    if not isinstance(version, int) or not 0 < version < 2**53:
        return None
    role = _role_of(connection, signed, version)
    answer = None if role is None else load_role(connection, asked, role, version)
    return None if answer is None else Recognized(answer, data == answer.file.data)


def _role_of(connection: Connection, signed: dict[str, Any], version: int) -> str | None:
    """The role of a file: a bin is known by a target that it lists, and has the number of its publication."""
    kind = signed.get("_type")
    if kind in ("root", SNAPSHOT, TIMESTAMP):  # no set: whatever stands in the file may be a list, too
        return str(kind)
    if kind != "targets":
        return None
    delegations = signed.get("delegations")
    if isinstance(delegations, dict):
        roles = delegations.get("roles")
        names = [each.get("name") for each in roles if isinstance(each, dict)] if isinstance(roles, list) else []
        return "targets" if "bins" in names else "bins"
    row, targets = publication_rows.load_publication(connection, version), signed.get("targets")
    if row is None or not isinstance(targets, dict) or not targets:
        return None
    layout = Remaking(connection).authority(row).layout
    return layout.name(layout.index_of_target(next(iter(targets))))


# --- pages -----------------------------------------------------------------------------------------------------------


def _page(connection: Connection, data: bytes, name: str | None, serial: int, *, html: bool) -> Recognized | None:
    if not 0 <= serial < 2**53:
        return None
    if name is None:
        return _list(connection, data, serial, html=html)
    path = page_target(name, HTML_PAGE if html else JSON_PAGE)
    number = states.project_number(connection, name)
    event = event_rows.load_event(connection, serial)
    if number is None or event is None or event.project != name or event.outcome:
        return None
    first = publication_rows.first_showing(connection, serial)
    after = event_rows.next_accepted(connection, number, serial)
    end = None if after is None else publication_rows.first_showing(connection, after)
    if first is None or (end is not None and end.number == first.number):
        return Recognized(PageVersion(path, name, serial, None, None), is_same=False)
    offered = _same_page(connection, data, name, first, end, html=html)
    return Recognized(PageVersion(path, name, serial, offered, first.number), offered is not None)


def _same_page(
    connection: Connection, data: bytes, name: str, first: PublicationRow, end: PublicationRow | None, *, html: bool
) -> Offering | None:
    """The publications from one on, before another, whose page of a project has these bytes.

    A page without new events changes only where a new time began.
    """
    last = (
        publication_rows.last_publication(connection)
        if end is None
        else writing.publication_before(connection, end.number)
    )
    if last is None:
        raise AssertionError("a publication showed the page")
    starts = [first.number] + [
        number for number, _ in publication_rows.new_times(connection, last.number) if number > first.number
    ]
    remaking = Remaking(connection)
    for place, number in enumerate(starts):
        row = remaking.publication(number)
        if row is not None and remaking.page(name, row, html=html) == data:
            if place + 1 < len(starts):
                before = writing.publication_before(connection, starts[place + 1])
                return Offering(number, number if before is None else before.number)
            return Offering(number, None if end is None else last.number)
    return None


def _list(connection: Connection, data: bytes, serial: int, *, html: bool) -> Recognized:
    path = HTML_LIST if html else JSON_LIST
    rows = publication_rows.publications_with_list(connection, serial + 1)
    if not rows:
        return Recognized(PageVersion(path, None, serial, None, None), is_same=False)
    first, last = rows[0], rows[-1]
    newest = publication_rows.last_publication(connection)
    is_same = Remaking(connection).project_list(first, html=html) == data
    is_newest = newest is not None and newest.number == last.number
    offered = Offering(first.number, None if is_newest else last.number) if is_same else None
    return Recognized(PageVersion(path, None, serial, offered, first.number), is_same)
