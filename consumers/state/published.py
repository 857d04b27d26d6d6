"""The distribution files in a state."""

from collections.abc import AsyncIterator

from consumers.state import records
from ledger.state.aggregates import keys_between
from ledger.state.store import ReadingStore
from projections.index.pages import FileFacts, read_facts

BATCH = 512


async def published_files(store: ReadingStore) -> AsyncIterator[list[FileFacts]]:
    """All distribution files on the log, including removed ones, in batches."""
    last = "project:"
    while keys := await store.run(keys_between, last, "project;", BATCH):
        last = keys[-1]
        aggregates = await store.run(records.load_facts, keys)
        yield [facts for each in aggregates.values() for chunk in each.chunks for facts in read_facts(chunk)]
