"""The whole set at a chosen size.

    deploy/with-env --dev python -m benchmarks [--size smoke|small|large|pypi] [--kafka]

Results are printed, and appended as JSON lines to `benchmark-results.jsonl` in the working directory.
"""

import argparse
import subprocess
import sys

SIZES = {
    "smoke": {"events": 2_000, "bins": 64, "files": 100, "rate": 200, "seconds": 3},
    "small": {"events": 100_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 60},
    "large": {"events": 1_000_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 60},
    "pypi": {"events": 10_000_000, "bins": 16_384, "files": 10_000, "rate": 1_000, "seconds": 600},
}


def main() -> int:
    """Run the programs one after the other; the exit code of the first that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--kafka", action="store_true", help="ingest through a real broker (JDK and Maven needed)")
    options = parser.parse_args()
    size = SIZES[options.size]
    ingest = ["--rate", size["rate"], "--seconds", size["seconds"], "--background", size["events"]]
    programs = [
        ["peer_job", "--files", size["files"], "--bins", size["bins"]],
        ["scale", "--events", size["events"], "--bins", size["bins"]],
        ["ingest", *ingest, "--bins", size["bins"], *(["--kafka"] if options.kafka else [])],
    ]
    if options.size != "smoke":
        programs += [["clients"], ["storage"]]
    for name, *arguments in programs:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
        if code := subprocess.run(command, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
