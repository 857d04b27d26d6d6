"""An index imported: from a mirror's folder, so that no server is measured; and imported again.

    deploy/with-env --dev python -m benchmarks.importing [--projects 10000] [--files 20]

The floor is to read and decode the same pages, and to append the same records, those of a project at a time. The
command runs as a process of its own, so its figures hold start-up. It is run again before anything is published, when
it reads what it appended from the log, and after that, when a state has it.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
from itertools import groupby
from pathlib import Path
from time import perf_counter

import msgspec
import orjson

from benchmarks.report import Report
from benchmarks.scale import run_command
from consumers.context import Context
from ledger.logs.sqlite import SqliteLog

YANKED = 20
"""One file in so many is yanked."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=20, help="of each project")
    options = parser.parse_args()
    report = Report("importing", projects=options.projects, files=options.files)
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-benchmark-") as name:
        folder = Path(name)
        source, ledger = folder / "source", folder / "ledger"
        write_pages(source, options.projects, options.files)
        run_command("init", ledger, "--importing", "--origin", "packages.example.org")
        count = options.projects * options.files
        words = ("import", "--ledger", ledger, source)
        seconds, memory = run_command(*words)
        floor = asyncio.run(_floor(Context(ledger), source, folder))
        report.add("import everything", [seconds], floor=floor, per=count, unit="files", memory=memory)
        seconds, memory = run_command(*words)
        report.add("again, nothing published yet", [seconds], per=count, unit="files", memory=memory)
        run_command("publish", "--ledger", ledger)
        seconds, memory = run_command(*words)
        report.add("again, everything published", [seconds], per=count, unit="files", memory=memory)
    report.close()


def write_pages(folder: Path, projects: int, files: int) -> None:
    """Write a mirror's pages: every file has all that a page can say, but provenance."""
    names = [f"project-{number:06d}" for number in range(projects)]
    for name in names:
        place = folder / "simple" / name
        place.mkdir(parents=True)
        entries = [_entry(f"{name.replace('-', '_')}-1.{number}-py3-none-any.whl", number) for number in range(files)]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": entries}
        (place / "index.v1_json").write_bytes(orjson.dumps(page))
    listed = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}
    (folder / "simple/index.v1_json").write_text(json.dumps(listed), encoding="utf-8")


def _entry(filename: str, number: int) -> dict[str, object]:
    blake2b = hashlib.blake2b(filename.encode(), digest_size=32).hexdigest()
    sha256 = hashlib.sha256(filename.encode()).hexdigest()
    return {
        "filename": filename,
        "url": f"https://files.example.org/packages/{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{filename}",
        "hashes": {"sha256": sha256},
        "size": 10_000 + number,
        "upload-time": f"2020-01-01T00:00:00.{number:06d}Z",
        "requires-python": ">=3.8",
        "yanked": number % YANKED == 0,
        "core-metadata": {"sha256": sha256},
    }


async def _floor(context: Context, source: Path, scratch: Path) -> float:
    """The seconds that reading the pages and appending the records takes."""
    log, copy = context.logs().events, SqliteLog(scratch / "floor.sqlite")
    records: list[bytes] = []
    await log.open()
    try:
        while values := await log.read(len(records)):
            records += [value or b"" for value in values]
    finally:
        await log.close()
    subjects = ((msgspec.json.decode(value)["subject"], value) for value in records)
    batches = [[value for _, value in some] for _, some in groupby(subjects, key=lambda each: each[0])]
    await copy.create()
    try:
        started = perf_counter()
        for page in sorted(source.rglob("index.v1_json")):
            orjson.loads(page.read_bytes())
        for batch in batches:
            await copy.append(batch)
        return perf_counter() - started
    finally:
        await copy.close()


if __name__ == "__main__":
    main()
