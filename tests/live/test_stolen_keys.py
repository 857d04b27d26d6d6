"""Claims by stolen online keys, over Kafka. `tests/client/test_stolen_keys.py` plays the same over SQLite."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.client import stolen
from tests.client.index import Index

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("scenario", stolen.SCENARIOS)
async def test_stolen_keys(broker: Broker, tmp_path: Path, scenario: Callable[[Index, Path], None]) -> None:
    log = f"kafka://{broker.bootstrap_servers}/{uuid.uuid4().hex[:12]}"
    options = ("--log", log, "--replication-factor", "1", "--bins", "16")

    def play() -> None:
        scenario(stolen.create(tmp_path / "index", *options), tmp_path / "rebuilt")

    await asyncio.to_thread(play)
