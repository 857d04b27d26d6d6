"""Somebody signs outside of the log, or puts back what is old: it is named, by everybody in the same words."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from consumers.verify import verifying
from schemas import canonical
from tests import factory
from tests.client.attacker import Attacker, offline_signers
from tests.client.index import FakeClock, Index
from tests.client.processes import start, until
from tests.client.test_ceremonies import online_keys
from tests.client.test_processes import ALARM
from tests.oracle import check_repository
from tests.serving import serving

TIMESTAMP = "metadata/timestamp.json"
UNSIGNED = "not signed by any key of this ledger"


@pytest.fixture
def filled(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger with a few publications; some time has passed since."""
    index = Index.create(tmp_path / "index", clock=clock)
    for name in ("one", "two", "three"):
        index.upload(name)
        index.publish_and_check()
    clock.advance(hours=1)
    return index


def forged_words(index: Index, *, until: str = "") -> str:
    """What is said of what the key that is online now signs outside of the log."""
    (keyid,) = online_keys(index)
    return f"FORGED: signed outside the log by {keyid} (online since root 1 of 2031-01-01T00:00:00Z{until})"


def differences(index: Index, *options: object, served: object = None) -> dict[str, dict[str, Any]]:
    """What `verify` finds, by path."""
    (facts,) = index.ask("verify", "--served", served or index.public, *options, answer=1)
    return {each["path"]: each for each in facts["differences"]}


# --- forgeries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 0, 1_000], ids=["of the next number", "of the last number", "far ahead"])
@pytest.mark.parametrize("bins", [False, True], ids=["timestamp and snapshot", "all online roles"])
def test_a_forgery_is_named_by_all_who_see_it(filled: Index, ahead: int, bins: bool) -> None:
    number = filled.check().number + ahead
    Attacker(filled).forge_in_place(filled.public, number, bins=bins)
    words = forged_words(filled)
    found = differences(filled)
    assert {TIMESTAMP, f"metadata/{number}.snapshot.json"} <= found.keys()
    assert {each["detail"] for each in found.values()} == {words}
    assert all(each["finding"] == "forged" and [*online_keys(filled)] == each["keyids"] for each in found.values())
    output = filled.verify(answer=1)
    assert f"differs: {TIMESTAMP} ({words})" in output
    assert "ceremony --replace-online" in output
    for lost in (False, True):
        if lost:
            shutil.rmtree(filled.folder / "state")
        refused = filled.run("publish", answer=2)
        assert words in refused
        assert "ceremony --replace-online" in refused
        assert "resume" not in refused
        assert ("but other bytes than the log's" in refused) is (ahead == 0)
    (error,) = filled.ask("publish", answer=2)
    assert (error["error"], error["keyids"]) == ("forged", [*online_keys(filled)])


def test_what_the_log_has_is_no_forgery_when_the_state_is_lost(filled: Index) -> None:
    """The served timestamp is of a publication that the new state has yet to apply."""
    before = filled.check()
    shutil.rmtree(filled.folder / "state")
    output = filled.run("publish")
    assert "the served timestamp is not the log's" not in output
    assert "Nothing is new since publication 4" in output
    assert filled.check() == before


def test_garbage_is_called_garbage(filled: Index) -> None:
    metadata = filled.public / "metadata"
    (metadata / "99.snapshot.json").write_bytes(b"garbage")
    stranger = factory.sign({"_type": "targets", "version": 99}, [factory.ed25519_signer("stranger")])
    (metadata / "99.bin-0.json").write_bytes(canonical.encode(stranger))
    found = differences(filled)
    assert {path: (each["problem"], each["detail"]) for path, each in found.items()} == {
        "metadata/99.snapshot.json": ("unknown", UNSIGNED),
        "metadata/99.bin-0.json": ("unknown", UNSIGNED),
    }
    assert filled.publish("--renew") == 5, "nobody takes it for a timestamp"


def test_an_unsigned_timestamp_stops_the_signer_and_says_so(filled: Index) -> None:
    """The log could have lost the ceremony that named its key."""
    timestamp = filled.public / TIMESTAMP
    timestamp.unlink()
    timestamp.write_bytes(b'{"signatures":[],"signed":{"version":99}}')
    refused = filled.run("publish", answer=2)
    assert UNSIGNED in refused
    assert "FORGED" not in refused
    assert differences(filled)[TIMESTAMP]["finding"] == "unsigned"


