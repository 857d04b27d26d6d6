"""Append-only logs: the port, its errors, and how a URL names a pair of them.

    LogError
    ├── LogUnavailableError   not now: the broker or the file cannot be reached; trying again makes sense
    ├── LogConflictError      what the log holds is not what its follower remembers; it must not go on
    └── LogSettingsError      the log is not set up as a ledger of record needs it, or refuses us

A ledger is two logs, `events` and `publications`, because access control is per log.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.errors import DisagreementError, LedgerError, TemporaryError

READ_BYTES = 4 * 2**20
"""How much one read returns, roughly: enough to amortise a fetch, little enough to hold."""


class LogError(LedgerError):
    """Something is wrong with a log."""


class LogUnavailableError(LogError, TemporaryError):
    """The log cannot be reached now; trying again makes sense."""


class LogConflictError(LogError, DisagreementError):
    """The log is not the one it was: another first record, fewer records, another record in a known place."""


class LogSettingsError(LogError):
    """The log is not set up as a ledger of record needs it, or refuses us; trying again changes nothing."""


class Log(Protocol):
    """A totally ordered sequence of records that only grows, numbered densely from 0.

    Implementations are used by one asyncio task at a time. Any number of processes may read one log while any number
    append to it. A record's value is bytes, or None where another program appended a record without one. A call that
    is cancelled leaves the log usable, and loses nothing that a later read would give.
    """

    @property
    def name(self) -> str:
        """What to call this log in messages, without secrets."""

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What `open` could not check, in words, for whoever runs it to know."""

    async def open(self) -> None:
        """Connect. To be called once, before anything else.

        Raises:
            LogUnavailableError: it cannot be reached.
            LogSettingsError: it does not exist, or is not set up as a ledger needs it.
            LogConflictError: its first record is gone (a beginning offset above 0).
        """

    async def close(self) -> None:
        """Disconnect. Harmless when not open; the log can be opened again."""

    async def append(self, values: Sequence[bytes]) -> list[int]:
        """Append records in this order and return their indices.

        When it returns, the records are durable. Other programs' records may stand between them. When it raises, a
        prefix of them may have been appended all the same ("persisted but reported as failed"): whoever needs to
        know reads the log.

        Raises:
            LogUnavailableError: the log cannot be reached, or does not confirm.
            LogSettingsError: we may not append, or a record is too long; nothing was appended.
            LogConflictError: the log is not the one that was opened.
        """

    async def read(self, start: int) -> list[bytes | None]:
        """Return records from index `start` on, about `READ_BYTES` of them and at least one if there is one.

        An empty list means: when this was called, the log had no record `start`. A short list means nothing. Reading
        forward from where the last read ended is what is fast.

        Raises:
            LogUnavailableError: the log cannot be reached.
            LogSettingsError: we may not read it.
            LogConflictError: records were removed from the log's beginning, or the log has shrunk.
        """

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Return when the log may have a record `start`, or after a time; read to find out.

        May return early, and says nothing of a log that cannot be reached: the next read does.
        """

    async def size(self) -> int:
        """The number of records, for people to look at; what has no record may be counted until it is read.

        Raises:
            LogUnavailableError: the log cannot be reached.
        """

    def token(self, index: int) -> int:
        """An opaque number that helps to find record `index` again, to be kept beside it by a follower.

        Raises:
            ValueError: this object has not read up to that index.
        """

    def resume(self, index: int, token: int) -> None:
        """Tell a newly opened log what `token` once said about `index`, so that it need not count from the beginning.

        Raises:
            LogConflictError: that contradicts what it has read.
        """


class Logs(NamedTuple):
    """The two logs of a ledger."""

    events: Log
    publications: Log

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What could not be checked of either."""
        return self.events.unchecked + self.publications.unchecked

    async def open(self) -> None:
        """Open both."""
        await self.events.open()
        try:
            await self.publications.open()
        except BaseException:
            await self.events.close()
            raise

    async def close(self) -> None:
        """Close both."""
        await self.events.close()
        await self.publications.close()
