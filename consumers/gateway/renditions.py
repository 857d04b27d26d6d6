"""What was made of files lately: pages and metadata, checked, rendered and packed once for many requests."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from consumers.gateway.answering import Rendition

MOST_BYTES = 128 * 2**20


class Renditions:
    """Renditions by key, the last used ones, up to so many bytes. Used by one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[Rendition, float | None]] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[Rendition]] = {}
        self._bytes = 0

    def get(self, key: Hashable) -> Rendition | None:
        """A rendition that is kept."""
        found = self._kept.get(key)
        if found is None:
            return None
        rendition, ends_at = found
        if ends_at is not None and asyncio.get_running_loop().time() >= ends_at:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return rendition

    async def make(self, key: Hashable, make: Callable[[], Awaitable[tuple[Rendition, float | None]]]) -> Rendition:
        """A rendition, made if it is not kept. Who asks for the same meanwhile waits for it.

        Args:
            key: differs if the rendition may.
            make: makes it, and says for how many seconds it is good (None: for ever).
        """
        found = self.get(key)
        if found is not None:
            return found
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(key, make))
        return await asyncio.shield(task)  # one client that goes away takes it from no other

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[tuple[Rendition, float | None]]]) -> Rendition:
        try:
            rendition, seconds = await make()
        finally:
            del self._making[key]
        ends_at = None if seconds is None else asyncio.get_running_loop().time() + seconds
        if rendition.size <= self._most_bytes // 4:
            self._kept[key] = rendition, ends_at
            self._bytes += rendition.size
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))
        return rendition

    def _drop(self, key: Hashable) -> None:
        self._bytes -= self._kept.pop(key)[0].size
