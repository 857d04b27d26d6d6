"""Settings that all tests share."""

import pytest
from hypothesis import HealthCheck, settings

# Imported here because a distributed run loads no other conftest where the summary is printed.
from tests import unsynced
from tests.simulation.counting import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# No test is timed: a busy machine is no defect.
settings.register_profile("ledger", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ledger")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option of our own."""
    parser.addoption("--sync", action="store_true", help="Make durable what the product makes durable: slow.")


def pytest_configure(config: pytest.Config) -> None:
    """In every process of tests."""
    if not config.getoption("--sync"):
        unsynced.begin()
