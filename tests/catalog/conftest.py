"""Catalogs in each database."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from consumers.context import Context
from ledger.catalog.database import Database, postgresql_catalog, sqlite_catalog
from tests.postgresql import Postgres, new_schema

MakeDatabase = Callable[[], Database]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    """Makes a port to one catalog, not opened: each call is another process, so to speak."""
    if request.param == "sqlite":
        return lambda: sqlite_catalog(tmp_path / "catalog.sqlite", writes=True)
    server: Postgres = request.getfixturevalue("session_postgres")
    schema = new_schema()
    return lambda: postgresql_catalog(server.url, schema, writes=True)


class OtherDatabase(Context):
    """A ledger's folder whose catalog is in the database of a test."""

    def __init__(self, folder: Path, make_database: MakeDatabase) -> None:
        super().__init__(folder)
        self._make_database = make_database

    def catalog(self, *, writes: bool) -> Database:
        assert writes
        return self._make_database()


@pytest.fixture
async def database(make_database: MakeDatabase) -> AsyncIterator[Database]:
    """An open catalog, empty."""
    made = make_database()
    await made.open()
    yield made
    await made.close()
