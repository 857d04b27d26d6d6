"""A ledger moves: `copy-log` from SQLite to SQLite, and to a real broker and back.

    deploy/with-env --dev python -m benchmarks.copying [--events 1000000] [--kafka]

Each copy is made by a new process, imports included, and made again: then everything is compared, and nothing was
missing. The floor, in the same run, is one thread that reads every record, appends it to another file in transactions
of the same size, reads it back and compares, and hashes its leaf (RFC 6962), without a log's locks and settings. That
of the second time is to read and compare alone.
"""

import argparse
import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from benchmarks.generator import generate
from benchmarks.ledgers import create, fill
from benchmarks.report import Report
from tests.broker import running_broker

BATCH = 8192
REPETITIONS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kafka", action="store_true", help="with a real broker (JDK and Maven needed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = create(folder / "ledger", 16)
        asyncio.run(fill(context, generate(1, options.events), options.events))
        log = folder / "ledger/log"
        report = Report("copying", **vars(options), bytes=(log / "events.sqlite").stat().st_size)
        _between_files(report, log, folder, options.events)
        if options.kafka:
            with running_broker(()) as broker:
                _over_a_broker(report, log, folder, broker.bootstrap_servers, options.events)
        report.close()


def _between_files(report: Report, log: Path, folder: Path, events: int) -> None:
    floors, copied, again = [], [], []
    for number in range(REPETITIONS):
        floors.append(_floor(log / "events.sqlite", folder / f"floor-{number}"))
        copied.append(_copy(f"sqlite:{log}", f"sqlite:{folder / f'copy-{number}'}"))
        again.append(_copy(f"sqlite:{log}", f"sqlite:{folder / f'copy-{number}'}"))
    report.add("SQLite to SQLite", copied, floor=[first for first, _ in floors], per=events, unit="events")
    report.add("compared again", again, floor=[second for _, second in floors], per=events, unit="events")


def _over_a_broker(report: Report, log: Path, folder: Path, servers: str, events: int) -> None:
    there, back = [], []
    for number in range(REPETITIONS):
        url = f"kafka://{servers}/copy-{number}"
        there.append(_copy(f"sqlite:{log}", url, "--replication-factor", "1"))
        back.append(_copy(url, f"sqlite:{folder / f'back-{number}'}"))
    report.add("SQLite to Kafka", there, per=events, unit="events")
    report.add("Kafka to SQLite", back, per=events, unit="events")


def _copy(*arguments: str) -> float:
    """Seconds that the command takes, in a process of its own."""
    command = [sys.executable, "-m", "consumers.cli.main", "copy-log", *arguments]
    os.sync()
    started = perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return perf_counter() - started


def _floor(log: Path, target: Path) -> tuple[float, float]:
    """Seconds of one thread that copies, compares and hashes; and of one that compares and hashes a copy."""
    os.sync()
    started = perf_counter()
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("CREATE TABLE records (idx INTEGER PRIMARY KEY, value BLOB)")
        for batch in _batches(log):
            copy.execute("BEGIN")
            copy.executemany("INSERT INTO records VALUES (?, ?)", batch)
            copy.execute("COMMIT")
    middle = perf_counter()
    for ours, theirs in zip(_batches(target), _batches(log), strict=True):
        assert ours == theirs
        for _, value in ours:
            sha256(b"\0" + value).digest()
    compared = perf_counter() - middle
    return perf_counter() - started, compared


def _batches(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    with closing(sqlite3.connect(path)) as log:
        rows = log.execute("SELECT idx, value FROM records ORDER BY idx")
        while batch := rows.fetchmany(BATCH):
            yield batch


if __name__ == "__main__":
    os.environ.setdefault("TUF_LEDGER_LOGGING_LEVEL", "error")
    main()
