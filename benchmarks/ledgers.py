"""Ledgers to measure: made by the commands that users run, and filled at full speed; or those of an earlier run."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter

from click.testing import CliRunner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.generator import generate
from consumers.cli.main import main as command
from consumers.context import Context
from consumers.render.outlets import PublicOutlet
from consumers.service.opening import Opened, open_follower
from consumers.service.publishing import make_signer
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from projections.roles.authority import read_bins_layout
from projections.roles.layout import Layout

BATCH = 20_000
FIRST_EVENTS = 2
"""What `init` appends, before all that is generated: the ledger's creation and its offline roles."""


def create(folder: Path, bins: int, log: str = "sqlite:log") -> Context:
    """A new ledger with development keys, JSON pages alone, and an hour between lists of all projects."""
    arguments = ["init", str(folder), "--bins", str(bins), "--log", log, "--no-html", "--project-list-interval", "1h"]
    result = CliRunner().invoke(command, [*arguments, "--replication-factor", "1"])
    if result.exit_code != 0:
        raise SystemExit(result.output)
    return Context(folder)


async def fill(context: Context, records: Iterator[bytes], count: int) -> float:
    """Append records; the seconds that appending took (making them is not counted)."""
    logs = context.logs()
    await logs.open()
    seconds = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("appending events", total=count)
            while batch := list(islice(records, BATCH)):
                started = perf_counter()
                await logs.events.append(batch)
                seconds += perf_counter() - started
                progress.advance(task, len(batch))
    finally:
        await logs.close()
    return seconds


async def reopen(folder: Path, seed: int, generated: int) -> tuple[Context, int]:
    """A ledger that `benchmarks.generate` made with this seed and so many events, and the size of its log now.

    Raises:
        SystemExit: it was made otherwise: what is generated next would be about other projects.
    """
    context = Context(folder)
    if not context.config.ledger.log.startswith("sqlite:"):
        raise SystemExit(f"the log of {folder} is not in SQLite: a broker of an earlier run is gone")
    logs = context.logs()
    await logs.open()
    try:
        found = await logs.events.read(FIRST_EVENTS)
        size = await logs.events.size()
    finally:
        await logs.close()
    if size < FIRST_EVENTS + generated or found[:1] != list(islice(generate(seed, generated), 1)):
        raise SystemExit(f"{folder} was not generated with {generated:,} events from seed {seed}: say with how many")
    return context, size


async def size_of(context: Context) -> int:
    """How many events are on a ledger's log."""
    logs = context.logs()
    await logs.open()
    try:
        return await logs.events.size()
    finally:
        await logs.close()


@asynccontextmanager
async def running_signer(context: Context) -> AsyncIterator[tuple[Opened, Signer]]:
    """A signer that is also the publisher, in this process. It publishes when it is asked to."""
    storage = context.storage("signer")
    async with open_follower(context, "signer", PublicOutlet(storage), storage) as opened:
        signer = await make_signer(context, opened, Schedule(interval_seconds=0))
        yield opened, signer


async def publish(opened: Opened, signer: Signer, records: Sequence[bytes]) -> float:
    """Append records and publish them; the seconds from when they are on the log until they are served.

    What a signer does between publications comes before, and is not counted.
    """
    await opened.rest()
    await opened.logs.events.append(records)
    started = perf_counter()
    await signer.step(now=True)
    return perf_counter() - started


def signed_files(context: Context, number: int) -> list[Path]:
    """What a publication signed, besides its timestamp: bins and the snapshot."""
    metadata = context.public / "metadata"
    return [path for path in sorted(metadata.glob(f"{number}.*.json")) if "timestamp" not in path.name]


def layout_of(context: Context) -> Layout:
    """The bins that are served."""
    newest = max((context.public / "metadata").glob("*.bins.json"), key=lambda path: int(path.name.partition(".")[0]))
    return read_bins_layout(json.loads(newest.read_bytes()))
