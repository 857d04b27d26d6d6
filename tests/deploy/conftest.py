"""A ledger to be started as the files say."""

from pathlib import Path

import pytest

from tests.client.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A new ledger."""
    return Index.create(tmp_path / "index")
