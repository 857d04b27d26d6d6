"""What this machine knows of projects and files: the state of whichever consumer runs here."""

from typing import NamedTuple

import msgspec

from consumers import state
from consumers.appending import STATES
from consumers.context import Context
from consumers.tail import Tail
from consumers.workers import ThreadWorkers
from ledger.store import StoreError
from projections.pages import FileFacts, ProjectHeader, read_facts
from projections.prefix import Prefix


class KnownProject(NamedTuple):
    """A project as of the last publication that the state has applied."""

    name: str
    header: ProjectHeader
    files: dict[str, FileFacts]


class Lookup(NamedTuple):
    """Projects by name, without those that do not exist, and the publication (0: nothing is known here)."""

    number: int
    projects: dict[str, KnownProject]


async def prefix_at_end(context: Context) -> Prefix:
    """The prefix that is the whole events log: read on from the state that has applied most."""
    base, token = Prefix(), 0
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
            if position is not None and position.size > base.size:
                base, token = await state.load_prefix(store, position.prefix), position.events_token
        except StoreError:
            continue
        finally:
            await store.close()
    logs, workers = context.logs(), ThreadWorkers()
    await logs.events.open()
    try:
        logs.events.resume(base.size, token)
        return await Tail(logs.events, workers, base).read_on()
    finally:
        workers.close()
        await logs.events.close()


async def look_up(context: Context, names: list[str]) -> Lookup:
    """Look projects up in the state that has applied most."""
    best = Lookup(0, {})
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
            if position is None or position.number <= best.number:
                continue
            aggregates = await state.load_aggregates(store, [f"project:{each}" for each in names])
        except StoreError:
            continue
        finally:
            await store.close()
        projects = {}
        for key, aggregate in aggregates.items():
            project = key.removeprefix("project:")
            header = msgspec.msgpack.decode(aggregate.header, type=ProjectHeader)
            files = {facts.filename: facts for chunk in aggregate.chunks for facts in read_facts(chunk)}
            projects[project] = KnownProject(project, header, files)
        best = Lookup(position.number, projects)
    return best
