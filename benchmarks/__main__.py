"""The whole set at a chosen size.

    deploy/with-env --dev python -m benchmarks [--size smoke|small|large|pypi] [--kafka]

From `small` on, Debian's package `wrk` is needed.

Results are printed, and appended as JSON lines to `benchmark-results.jsonl` in the working directory.
"""

import argparse
import subprocess
import sys
from typing import Any

SIZES = {
    "smoke": {"events": 2_000, "bins": 64, "files": 100, "rate": 200, "seconds": 3, "sweep": 1},
    "small": {"events": 100_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 60, "sweep": 20},
    "large": {"events": 1_000_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 60, "sweep": 20},
    "pypi": {"events": 10_000_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 600, "sweep": 120},
}
GROWTH = {
    "smoke": ["--events", 500, "--bins", 16, "--times", 4, "--touched", 8, "--repetitions", 3],
    "small": ["--times", 4],
    "large": ["--times", 16],
    "pypi": ["--bins", 128, "--times", 128],
}
SMOKE_KAFKA = ["--records", 2_000, "--singles", 20, "--repetitions", 1]


def main() -> int:
    """Run the programs one after the other; the exit code of the first that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--kafka", action="store_true", help="with a real broker (JDK and Maven needed)")
    options = parser.parse_args()
    size = SIZES[options.size]
    ingest = ["--rate", size["rate"], "--seconds", size["seconds"], "--background", size["events"]]
    ingest += ["--bins", size["bins"], "--sweep", size["sweep"]]
    programs: list[list[Any]] = [
        ["peer_job", "--files", size["files"], "--bins", size["bins"]],
        ["scale", "--events", size["events"], "--bins", size["bins"]],
        ["growth", *GROWTH[options.size]],
        ["facts", "--events", min(size["events"], 1_000_000), "--bins", size["bins"]],
        ["catalog", "--events", min(size["events"], 1_000_000), "--seconds", min(size["seconds"], 30)],
        ["incidents", "--events", min(size["events"], 1_000_000), "--touched", min(200, size["events"] // 100)],
        ["importing", "--projects", size["files"] // 10, "--files", 20],
        ["copying", "--events", min(size["events"], 1_000_000), *(["--kafka"] if options.kafka else [])],
        ["ingest", *ingest, *(["--kafka"] if options.kafka else [])],
    ]
    if options.kafka:
        programs += [["kafka", *(SMOKE_KAFKA if options.size == "smoke" else [])]]
    if options.size != "smoke":
        programs += [["clients"], ["storage"], ["serving"]]
    for name, *arguments in programs:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
        if code := subprocess.run(command, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
