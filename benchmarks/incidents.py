"""A worm in a large index: how long the first answers, the report and the plan take.

    deploy/with-env --dev python -m benchmarks.incidents [--events 1000000] [--publications 200] [--touched 200]

Into a ledger with so many events comes a worm: with one credential, it uploads two versions to each of some projects,
within a few publications, and takes names that their owners upload later. Each command is run by a new process, as a
responder does, imports included, on a catalog that is up to date. The baseline is `tuf-ledger log --limit 1` in the
same run: what any question costs.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import orjson

from benchmarks.catalog import publish
from benchmarks.generator import generate, projects_with_files
from benchmarks.ledgers import create
from benchmarks.report import Report
from consumers.context import Context

CREDENTIAL = "worm"
REPETITIONS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--publications", type=int, default=200)
    parser.add_argument("--bins", type=int, default=1_024)
    parser.add_argument("--touched", type=int, default=200, help="how many projects the worm gets into")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = create(Path(folder) / "ledger", options.bins)
        report = Report("incidents", **vars(options), seed=1)
        asyncio.run(_prepare(context, options))
        _ask(report, context, Path(folder))
        report.close()


async def _prepare(context: Context, options: argparse.Namespace) -> None:
    """The ledger, the worm, and the owners whose uploads are rejected."""
    await publish(context, generate(1, options.events), options.events // options.publications)
    names = [f"project-{number}" for number in projects_with_files(1, options.events)[: options.touched]]
    await publish(context, _uploads(names, "worm", CREDENTIAL), max(1, len(names) // 2))
    await publish(context, _uploads(names[::4], "owner", "token-1"), len(names))


def _uploads(names: list[str], content: str, credential: str) -> Iterator[bytes]:
    for name in names:
        for version in ("9001.0", "9002.0"):
            digest = sha256(f"{content} {name} {version}".encode()).hexdigest()
            data = {
                "filename": f"{name.replace('-', '_')}-{version}.tar.gz",
                "version": version,
                "length": 10_000,
                "hashes": {"sha256": digest, "blake2b_256": digest},
            }
            yield orjson.dumps(
                {
                    "specversion": "1.0",
                    "id": f"{content}-{name}-{version}",
                    "source": "https://index.example.org",
                    "type": "file.uploaded.v1",
                    "subject": name,
                    "time": "2030-01-01T00:00:00Z",
                    "actorkind": "user",
                    "actorid": content,
                    "actorcredential": credential,
                    "data": data,
                }
            )


def _ask(report: Report, context: Context, folder: Path) -> None:
    _time(context, "log", "--limit", "1")  # fills the catalog
    floor = [_time(context, "log", "--limit", "1") for _ in range(REPETITIONS)]
    report.add("log --limit 1", floor)
    select = ("--credential", CREDENTIAL)
    _time(context, "incident", "open", "theft", *select)
    for name, *command in (
        ("open --preview", "open", "other", *select, "--preview"),
        ("show", "show", "theft"),
        ("report", "report", "theft", "--json"),
        ("report --html", "report", "theft", "--html", str(folder / "page")),
        ("replay", "replay", "theft"),
        ("plan", "plan", "theft"),
    ):
        seconds = [_time(context, "incident", *command) for _ in range(REPETITIONS)]
        report.add(f"incident {name}", seconds, floor=floor)


def _time(context: Context, *arguments: str) -> float:
    """Seconds that a command takes, in a process of its own."""
    command = [sys.executable, "-m", "consumers.cli.main", *arguments, "--ledger", str(context.folder)]
    started = perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return perf_counter() - started


if __name__ == "__main__":
    os.environ.setdefault("TUF_LEDGER_LOGGING_LEVEL", "error")
    main()
