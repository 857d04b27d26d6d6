"""Ledgers and clocks for scenarios."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.clock import SystemClock
from tests.client.index import FakeClock, Index, silence


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signer runs beside a command in this process: there is nothing to wait ten minutes for."""
    monkeypatch.setattr("consumers.cli.commands.ceremony.WAIT_SECONDS", 1.0)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A new ledger on the machine's clock."""
    return Index.create(tmp_path / "index")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The only clock there is: commands, consumers and clients see it."""
    fake = FakeClock()
    monkeypatch.setattr(SystemClock, "now", lambda _: fake.now())
    return fake
