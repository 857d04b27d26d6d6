"""The files in a state that the logs only have the digests of."""

from collections.abc import AsyncIterator

from consumers.state import records
from ledger.state.aggregates import keys_between, load_headers
from ledger.state.store import ReadingStore
from projections.index.other_aggregates import TargetFacts, read_target
from projections.index.pages import FileFacts, read_facts
from projections.log.operations import TARGET_KEYS

BATCH = 512


async def published_files(store: ReadingStore) -> AsyncIterator[list[FileFacts]]:
    """All distribution files on the log, including removed ones, in batches."""
    last = "project:"
    while keys := await store.run(keys_between, last, "project;", BATCH):
        last = keys[-1]
        aggregates = await store.run(records.load_facts, keys)
        yield [facts for each in aggregates.values() for chunk in each.chunks for facts in read_facts(chunk)]


async def published_targets(store: ReadingStore) -> AsyncIterator[list[tuple[str, TargetFacts]]]:
    """All targets on the log that are neither pages nor distribution files, including removed ones, in batches: each
    with its path.
    """
    last = TARGET_KEYS
    while keys := await store.run(keys_between, last, f"{TARGET_KEYS[:-1]};", BATCH):
        last = keys[-1]
        headers = await store.run(load_headers, keys)
        yield [(key.removeprefix(TARGET_KEYS), read_target(header)) for key, header in headers]
