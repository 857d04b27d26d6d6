"""A follower that starts looks at the ends of its logs: it does not read them. As `tests/client/test_start`."""

import asyncio
import uuid
from pathlib import Path

import pytest

from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from tests.broker import Broker
from tests.client.index import Index
from tests.factory import Make, encode

pytestmark = pytest.mark.kafka
EVENTS = 60_000


async def test_a_start_reads_neither_log_from_the_beginning(broker: Broker, tmp_path: Path) -> None:
    log = f"kafka://{broker.bootstrap_servers}/{uuid.uuid4().hex[:12]}"
    options = ("--log", log, "--replication-factor", "1", "--bins", "16")
    index = await asyncio.to_thread(Index.create, tmp_path / "index", *options)
    make, logs = Make(), index.context.logs()
    await logs.open()
    await logs.events.append(encode([make.access("noted") for _ in range(EVENTS)]))
    await logs.close()
    assert (await publish_once(index.context, Schedule()))[0]
    async with open_follower(index.context, "signer", NoOutlet()) as opened:
        assert opened.follower.head.size > EVENTS
        with pytest.raises(ValueError, match="was not read"):
            opened.logs.events.token(EVENTS // 2)
