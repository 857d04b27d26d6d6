"""The end of the events log, as whoever is no follower asks for it."""

from consumers.context import Context
from consumers.reading.tail import Tail
from consumers.state import records
from consumers.state.furthest import open_events, open_furthest
from consumers.work.workers import ThreadWorkers
from projections.log.prefix import Prefix


async def prefix_at_end(context: Context) -> Prefix:
    """The prefix that is the whole events log: read on from the state that has applied most.

    Raises:
        StoreError: there is a state here, and none that can be used.
        LogError, NotALedgerError, UpgradeNeededError: as they say.
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
