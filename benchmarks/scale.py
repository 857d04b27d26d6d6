"""One ledger of a chosen size: every operation on it, each beside its floor.

    deploy/with-env python -m benchmarks.scale --events 100000 [--bins 16384] [--keep DIR] [--steps publish,follow]
    deploy/with-env python -m benchmarks.scale --ledger DIR --events 10000000

Events are made from a seed (`benchmarks.generator`). Commands that users run as processes are run as processes, so
their figures hold start-up, and their memory is the peak of all processes together with what they left to the
system's cache left out.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

import structlog

from benchmarks import floors
from benchmarks.generator import generate, generate_more
from benchmarks.ledgers import (
    FIRST_EVENTS,
    create,
    fill,
    layout_of,
    publish,
    reopen,
    running_signer,
    signed_files,
    size_of,
)
from benchmarks.report import Report, ratio_of
from consumers.context import Context
from consumers.render.outlets import PublicOutlet, served_version
from consumers.service.opening import open_follower
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from ledger.storage.directory import DirectoryStorage
from projections.metadata.paths import TIMESTAMP

SINGLE_UPLOADS = 300
BATCHES = (10, 100, 1_000)
REPETITIONS = 5
WARM_UPS = 2
"""So often each batch is published before it is measured: the first misses processes, which start in the second."""
FOLLOWING = 2 * SINGLE_UPLOADS + 2 * (REPETITIONS + WARM_UPS) * sum(BATCHES)
"""How many events are enough for the step `follow`."""
MISSED = 10
"""A publisher that was stopped has missed one event in so many."""
STEPS = ("publish", "follow", "rotate", "catch-up", "rebuild", "verify")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it there")
    parser.add_argument(
        "--ledger", type=Path, metavar="DIR", help="use this ledger, which benchmarks.generate made of so many --events"
    )
    parser.add_argument(
        "--steps", type=_steps, default=STEPS, help=f"which to measure, of {','.join(STEPS)} (default: all)"
    )
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    folder = options.keep or Path(tempfile.mkdtemp(prefix="tuf-ledger-benchmark-"))
    try:
        _measure(folder, options)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _steps(text: str) -> tuple[str, ...]:
    steps = tuple(text.split(","))
    if unknown := set(steps).difference(STEPS):
        raise argparse.ArgumentTypeError(f"there is no step {', '.join(sorted(unknown))}")
    return steps


def _measure(folder: Path, options: argparse.Namespace) -> None:
    events, appended = options.events, 0.0
    if options.ledger:
        context, size = asyncio.run(reopen(options.ledger, options.seed, events))
        bins = layout_of(context).count
    else:
        context, size, bins = create(folder / "ledger", options.bins), FIRST_EVENTS + events, options.bins
        appended = asyncio.run(fill(context, generate(options.seed, events), events))
    report = Report("scale", events=events, bins=bins, seed=options.seed, records=size)
    if appended:
        report.add("append everything", [appended], per=events, unit="events")
    ledger = context.folder
    if "publish" in options.steps:
        seconds, memory = run_command("publish", "--ledger", ledger)
        signed = len(signed_files(context, _newest(context))) - 1
        report.add(
            "publish everything at once", [seconds], per=events, unit="events", memory=memory, bins_signed=signed
        )
    if "follow" in options.steps:
        records = generate_more(options.seed, events, size, FOLLOWING)
        asyncio.run(_follow(context, records, report))
    if "rotate" in options.steps:
        seconds, memory = run_command("ceremony", "--ledger", ledger, "--replace-online")
        files = signed_files(context, _newest(context))
        report.add(
            "replace the online key",
            [seconds],
            floor=floors.publication(files),
            memory=memory,
            bins_signed=len(files) - 1,
        )
    if "catch-up" in options.steps:
        asyncio.run(_catch_up(context, folder / "elsewhere", options.seed, events, report))
    if "rebuild" in options.steps:
        rebuilt = folder / "rebuilt"
        seconds, memory = run_command("rebuild", "--ledger", ledger, "--to", rebuilt)
        floor = floors.rebuild(ledger / "log/events.sqlite", rebuilt)
        report.add("rebuild the last publication", [seconds], floor=floor, per=events, unit="events", memory=memory)
    if "verify" in options.steps:
        seconds, memory = run_command("verify", "--ledger", ledger)
        report.add("verify every publication", [seconds], per=events, unit="events", memory=memory)
    report.close()


def _newest(context: Context) -> int:
    """The number of the last publication."""
    return served_version((context.public / TIMESTAMP).read_bytes())


async def _follow(context: Context, records: Iterator[bytes], report: Report) -> None:
    """What a running signer does."""
    started = perf_counter()
    async with running_signer(context) as (opened, signer):
        await signer.step()
        report.add("start a follower", [perf_counter() - started])
        singles = [await publish(opened, signer, list(islice(records, 1))) for _ in range(SINGLE_UPLOADS)]
        p99 = quantiles(singles, n=100, method="inclusive")[-1]
        report.add("one event until served", singles, p99=f"{p99 * 1000:.0f} ms", most=f"{max(singles) * 1000:.0f} ms")
        files: list[Path] = []
        pages: list[Path] = []
        for count in BATCHES:
            times, floor, with_pages = [], [], []
            for repetition in range(REPETITIONS + WARM_UPS):
                batch = list(islice(records, count))
                seconds = await publish(opened, signer, batch)
                files = signed_files(context, opened.follower.head.number)
                pages = _pages(context, batch)
                if repetition >= WARM_UPS:
                    times.append(seconds)
                    floor.append(await asyncio.to_thread(floors.publication, files))
                    with_pages.append(await asyncio.to_thread(floors.publication, files, pages))
            ratio = f"{ratio_of(times, with_pages):.2f}"
            facts: dict[str, Any] = {"bins": len(files) - 1, "pages": len(pages), "ratio_with_pages": ratio}
            report.add(f"{count:,} events until served", times, floor=floor, **facts)
        bins = [path for path in files if ".bin-" in path.name]
        report.add("  these bins with python-tuf, one by one", [floors.afternoon(bins)])


def _pages(context: Context, records: Sequence[bytes]) -> list[Path]:
    """The pages of the projects that events are about."""
    names = sorted({json.loads(record).get("subject", "") for record in records})
    pages = (context.public / f"targets/simple/{name}/index.json" for name in names)
    return [page for page in pages if page.exists()]


async def _catch_up(context: Context, public: Path, seed: int, generated: int, report: Report) -> None:
    """A publisher on another machine, as it were: from nothing, and after a long interruption."""

    async def follow(name: str, events: int) -> None:
        storage = DirectoryStorage(public, public.with_name(f"{public.name}.staging"))
        started = perf_counter()
        async with open_follower(context, "elsewhere", PublicOutlet(storage), storage) as opened:
            while await opened.follower.skip() or await opened.follower.step():
                pass
            report.add(name, [perf_counter() - started], per=events, unit="events")

    (context.state / "elsewhere.sqlite").unlink(missing_ok=True)
    size = await size_of(context)
    await follow("a publisher that has nothing", size)
    missed = size // MISSED
    await fill(context, generate_more(seed, generated, size, missed), missed)
    await publish_once(context, Schedule())
    await follow("a publisher that has missed a tenth", missed)


def run_command(*arguments: Any) -> tuple[float, str]:
    """Run a command; seconds, and the most memory that it and its processes had at one time."""
    started = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "consumers.cli.main", *map(str, arguments)],
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
