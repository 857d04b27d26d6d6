"""A follower's state on disk: one SQLite file and the kept files beside it. This module has its errors."""

from schemas.errors import LedgerError, TemporaryError


class StoreError(LedgerError):
    """The state cannot be used."""


class StateMissingError(StoreError):
    """The state file does not exist: its consumer has not run here."""


class StateDamagedError(StoreError):
    """The state has changed since it was written: delete the state file; it is rebuilt."""


class StateUnavailableError(StoreError, TemporaryError):
    """The disk is full or fails. The state is not damaged."""
