"""What tests against a real broker share."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from ledger.logs.kafka.topics import create_topics
from tests.broker import Broker


class Topics(NamedTuple):
    """The topics of one ledger."""

    broker: Broker
    events: str
    publications: str


@pytest.fixture
async def broker(session_broker: Broker) -> Broker:
    """A broker that runs, whatever the test before did to it."""
    await asyncio.to_thread(session_broker.start)
    return session_broker


@pytest.fixture
async def hung_up() -> AsyncIterator[None]:
    """Waits until all connections have come to their end: aiokafka does not, where a broker refuses it."""
    yield
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    for _ in range(3000):
        if len(selector.get_map()) <= 1:  # the loop's own
            break
        await asyncio.sleep(0.02)


@pytest.fixture
async def topics(broker: Broker) -> Topics:
    """The topics of a new ledger, of this test alone."""
    prefix = uuid.uuid4().hex[:12]
    found = Topics(broker, f"{prefix}.events", f"{prefix}.publications")
    await create_topics(broker.bootstrap_servers, found.events, found.publications, 1)
    return found
