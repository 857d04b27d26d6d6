"""docs/extending.md: its program runs as it stands there, and counts once whatever happens to it."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.client.index import Index
from tests.client.processes import PATIENCE_SECONDS, environment, until

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


def test_the_example_counts_uploads(index: Index, tmp_path: Path) -> None:
    """Killed and started again, told to stop, and started from nothing."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    code = text[text.index("class UploadsPerDay") :]
    assert len(code.splitlines()) <= MOST_LINES
    program, database = tmp_path / "uploads_per_day.py", tmp_path / "days.sqlite"
    program.write_text(text, encoding="utf-8")
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
    anew = tmp_path / "anew.sqlite"
    (index.folder / "state/uploads-per-day.sqlite").unlink()
    with counting(program, index, anew, uploads + 1):
        pass
    with closing(sqlite3.connect(anew)) as first, closing(sqlite3.connect(database)) as second:
        assert [*first.execute("SELECT * FROM days")] == [*second.execute("SELECT * FROM days")]
