"""A follower's state on disk: one SQLite file, the files that it keeps beside it, and why it cannot be used."""

from schemas.errors import LedgerError, TemporaryError


class StoreError(LedgerError):
    """The state cannot be used."""


class StateMissingError(StoreError):
    """There is no such file: that consumer has not run here."""


class StateDamagedError(StoreError):
    """It is no longer what was written: the state file is to be deleted, and is rebuilt."""


class StateUnavailableError(StoreError, TemporaryError):
    """There is no room for what it is to hold, or the disk does not do what it is asked to. Nothing is damaged."""
