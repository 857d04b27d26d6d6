"""docs/extending.md: its program runs as it stands there, and counts once whatever happens to it."""

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.follow.observing import PublicationTold
from consumers.limits import LIMITS
from consumers.service.run import CONSUMERS, observe
from ledger.config import ConfigError
from tests.client.index import Index
from tests.client.processes import PATIENCE_SECONDS, environment, until
from tests.fuzz.told import ToldView

DOCUMENT = Path(__file__).parents[2] / "docs/extending.md"
MOST_LINES = 40


@contextmanager
def counting(program: Path, index: Index, database: Path, uploads: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, which has counted so many uploads. It is killed at the end if it still runs."""
    command = [sys.executable, str(program), str(index.folder), str(database)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as running:
        try:
            until(lambda: counted(database) == uploads or None, lambda: f"{uploads} uploads, not {counted(database)}")
            yield running
        finally:
            running.kill()


def counted(database: Path) -> int:
    """How many uploads are counted."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            ((count,),) = connection.execute("SELECT coalesce(sum(uploads), 0) FROM days")
    except sqlite3.OperationalError:
        return 0
    return int(count)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program, as it stands in the document."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    code = text[text.index("class UploadsPerDay") :]
    assert len(code.splitlines()) <= MOST_LINES
    path = tmp_path / "uploads_per_day.py"
    path.write_text(text, encoding="utf-8")
    return path


def refused(program: Path, folder: Path, database: Path) -> str:
    """What the program says when a person is needed: one line, and exit code 2."""
    done = subprocess.run(
        [sys.executable, str(program), str(folder), str(database)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_example_counts_uploads(index: Index, program: Path, tmp_path: Path) -> None:
    """Killed and started again, told to stop, and started from nothing."""
    database = tmp_path / "days.sqlite"
    uploads = 0
    for _ in range(3):
        for name in ("one", "two"):
            uploads += 1
            index.upload(name, f"{uploads}.0")
        index.publish()
        with counting(program, index, database, uploads):
            pass
    with counting(program, index, database, uploads) as running:
        index.upload("three")
        index.publish()
        until(lambda: counted(database) == uploads + 1 or None, lambda: f"{counted(database)} uploads")
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=PATIENCE_SECONDS)
        assert running.returncode == 0, errors.decode()
        assert b"Traceback" not in errors
    anew, state = tmp_path / "anew.sqlite", index.folder / "state/uploads-per-day.sqlite"
    assert f"Delete {state}:" in refused(program, index.folder, anew)
    assert "`tuf-ledger init` creates one" in refused(program, tmp_path / "nowhere", tmp_path / "none.sqlite")
    state.unlink()
    with counting(program, index, anew, uploads + 1):
        pass
    with closing(sqlite3.connect(anew)) as first, closing(sqlite3.connect(database)) as second:
        assert [*first.execute("SELECT * FROM days")] == [*second.execute("SELECT * FROM days")]


class Stopping(ToldView):
    """Stops its process, as Ctrl-C does, once it was told a number; remembers how many it was told with each."""

    stops_at = 0

    def __init__(self) -> None:
        super().__init__()
        self.skipped: list[int] = []

    async def tell(self, publication: PublicationTold) -> None:
        await super().tell(publication)
        self.skipped.append(publication.skipped)
        if publication.number >= self.stops_at:
            signal.raise_signal(signal.SIGINT)


def test_one_far_behind_is_told_many_as_one_also_without_its_state(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run ends at what it keeps. That is not the last one."""
    monkeypatch.setattr(Context, "limits", LIMITS._replace(skip_from=2))
    told = Stopping()
    numbers = []
    for number in range(6):
        index.upload("one", f"{number}.0")
        numbers.append(index.publish())
    told.stops_at = numbers[2]
    asyncio.run(observe(index.context, "observer", told))
    (index.folder / "state/observer.sqlite").unlink()
    told.skipped.clear()
    told.stops_at = numbers[-1]
    asyncio.run(observe(index.context, "observer", told, skips=True))
    assert told.skipped == [2]


@pytest.mark.parametrize("name", [*CONSUMERS, "", "a/b", "../a", ".hidden"])
def test_an_observer_has_a_name_of_its_own(index: Index, name: str) -> None:
    """Else a consumer would find a state that only folds, and commands would take it for that consumer's."""
    before = sorted(index.folder.rglob("*"))
    with pytest.raises(ConfigError, match=re.escape(repr(name))):
        asyncio.run(observe(index.context, name, Stopping()))
    assert sorted(index.folder.rglob("*")) == before
