"""Sustained ingest: events appended at a steady rate, until the served timestamp covers them.

    deploy/with-env --dev python -m benchmarks.ingest --rate 1000 --seconds 60 [--background 100000] [--kafka]

A signer that is also the publisher runs as a process of its own (`tuf-ledger run signer publisher`), as users run it.
`--kafka` starts a real broker for the run (JDK and Maven needed); without it the logs are SQLite files. An event is
covered when a client that reads the timestamp and its snapshot sees a log of that size.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.generator import generate
from benchmarks.ledgers import create, fill
from benchmarks.report import Report
from benchmarks.scale import memory_of
from consumers.context import Context
from consumers.schedule import Schedule
from consumers.server import publish_once
from tests.broker import running_broker

TICK_SECONDS = 0.1
_SIZE = re.compile(rb'"size":([0-9]+)\}')


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--background", type=int, default=100_000, help="events that are published before")
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", action="store_true")
    options = parser.parse_args()
    report = Report(
        "ingest",
        rate=options.rate,
        seconds=options.seconds,
        background=options.background,
        bins=options.bins,
        log="Apache Kafka" if options.kafka else "SQLite",
    )
    with (
        tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as folder,
        running_broker(()) if options.kafka else nullcontext() as broker,
    ):
        log = f"kafka://{broker.bootstrap_servers}/benchmark" if broker else "sqlite:log"
        asyncio.run(_measure(create(Path(folder) / "ledger", options.bins, log), options, report))
    report.close()


async def _measure(context: Context, options: argparse.Namespace, report: Report) -> None:
    records = generate(options.seed, options.background + options.rate * options.seconds)
    seconds = await fill(context, islice(records, options.background), options.background)
    report.add("append the background", [seconds], per=options.background, unit="events")
    await publish_once(context, Schedule())
    logs = context.logs()
    await logs.open()
    size = 0
    while values := await logs.events.read(size):
        size += len(values)
    process = _start(context)
    try:
        await _wait_until_started(context, process)
        appended, covered = [(size, monotonic())], [(_covered(context.public), monotonic())]
        watcher = asyncio.create_task(_watch(context.public, covered))
        before = memory_of(process.pid)
        started = monotonic()
        batch = max(1, round(options.rate * TICK_SECONDS))
        number = 0
        while values := list(islice(records, batch)):
            await logs.events.append(values)
            size += len(values)
            appended.append((size, monotonic()))
            number += 1
            await asyncio.sleep(max(0.0, started + number * TICK_SECONDS - monotonic()))
        took = monotonic() - started
        while covered[-1][0] < size and process.poll() is None:  # noqa: ASYNC110  # a file is what changes
            await asyncio.sleep(TICK_SECONDS)
        watcher.cancel()
        after = memory_of(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        await logs.close()
    _report(report, appended[1:], covered, took, f"{before / 2**20:,.0f} to {after / 2**20:,.0f} MiB")


def _start(context: Context) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "TUF_LEDGER_LOGGING_LEVEL": "warning"}
    command = [sys.executable, "-m", "consumers.main", "run", "--ledger", str(context.folder), "signer", "publisher"]
    return subprocess.Popen(command, env=environment)


async def _wait_until_started(context: Context, process: "subprocess.Popen[bytes]") -> None:
    """Until its state is in use."""
    while not context.store("signer").is_locked():
        if process.poll() is not None:
            raise SystemExit("the signer has stopped")
        await asyncio.sleep(TICK_SECONDS)
    await asyncio.sleep(1)


async def _watch(public: Path, covered: list[tuple[int, float]]) -> None:
    while True:
        size = await asyncio.to_thread(_covered, public)
        if size != covered[-1][0]:
            covered.append((size, monotonic()))
        await asyncio.sleep(0.02)


def _covered(public: Path) -> int:
    """The size of the log that the served snapshot names."""
    timestamp = json.loads((public / "metadata/timestamp.json").read_bytes())
    number = timestamp["signed"]["meta"]["snapshot.json"]["version"]
    with (public / f"metadata/{number}.snapshot.json").open("rb") as file:
        file.seek(-200, os.SEEK_END)
        found = _SIZE.search(file.read())
    return int(found[1]) if found else 0


def _report(report: Report, appended: Any, covered: Any, took: float, memory: str) -> None:
    waited = []
    at = 0
    for size, moment in appended:
        while covered[at][0] < size:
            at += 1
        waited.append(covered[at][1] - moment)
    half = len(waited) // 2
    events = appended[-1][0] - covered[0][0]
    report.add("append at this rate", [took], per=events, unit="events", publications=len(covered) - 1, memory=memory)
    for name, some in (("first half", waited[:half]), ("second half", waited[half:])):
        ordered = sorted(some)
        report.add(
            f"until served, {name}",
            [statistics.median(ordered)],
            p99=f"{ordered[int(len(ordered) * 0.99)]:.2f} s",
            most=f"{ordered[-1]:.2f} s",
        )


if __name__ == "__main__":
    main()
