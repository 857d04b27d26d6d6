"""Comparing a catalog: samples for a look at the logs, and all rows with another catalog of the same logs."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, select, tuple_

from ledger.catalog.database import Database
from ledger.catalog.selecting import rows_among, rows_of
from ledger.catalog.tables import events, fold_aggregates, fold_chunks, metadata, position, publications

PAGE = 5_000
_DERIVED = (position, fold_aggregates, fold_chunks)
"""These depend on where batches ended. All other rows follow from the logs alone, down to their numbers."""


def extent(connection: Connection) -> tuple[int, list[int]]:
    """The number of events, and the numbers of all publications."""
    size = connection.execute(select(func.count()).select_from(events)).scalar_one()
    return size, rows_of(connection, int, select(publications.c.number).order_by(publications.c.number))


def event_digests(connection: Connection, indices: Iterable[int]) -> dict[int, str]:
    """The digests of records by index, hexadecimal."""
    query = select(events.c.idx, events.c.digest)
    return dict(rows_among(connection, _digest, lambda some: query.where(events.c.idx.in_(some)), indices))


def _digest(index: int, digest: bytes) -> tuple[int, str]:
    return index, digest.hex()


async def differences(one: Database, other: Database) -> AsyncIterator[str]:
    """The first difference of each table, in words. Both catalogs are open."""
    for table in metadata.sorted_tables:
        if table in _DERIVED:
            continue
        after: Sequence[Any] | None = None
        while True:
            mine, theirs = await one.run(_page, table, after), await other.run(_page, table, after)
            if mine != theirs:
                place = next(place for place in range(PAGE) if mine[place : place + 1] != theirs[place : place + 1])
                found = ["no row" if place >= len(rows) else f"{rows[place]}" for rows in (mine, theirs)]
                yield f"table {table.name}: {found[0]} instead of {found[1]}"
                break
            if len(mine) < PAGE:
                break
            after = mine[-1][: len(table.primary_key)]


def _page(connection: Connection, table: Table, after: Sequence[Any] | None) -> list[tuple[Any, ...]]:
    keys = list(table.primary_key)
    query = select(*keys, *(column for column in table.columns if not column.primary_key)).order_by(*keys)
    if after is not None:
        query = query.where(tuple_(*keys) > tuple_(*after)) if len(keys) > 1 else query.where(keys[0] > after[0])
    return rows_of(connection, _row, query.limit(PAGE))


def _row(*values: Any) -> tuple[Any, ...]:
    return values
