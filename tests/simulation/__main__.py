"""`python -m tests.simulation --seeds N [--first SEED] [--sample COUNT]`: a longer campaign than tests have time for.

Each family of trouble runs the scenarios of so many seeds, with all of their faults or a sample of COUNT of them.
Ends with 1 at the first violation: its last lines say which run it was.
"""

import argparse
import logging
import sys
import traceback

import structlog

from tests.simulation.counting import Tally, table
from tests.simulation.enumeration import ONE_SIGNER, TWO_SIGNERS, explore


def main(arguments: list[str]) -> int:
    """Run a campaign; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many scenarios each family runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--sample", type=int, help="how many faults of each scenario; default: all")
    chosen = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tallies: dict[str, Tally] = {}
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        for family in (*ONE_SIGNER.values(), *TWO_SIGNERS.values()):
            try:
                tally = explore(family, seed, count=chosen.sample)
            except Exception:  # noqa: BLE001  # whatever it was, the campaign is over
                traceback.print_exc()
                return 1
            tallies.setdefault(family.name, Tally()).add(tally)
            print(f"seed {seed}: {tally.runs:,} runs: {family.name}", flush=True)
    print("\n".join(table(tallies)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
