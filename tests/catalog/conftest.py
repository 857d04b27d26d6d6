"""Catalogs in each database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.context import Context
from ledger.catalog.database import Database
from tests.databases import MakeDatabase


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
