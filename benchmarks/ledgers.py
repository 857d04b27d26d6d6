"""Ledgers to measure: made by the commands that users run, and filled at full speed."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter

from click.testing import CliRunner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumers.context import Context
from consumers.main import main as command

BATCH = 20_000


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
