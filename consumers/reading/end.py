"""The end of the events log, as whoever is no follower asks for it."""

from consumers.context import Context
from consumers.reading.tail import Tail
from consumers.state import records
from consumers.state.furthest import open_events
from consumers.work.workers import ThreadWorkers
from projections.log.prefix import Prefix


async def prefix_at_end(context: Context) -> Prefix:
    """The prefix that is the whole events log: read on from the state that has applied most."""
    base = Prefix()
    workers = ThreadWorkers()
    try:
        async with open_events(context) as (events, known):
            if known is not None:
                store = context.store(known.name, read_only=True)
                await store.open()
                try:
                    base = await records.load_prefix(store, known.position.prefix)
                finally:
                    await store.close()
            return await Tail(events, workers, base).read_on()
    finally:
        workers.close()
