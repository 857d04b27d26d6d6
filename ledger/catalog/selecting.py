"""Reading rows as the types of this package."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, Select

AT_ONCE = 500
"""Number of keys in one query: both databases bound the number of parameters."""

R = TypeVar("R")
T = TypeVar("T")


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Values, as many at a time as one query takes."""
    listed = list(values)
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]


def rows_of(connection: Connection, kind: Callable[..., R], query: Select[Any]) -> list[R]:
    """The rows that a query finds, each as the values of this type."""
    return [kind(*row) for row in connection.execute(query)]


def first_of(connection: Connection, kind: Callable[..., R], query: Select[Any]) -> R | None:
    """The first row that a query finds, or None."""
    row = connection.execute(query.limit(1)).first()
    return None if row is None else kind(*row)


def rows_among(
    connection: Connection, kind: Callable[..., R], query: Callable[[list[T]], Select[Any]], values: Iterable[T]
) -> list[R]:
    """The rows that queries find, each made for some of the values."""
    return [row for some in in_parts(values) for row in rows_of(connection, kind, query(some))]
