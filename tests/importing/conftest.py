"""A ledger that may import."""

from pathlib import Path

import pytest

from tests.client.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A new ledger whose root says `importing`."""
    return Index.create(tmp_path / "index", "--importing")
