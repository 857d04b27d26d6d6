"""A follower that starts looks at the ends of its logs: it does not read them."""

import asyncio

import pytest

from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from ledger.logs import sqlite
from ledger.logs.sqlite import SqliteLog
from tests.client.index import Index
from tests.factory import Make

EVENTS = 60


def test_a_start_reads_neither_log_from_the_beginning(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    make, read, starts = Make(), SqliteLog.read, list[tuple[str, int]]()
    index.append(*(make.access("noted") for _ in range(EVENTS)))
    for _ in range(3):
        index.publish("--renew")

    async def noting(log: SqliteLog, start: int) -> list[bytes | None]:
        starts.append((log.name.rpartition("/")[2], start))
        return await read(log, start)

    async def start() -> tuple[int, int]:
        async with open_follower(index.context, "signer", NoOutlet()) as opened:
            return opened.follower.head.size, opened.follower.next_record

    monkeypatch.setattr(sqlite, "READ_RECORDS", 5)
    monkeypatch.setattr(SqliteLog, "read", noting)
    size, next_record = asyncio.run(start())
    assert size > EVENTS
    # Record 0 says which ledger it is.
    assert {start for name, start in starts if name == "events.sqlite"} <= {0, size - 1, size}
    assert {start for name, start in starts if name == "publications.sqlite"} <= {next_record - 1, next_record}
    assert starts
