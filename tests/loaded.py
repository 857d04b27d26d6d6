"""`python -m tests.loaded [PYTEST ARGUMENT…]`: the quick tests beside 30 processes that compute without end.

No test waits for a time: each waits for what must happen, and gives up only on what is dead. So all of them pass here,
too, however long it takes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.__main__ import run_tests, side_by_side

BUSY = 30
_SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""It ends with whoever started it, however that ends."""


@contextmanager
def load(count: int) -> Iterator[None]:
    """So many busy processes, for as long as the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def main(arguments: list[str]) -> int:
    """Run the tests; pytest's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    with load(BUSY):
        print(f"beside {BUSY} busy processes on {os.cpu_count()} cores", flush=True)
        return run_tests([*side_by_side(), *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
