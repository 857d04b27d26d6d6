"""Settings of the simulation's tests."""

import pytest


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """Nobody reads what thousands of runs log."""
