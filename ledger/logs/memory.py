"""A log in memory, for tests, simulation and experiments. It ends with the process."""

import asyncio
from collections.abc import Sequence

from ledger.logs import READ_BYTES, LogConflictError, LogUnavailableError


class MemoryRecords:
    """The records of a log: `values` in order. Several `MemoryLog` objects of one event loop may share them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[bytes | None] = []
        self._waiting: set[asyncio.Event] = set()

    def append(self, *values: bytes | None) -> int:
        """Append records, valid or not; return the index of the first."""
        first = len(self.values)
        self.values.extend(values)
        for event in self._waiting:
            event.set()
        return first

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Wait for a record `start`, at most for a time."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_seconds):
                while len(self.values) <= start:
                    event.clear()
                    await event.wait()
        except TimeoutError:
            return
        finally:
            self._waiting.discard(event)


class MemoryLog:
    """A log in memory. Contract: `ledger.logs.Log`.

    Args:
        records: the records of the log.
        read_records: maximum number of records per read; a small one makes borders occur everywhere.
    """

    unchecked: tuple[str, ...] = ()

    def __init__(self, records: MemoryRecords, *, read_records: int = 8192) -> None:
        self.records = records
        self.read_records = read_records
        self._known = 0
        self._is_open = False

    @property
    def name(self) -> str:
        """The name of the records."""
        return self.records.name

    async def open(self) -> None:
        """Nothing to connect to."""
        self._is_open = True

    async def close(self) -> None:
        """Close the log. It can be opened again."""
        self._is_open = False

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        """Append records together."""
        self._refuse_closed()
        first = self.records.append(*values)
        self._known = max(self._known, first + len(values))
        return list(range(first, first + len(values)))

    async def read(self, start: int) -> list[bytes | None]:
        """Read a range of records."""
        self._refuse_closed()
        size = len(self.records.values)
        if start > size:
            raise LogConflictError(f"{self.name} has shrunk: its size is {size}, and was at least {start}")
        values: list[bytes | None] = []
        length = 0
        for value in self.records.values[start : start + self.read_records]:
            if values and length + len(value or b"") > READ_BYTES:
                break
            values.append(value)
            length += len(value or b"")
        self._known = max(self._known, start + len(values))
        return values

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Wait for somebody to append."""
        self._refuse_closed()
        await self.records.wait(start, timeout_seconds)

    async def size(self) -> int:
        """The number of records."""
        self._refuse_closed()
        return len(self.records.values)

    def token(self, index: int) -> int:
        """The index itself, if the log was read up to it.

        Raises:
            ValueError: this object has not read up to that index.
        """
        if index > self._known:
            raise ValueError(f"{self.name} was not read up to record {index}")
        return index

    def resume(self, index: int, token: int) -> None:
        """Accept a token.

        Raises:
            LogConflictError: the token is that of another index.
        """
        if token != index:
            raise LogConflictError(f"{token} is not a token of record {index} of {self.name}")
        self._known = max(self._known, index)

    def _refuse_closed(self) -> None:
        if not self._is_open:
            raise LogUnavailableError(f"{self.name} is not open")
