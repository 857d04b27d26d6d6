"""docs/upgrade.md: a ledger that earlier code made is opened, rebuilt, verified and continued by today's."""

import json
import re
import shutil
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.clock import SystemClock
from tests.client.index import FakeClock, Index, invoke, tree
from tests.client.manual import Manual
from tests.client.processes import execute, start

FOLDER = Path(__file__).parent
KEPT = sorted(FOLDER.glob("ledger-*.tar.xz"))


@pytest.fixture(params=KEPT, ids=[path.name.partition(".")[0] for path in KEPT])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    """The ledger, unpacked."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return Index(tmp_path / "ledger")


def set_format(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement).rowcount == 1


def test_the_fixture_is_small() -> None:
    assert KEPT
    assert all(path.stat().st_size < 2**20 for path in KEPT)


def test_its_logs_give_what_was_served_byte_for_byte(kept: Index, tmp_path: Path) -> None:
    log = f"sqlite:{kept.folder / 'log'}"
    invoke("rebuild", "--log", log, "--to", tmp_path / "rebuilt", "--all-versions", "--files", kept.public)
    pending = re.compile(r"[/.]eta-1\.0-")  # its event waits for a publication
    served = {path: digest for path, digest in tree(kept.public).items() if not pending.search(path)}
    assert tree(tmp_path / "rebuilt") == served
    root = kept.public / "metadata/1.root.json"
    assert "not anchored" not in kept.verify("--root", root, "--files")


@pytest.mark.parametrize("years", [0, 5])
def test_it_goes_on(kept: Index, years: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when all that was signed has expired long ago."""
    clock = kept.clock = FakeClock(datetime.now(UTC) + years * timedelta(days=365))
    monkeypatch.setattr(SystemClock, "now", lambda _: clock.now())
    before = kept.info()
    assert before["consumers"]["signer"]["lag_events"] == 1
    rejected = kept.ask_list("rejected")
    kept.publish("--clock-checked")  # it may be long ago
    kept.run("ceremony", "--renew")
    kept.upload("theta")
    kept.run("yank", "zeta==1.0", "--reason", "old")
    seen = kept.publish_and_check(others=["notes/note.txt"])
    assert {"alpha", "eta", "theta", "zeta"} <= set(seen.projects)
    assert seen.yanked()
    kept.verify("--root", kept.public / "metadata/1.root.json")
    assert kept.ask_list("rejected")[: len(rejected)] == rejected
    assert kept.info()["ledger"] == before["ledger"]


@pytest.mark.slow
def test_its_consumers_and_its_catalog_go_on(kept: Index, tmp_path: Path) -> None:
    """With the states that were kept, not with new ones."""
    before = {name: each["publication"] for name, each in kept.info()["consumers"].items()}
    assert len(before) == 3
    number = kept.publish("--clock-checked")
    if "has format" in kept.run("log", "alpha", answer=None):
        kept.run("catalog", "rebuild")  # as the page says
    with start(tmp_path / "out", "run", "publisher", "verifier", "catalog", "--ledger", kept.folder) as running:
        for consumer in ("publisher", "verifier"):
            running.wait_for("publication applied", consumer=consumer, publication=number)
            assert not [each for each in running.events() if each.get("consumer") == consumer and "rebuil" in str(each)]
        running.stop()
    kept.run("catalog check", "--full")
    kept.run("log", "alpha")
    kept.run("incident show", "theft")


def test_the_page_word_for_word(kept: Index, tmp_path: Path) -> None:
    kept.folder.rename(tmp_path / "my-index")
    variables = {"TUF_LEDGER_SIGNER_CLOCK_DAYS": "36500"}  # it may be long ago
    manual = Manual("In which order", tmp_path, variables, page="upgrade.md")
    (step,) = manual.steps
    assert "signed as the offline roles require" in manual.follow(step)


def test_states_of_another_format_are_made_anew(kept: Index) -> None:
    """By the next start of their consumers; whoever only reads them says so."""
    for path in (kept.folder / "state").glob("*.sqlite"):
        if path.name != "catalog.sqlite":
            set_format(path, "UPDATE format SET number = 1")
    said = kept.run("status", "alpha", answer=2)
    assert "verifier.sqlite has another format: start its consumer to rebuild the state" in said
    for path in (kept.folder / "state").glob("verifier.*"):  # it does not run here
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept.publish("--clock-checked")
    kept.run("ceremony", "--renew")
    seen = kept.check(others=["notes/note.txt"], live=True)
    assert kept.info()["consumers"]["signer"]["publication"] == seen.number


def test_a_catalog_of_another_format_names_the_way_on(kept: Index) -> None:
    set_format(
        kept.folder / "state/catalog.sqlite", "UPDATE position SET value = CAST('1' AS BLOB) WHERE name = 'format'"
    )
    said = kept.run("log", "alpha", answer=2)
    assert "has format 1, and this program writes " in said
    assert execute("run", "--ledger", kept.folder, answer=2).stderr.count("has format 1") == 1
    assert "tuf-ledger catalog rebuild" in said
    kept.run("catalog", "rebuild")
    assert json.loads(kept.run("catalog", "check", "--full", "--json"))["ok"] is True
    kept.run("log", "alpha")
