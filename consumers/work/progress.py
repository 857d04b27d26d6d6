"""Progress of a long batch."""

from collections.abc import Callable

Report = Callable[[int, int], None]
"""Called with the amount done and the total."""

READING, FOLDING, SEALING = 2, 2, 1
"""Shares of the phases in the time of a batch, by experience."""

WHOLE = READING + FOLDING + SEALING


def nobody(_done: int, _total: int) -> None:
    """Ignore progress."""
