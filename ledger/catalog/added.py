"""Files that were added to a release after its first one: kept in an order in which few need a look.

Nearly all files of a release come within minutes of each other, and whoever asks for late ones asks for few among ten
million. When an event was published is known only later; but it is known how many events lie between two.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, insert, select

from ledger.catalog.selecting import rows_of
from ledger.catalog.tables import added_files, files

MOST_LEVELS = 40
"""No log has 2^40 events."""


class Addition(NamedTuple):
    """An upload to a release, and the first one to it, by their indices."""

    upload_idx: int
    first_idx: int


def level_of(distance: int) -> int:
    """The level of an upload so many events behind the first one: the number of bits."""
    return min(distance.bit_length(), MOST_LEVELS)


def _level(distance: ColumnElement[int]) -> ColumnElement[int]:
    return case(*[(distance < 2**level, level) for level in range(1, MOST_LEVELS)], else_=MOST_LEVELS)


def add_files(connection: Connection, first: int, end: int) -> None:
    """Add the accepted uploads from one index to below another that are not the first to their release."""
    before = files.alias("before")
    first_idx = (
        select(func.min(before.c.upload_idx))
        .where(before.c.project == files.c.project, before.c.release == files.c.release)
        .scalar_subquery()
    )
    uploads = (
        select(files.c.upload_idx, first_idx.label("first_idx"))
        .where(files.c.upload_idx >= first, files.c.upload_idx < end)
        .subquery()
    )
    level = _level(uploads.c.upload_idx - uploads.c.first_idx).label("level")
    query = select(level, uploads.c.upload_idx, uploads.c.first_idx).where(uploads.c.first_idx < uploads.c.upload_idx)
    names = [column.name for column in added_files.columns]
    connection.execute(insert(added_files).from_select(names, query.order_by(level, uploads.c.upload_idx)))


def added_between(connection: Connection, level: int, first: int, end: int, limit: int) -> list[Addition]:
    """The uploads of a level, or a higher one, from one index to below another: at most so many, in no order."""
    table = added_files
    query = select(table.c.upload_idx, table.c.first_idx)
    query = query.where(table.c.level.in_(range(level, MOST_LEVELS + 1)))
    return rows_of(
        connection, Addition, query.where(table.c.upload_idx >= first, table.c.upload_idx < end).limit(limit)
    )
