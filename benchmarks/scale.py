"""One ledger of a chosen size: every operation on it, each beside its floor.

    deploy/with-env python -m benchmarks.scale --events 100000 [--bins 16384] [--keep DIR]

Events are made from a seed (`benchmarks.generator`). Commands that users run as processes are run as processes, so
their figures hold start-up, and their memory is the peak of all processes together with what they left to the
system's cache left out.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import structlog

from benchmarks import floors
from benchmarks.generator import generate
from benchmarks.ledgers import create, fill
from benchmarks.report import Report
from consumers.context import Context
from consumers.outlets import PublicOutlet
from consumers.schedule import Schedule
from consumers.server import Opened, make_signer, open_follower
from consumers.signer import Signer

SINGLE_UPLOADS = 30
BATCHES = (10, 100, 1_000)
REPETITIONS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it there")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    report = Report("scale", events=options.events, bins=options.bins, seed=options.seed)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="tuf-ledger-benchmark-"))
    try:
        _measure(folder, options, report)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    report.close()


def _measure(folder: Path, options: argparse.Namespace, report: Report) -> None:
    ledger, events = folder / "ledger", options.events
    context = create(ledger, options.bins)
    # A few more than are there at first: what comes later is about the same projects.
    records = generate(options.seed, events + 2 * SINGLE_UPLOADS + 2 * REPETITIONS * sum(BATCHES))
    seconds = asyncio.run(fill(context, islice(records, events), events))
    report.add("append everything", [seconds], per=events, unit="events")
    log = ledger / "log/events.sqlite"

    seconds, memory = _run("publish", "--ledger", ledger)
    files = list((ledger / "public/metadata").glob("2.*.json"))
    report.add(
        "publish everything at once", [seconds], per=events, unit="events", memory=memory, bins_signed=len(files) - 2
    )
    asyncio.run(_follow(context, records, report))

    seconds, memory = _run("ceremony", "--ledger", ledger, "--replace-online")
    number = max(int(path.name.partition(".")[0]) for path in (ledger / "public/metadata").glob("*.snapshot.json"))
    files = _signed(ledger / "public/metadata", number)
    report.add(
        "replace the online key", [seconds], floor=floors.publication(files), memory=memory, bins_signed=len(files) - 1
    )
    for name, arguments in (
        ("rebuild the last publication", ("rebuild", "--ledger", ledger, "--to", folder / "rebuilt")),
        ("verify every publication", ("verify", "--ledger", ledger)),
    ):
        seconds, memory = _run(*arguments)
        floor = floors.rebuild(log, folder / "rebuilt") if name.startswith("rebuild") else 0.0
        report.add(name, [seconds], floor=floor, per=events, unit="events", memory=memory)


async def _follow(context: Context, records: Iterator[bytes], report: Report) -> None:
    """What a running signer does."""
    storage = context.storage("signer")
    started = perf_counter()
    async with open_follower(context, "signer", PublicOutlet(storage), storage) as opened:
        signer = await make_signer(context, opened, Schedule(interval_seconds=0))
        await signer.step()
        report.add("start a follower", [perf_counter() - started])
        metadata = context.public / "metadata"
        singles = [await _publish(opened, signer, records, 1) for _ in range(SINGLE_UPLOADS)]
        report.add("one event until served", singles, most=f"{max(singles) * 1000:.0f} ms")
        files: list[Path] = []
        for count in BATCHES:
            times, floor = [], []
            for _ in range(REPETITIONS):
                times.append(await _publish(opened, signer, records, count))
                files = _signed(metadata, opened.follower.head.number)
                floor.append(floors.publication(files))
            report.add(f"{count:,} events until served", times, floor=min(floor), bins=len(files) - 1)
        bins = [path for path in files if ".bin-" in path.name]
        report.add("  these bins with python-tuf, one by one", [floors.afternoon(bins)])


async def _publish(opened: Opened, signer: Signer, records: Iterator[bytes], count: int) -> float:
    await opened.logs.events.append(list(islice(records, count)))
    started = perf_counter()
    await signer.step(now=True)
    return perf_counter() - started


def _signed(metadata: Path, number: int) -> list[Path]:
    return [path for path in sorted(metadata.glob(f"{number}.*.json")) if "timestamp" not in path.name]


def _run(*arguments: Any) -> tuple[float, str]:
    """Run a command; seconds, and the most memory that it and its processes had at one time."""
    started = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "consumers.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    seconds = perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(output.decode())
    return seconds, f"{peak[0] / 2**20:,.0f} MiB"


def _watch(process: "subprocess.Popen[bytes]", peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], memory_of(process.pid))
        sleep(0.05)


def memory_of(process: int) -> int:
    """What a process and those it started have in memory for themselves, in bytes."""
    total = 0
    for pid in [process, *_children(process)]:
        with suppress(OSError, IndexError, ValueError):
            resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1:3]
            total += (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return [each for child in found for each in (child, *_children(child))]


if __name__ == "__main__":
    main()
