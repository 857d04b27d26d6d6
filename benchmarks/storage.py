"""A flat folder of many files: TUF's URLs put every version of every bin beside each other.

    deploy/with-env python -m benchmarks.storage [--entries 1000000]

Placing and reading a thousand files in a folder that has so many, beside the same in an empty one, and listing it.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import track

from benchmarks.report import Report
from ledger.disk.tree import NewTree
from ledger.storage.directory import DirectoryStorage

FILES = 1_000
DATA = b"x" * 10_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    report = Report("storage", entries=options.entries, files=FILES, bytes=len(DATA))
    folder = Path(tempfile.mkdtemp(prefix="tuf-ledger-benchmark-"))
    try:
        empty = _measure(folder / "empty", 1)
        tree = NewTree(folder / "full")
        for number in track(range(options.entries), "filling a folder", console=Console(stderr=True), transient=True):
            tree.put(f"metadata/{number >> 14}.bin-{number & 0x3FFF:04x}.json", b"")
        full = _measure(folder / "full", 10**6)
        for name, at in (("place", 0), ("read and hash", 1)):
            report.add(f"{name} {FILES:,} files", [full[at]], floor=empty[at], per=FILES, unit="files")
        started = perf_counter()
        count = sum(1 for _ in DirectoryStorage(folder / "full", folder / "staging").paths())
        report.add("list the folder", [perf_counter() - started], per=count, unit="files")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.close()


def _measure(folder: Path, version: int) -> tuple[float, float]:
    """Seconds to place, and to read, a thousand files."""
    storage = DirectoryStorage(folder, folder.with_name("staging"))
    paths = [f"metadata/{version}.bin-{number:04x}.json" for number in range(FILES)]
    os.sync()
    started = perf_counter()
    for path in paths:
        storage.put(path, DATA)
    storage.place()
    placed = perf_counter()
    for path in paths:
        storage.digest(path)
    return placed - started, perf_counter() - placed


if __name__ == "__main__":
    main()
