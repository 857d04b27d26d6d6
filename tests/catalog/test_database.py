"""The database of a catalog: its URL, and a server that goes away."""

import pytest

from ledger.catalog import CatalogError
from ledger.catalog.database import CatalogUnavailableError, postgresql_catalog
from tests.catalog.test_filling import dump, fill, golden_logs
from tests.golden.records import load
from tests.postgresql import new_schema, running_postgres

URLS = [
    "mysql://user:s3cret@host/database",
    "postgresql://user:s3cret@host:99999/database",
    "postgresql://user:s3cret@host:port/database",
    "postgresql://user:in@s3cret@host/database",
    "postgresql://user@host/database?password=s3cret",
    "s3cret",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(CatalogError, match=r"\[catalog\] url") as caught:
        postgresql_catalog(url, "catalog", writes=True)
    assert "s3cret" not in str(caught.value)


def test_a_password_is_not_in_the_name() -> None:
    database = postgresql_catalog("postgresql://user:s3%40cret@host/database?ssl=require", "catalog", writes=True)
    assert database.name == "postgresql://user:***@host/database?ssl=require (schema catalog)"


@pytest.mark.postgresql
async def test_a_server_that_was_started_again_is_found_again() -> None:
    """Whoever used the old connection hears that it is worth to try again."""
    with running_postgres() as server:
        database = postgresql_catalog(server.url, new_schema(), writes=True)
        await database.open()
        await fill(database, golden_logs(100, 10))
        server.kill()
        with pytest.raises(CatalogUnavailableError):
            await database.run(dump)
        server.start()
        await fill(database, golden_logs())
        server.stop()
        server.start()
        with pytest.raises(CatalogUnavailableError):
            await database.run(dump)
        assert len((await database.run(dump))["events"]) == len(load().events)
        await database.close()
