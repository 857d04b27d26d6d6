"""Growth: what a publication costs in a large ledger and in a small one whose bins are as full.

    deploy/with-env python -m benchmarks.growth [--events 100000] [--bins 256] [--times 16]
    deploy/with-env python -m benchmarks.growth --ledger DIR --background 10000000 [--bins 128]

Both get the same publications in turns: uploads to projects chosen evenly, each into two bins (a file and a page) that
no other touches. The snapshot names every bin and so grows with their number, whatever is published: making and sealing
it is left out, writing its file is not. With --ledger the large one is there already, made by benchmarks.generate, and
the small one has so many events that its bins are as full: with 16,384 bins and ten million events, 78,125 in 128.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

from benchmarks import floors
from benchmarks.generator import generate, projects_with_files, upload
from benchmarks.ledgers import FIRST_EVENTS, create, fill, layout_of, publish, reopen, running_signer, signed_files
from benchmarks.phases import Phases, collect, seconds_of
from benchmarks.report import Report
from consumers.context import Context
from consumers.service.opening import Opened
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from projections.roles.layout import Layout

LEFT_OUT = "record"
"""The phase of the snapshot, with the record of the publication that seals it."""


class Ledger(NamedTuple):
    """A ledger to measure: `events` were generated, and its log has `size` records."""

    context: Context
    events: int
    size: int


class Running(NamedTuple):
    """Its signer, and how long each publication took, with its floor."""

    ledger: Ledger
    opened: Opened
    signer: Signer
    uploads: Iterator[list[bytes]]
    seconds: list[float]
    phases: list[Phases]
    floors: list[float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="of the small ledger")
    parser.add_argument("--bins", type=int, default=256, help="of the small ledger")
    parser.add_argument("--times", type=int, default=16, help="how much more of both the large one has: a power of 2")
    parser.add_argument("--touched", type=int, default=100, help="bins that a publication changes")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=Path, metavar="DIR", help="the large ledger, made of so many --background")
    parser.add_argument("--background", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tuf-ledger-benchmark-"))
    try:
        asyncio.run(_measure(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(folder: Path, options: argparse.Namespace) -> None:
    if options.ledger:
        context, size = await reopen(options.ledger, options.seed, options.background)
        large = Ledger(context, options.background, size)
        events = options.background * options.bins // layout_of(context).count
    else:
        events = options.events
        large = await _make(folder / "large", events * options.times, options.bins * options.times, options.seed)
    small = await _make(folder / "small", events, options.bins, options.seed)
    report = Report(
        "growth",
        small_events=events,
        small_bins=options.bins,
        large_events=large.events,
        large_bins=layout_of(large.context).count,
        touched=options.touched,
    )
    phases = collect()  # not before: commands that make ledgers say themselves how to log
    for ledger in (small, large):
        await publish_once(ledger.context, Schedule())
    async with AsyncExitStack() as stack:
        both = [await _start(ledger, options, stack) for ledger in (small, large)]
        for repetition in range(options.repetitions + 1):
            for each in both:
                seconds = await publish(each.opened, each.signer, next(each.uploads))
                files = signed_files(each.ledger.context, each.opened.follower.head.number)
                floor = await asyncio.to_thread(
                    floors.publication, [path for path in files if LEFT_OUT not in path.name]
                )
                if repetition:  # the first one warms up
                    each.seconds.append(seconds - seconds_of(phases[-1])[LEFT_OUT])
                    each.phases.append(phases[-1])
                    each.floors.append(floor)
    _report(report, both)
    report.close()


async def _make(folder: Path, events: int, bins: int, seed: int) -> Ledger:
    context = await asyncio.to_thread(create, folder, bins)
    await fill(context, generate(seed, events), events)
    return Ledger(context, events, FIRST_EVENTS + events)


async def _start(ledger: Ledger, options: argparse.Namespace, stack: AsyncExitStack) -> Running:
    opened, signer = await stack.enter_async_context(running_signer(ledger.context))
    projects = projects_with_files(options.seed, ledger.events)
    uploads = _uploads(ledger, projects, layout_of(ledger.context), options.touched, Random(options.seed))
    return Running(ledger, opened, signer, uploads, [], [], [])


def _uploads(
    ledger: Ledger, projects: Sequence[int], layout: Layout, touched: int, chance: Random
) -> Iterator[list[bytes]]:
    """Uploads of new files, so many that together they change this number of bins, each bin once."""
    number = ledger.size
    while True:
        bins: set[int] = set()
        records = []
        while len(bins) + 2 <= touched:
            number += 1
            name = f"project-{chance.choice(projects)}"
            version = f"{ledger.size}.{number}"
            record = upload(number, name, version, f"{name.replace('-', '_')}-{version}.tar.gz", chance)
            both = {layout.index_of_target(path) for path in _targets(name, record)}
            if len(both) == 2 and not bins & both:
                bins |= both
                records.append(record)
        yield records


def _targets(name: str, record: bytes) -> tuple[str, str]:
    """The targets that an upload changes."""
    data = json.loads(record)["data"]
    digest = data["hashes"]["blake2b_256"]
    return f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{data['filename']}", f"simple/{name}/index.json"


def _report(report: Report, both: list[Running]) -> None:
    for name, each in zip(("small", "large"), both, strict=True):
        report.add(
            f"a publication, {name}, without snapshot",
            each.seconds,
            floor=each.floors,
            bins_signed=max(phases["signed"] for phases in each.phases),
        )
        laps = [seconds_of(phases) for phases in each.phases]
        report.note(f"  phases, {name}", **{lap: f"{median(s[lap] for s in laps) * 1000:.1f} ms" for lap in laps[0]})
    small, large = (median(each.seconds) for each in both)
    small_floor, large_floor = (median(each.floors) for each in both)
    report.note("large against small", ratio=round(large / small, 2), of_floors=round(large_floor / small_floor, 2))


if __name__ == "__main__":
    main()
