"""Settings of the property tests."""

import pytest


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """Nobody reads what the ledgers of thousands of examples log."""
