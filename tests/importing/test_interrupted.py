"""An import is ended at any moment, and started again; and 10,000 projects are not held in memory."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.client.index import Index
from tests.client.processes import MIB, run_for_memory, start, until
from tests.importing.sources import Page, real_file, write_mirror


def many(folder: Path, projects: int, files: int) -> Path:
    """A mirror with many projects, every 20th file of which is yanked."""
    pages: dict[str, Page] = {}
    for number in range(projects):
        name = f"project-{number:05d}"
        entries = [
            real_file(f"project_{number:05d}-1.{each}.tar.gz", f"{number} {each}".encode(), yanked=each % 20 == 0)[0]
            for each in range(files)
        ]
        pages[name] = {"meta": {"api-version": "1.1"}, "name": name, "files": entries}
    return write_mirror(folder, pages)


def appended(index: Index) -> int:
    """How many records the log has."""
    path = index.folder / "log/events.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as log:
        return int(log.execute("SELECT count(*) FROM records").fetchone()[0])


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_each_event_is_appended_once(index: Index, tmp_path: Path, number: signal.Signals, answer: int) -> None:
    source = many(tmp_path / "source", 100, 21)
    begun = appended(index)
    with start(tmp_path / "log.txt", "import", "--ledger", index.folder, source) as running:
        until(lambda: appended(index) > begun + 300, running.output)
        running.process.send_signal(number)
        running.wait(answer)
    there = appended(index) - begun
    assert 300 < there < 100 * 23, "it was ended half-way"
    *_, last = index.ask("import", source)
    assert there + last["events"] == 100 * 23
    index.publish()
    assert index.ask_list("rejected", "--all") == []
    assert index.ask("import", source)[-1]["events"] == 0


@pytest.mark.slow
def test_memory_is_bounded(index: Index, tmp_path: Path) -> None:
    source = many(tmp_path / "source", 10_000, 5)
    for events in (10_000 * 6, 0):
        code, said, peak = run_for_memory("import", "--json", "--ledger", index.folder, source)
        assert code == 0, said
        done = json.loads(said.splitlines()[-1])
        assert (done["projects"], done["events"]) == (10_000, events)
        assert peak < 256 * MIB
