"""A follower's state as values that can be compared, whatever its chunks."""

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from consumers.context import Context
from consumers.render.outlets import FileListOutlet
from consumers.service.opening import open_follower
from consumers.state.records import load_aggregates
from ledger.state.roles import kept_name, load_marks, load_roles
from ledger.state.store import ReadingStore
from projections.index.chunks import Aggregate
from projections.index.pages import read_facts

State = dict[str, Any]


def step_all(context: Context, folder: Path) -> list[int]:
    """Step from the beginning to the end, and keep a copy of the state after each publication."""

    async def run() -> list[int]:
        numbers = []
        async with open_follower(context, "stepping", FileListOutlet()) as opened:
            while await opened.follower.step():
                number = opened.follower.head.number
                if number and number not in numbers:
                    numbers.append(number)
                    _copy(context.state / "stepping.sqlite", folder / f"{number}.sqlite")
        return numbers

    folder.mkdir()
    return asyncio.run(run())


def skip_from(context: Context, stored: Path) -> State:
    """The state at the end of the log, from a stored one on, with as few steps as possible."""

    async def run() -> None:
        async with open_follower(context, "skipping", FileListOutlet()) as opened:
            while await opened.follower.skip() or await opened.follower.step():
                pass

    target = context.state / "skipping.sqlite"
    for path in context.state.glob("skipping.sqlite*"):
        path.unlink()
    shutil.rmtree(context.state / "skipping.kept", ignore_errors=True)
    _copy(stored, target)
    asyncio.run(run())
    return read_state(target)


def read_state(path: Path) -> State:
    """All of a state but its notes, and which publications were skipped over; of aggregates, what they come to; and the
    kept files of bins.
    """
    connection = sqlite3.connect(path)
    try:
        tables = ("position", "ceremonies", "aggregates", "seen", "waiting", "publications", "judged")
        state: State = {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in tables}
    finally:
        connection.close()
    state["publications"] = [row[:-1] for row in state["publications"]]  # the last column is `stepped`
    return state | asyncio.run(_load(path, [key for key, *_ in state["aggregates"]]))


async def _load(path: Path, keys: list[str]) -> State:
    store = ReadingStore(path)
    await store.open()
    try:
        aggregates = (await store.run(load_aggregates, keys)).states
        roles = await store.run(load_roles)
        kept = [(row.name, row.version) for row in roles if row.length]  # the others are retired
        files = store.kept.opened()
        marks = await store.run(load_marks, [name for name, _ in kept])
        return {
            "roles": [row[:-1] for row in roles],  # without their marks, which no two states share
            "chunks": {key: _joined(each) for key, each in aggregates.items()},
            "kept": {name: files.read(kept_name(name, version), marks[name]) for name, version in kept},
        }
    finally:
        await store.close()


def _joined(each: Aggregate) -> Any:
    facts = [read_facts(chunk) if each.key.startswith("project:") else [chunk.facts] for chunk in each.chunks]
    # Pages join their entries as JSON by commas.
    body = b",".join([chunk.body for chunk in each.chunks if chunk.body])
    return [fact for some in facts for fact in some], body, b"".join([chunk.html for chunk in each.chunks])


def _copy(source: Path, target: Path) -> None:
    """Copy a state that a follower has open."""
    shutil.copytree(source.with_suffix(".kept"), target.with_suffix(".kept"), copy_function=os.link)
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()
