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
    workers = ThreadWorkers()
    try:
        async with open_furthest(context) as furthest, open_events(context) as events:
            if furthest is None:
                return await Tail(events, workers, Prefix()).read_on()
            base = await records.load_prefix(furthest.store, furthest.position.prefix)
            return await Tail(events, workers, base, store=furthest.store).read_on()
    finally:
        workers.close()
