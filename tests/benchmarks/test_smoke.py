"""Every program of the set runs at its smallest size, and prints its figures beside their floors."""

import json
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

from benchmarks.generator import generate
from schemas.codec import Rejection, decode_event

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_set_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "--size", "smoke"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall(r"ratio [0-9.]+", done.stdout)) >= 6
    results = [json.loads(line) for line in (tmp_path / "benchmark-results.jsonl").read_text().splitlines()]
    assert [each["program"] for each in results] == ["scale", "ingest"]
    assert all(each["figures"] and each["machine"] for each in results)


def test_generated_events_are_the_same_for_ever_and_nearly_all_well_formed() -> None:
    events = list(generate(1, 5_000))
    assert events == list(generate(1, 5_000))
    assert events != list(generate(2, 5_000))
    refused = sum(isinstance(decode_event(event), Rejection) for event in events)
    assert 0 < refused < 50
    assert len(list(islice(generate(3, 10), 20))) == 10