def test_what_was_published_and_altered(filled: Index) -> None:
    before = filled.check()
    metadata = filled.public / "metadata"
    number = before.number
    snapshot = metadata / f"{number}.snapshot.json"
    changes = {
        snapshot: snapshot.read_bytes() + b"\n",
        metadata / "1.root.json": b"{}",
        metadata / "timestamp.json": json.dumps(json.loads((metadata / "timestamp.json").read_bytes())).encode(),
    }
    copies = {metadata / "99.snapshot.json": snapshot.read_bytes()}
    for path, data in {**changes, **copies}.items():
        path.unlink(missing_ok=True)
        path.write_bytes(data)
    found = {path: (each["finding"], each["detail"]) for path, each in differences(filled).items()}
    assert found == {
        f"metadata/{number}.snapshot.json": ("published", f"published as number {number}, altered"),
        "metadata/1.root.json": ("published", "published as root 1, altered"),
        TIMESTAMP: ("published", f"published as number {number}, altered"),
        "metadata/99.snapshot.json": ("published", f"published as number {number}, here under another name"),
    }
    assert "What is served is damaged" in filled.run("publish", answer=2)


@pytest.mark.parametrize("role", ["root", "targets", "bins"])
def test_an_offline_role_that_is_not_on_the_log(filled: Index, role: str) -> None:
    metadata = filled.public / "metadata"
    signed = json.loads((metadata / f"1.{role}.json").read_bytes())["signed"]
    signers = offline_signers(filled, role)
    file = factory.sign({**signed, "version": 2}, signers)
    (metadata / f"2.{role}.json").write_bytes(canonical.encode(file))
    (found,) = differences(filled).values()
    assert found["finding"] == "offline"
    assert f"NOT ON THE LOG, and signed by a threshold of the offline keys of {role}: by " in found["detail"]
    assert set(found["keyids"]) == {signer.public_key.keyid for signer in signers}
    assert "somebody signs with offline keys" in filled.verify(answer=1)


def test_the_key_was_replaced_before(filled: Index, clock: FakeClock) -> None:
    words = forged_words(filled, until=", until root 2 of 2031-01-01T01:00:00Z")
    thief = Attacker(filled)
    filled.run("ceremony", "--replace-online")
    thief.forge_in_place(filled.public, 99)
    clock.advance(hours=1)
    found = differences(filled)
    assert found[TIMESTAMP]["detail"] == words
    refused = filled.run("publish", answer=2)
    assert words in refused
    assert "the key was replaced" in refused


