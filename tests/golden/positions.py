"""A follower's state as values that can be compared, whatever its chunks."""

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from consumers.context import Context
from consumers.outlets import FileListOutlet
from consumers.server import open_follower
from ledger.kept_files import KeptFiles
from ledger.store import kept_name
from projections.chunks import Chunk
from projections.pages import read_facts

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
    """All of a state but its notes; of chunks, what they come to together."""
    connection = sqlite3.connect(path)
    try:
        tables = ("position", "ceremonies", "aggregates", "seen", "waiting", "roles", "publications", "judged")
        state: State = {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in tables}
        joined: dict[str, list[Any]] = {}
        for key, *fields in connection.execute("SELECT key, lower, facts, body, html FROM chunks ORDER BY key, lower"):
            chunk = Chunk(*fields)
            whole = joined.setdefault(key, [[], [], []])
            whole[0].extend(read_facts(chunk) if key.startswith("project:") else [chunk.facts] * bool(chunk.facts))
            whole[1].extend([chunk.body] * bool(chunk.body))
            whole[2].extend([chunk.html] * bool(chunk.html))
        # Pages join their entries as JSON by commas.
        state["chunks"] = {
            key: (facts, b",".join(bodies), b"".join(html)) for key, (facts, bodies, html) in sorted(joined.items())
        }
        kept = KeptFiles(path.with_suffix(".kept"), path)
        state["kept"] = {
            name: kept.read(kept_name(name, version), digest)
            for name, version, _, length, digest, _ in state["roles"]
            if length  # the others are retired
        }
        return state
    finally:
        connection.close()


def _copy(source: Path, target: Path) -> None:
    """Copy a state that a follower has open."""
    shutil.copytree(source.with_suffix(".kept"), target.with_suffix(".kept"), copy_function=os.link)
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()
