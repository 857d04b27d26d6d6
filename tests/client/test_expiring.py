"""Root, targets and bins that expire: whoever publishes says so."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from consumers.ceremonies import development
from consumers.follow.known import open_known
from consumers.sign.expiring import ExpiryWatch
from consumers.state import records
from projections.roles.authority import Authority
from tests.client.index import FakeClock, Index
from tests.client.processes import start


async def authority_of(index: Index) -> Authority:
    """The offline roles in force."""
    async with open_known(index.context) as known:
        prefix = await known.store.run(records.load_prefix, known.position.prefix)
    assert prefix.authority is not None
    return prefix.authority


def warned(said: list[Any]) -> list[tuple[str, bool]]:
    """The roles that were warned of, and whether they have expired."""
    return [(each["role"], "has expired" in each["event"]) for each in said]


def test_warnings_come_in_time_and_once_a_day(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index")
    authority = asyncio.run(authority_of(index))
    structlog.reset_defaults()  # `silence` drops what is captured below
    clock = FakeClock()
    ends_at = datetime.fromisoformat(authority.root.expires)
    watch = ExpiryWatch(clock)
    every = ("root", "targets", "bins")
    for offset, expected in (
        (timedelta(days=-31), []),
        (timedelta(days=-30, hours=1), [(role, False) for role in every]),
        (timedelta(days=-29, hours=-1), []),
        (timedelta(days=-29, hours=2), [(role, False) for role in every]),
        (timedelta(seconds=1), [(role, True) for role in every]),
        (timedelta(hours=2), []),
        (timedelta(days=1, hours=1), [(role, True) for role in every]),
    ):
        clock.at = ends_at + offset
        with structlog.testing.capture_logs() as said:
            watch.look(authority)
        assert warned(said) == expected, offset
    watch.look(None)


def test_commands_that_publish_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a ceremony has renewed the roles."""
    with monkeypatch.context() as patched:
        patched.setattr(development, "OFFLINE_EXPIRY", timedelta(days=20))
        index = Index.create(tmp_path / "index")
        assert "an offline role expires soon" in index.run("ceremony", "--renew")
    output = index.run("publish")
    assert output.count("an offline role expires soon") == 3
    assert len(index.ask("publish")) == 1, "not among the answers for machines"
    assert "expires soon" not in index.run("ceremony", "--renew")
    assert "expires soon" not in index.run("publish")


def test_a_running_signer_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(development, "OFFLINE_EXPIRY", timedelta(days=20))
        index = Index.create(tmp_path / "index")
        index.run("ceremony", "--renew")
    with start(tmp_path / "log", "run", "--ledger", index.folder, "signer") as running:
        said = "an offline role expires soon: renew it by a ceremony, or clients will refuse everything"
        assert running.wait_for(said, role="bins")["level"] == "warning"
        running.stop()
