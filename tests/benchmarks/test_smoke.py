"""Every program of the set runs at its smallest size, and prints its figures beside their floors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generator import generate, generate_more, projects_with_files
from schemas.codec import Rejection, decode_event
from tests import unsynced
from tests.broker import BrokerMissingError, fetch_jars, find_java
from tests.client.processes import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
INGEST = ("--background", "500", "--rate", "200", "--seconds", "1")
KAFKA = ("--records", "2000", "--singles", "20", "--repetitions", "1")
VERIFY = ("--events", "500", "--bins", "64", "--publications", "40")
SERVING = ("--background", "500", "--burst", "200", "--bins", "16", "--seconds", "1")
GROWTH = ("--touched", "8", "--repetitions", "2")


@pytest.mark.slow
def test_the_set_runs(tmp_path: Path) -> None:
    output, programs = _run(tmp_path, "benchmarks", "--size", "smoke")
    assert programs == ["scale", "growth", "facts", "catalog", "incidents", "importing", "copying", "ingest"]
    assert len(re.findall(r"ratio [0-9.]+", output)) >= 9
    assert re.search(r"^memory of the signer .*3/4 \d+ MiB", output, re.MULTILINE)


def test_many_small_publications_are_verified_beside_the_floor(tmp_path: Path) -> None:
    output, programs = _run(tmp_path, "benchmarks.verify", *VERIFY)
    assert programs == ["verify"]
    assert re.search(r"ratio [0-9.]+", output)
    assert re.search(r"^memory of the command .*memory \d+ MiB, skipping \d+ MiB", output, re.MULTILINE)


def test_an_import_is_measured_beside_its_floor(tmp_path: Path) -> None:
    output, programs = _run(tmp_path, "benchmarks.importing", "--projects", "20", "--files", "3")
    assert programs == ["importing"]
    assert re.search(r"^import everything .* ratio [0-9.]+, .* files a second", output, re.MULTILINE)


@pytest.mark.deploy
def test_a_gateway_is_read_beside_publications(tmp_path: Path, deployed: Callable[[str], str]) -> None:
    deployed("wrk")
    deployed("nginx")
    output, programs = _run(tmp_path, "benchmarks.serving", *SERVING)
    assert programs == ["serving"]
    for name in ("the gateway, alone", "the gateway, beside", "nginx, alone", "nginx, beside", "the gateway, in"):
        assert re.search(rf"^{name}.* requests a second [0-9,]+, .* errors 0", output, re.MULTILINE)


@pytest.mark.kafka
def test_the_set_runs_with_a_broker(tmp_path: Path) -> None:
    try:
        find_java()
        fetch_jars()
    except BrokerMissingError as error:
        if os.environ.get("TUF_LEDGER_REQUIRE_KAFKA") == "1":
            raise
        pytest.skip(f"NOT TESTED AGAINST KAFKA: {error}")
    output, programs = _run(tmp_path, "benchmarks.kafka", *KAFKA)
    assert programs == ["kafka"]
    assert len(re.findall(r"ratio [0-9.]+", output)) >= 10
    output, programs = _run(tmp_path, "benchmarks.ingest", *INGEST, "--bins", "64", "--kafka")
    assert programs == ["kafka", "ingest"]
    assert "log Apache Kafka" in output


def test_a_ledger_can_be_measured_again_and_goes_on_with_new_events(tmp_path: Path) -> None:
    ledger = ("--ledger", "made")
    _run(tmp_path, "benchmarks.generate", "made", "--events", "500", "--bins", "64")
    output, _ = _run(tmp_path, "benchmarks.scale", *ledger, "--events", "500", "--steps", "publish,verify")
    assert "publish everything" in output
    assert "rebuild" not in output
    for _ in range(2):
        _run(tmp_path, "benchmarks.ingest", *ledger, *INGEST)
    _run(tmp_path, "benchmarks.growth", *ledger, "--background", "500", "--bins", "16", *GROWTH)
    rejected, _ = _run(tmp_path, "consumers.cli.main", "rejected", *ledger)
    accepted = len(list(generate(1, 500))) + 2 * 200
    assert len(rejected.splitlines()) < accepted // 50


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--ledger", "made", "--kafka"), "--ledger has its log in SQLite"),
        (("--ledger", "made", "--background", "999"), "was not generated with 999 events"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_refused(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    _run(tmp_path, "benchmarks.generate", "made", "--events", "100", "--bins", "16")
    assert why in _run(tmp_path, "benchmarks.ingest", *arguments, fails=True)[0]


def _run(folder: Path, module: str, *arguments: str, fails: bool = False) -> tuple[str, list[str]]:
    """What a program printed, and the programs whose results are in the folder."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": unsynced.path()},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    results = folder / "benchmark-results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    assert all(each["figures"] and each["machine"] for each in lines)
    return done.stdout + done.stderr, [each["program"] for each in lines]


def test_events_that_go_on_are_about_the_same_projects_and_new() -> None:
    before = [json.loads(event) for event in generate(1, 2_000)]
    more = [json.loads(event) for event in generate_more(1, 2_000, 2_002, 2_000)]
    assert len(more) == 2_000
    assert not {_file(event) for event in more} & {_file(event) for event in before} - {None}
    known = {event["subject"] for event in before if _file(event)}
    assert {f"project-{number}" for number in projects_with_files(1, 2_000)} <= known
    assert len([event for event in more if _file(event) and event["subject"] in known]) > 1_500


def _file(event: dict[str, Any]) -> str | None:
    """The name of the file that an event uploads."""
    return event["data"]["filename"] if event["type"] == "file.uploaded.v1" and "data" in event else None


def test_generated_events_are_the_same_for_ever_and_nearly_all_well_formed() -> None:
    events = list(generate(1, 5_000))
    assert events == list(generate(1, 5_000))
    assert events != list(generate(2, 5_000))
    refused = sum(isinstance(decode_event(event), Rejection) for event in events)
    assert 0 < refused < 50
    assert len(list(islice(generate(3, 10), 20))) == 10
