"""Sustained ingest: events appended at a steady rate, until the served timestamp covers them.

    deploy/with-env --dev python -m benchmarks.ingest --rate 1000 --seconds 60 [--background 100000] [--kafka] [--sweep]
    deploy/with-env python -m benchmarks.ingest --ledger DIR --background 10000000 --rate 1000 --seconds 600 --sweep

A signer that is also the publisher runs as a process of its own (`tuf-ledger run signer publisher`), as users run it.
`--kafka` starts a real broker for the run (JDK and Maven needed); without it the logs are SQLite files. An event is
covered when a client that reads the timestamp and its snapshot sees a log of that size. Lag and memory are given by
quarter of the run: what grows in the last one will not end with it.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from itertools import islice
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

import structlog

from benchmarks.generator import generate, generate_more
from benchmarks.ledgers import create, fill, layout_of, reopen
from benchmarks.report import Report
from benchmarks.scale import memory_of
from consumers.context import Context
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from tests.broker import running_broker

TICK_SECONDS = 0.1
LOOK_SECONDS = 0.02
MEMORY_SECONDS = 2.0
QUARTERS = 4
GIVE_UP_SECONDS = 600.0
_SIZE = re.compile(rb'"size":([0-9]+)\}')

Moments = list[tuple[int, float]]
"""Numbers, and when they were so."""


class Swept(NamedTuple):
    """A sweep: how long it took, and how many files it deleted."""

    seconds: float
    deleted: int


class Seen(NamedTuple):
    """A run: sizes of the log as appended and as served, memory of the signer in bytes, and sweeps."""

    appended: Moments
    covered: Moments
    memory: Moments
    sweeps: list[Swept]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--background", type=int, default=100_000, help="events that are published before")
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument(
        "--ledger",
        type=Path,
        metavar="DIR",
        help="append to this ledger, which benchmarks.generate made of as many events as --background says",
    )
    parser.add_argument(
        "--sweep",
        type=float,
        nargs="?",
        const=60.0,
        default=0.0,
        metavar="SECONDS",
        help="sweep so often, and delete what was unreachable the time before",
    )
    options = parser.parse_args()
    if options.ledger and options.kafka:
        parser.error("--ledger has its log in SQLite; with --kafka its events would have to be appended and published")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    with (
        tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as folder,
        running_broker(()) if options.kafka else nullcontext() as broker,
    ):
        log = f"kafka://{broker.bootstrap_servers}/benchmark" if broker else "sqlite:log"
        asyncio.run(_measure(Path(folder) / "ledger", log, options))


async def _measure(folder: Path, log: str, options: argparse.Namespace) -> None:
    count = options.rate * options.seconds
    if options.ledger:
        context, first = await reopen(options.ledger, options.seed, options.background)
        bins = layout_of(context).count
        records = generate_more(options.seed, options.background, first, count)
    else:
        context, bins = await asyncio.to_thread(create, folder, options.bins, log), options.bins
        records = generate(options.seed, options.background + count)
    report = Report(
        "ingest",
        rate=options.rate,
        seconds=options.seconds,
        background=options.background,
        bins=bins,
        sweep_seconds=options.sweep,
        log="Apache Kafka" if options.kafka else "SQLite",
    )
    if not options.ledger:
        seconds = await fill(context, islice(records, options.background), options.background)
        report.add("append the background", [seconds], per=options.background, unit="events")
    started = monotonic()
    await publish_once(context, Schedule())
    if not options.ledger:
        report.add("publish the background", [monotonic() - started], per=options.background, unit="events")
    process = start_signer(context)
    try:
        await wait_until_started(context, process)
        seen = await _run(context, process, records, options)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    _report(report, seen)
    report.close()


async def _run(
    context: Context, process: "subprocess.Popen[bytes]", records: Iterator[bytes], options: argparse.Namespace
) -> Seen:
    """Append at the rate, and watch until all is served."""
    logs = context.logs()
    await logs.open()
    try:
        size = await logs.events.size()
        await logs.events.read(size)  # what appends to Kafka has to have read up to there: not in our time
        now = monotonic()
        seen = Seen([(size, now)], [(covered_size(context.public), now)], [(memory_of(process.pid), now)], [])
        async with _meanwhile(
            _watch(lambda: covered_size(context.public), LOOK_SECONDS, seen.covered),
            _watch(lambda: memory_of(process.pid), MEMORY_SECONDS, seen.memory),
            *([_sweep(context, options.sweep, seen.sweeps)] if options.sweep else []),
        ):
            started = monotonic()
            batch = max(1, round(options.rate * TICK_SECONDS))
            while values := list(islice(records, batch)):
                await logs.events.append(values)
                size += len(values)
                seen.appended.append((size, monotonic()))
                await asyncio.sleep(max(0.0, started + (len(seen.appended) - 1) * TICK_SECONDS - monotonic()))
            while seen.covered[-1][0] < size:
                if process.poll() is not None:
                    raise SystemExit("the signer has stopped")
                if monotonic() - seen.covered[-1][1] > GIVE_UP_SECONDS:
                    raise SystemExit("nothing was published for ten minutes: is the disk full, or the broker gone?")
                await asyncio.sleep(TICK_SECONDS)
    finally:
        await logs.close()
    return seen


@asynccontextmanager
async def _meanwhile(*loops: Any) -> AsyncIterator[None]:
    """Let loops run until the end. What one of them raised is raised then."""
    tasks = [asyncio.create_task(each) for each in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def start_signer(context: Context) -> "subprocess.Popen[bytes]":
    """A signer that is also the publisher, as a process of its own."""
    environment = {**os.environ, "TUF_LEDGER_LOGGING_LEVEL": "warning"}
    command = [
        sys.executable,
        "-m",
        "consumers.cli.main",
        "run",
        "--ledger",
        str(context.folder),
        "signer",
        "publisher",
    ]
    return subprocess.Popen(command, env=environment)


async def wait_until_started(context: Context, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a signer's state is in use."""
    while not context.store("signer").is_locked():
        if process.poll() is not None:
            raise SystemExit("the signer has stopped")
        await asyncio.sleep(TICK_SECONDS)
    await asyncio.sleep(1)


