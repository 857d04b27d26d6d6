"""Events by the dozen while consumers run, from a thread of the test's own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from math import inf

from schemas.codec import encode_event
from schemas.events import BaseEvent
from tests.client.index import Index
from tests.factory import Make

PROJECTS = 6


class Load:
    """Appends a few events every few milliseconds, until told to stop. `appended` counts them.

    With `batches`, it appends so many times, and goes on when it is allowed more: on a busy machine nobody comes to the
    end of a log that grows for as long as one reads it.
    """

    def __init__(self, index: Index, *, pause_seconds: float = 0.1, batches: float = inf) -> None:
        self._left = batches
        self._index = index
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self.appended = 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        log = self._index.context.logs().events
        await log.open()
        try:
            for values in _batches():
                while self._left <= 0 and not self._stopping.is_set():  # noqa: ASYNC110  # another thread allows more
                    await asyncio.sleep(0.02)
                if self._stopping.is_set():
                    return
                self._left -= 1
                await log.append(values)
                self.appended += len(values)
                await asyncio.sleep(self._pause_seconds)
        finally:
            await log.close()

    def allow(self, batches: int) -> None:
        """Append so many times from now on."""
        self._left = batches

    def stop(self) -> None:
        """Append no more."""
        self._stopping.set()
        self.thread.join()


def _batches() -> Iterator[list[bytes]]:
    make = Make()
    for number in count():
        project, version = f"project-{number % PROJECTS}", f"1.{number}"
        made: list[BaseEvent] = [make.file_uploaded(project, version)]
        if number % 3 == 0:
            made.append(make.release_yanked(project, version, "broken"))
        if number % 7 == 0:
            made.append(make.file_removed(project, f"{project}-{version}.tar.gz"))
        yield [encode_event(event) for event in made]


@contextmanager
def loading(index: Index, *, pause_seconds: float = 0.1, batches: float = inf) -> Iterator[Load]:
    """A load that ends with the block."""
    load = Load(index, pause_seconds=pause_seconds, batches=batches)
    load.thread.start()
    try:
        yield load
    finally:
        load.stop()
