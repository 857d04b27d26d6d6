"""A stolen online key and write access to `publications`, used without any lie: the way back must stay open.

What diverges is in `test_halts`; these records are valid, reproduce, and are meant to leave no room for the next one.
"""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.clock import from_instant
from projections.publications import MAX_GAP
from tests.client.attacker import Attacker
from tests.client.index import FakeClock, Index, invoke
from tests.factory import Make
from tests.golden.records import read

LAST_NUMBER = 2**53


@pytest.fixture
def filled(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger with two publications, and an upload that is not published yet."""
    index = Index.create(tmp_path / "index", clock=clock)
    index.upload("one")
    index.publish_and_check()
    index.upload("two")
    return index


def recover(index: Index) -> None:
    """Replace the stolen key; the upload must become visible."""
    index.run("ceremony", "--replace-online")
    index.upload("three")
    assert list(index.publish_and_check().projects) == ["one", "three", "two"]


def publish_elsewhere(index: Index, target: Path) -> None:
    """The attacker's own signer, on the same log."""
    shutil.copytree(index.folder, target, ignore=shutil.ignore_patterns("public", "log"))
    invoke("publish", "--ledger", target, "--log", f"sqlite:{index.folder / 'log'}", "--clock-checked", "--renew")


def test_a_publication_by_the_thief_that_follows_the_rules(filled: Index, tmp_path: Path) -> None:
    publish_elsewhere(filled, tmp_path / "elsewhere")
    recover(filled)


def test_the_index_credential_leaves_its_name_on_the_log(filled: Index) -> None:
    """Yanking is all that this thief wants: clients see it, and everybody sees with which credential it was done."""
    stolen = Make().having(actorid="account-7", actorcredential="token-7")
    yank = stolen.release_yanked("one", reason="do not use")
    filled.append(yank)
    filled.publish_and_check()
    (entry,) = json.loads((filled.public / "targets/simple/one/index.json").read_bytes())["files"]
    assert entry["yanked"] == "do not use"
    filled.append(stolen.release_unyanked("one"))
    filled.publish_and_check()
    values = [json.loads(value) for value in read(filled.folder / "log/events.sqlite") if value is not None]
    by_thief = [value["type"] for value in values if value.get("actorcredential") == "token-7"]
    assert by_thief == ["release.yanked.v1", "release.unyanked.v1"], "what was undone is still there"
    (entry,) = json.loads((filled.public / "targets/simple/one/index.json").read_bytes())["files"]
    assert entry["yanked"] is False


def test_claims_that_are_never_completed(filled: Index) -> None:
    attacker = Attacker(filled)
    for number in range(10, 20):
        attacker.claim(number=number)
    assert list(filled.publish_and_check().projects) == ["one", "two"]
    recover(filled)


def test_a_claim_of_the_last_number(filled: Index) -> None:
    Attacker(filled).claim(number=LAST_NUMBER)
    recover(filled)


def test_a_publication_of_the_last_number(filled: Index, tmp_path: Path) -> None:
    """The attacker's own signer takes it, or as many as it may at a time."""
    shutil.copytree(filled.folder, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("log"))
    log = ("--log", f"sqlite:{filled.folder / 'log'}")
    resumed = tmp_path / "elsewhere/state/resumed-above"
    resumed.write_text(f"{LAST_NUMBER - 1}")
    invoke("publish", "--ledger", tmp_path / "elsewhere", *log, answer=2)
    resumed.write_text(f"{MAX_GAP + 1}")
    invoke("publish", "--ledger", tmp_path / "elsewhere", *log)
    recover(filled)


def test_a_signer_without_a_number_left_does_not_fill_the_log(filled: Index) -> None:
    (filled.folder / "state/resumed-above").write_text(f"{LAST_NUMBER - 1}")
    before = filled.info()["sizes"]["publications"]
    for _ in range(3):
        assert "is the highest valid number" in filled.run("publish", answer=2)
    assert filled.info()["sizes"]["publications"] == before
    filled.run("resume", "--above", LAST_NUMBER - 1, answer=1)
    filled.run("resume", "--above", filled.check().number)
    filled.publish_and_check()


def test_a_claim_from_the_future(filled: Index) -> None:
    Attacker(filled).claim(time="2999-12-31T23:59:59Z")
    filled.publish()
    recover(filled)


def test_a_publication_from_the_future(filled: Index, clock: FakeClock, tmp_path: Path) -> None:
    """Clients have seen it, and expect nothing new for eight hundred years."""
    clock.advance(days=300_000)
    publish_elsewhere(filled, tmp_path / "elsewhere")
    clock.advance(days=-300_000)
    new_time = ("ceremony", "--replace-online", "--time-from")
    assert "in force already" in filled.run(*new_time, "now", answer=2), "it is that of the first root"
    assert "needs --replace-online" in filled.run("ceremony", "--rotate-online", "--time-from", "now", answer=2)
    assert "give `now`" in filled.run(*new_time, "yesterday", answer=2)
    assert "give `now`" in filled.run(*new_time, "2031-02-30T00:00:00Z", answer=2)
    for far in ("2030-12-30T23:59:59Z", "2031-01-02T00:00:01Z"):
        assert "more than a day" in filled.run(*new_time, far, answer=2)
    assert len(list((filled.folder / "keys/online").iterdir())) == 1, "no key was made for nothing"
    clock.advance(minutes=1)
    assert "starts a new time" in filled.run("publish", answer=2)
    seen = filled.check()
    assert list(seen.projects) == ["one", "two"]
    filled.upload("three")
    filled.run("ceremony", "--replace-online", "--time-from", "now")
    filled.upload("four")
    after = filled.publish_and_check()
    assert list(after.projects) == ["four", "one", "three", "two"]
    assert after.number == seen.number + 2
    assert all(from_instant(each) < clock.now() + timedelta(days=366) for each in filled.info()["expires"].values())
    filled.verify()
    filled.check_rebuilt(tmp_path / "again" / "public")


def test_a_thief_who_publishes_on_after_the_key_was_replaced(filled: Index, tmp_path: Path) -> None:
    attacker = Attacker(filled)
    shutil.copytree(filled.folder / "keys", tmp_path / "stolen")
    filled.run("ceremony", "--replace-online")
    before = filled.check()
    for number in (1, before.number + 1, 10**6):
        attacker.claim(number=number)
    recover(filled)
    assert {each["code"] for each in filled.ask_list("rejected")} == {"number", "seal"}
