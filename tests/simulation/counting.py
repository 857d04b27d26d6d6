"""How much was simulated, at the end of pytest's output. Test processes report it as a property of each test."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PROPERTY = "simulated"


@dataclass
class Tally:
    """What was done: runs, the crash points that they stand for by port, and visits of python-tuf's client."""

    runs: int = 0
    points: Counter[str] = field(default_factory=Counter)
    visits: int = 0

    def add(self, other: "Tally") -> None:
        """Count what another counted."""
        self.runs += other.runs
        self.points += other.points
        self.visits += other.visits


def record(record_property: Callable[[str, object], None], family: str, tally: Tally) -> None:
    """Report what a test simulated."""
    record_property(PROPERTY, [family, tally.runs, dict(tally.points), tally.visits])


def table(tallies: dict[str, Tally]) -> list[str]:
    """What was simulated, by family and in all."""
    every = Tally()
    lines = []
    for family, tally in sorted(tallies.items()):
        every.add(tally)
        lines.append(f"{tally.runs:7,} runs {tally.points.total():9,} crash points   {family}")
    ports = ", ".join(f"{port} {count:,}" for port, count in sorted(every.points.items()))
    lines.append(f"{every.runs:7,} runs {every.points.total():9,} crash points   in all: {ports}")
    lines.append(f"after each the tree equals pure replay; {every.visits:,} visits of python-tuf's client")
    return lines


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many runs and crash points there were."""
    tallies: dict[str, Tally] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY and report.when == "call":
                    family, runs, points, visits = value
                    tallies.setdefault(family, Tally()).add(Tally(runs, Counter(points), visits))
    if tallies:
        terminalreporter.section("simulation")
        for line in table(tallies):
            terminalreporter.write_line(line)
