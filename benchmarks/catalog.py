"""The catalog: filled from nothing, and asked.

    deploy/with-env --dev python -m benchmarks.catalog [--events 1000000] [--publications 200] [--postgresql URL]

A ledger with so many events in so many publications is put into a new catalog, with all indexes, by `catalog rebuild`.
The baseline is the same log folded by a follower that keeps no catalog, in the same run. Then each question is asked by
a new process, as a person does, imports included, up to a page of a terminal. Then `run signer publisher catalog` gets
events at a steady rate: the lag is the time from when a publication is on the log until it is in the catalog. With
--postgresql a schema of that database is filled, too.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter

from benchmarks.generator import generate, generate_more, projects_with_files
from benchmarks.ledgers import create
from benchmarks.report import Report
from benchmarks.scale import run_command
from consumers.catalog.asking import open_filling
from consumers.context import Context
from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import make_signer
from consumers.sign.schedule import Schedule
from ledger.catalog.database import Database, discard, postgresql_catalog
from ledger.catalog.publication_rows import last_publication

PAGE_EVENTS = "25"
"""A page of a terminal: two lines for each event."""

REPETITIONS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--publications", type=int, default=200)
    parser.add_argument("--bins", type=int, default=1_024)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second beside running consumers")
    parser.add_argument("--seconds", type=int, default=30, help="for so long; 0: not at all")
    parser.add_argument("--postgresql", default="", metavar="URL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = create(Path(folder) / "ledger", options.bins)
        sizes = {"events": options.events, "publications": options.publications, "bins": options.bins, "seed": 1}
        report = Report("catalog", **sizes)
        asyncio.run(_measure(report, context, options))
        _ask(report, context, options.events)
        if options.seconds:
            asyncio.run(_live(report, context, options.events, options.rate, options.seconds))
        report.close()


async def _measure(report: Report, context: Context, options: argparse.Namespace) -> None:
    await publish(context, generate(1, options.events), options.events // options.publications)
    folded = await _fold(context)
    seconds, memory = await asyncio.to_thread(run_command, "catalog", "rebuild", "--ledger", context.folder)
    length = (context.state / "catalog.sqlite").stat().st_size
    report.add("fold only", [folded], per=options.events, unit="events")
    report.add("fill, SQLite", [seconds], floor=[folded], per=options.events, unit="events", memory=memory)
    report.note("  SQLite", bytes_an_event=f"{length / options.events:.0f}")
    if options.postgresql:
        database = postgresql_catalog(options.postgresql, "benchmark", writes=True)
        seconds = await _fill(context, database)
        report.add("fill, PostgreSQL", [seconds], floor=[folded], per=options.events, unit="events")
        await discard(database)


async def publish(context: Context, records: Iterator[bytes], at_once: int) -> None:
    """Append records, and publish after each group."""
    async with open_follower(context, "signer", NoOutlet()) as opened:
        signer = await make_signer(context, opened, Schedule(interval_seconds=0))
        while batch := list(islice(records, at_once)):
            for start in range(0, len(batch), 20_000):
                await opened.logs.events.append(batch[start : start + 20_000])
            await signer.step(now=True)


async def _fold(context: Context) -> float:
    """Seconds that a new follower takes that only folds."""
    started = perf_counter()
    async with open_follower(context, "benchmark", NoOutlet(), renders=False) as opened:
        await opened.follower.skip()
        return perf_counter() - started


async def _fill(context: Context, database: Database) -> float:
    """Seconds until a new catalog is complete."""
    await discard(database)
    started = perf_counter()
    async with open_filling(context, database) as filling:
        while await filling.step():
            pass
        return perf_counter() - started


def _ask(report: Report, context: Context, events: int) -> None:
    name = f"project-{projects_with_files(1, events)[7]}"
    last = json.loads(_run(context, "log", name, "--type", "file.uploaded", "--limit", "1", "--json").splitlines()[0])
    filename = last["file"]
    for question in (
        ["log"],
        ["log", name],
        ["log", filename],
        ["log", "--rejected"],
        ["log", "--type", "file"],
        ["log", "--unattested"],
        ["log", "--late-files", "30"],
        ["log", "--publications"],
        ["show", f"{last['event']}"],
        ["show", "#7"],
        ["show", "snapshot@7"],
        ["blame", name],
        ["access", name],
        ["find", filename],
        ["diff", "5", "7", "--stat"],
    ):
        limit = ["--limit", PAGE_EVENTS] if question[0] == "log" else []
        seconds = []
        for _ in range(REPETITIONS):
            started = perf_counter()
            _run(context, *question, *limit)
            seconds.append(perf_counter() - started)
        report.add(" ".join(question).replace(filename, "FILE").replace(name, "PROJECT"), seconds)


async def _live(report: Report, context: Context, generated: int, rate: int, seconds: int) -> None:
    """Append events at a steady rate beside consumers, and watch both the log and the catalog."""
    command = ["-m", "consumers.cli.main", "run", "signer", "publisher", "catalog", "--ledger", str(context.folder)]
    running = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.DEVNULL)
    logs, catalog = context.logs(), context.catalog(writes=False)
    await logs.open()
    await catalog.open()
    try:
        records = generate_more(1, generated, await logs.events.size(), rate * (seconds + 5))
        seen: dict[int, float] = {}
        lags: list[float] = []
        started, sent = perf_counter(), 0
        while sent < rate * seconds or seen:
            due = min(rate * seconds, int((perf_counter() - started) * rate))
            if due > sent:
                await logs.events.append(list(islice(records, due - sent)))
                sent = due
            size = await logs.publications.size()
            if size - 1 not in seen and size - 1 > max(seen, default=-1):
                seen[size - 1] = perf_counter()
            row = await catalog.run(last_publication)
            there = [each for each in seen if row is not None and each <= row.record]
            lags += [perf_counter() - seen.pop(each) for each in there]
            await asyncio.sleep(0.1)
            if perf_counter() - started > 10 * seconds:
                raise SystemExit("the catalog does not follow")
    finally:
        running.terminate()
        await running.wait()
        await logs.close()
        await catalog.close()
    lags.sort()
    report.note("lag of the catalog", **{f"p{part}": f"{lags[len(lags) * part // 100]:.2f} s" for part in (50, 90, 99)})


def _run(context: Context, *arguments: str) -> str:
    """What a command prints, in a process of its own."""
    command = [sys.executable, "-m", "consumers.cli.main", *arguments, "--ledger", str(context.folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    os.environ.setdefault("TUF_LEDGER_LOGGING_LEVEL", "error")
    main()
