"""The distribution files in a state."""

from collections.abc import AsyncIterator

from consumers.state import records
from ledger.state.store import Store
from projections.index.pages import FileFacts, read_facts

BATCH = 512


async def published_files(store: Store) -> AsyncIterator[list[FileFacts]]:
    """All distribution files on the log, including removed ones, in batches."""
    last = "project:"
    while keys := await store.keys(last, "project;", BATCH):
        last = keys[-1]
        aggregates = await records.load_facts(store, keys)
        yield [facts for each in aggregates.values() for chunk in each.chunks for facts in read_facts(chunk)]
