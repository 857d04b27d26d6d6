"""Which ledger a log is of."""

from ledger.logs import Log, LogSettingsError
from projections.log.prefix import Ledger, Prefix


async def read_identity(events: Log) -> Ledger:
    """The ledger that an open log of events is of, as record 0 says.

    Raises:
        LogSettingsError: the log is empty.
        LogError, NotALedgerError: see there.
    """
    genesis, _ = Prefix().extend((await events.read(0))[:1])
    if genesis.ledger is None:
        raise LogSettingsError(f"{events.name} is empty, so there is no ledger yet: create one with `tuf-ledger init`")
    return genesis.ledger
