"""Why a state cannot be used. Each message says what to do."""


class StoreError(Exception):
    """The state cannot be used."""


class StateMissingError(StoreError):
    """There is no such file: that consumer has not run here."""


class StateDamagedError(StoreError):
    """It is no longer what was written: the state file is to be deleted, and is rebuilt."""
