"""Replaying a log: what it makes, as digests."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from consumers.context import Context
from consumers.rebuild.choosing import At
from consumers.rebuild.rebuilding import rebuild
from consumers.render.outlets import FileListOutlet
from consumers.service.opening import open_follower
from ledger.clock import SystemClock
from ledger.config import Config, LedgerSection
from ledger.state.statements import State
from ledger.state.store import Store
from ledger.state.verdicts import load_judged_after
from tests.client.index import silence, tree
from tests.golden.records import Value, load, write_logs


def context_of(folder: Path, events: Sequence[Value], publications: Sequence[Value]) -> Context:
    """A folder with these logs, and nothing else."""
    write_logs(folder / "log", events, publications)
    return Context(folder, Config(ledger=LedgerSection(log=f"sqlite:{folder / 'log'}")))


def replay(folder: Path, events: Sequence[Value], publications: Sequence[Value]) -> dict[str, Any]:
    """All that the logs make: SHA-256 of every file ever published by path, publications, and what had no effect."""
    context = context_of(folder, events, publications)
    files = rebuild_tree(context, folder / "tree", all_versions=True)
    return {"files": files, **asyncio.run(_facts(context))}


def rebuild_tree(
    context: Context, target: Path, *, at: int | None = None, all_versions: bool = False
) -> dict[str, str]:
    """Rebuild into a folder; returns SHA-256 by path."""
    asyncio.run(rebuild(context, target, At(number=at), all_versions=all_versions, files=None, report=lambda *_: None))
    return tree(target)


async def _facts(context: Context) -> dict[str, Any]:
    async with open_follower(context, "replay", FileListOutlet()) as opened:
        await opened.follower.catch_up()
        return {"publications": await _publications(opened.store), "judged": await judged(opened.store)}


async def _publications(store: Store) -> list[list[Any]]:
    """Number, time, size, and how many bins it signed, of each publication."""
    rows = await store.run(State.rows, "SELECT number, time, size, signed FROM publications ORDER BY number")
    return [list(row) for row in rows]


async def judged(store: Store) -> list[list[Any]]:
    """Log, index, type, verdict and code of every record that was not simply accepted."""
    rows = await store.run(load_judged_after, ["rejected", "no effect"], ("", -1), 10_000)
    return [[row.log, row.record, row.kind, row.verdict, row.code] for row in rows]


def main() -> None:
    """Replay the golden log in a folder, without a clock, and print what it makes."""

    def now(_: SystemClock) -> NoReturn:
        raise AssertionError("the clock was read")

    setattr(SystemClock, "now", now)  # noqa: B010  # mypy forbids to assign to a method
    silence()
    golden = load()
    sys.stdout.write(json.dumps(replay(Path(sys.argv[1]), golden.events, golden.publications)))


if __name__ == "__main__":
    main()
