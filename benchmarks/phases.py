"""How long the phases of publications took, as followers log it."""

from collections.abc import Callable
from typing import Any

import structlog

Phases = dict[str, Any]


def collect() -> list[Phases]:
    """A list that every publication of this process is added to from now on, instead of being logged."""
    phases: list[Phases] = []
    structlog.configure(
        processors=[_into(phases)],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    return phases


def seconds_of(phases: Phases) -> dict[str, float]:
    """Seconds by phase."""
    return {name.removesuffix("_seconds"): value for name, value in phases.items() if name.endswith("_seconds")}


def _into(phases: list[Phases]) -> Callable[[Any, str, Any], Any]:
    def process(_: Any, __: str, entry: Any) -> str:
        if entry["event"] == "publication applied":
            phases.append(entry)
        raise structlog.DropEvent

    return process
