"""The clock: the only place where the time is read."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the time."""

    def now(self) -> datetime:
        """The current time, UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, UTC."""
        return datetime.now(UTC)


def to_instant(moment: datetime) -> str:
    """Format a time as in records: whole UTC seconds, ending in Z."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def from_instant(text: str) -> datetime:
    """The inverse of `to_instant`."""
    return datetime.fromisoformat(text)