def test_consumers_name_it_when_they_start_and_while_they_run(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    number = index.publish() + 1
    (keyid,) = online_keys(index)
    told: dict[str, dict[str, Any]] = {}

    def told_by(name: str, message: str, **fields: Any) -> None:
        with start(tmp_path / name, "run", "--ledger", index.folder, name) as running:
            running.wait_for(f"{name} started")
            if name == "publisher":  # it looks while it runs, and on its way there it would replace the timestamp
                running.wait_for("publication applied", publication=number - 1)
                Attacker(index).forge_in_place(index.public, number)
            told[name] = running.wait_for(message, **fields)
            running.stop()

    told_by("publisher", "the served timestamp is not the log's", path=TIMESTAMP)
    told_by("verifier", ALARM, path=TIMESTAMP, finding="forged", keyids=[keyid])
    for each in told.values():
        assert each["why"].startswith(f"FORGED: signed outside the log by {keyid} (online since root 1")
    for names in (["signer"], ["signer", "publisher"]):
        with start(tmp_path / "signer", "run", "--ledger", index.folder, *names) as running:
            running.wait(2)
            assert f"FORGED: signed outside the log by {keyid}" in running.output()


def test_a_service_that_publishes_names_what_comes_while_it_runs(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher") as running:
        running.wait_for("signer started")
        index.upload("one")
        running.wait_for("publication applied", size=3)
        Attacker(index).forge_in_place(index.public, 99)
        said = running.wait_for("the served timestamp is not the log's", served=99)
        assert said["why"].startswith("FORGED: ")
        running.stop()


# --- going on ----------------------------------------------------------------------------------------------------


def test_nobody_resumes_above_a_forgery_unawares(filled: Index, tmp_path: Path) -> None:
    number = filled.check().number
    thief = Attacker(filled)
    thief.forge_in_place(filled.public, number + 7)
    assert check_repository(filled.public, filled.root, cache=filled.cache, live=True).number == number + 7
    state = filled.folder / "state/signer.sqlite"
    before = state.stat().st_ino
    for above in (1, number + 7, number + 100):
        refused = filled.run("resume", "--above", above, answer=1)
        assert forged_words(filled) in refused
        assert "ceremony --replace-online" in refused
        assert "give --above" not in refused
    (error,) = filled.ask("resume", "--above", number + 7, answer=1)
    assert (error["finding"], error["keyids"]) == ("forged", [*online_keys(filled)])
    assert state.stat().st_ino == before, "nothing was deleted"
    filled.run("ceremony", "--replace-online", answer=2)
    assert "give --above" in filled.run("resume", "--above", number + 6, "--forged", answer=1)
    filled.run("resume", "--above", number + 7, "--forged")
    filled.run("resume", "--above", number + 8)  # it is understood by now
    filled.upload("four")
    assert filled.publish() == number + 9
    assert list(filled.check(live=True).projects) == ["four", "one", "three", "two"], "the client that was led astray"
    for path in differences(filled):
        (filled.public / path).unlink()
    filled.verify()


def test_a_state_knows_what_the_log_had_by_its_bytes(filled: Index) -> None:
    """Its own publication of that number is another one."""
    number = filled.check().number
    Attacker(filled).forge_in_place(filled.public, number)
    assert "FORGED" in filled.run("resume", "--above", number, answer=1)


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_forged_files_are_deleted_as_the_manual_says(filled: Index, ahead: int) -> None:
    """docs/operators.md, "Something is forged", without a number that clients are led above: the new root is enough."""
    number = filled.check().number
    Attacker(filled).forge_in_place(filled.public, number + ahead)
    if ahead:
        check_repository(filled.public, filled.root, cache=filled.cache, live=True)
    filled.run("ceremony", "--replace-online", answer=2)
    for path, each in differences(filled).items():
        if each["problem"] != "missing":
            (filled.public / path).unlink()
    filled.run("ceremony", "--replace-online")
    assert filled.check().number == number + 1
    filled.verify()
    filled.upload("four")
    assert list(filled.publish_and_check().projects) == ["four", "one", "three", "two"]


def test_what_this_machine_has_seen_on_the_log_is_no_forgery(filled: Index, tmp_path: Path) -> None:
    """Only the publisher's state is left to know it."""
    shutil.copytree(filled.folder / "log", tmp_path / "log")
    number = filled.publish("--renew")
    (filled.folder / "state/signer.sqlite").rename(filled.folder / "state/publisher.sqlite")
    (filled.folder / "state/signer.kept").rename(filled.folder / "state/publisher.kept")
    shutil.rmtree(filled.folder / "log")
    shutil.copytree(tmp_path / "log", filled.folder / "log")
    filled.run("resume", "--above", number)
    assert filled.publish("--renew") == number + 1


# --- what is old ---------------------------------------------------------------------------------------------------


def replace(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def put_back(index: Index, number: int) -> None:
    """Serve an old timestamp again."""
    metadata = index.public / "metadata"
    replace(metadata / "timestamp.json", (metadata / f"{number}.timestamp.json").read_bytes())


@pytest.mark.parametrize("over", ["folder", "HTTP"])
def test_an_old_timestamp_hides_nothing(filled: Index, over: str) -> None:
    """Pages that first appeared later are served, and everybody without TUF reads them."""
    put_back(filled, 2)
    pages = ["targets/simple/three/index.json", "targets/simple/three/index.html", "targets/simple/two/index.json"]
    pages = [page for page in pages if (filled.public / page).exists()]
    for page in pages:
        replace(filled.public / page, b"evil")
    newest = filled.public / "metadata/4.snapshot.json"
    replace(newest, newest.read_bytes() + b" ")
    if over == "HTTP":
        with serving(filled.public) as url:
            found = differences(filled, served=url)
    else:
        found = differences(filled)
    old = "older than the newest by 2 publications, valid until 2031-01-02T00:00:00Z"
    assert found[TIMESTAMP]["detail"] == old
    assert found[TIMESTAMP]["finding"] == "older"
    assert found["metadata/4.snapshot.json"]["detail"] == "published as number 4, altered"
    assert found.keys() == {TIMESTAMP, "metadata/4.snapshot.json", *pages}


def test_an_old_timestamp_does_not_hide_what_was_withheld_since(filled: Index, clock: FakeClock) -> None:
    path = next(filled.public.glob("targets/packages/*/*/*/three-1.0-py3-none-any.whl"))
    malware = path.read_bytes()
    filled.run("remove", "three-1.0-py3-none-any.whl", "--withhold", "--reason", "malware")
    filled.publish()
    clock.advance(hours=1)
    assert not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(malware)
    put_back(filled, 4)
    found = differences(filled)
    assert found.keys() == {TIMESTAMP, path.relative_to(filled.public).as_posix()}
    assert {each["problem"] for each in found.values()} == {"differs", "withheld"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_old_timestamp_alone_is_what_is_reported(filled: Index, number: int, clock: FakeClock) -> None:
    """What later publications made may be there: each version, and what they have removed may be gone."""
    filled.run("remove", "three", "--reason", "x")
    filled.publish()
    filled.upload("four")
    clock.advance(hours=1)
    filled.publish()
    clock.advance(hours=1)
    put_back(filled, number)
    assert differences(filled).keys() == {TIMESTAMP}
    put_back(filled, 6)
    filled.verify()


def test_a_page_that_no_publication_since_then_had(filled: Index, clock: FakeClock) -> None:
    """An old timestamp allows the pages of that publication and of later ones, and no older ones."""
    page = filled.public / "targets/simple/one/index.json"
    first = page.read_bytes()
    filled.upload("one", "2.0")
    second_number = filled.publish()
    second = page.read_bytes()
    filled.upload("one", "3.0")
    filled.publish()
    third = page.read_bytes()
    clock.advance(hours=1)
    put_back(filled, second_number)
    for data, differs in ((third, False), (second, False), (first, True)):
        replace(page, data)
        assert ("targets/simple/one/index.json" in differences(filled)) is differs


@pytest.mark.parametrize("timestamp", [b"garbage", b'{"signed":{"version":0}}', None])
def test_a_timestamp_that_leads_nowhere_hides_nothing(filled: Index, timestamp: bytes | None) -> None:
    (filled.public / TIMESTAMP).unlink()
    if timestamp is not None:
        (filled.public / TIMESTAMP).write_bytes(timestamp)
    page = filled.public / "targets/simple/three/index.json"
    replace(page, b"evil")
    missing = next(iter(sorted((filled.public / "metadata").glob("4.bin-*.json"))))
    missing.unlink()
    found = differences(filled)
    assert found.keys() == {TIMESTAMP, "targets/simple/three/index.json", f"metadata/{missing.name}"}
    assert found[TIMESTAMP]["problem"] == ("missing" if timestamp is None else "differs")
    assert found[TIMESTAMP]["detail"] == ("" if timestamp is None else UNSIGNED)


def test_a_publisher_may_take_a_moment(filled: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publication is on the log before its timestamp is served."""
    filled.upload("four")
    number = filled.publish()
    put_back(filled, number - 1)
    waited = []

    async def place(_: float) -> None:
        waited.append(number)
        put_back(filled, number)

    monkeypatch.setattr(verifying, "sleep", place)
    assert "complete and unchanged" in filled.verify()
    assert waited == [number]


def test_a_verifier_reports_what_is_old(index: Index, tmp_path: Path) -> None:
    index.publish("--renew")
    index.publish("--renew")
    put_back(index, 1)
    delay = {"TUF_LEDGER_VERIFIER_DELAY_SECONDS": "0.01"}
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier", env=delay) as running:
        said = running.wait_for(ALARM, path=TIMESTAMP, finding="older")
        assert said["why"].startswith("older than the newest by 2 publications, valid until ")
        running.wait_for("comparing what is served")
        put_back(index, 3)
        running.wait_for("what is served is right again", path=TIMESTAMP)
        put_back(index, 2)
        until(lambda: any("by 1 publication," in each.get("why", "") for each in running.events()), running.output)
        Attacker(index).forge_in_place(index.public, 9)  # worse than what was told
        running.wait_for(ALARM, path=TIMESTAMP, finding="forged")
        running.stop()
