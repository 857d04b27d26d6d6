"""What one upload costs in switches between threads: each takes as long as decoding some kilobytes."""

import asyncio
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consumers.render.outlets import PublicOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import make_signer
from consumers.sign.schedule import Schedule
from ledger.state.disk import SYSTEM_DISK
from tests import factory
from tests.client.index import Index
from tests.factory import Make

HOPS = {"fold": 2, "state": 3}
"""By the names of threads."""
MOST_HOPS = 8
"""With those that sign and write, which are as many as there are cores and files. The log has a thread of its own."""
STATEMENTS = 15
"""Those of the state, each row counted that is written."""


def test_one_upload_visits_few_threads_and_asks_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.create(tmp_path / "index", "--no-html", "--project-list-interval", "1h")
    index.upload("one")
    index.publish()
    index.upload("two")
    hops: Counter[str] = Counter()
    statements: list[str] = []
    submit, connect = ThreadPoolExecutor.submit, type(SYSTEM_DISK).connect

    def tracing(*args: Any, **options: Any) -> Any:
        connection: Any = connect(*args, **options)
        connection.set_trace_callback(statements.append)
        return connection

    def counting(self: ThreadPoolExecutor, *args: Any, **options: Any) -> "Future[Any]":
        hops[self._thread_name_prefix or ""] += 1
        return submit(self, *args, **options)

    monkeypatch.setattr(type(SYSTEM_DISK), "connect", tracing)

    async def publish() -> bool:
        storage = index.context.storage("signer")
        async with open_follower(index.context, "signer", PublicOutlet(storage), storage) as opened:
            signer = await make_signer(index.context, opened, Schedule(interval_seconds=0))
            await signer.step(now=True)  # the first time, what is served is compared with the log
            await opened.logs.events.append(factory.encode([Make().file_uploaded("one", "2.0")]))
            await opened.rest()
            statements.clear()
            with monkeypatch.context() as patch:
                patch.setattr(ThreadPoolExecutor, "submit", counting)
                made = await signer.step(now=True)
            assert len(statements) <= STATEMENTS, statements
            return made

    assert asyncio.run(publish())
    assert {name: hops[name] for name in HOPS} == HOPS
    assert hops["fold"] + hops["state"] + hops["sign"] <= MOST_HOPS
