"""What one upload costs in switches between threads: each takes as long as decoding some kilobytes."""

import asyncio
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from consumers.render.outlets import PublicOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import make_signer
from consumers.sign.schedule import Schedule
from tests import factory
from tests.client.index import Index
from tests.factory import Make

MOST = {"fold": 5, "state": 6}
"""By the names of threads. Those that sign are as many as there are cores and files. The log has its own."""


def test_one_upload_visits_few_threads(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.upload("one")
    index.publish()
    index.upload("two")
    hops: Counter[str] = Counter()
    submit = ThreadPoolExecutor.submit

    def counting(self: ThreadPoolExecutor, *args: Any, **options: Any) -> "Future[Any]":
        hops[self._thread_name_prefix or ""] += 1
        return submit(self, *args, **options)

    async def publish() -> bool:
        storage = index.context.storage("signer")
        async with open_follower(index.context, "signer", PublicOutlet(storage), storage) as opened:
            signer = await make_signer(index.context, opened, Schedule(interval_seconds=0))
            await signer.step(now=True)  # the first time, what is served is compared with the log
            await opened.logs.events.append(factory.encode([Make().file_uploaded("three")]))
            await opened.rest()
            with monkeypatch.context() as patch:
                patch.setattr(ThreadPoolExecutor, "submit", counting)
                return await signer.step(now=True)

    assert asyncio.run(publish())
    assert {name: hops[name] for name in MOST} == MOST
