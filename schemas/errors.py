"""The tree of errors that reach a user, with the exit code of a command that ends with one.

    LedgerError                             2   a person is needed; the message says for what
    ├── NegativeAnswerError                 1   the answer to what was asked is no
    │   ├── NoMetadataError                 1   there is no TUF metadata in a place
    │   ├── OlderBackupError                1   clients have seen what a backup does not have
    │   ├── OutdatedPlanError               1   a plan is not one for this log, or not for the list in force
    │   ├── UnreadablePlanError             1   a file is no plan of a recovery
    │   ├── UnreadableTreeError             1   what is served cannot be followed from its timestamp
    │   └── WrongProofError                 1   a proof does not hold
    ├── TemporaryError                     75   it may pass: the same command may do it later
    │   ├── HeldError                      75   an event is on the log, and a hold keeps it from being shown
    │   ├── InUseError                     75   another process has it
    │   ├── NotCoveredError                75   an event is on the log, and no publication covers it yet
    │   ├── ProcessKilledError             75   a process that worked for this one was killed
    │   ├── SpillError                     75   what was put on disk for a while is damaged
    │   └── StillGrowsError                75   a log was appended to while it was copied
    ├── DisagreementError                   2   logs, publications or served files disagree: going on would do harm
    │   ├── CopyConflictError               2   what is to become a copy of a log is something else
    │   ├── DivergenceError                 2   a publication is not what its events make
    │   ├── ForeignRootError                2   the first root that is served is not the one of the log
    │   ├── LogTooShortError                2   keys that are online sealed a claim beyond the end of `events`
    │   ├── ServedAheadError                2   what is served is not, or no longer, on the log
    │   │   └── ForgedError                 2   keys of this ledger signed what is served, and the log does not have it
    │   ├── ObserverBehindError             2   a state is ahead of an observer, who cannot be told any more
    │   └── SkippedError                    2   a root voids a publication that this state skipped over
    ├── CatalogError                        2   a catalog cannot be used
    │   ├── CatalogAheadError               2   it was made of a longer copy of a log than the one that is asked
    │   ├── CatalogDamagedError             2   its rows are not what the logs say
    │   ├── CatalogFormatError              2   another version of this program made it
    │   ├── CatalogMovedError              75   another process has filled it meanwhile
    │   ├── CatalogUnavailableError        75   not now: its database does not answer, or is locked or full
    │   └── NoSuchTextError                 2   a text of a question cannot be in any database
    ├── ClockError                          2   the clock and the log do not fit
    ├── ConfigError                         2   the configuration cannot be used
    ├── DistributionError                   2   a distribution file cannot be added
    ├── LogError                            2   something is wrong with a log
    │   ├── LogUnavailableError            75   it cannot be reached now
    │   ├── LogConflictError                2   it is not the one that it was (a DisagreementError, too)
    │   └── LogSettingsError                2   it is not set up as a ledger of record needs it, or refuses us
    ├── GatewayError                        2   a gateway does not take what is sent
    │   └── GatewayUnavailableError        75   it does not answer now
    ├── FactsError                          2   metadata has not the form that TUF gives it
    ├── NotALedgerError                     2   record 0 is not `ledger.created`
    ├── PackageSourceError                  2   another index is none, or answers what cannot be used
    ├── SelectorError                       2   a text is no selector of an incident
    ├── SideError                           2   a text names nothing that can be compared
    ├── SignerError                         2   a key cannot be had, or does not sign
    │   ├── KeyServiceError                75   a key service does not answer, or did not sign
    │   └── MissingKeyError                 2   too few of the online keys in force are here
    ├── SourcePageError                     2   a page of another index cannot be read
    ├── StorageError                        2   a file cannot be written or read
    │   └── StorageUnavailableError        75   not now: the disk is full, or a server does not answer
    ├── StoreError                          2   a state cannot be used
    │   ├── StateDamagedError               2   it is no longer what was written
    │   ├── StateMissingError               2   that consumer has not run here
    │   └── StateUnavailableError          75   not now: the disk is full, or fails
    ├── UnreadableProofError                2   a proof, or the root to check it with, is not what it must be
    └── UpgradeNeededError                  2   a root names a ruleset that is not known here

A class with two parents stands below the first. Exit code 0 is done, or yes; 3 is kept for a command that runs another
one; 130 and 143 are for signals. `TemporaryError` is what sysexits.h calls EX_TEMPFAIL: whoever supervises a service
starts it again. A service first tries again by itself (`is_retried`), with growing pauses.

Not in the tree are exceptions that never leave their package: those that a projection turns into an outcome
(`DocumentError`, `KeysError`), that the codec turns into a rejection (`DuplicateMemberError`), that reading a
distribution turns into a `DistributionError` (`RefusalError`), and that reading a page of another index turns into the
name of an entry that cannot be read (`EntryError`).
"""

import re
from typing import ClassVar


class LedgerError(Exception):
    """Something that a person must know, or do something about. The message says what to do next.

    Args:
        message: for people.
        facts: for machines, beside the message: counts of what was done before, for instance.
    """

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        self.facts = facts

    exit_code: ClassVar[int] = 2
    is_retried: ClassVar[bool] = False
    """Whether a service tries again, because it may pass or somebody may mend it while it runs."""

    @property
    def name(self) -> str:
        """What machines call it, as in `log-unavailable`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__.removesuffix("Error")).lower()


class NegativeAnswerError(LedgerError):
    """The answer to what was asked is no."""

    exit_code = 1


class TemporaryError(LedgerError):
    """It may pass: the same again, later, may succeed."""

    exit_code = 75
    is_retried = True


class DisagreementError(LedgerError):
    """Logs, publications or served files disagree: to go on would do harm."""


class InUseError(TemporaryError):
    """Another process has it. A service does not wait for that: it would be the second of its kind."""

    is_retried = False
