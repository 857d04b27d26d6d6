"""What is logged, and how: files get no colours, lines name their consumer, and only long batches are mentioned."""

import json
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from consumers.service import opening
from tests.client.index import Index
from tests.client.processes import execute, start


def test_a_file_gets_no_colours(index: Index) -> None:
    done = execute("publish", "--ledger", index.folder, "--renew", env={"TUF_LEDGER_LOGGING_FORMAT": "console"})
    assert "served is a folder of this machine" in done.stderr
    assert "\x1b" not in done.stderr


def test_lines_name_their_consumer(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("signer started")
        running.wait_for("publication applied", consumer="verifier")
        running.wait_for("catalog started")
    said = [json.loads(line) for line in running.output().splitlines()]
    started = {each["consumer"] for each in said if each["message"].endswith(" started")}
    assert started == {"catalog", "signer", "verifier"}


def test_only_long_batches_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    now = 0.0
    monkeypatch.setattr(opening, "monotonic", lambda: now)
    progress = opening._LoggedProgress()
    with capture_logs() as logs:
        for _ in range(3):  # short batches, long after the service has started
            now += 100
            for done in range(0, 11, 5):
                progress(done, 10)
        assert logs == []
        progress(1, 10)
        now += opening.PROGRESS_SECONDS
        progress(5, 10)
    assert [(each["event"], each["percent"]) for each in logs] == [("long batch in progress", 50)]
