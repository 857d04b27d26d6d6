"""Catalogs in each database."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
