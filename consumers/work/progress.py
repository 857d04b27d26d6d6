"""How far a long batch has come."""

from collections.abc import Callable

Report = Callable[[int, int], None]
"""Is told how much is done, of how much."""

READING, FOLDING, SEALING = 2, 2, 1
"""What the phases of a batch take of its time, by experience."""

WHOLE = READING + FOLDING + SEALING


def nobody(_done: int, _total: int) -> None:
    """Nobody is told."""
