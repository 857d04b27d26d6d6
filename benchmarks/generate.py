"""Make a ledger with a log of any size, written at full speed.

    deploy/with-env python -m benchmarks.generate DIR --events 1000000 [--bins 16384] [--seed 1] [--log URL]
    deploy/with-env python -m benchmarks.generate --records 1000 > events.ndjson

The second form writes records to standard output, a line each, for `tuf-ledger append`.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from benchmarks.generator import generate
from benchmarks.ledgers import create, fill


def main() -> None:
    """Generate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", nargs="?", type=Path, help="the folder of the ledger to make")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--bins", type=int, default=16_384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", default="sqlite:log")
    options = parser.parse_args()
    if options.records:
        for record in generate(options.seed, options.records):
            sys.stdout.buffer.write(record + b"\n")
        return
    if options.ledger is None:
        parser.error("name the folder of the ledger to make, or --records")
    context = create(options.ledger, options.bins, options.log)
    seconds = asyncio.run(fill(context, generate(options.seed, options.events), options.events))
    print(f"{options.events:,} events appended in {seconds:.1f} s: {options.events / seconds:,.0f} a second")


if __name__ == "__main__":
    main()
