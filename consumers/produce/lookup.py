"""What this machine knows of projects and files: the state of whichever consumer runs here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from consumers.context import Context
from consumers.produce.appending import STATES
from consumers.reading.tail import Tail
from consumers.state import records as state
from consumers.work.workers import ThreadWorkers
from ledger.logs import Log
from ledger.state.errors import StateDamagedError, StateMissingError, StoreError
from ledger.state.store import Position
from projections.index.pages import FileFacts, ProjectHeader, read_facts
from projections.log.prefix import Prefix


class KnownProject(NamedTuple):
    """A project as of the last publication that the state has applied."""

    name: str
    header: ProjectHeader
    files: dict[str, FileFacts]


class Lookup(NamedTuple):
    """Projects by name, without those that do not exist, and the publication (0: nothing is known here).

    `problem` says which state there is and cannot be used.
    """

    number: int
    projects: dict[str, KnownProject]
    problem: str = ""


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
                    base = await state.load_prefix(store, known.position.prefix)
                finally:
                    await store.close()
            return await Tail(events, workers, base).read_on()
    finally:
        workers.close()


class Known(NamedTuple):
    """The position of the consumer on this machine that has applied most."""

    name: str
    position: Position


@asynccontextmanager
async def open_events(context: Context) -> AsyncIterator[tuple[Log, Known | None]]:
    """The events log, opened, and told what a consumer here knows of it: to append it must not count from the start."""
    known = await _furthest(context)
    events = context.logs().events
    await events.open()
    try:
        if known is not None:
            events.resume(known.position.size - 1, known.position.events_token)
        yield events, known
    finally:
        await events.close()


async def _furthest(context: Context) -> Known | None:
    known: Known | None = None
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
        except StoreError:
            continue
        finally:
            await store.close()
        if position is not None and (known is None or position.size > known.position.size):
            known = Known(name, position)
    return known


async def look_up(context: Context, names: list[str]) -> Lookup:
    """Look projects up in the state that has applied most."""
    best, problem = Lookup(0, {}), ""
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
            if position is None or position.number <= best.number:
                continue
            aggregates = await state.load_facts(store, [f"project:{each}" for each in names])
        except StateMissingError:
            continue
        except StoreError as error:
            problem = str(error)
            continue
        finally:
            await store.close()
        projects = {}
        for key, aggregate in aggregates.items():
            project = key.removeprefix("project:")
            header = msgspec.msgpack.decode(aggregate.header, type=ProjectHeader)
            files = {facts.filename: facts for chunk in aggregate.chunks for facts in read_facts(chunk)}
            if not all(facts.release in header.releases for facts in files.values()):
                raise StateDamagedError(
                    f"{store.path} is damaged: {project} has a file of no release. Stop that consumer and delete the "
                    "state file; it is rebuilt from the logs"
                )
            projects[project] = KnownProject(project, header, files)
        best = Lookup(position.number, projects)
    return best._replace(problem=problem)
