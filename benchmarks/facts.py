"""Facts: a ledger folded from its beginning, by followers that render or only fold, with an observer and without.

    deploy/with-env --dev python -m benchmarks.facts [--events 1000000] [--bins 16384]

Each follower begins with no state and applies everything as one run. The observer looks at every effect and keeps
nothing, so what is measured is the telling. The baseline of each is the same follower without an observer, in the same
run, right before it.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.generator import generate
from benchmarks.ledgers import create, fill
from benchmarks.report import Report
from consumers.context import Context
from consumers.follow.observing import KeptPublication, Observer, PublicationTold
from consumers.render.outlets import NoOutlet
from consumers.service.opening import open_follower
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = create(Path(folder) / "ledger", options.bins)
        asyncio.run(_measure(context, options.events, options.bins, options.repetitions))


class _Counting:
    """Looks at every effect, and counts."""

    def __init__(self, *, envelopes: bool = False) -> None:
        self._envelopes = envelopes
        self.events = self.effects = 0

    async def kept(self) -> KeptPublication | None:
        return None

    async def tell(self, publication: PublicationTold) -> None:
        if self._envelopes:
            async for together in publication.events.with_envelopes():
                self.events += len(together)
                self.effects += sum(len(told.effects) for told, _ in together)
            return
        async for some in publication.events:
            self.events += len(some)
            self.effects += sum(len(told.effects) for told in some)


async def _measure(context: Context, events: int, bins: int, repetitions: int) -> None:
    report = Report("facts", events=events, bins=bins, seed=1)
    await fill(context, generate(1, events), events)
    await publish_once(context, Schedule(interval_seconds=0))
    for renders, what in ((False, "fold only"), (True, "fold and render")):
        silent: list[float] = []
        figures: dict[str, list[float]] = {}
        for _ in range(repetitions):
            silent.append(await _follow(context, [], renders=renders))
            for told, envelopes in (("told", False), ("told, with envelopes", True)):
                observer = _Counting(envelopes=envelopes)
                figures.setdefault(told, []).append(await _follow(context, [observer], renders=renders))
        report.add(what, silent, per=events, unit="events")
        for told, seconds in figures.items():
            report.add(f"  {told}", seconds, floor=silent, per=events, unit="events")
    report.close()


async def _follow(context: Context, observers: Sequence[Observer], *, renders: bool) -> float:
    """Seconds that a new follower takes."""
    for path in context.state.glob("benchmark*"):
        if path.is_file():
            path.unlink()
    started = perf_counter()
    async with open_follower(context, "benchmark", NoOutlet(), observers=observers, renders=renders) as opened:
        await opened.follower.skip()
        return perf_counter() - started


if __name__ == "__main__":
    main()