async def _watch(look: Callable[[], int], pause_seconds: float, seen: Moments) -> None:
    """Note a number whenever it is another."""
    while True:
        number = await asyncio.to_thread(look)
        if number != seen[-1][0]:
            seen.append((number, monotonic()))
        await asyncio.sleep(pause_seconds)


async def _sweep(context: Context, interval_seconds: float, swept: list[Swept]) -> None:
    """What an operator's timer does."""
    command = [sys.executable, "-m", "consumers.cli.main", "sweep", "--ledger", str(context.folder), "--json"]
    while True:
        await asyncio.sleep(interval_seconds)
        started = monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, "--grace", f"{interval_seconds:g}s", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode:
            raise RuntimeError(f"a sweep failed: {errors.decode()}")
        swept.append(Swept(monotonic() - started, len(json.loads(output)["deleted"])))


def covered_size(public: Path) -> int:
    """The size of the log that the served snapshot names."""
    timestamp = json.loads((public / "metadata/timestamp.json").read_bytes())
    number = timestamp["signed"]["meta"]["snapshot.json"]["version"]
    with (public / f"metadata/{number}.snapshot.json").open("rb") as file:
        file.seek(-200, os.SEEK_END)
        found = _SIZE.search(file.read())
    return int(found[1]) if found else 0


def _report(report: Report, seen: Seen) -> None:
    (first, started), *appended = seen.appended
    report.add(
        "append at this rate",
        [appended[-1][1] - started],
        per=appended[-1][0] - first,
        unit="events",
        publications=len(seen.covered) - 1,
    )
    waited = _waited(appended, seen.covered)
    for quarter in range(QUARTERS):
        some = sorted(waited[quarter * len(waited) // QUARTERS : (quarter + 1) * len(waited) // QUARTERS])
        if some:
            p99 = some[int(len(some) * 0.99)]
            report.add(
                f"until served, quarter {quarter + 1}", [median(some)], p99=f"{p99:.2f} s", most=f"{some[-1]:.2f} s"
            )
    report.note("memory of the signer", **_memory(seen.memory))
    if seen.sweeps:
        report.add("sweeps", [each.seconds for each in seen.sweeps], deleted=sum(each.deleted for each in seen.sweeps))


def _waited(appended: Moments, covered: Moments) -> list[float]:
    """Seconds until each append was served."""
    waited = []
    at = 0
    for size, moment in appended:
        while covered[at][0] < size:
            at += 1
        waited.append(covered[at][1] - moment)
    return waited


def _memory(samples: Moments) -> dict[str, str]:
    """At the start, at each quarter of the time, and at most."""
    start, end = samples[0][1], samples[-1][1]
    names = ("start", "1/4", "1/2", "3/4", "end")
    found = {}
    for index, name in enumerate(names):
        until = start + (end - start) * index / QUARTERS
        found[name] = [size for size, moment in samples if moment <= until][-1]
    found["most"] = max(size for size, _ in samples)
    return {name: f"{size / 2**20:,.0f} MiB" for name, size in found.items()}


if __name__ == "__main__":
    main()
