"""The end of the events log, for commands without a follower."""

from consumers.context import Context
from consumers.reading.tail import Tail
from consumers.state import records
from consumers.state.furthest import open_events, open_furthest
from consumers.work.workers import ThreadWorkers
from projections.log.prefix import Prefix


async def prefix_at_end(context: Context) -> Prefix:
    """The prefix at the end of the events log, read on from the furthest state on this machine.

    Raises:
        StoreError: no state on this machine can be used.
        LogError, NotALedgerError, UpgradeNeededError: see there.
    """
    base = Prefix()
    async with open_furthest(context) as furthest:
        if furthest is not None:
            base = await records.load_prefix(furthest.store, furthest.position.prefix)
    workers = ThreadWorkers()
    try:
        async with open_events(context) as events:
            return await Tail(events, workers, base).read_on()
    finally:
        workers.close()
