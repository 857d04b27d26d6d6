"""What a program measured, as lines for people and as one JSON line for machines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe

RESULTS = Path("benchmark-results.jsonl")
NAME_WIDTH = 44


class Report:
    """Figures of one run. Each is printed when it is known; `close` appends all of them to a file."""

    def __init__(self, program: str, **sizes: Any) -> None:
        self._facts: dict[str, Any] = {"program": program, "machine": describe(), "sizes": sizes, "figures": {}}
        print(*describe(), sep="\n")
        print(
            "sizes     "
            + ", ".join(
                f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in sizes.items()
            )
        )

    def add(
        self,
        name: str,
        seconds: Sequence[float],
        *,
        floor: float | Sequence[float] = 0.0,
        per: int = 0,
        unit: str = "",
        **more: Any,
    ) -> None:
        """Add a figure.

        Args:
            name: what was measured.
            seconds: of each repetition; printed as the median, with least and most.
            floor: seconds of the floor in the same run, if there is one; or one for each repetition, measured with it.
            per: of how many.
            unit: what these are.
            more: what else is to be known of it.
        """
        middle = median(seconds)
        figure: dict[str, Any] = {"seconds": [round(each, 5) for each in seconds], "median": round(middle, 5), **more}
        line = f"{name:<{NAME_WIDTH}} {_duration(middle):>10}"
        if len(seconds) > 1:
            line += f" ({_duration(min(seconds))} to {_duration(max(seconds))}, {len(seconds)} times)"
        if floor:
            pairs = floor if isinstance(floor, Sequence) else [floor] * len(seconds)
            least, ratio = median(pairs), ratio_of(seconds, pairs)
            figure |= {"floor": round(least, 5), "ratio": round(ratio, 3)}
            line += f", floor {_duration(least)}, ratio {ratio:.2f}"
        if per:
            figure |= {"per": per, "unit": unit}
            line += f", {per / middle:,.0f} {unit} a second"
        if more:
            line += f" [{_named(more)}]"
        print(line, flush=True)
        self._facts["figures"][name] = figure

    def note(self, name: str, **figures: Any) -> None:
        """Add what is not a time: figures by name."""
        print(f"{name:<{NAME_WIDTH}} {_named(figures)}", flush=True)
        self._facts["figures"][name] = figures

    def close(self) -> None:
        """Append everything as one line of JSON to `benchmark-results.jsonl` in the working directory."""
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._facts) + "\n")


def ratio_of(seconds: Sequence[float], floors: Sequence[float]) -> float:
    """How many times its floor each repetition took: the median. A machine that others share is slow for both."""
    return median(each / floor for each, floor in zip(seconds, floors, strict=True))


def _named(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in figures.items())


def _duration(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"
