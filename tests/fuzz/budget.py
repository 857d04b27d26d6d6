"""How much to run: `TUF_LEDGER_FUZZ` multiplies, `TUF_LEDGER_FUZZ_FIRST` is the first seed."""

import os

TIMES = float(os.environ.get("TUF_LEDGER_FUZZ", "1"))
FIRST = int(os.environ.get("TUF_LEDGER_FUZZ_FIRST", "0"))


def seeds(count: int) -> range:
    """The seeds of a test that runs so many by default."""
    return range(FIRST, FIRST + examples(count))


def examples(count: int) -> int:
    """So many, times the factor."""
    return max(1, int(count * TIMES))
