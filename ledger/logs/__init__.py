"""Append-only logs: the port, its errors, and how a URL names a pair of them.

    LogError
    ├── LogUnavailableError   the broker or the file cannot be reached now; try again
    ├── LogConflictError      the log contradicts the memory of a follower, which must not go on
    └── LogSettingsError      the log is not set up as a ledger of record needs it, or refuses access

A ledger is two logs, `events` and `publications`, because access control is per log.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.errors import DisagreementError, LedgerError, TemporaryError

READ_BYTES = 4 * 2**20
"""Approximate length of one read: long enough to amortise a fetch, short enough for memory."""


class LogError(LedgerError):
    """Something is wrong with a log."""


class LogUnavailableError(LogError, TemporaryError):
    """The log cannot be reached now; try again."""


class LogConflictError(LogError, DisagreementError):
    """The log has changed: another first record, fewer records, or another record at a known index."""


def record_is_gone(log_name: str, index: int) -> LogConflictError:
    """The error of a log that has lost a record that is known."""
    return LogConflictError(
        f"{log_name} is shorter than it was: record {index} is gone. Was a backup restored? See docs/operators.md, "
        "'A log was rolled back'"
    )


class LogSettingsError(LogError):
    """The log is not set up as a ledger of record needs it, or refuses access; trying again does not help."""


class Log(Protocol):
    """A totally ordered sequence of records that only grows, numbered densely from 0.

    Implementations are used by one asyncio task at a time. Any number of processes may read one log while any number
    append to it. A record's value is bytes, or None where another program appended a record without one. A call that
    is cancelled leaves the log usable, and loses nothing that a later read would give.
    """

    @property
    def name(self) -> str:
        """The name of this log for messages, without secrets."""

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The settings that `open` could not check, in words for operators."""

    async def open(self) -> None:
        """Connect. To be called once, before anything else.

        Raises:
            LogUnavailableError: the log cannot be reached.
            LogSettingsError: the log does not exist, or is not set up as a ledger needs it.
            LogConflictError: the log's first record is gone (a beginning offset above 0).
        """

    async def close(self) -> None:
        """Disconnect. Does nothing if the log is not open. The log can be opened again."""

    async def append(self, values: Sequence[bytes | None]) -> list[int]:
        """Append records in this order and return their indices. None is a record without a value, from a copied log.

        When it returns, the records are durable. Other programs' records may stand between them. When it raises, a
        prefix of them may have been appended all the same ("persisted but reported as failed"): read the log to find
        out.

        Raises:
            LogUnavailableError: the log cannot be reached, or does not confirm.
            LogSettingsError: the right to append is missing, or a record is too long; nothing was appended.
            LogConflictError: the log is not the one that was opened.
        """

    async def read(self, start: int) -> list[bytes | None]:
        """Return records from index `start` on: about `READ_BYTES`, and at least one record if the log has it.

        An empty list means that the log had no record `start` at the time of the call. A short list means nothing.
        Reading on from the end of the last read is fast.

        Raises:
            LogUnavailableError: the log cannot be reached.
            LogSettingsError: the right to read is missing.
            LogConflictError: records were removed from the log's beginning, or the log has shrunk.
        """

    async def wait(self, start: int, timeout_seconds: float) -> None:
        """Return when the log may have a record `start`, or after a time; read to find out.

        May return early. Does not report a log that cannot be reached: the next read does.
        """

    async def size(self) -> int:
        """The number of records, for display; until they are read, entries that are not records may be counted too.

        Raises:
            LogUnavailableError: the log cannot be reached.
        """

    def token(self, index: int) -> int:
        """An opaque number that helps to find record `index` again; a follower stores it with the index.

        Raises:
            ValueError: this object has not read up to that index.
        """

    def resume(self, index: int, token: int) -> None:
        """Give a newly opened log a token from `token`, so that it need not count records from the beginning.

        Raises:
            LogConflictError: the token contradicts records that were read.
        """


class Logs(NamedTuple):
    """The two logs of a ledger."""

    events: Log
    publications: Log

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The settings of either log that could not be checked."""
        return self.events.unchecked + self.publications.unchecked

    async def open(self) -> None:
        """Open both logs."""
        await self.events.open()
        try:
            await self.publications.open()
        except BaseException:
            await self.events.close()
            raise

    async def close(self) -> None:
        """Close both logs."""
        await self.events.close()
        await self.publications.close()
