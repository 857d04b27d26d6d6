"""A response to an incident on the command line: from the hold to the record that closes it."""

import json
import re
import subprocess
import threading
from pathlib import Path
from time import sleep

import pytest

from projections.log.holds import lock_of
from projections.metadata.paths import package_target, plain_path
from schemas.events import BaseEvent
from tests.client.index import Index, invoke
from tests.client.processes import PATIENCE_SECONDS, command, environment, execute
from tests.factory import Make, digest
from tests.oracle import check_repository
from tests.serving import Asked, answering

STOLEN = Make().having(actorid="alice", actorcredential="token-2")


def thefts(index: Index) -> list[BaseEvent]:
    """What a thief does to two projects."""
    (file,) = index.ask("status", "one")[0]["files"]
    return [
        STOLEN.file_uploaded("one", "2.0"),
        STOLEN.file_removed("one", file["file"]),
        STOLEN.release_yanked("two", "1.0", "gone"),
    ]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Two projects; then a thief, whose events clients have seen; then the incident."""
    index = Index.create(tmp_path / "index")
    index.upload("one")
    index.upload("two")
    index.publish_and_check()
    index.append(*thefts(index))
    index.publish_and_check(files=False)
    index.upload("one", "3.0")
    index.publish_and_check(files=False)
    index.run("incident open", "theft", "--credential", "token-2", "--title", "a stolen token")
    return index


def published(index: Index) -> None:
    """Publish, in a process of its own: commands in this one have its standard output for themselves."""
    execute("publish", "--ledger", index.folder)


def plan(index: Index, path: Path) -> Path:
    index.run("incident plan", "theft", "--to", path)
    return path


def recovered(index: Index, tmp_path: Path) -> Path:
    """A plan of which all steps are published."""
    path = plan(index, tmp_path / "plan")
    index.run("incident recover", "theft", "--plan", path, "--wait-seconds", 0, answer=75)
    index.publish()
    return path


def test_a_whole_response(index: Index, tmp_path: Path) -> None:
    index.run("hold", "--reason", "look", "--secret-file", tmp_path / "secret")
    (one, two, end) = index.ask("incident replay", "theft")
    assert [each["name"] for each in one["deviations"]] == ["one-1.0-py3-none-any.whl", "one-2.0.tar.gz"]
    assert [(each["aspect"], each["clean"]) for each in two["deviations"]] == [("yank", "")]
    assert (end["touched"], end["different"], end["flipped"]) == (2, 2, 0)

    path = plan(index, tmp_path / "plan")
    *steps, checked = index.ask("incident plan", "theft", "--check", path)
    assert {each["state"] for each in steps} == {"fits"}
    assert checked["fits"] == len(steps) == 3
    waiting = index.ask("incident recover", "theft", "--plan", path, "--wait-seconds", 0, answer=75)
    assert "hold" in waiting[-1]["message"]
    index.publish()
    publisher = threading.Timer(0.5, published, [index])
    publisher.start()
    *states, done = index.ask("incident recover", "theft", "--plan", path, "--secret-file", tmp_path / "secret")
    publisher.join()
    assert {each["state"] for each in states} == {"done"}
    assert [each["client"] for each in done["clients"]] == [
        "a client that saw the compromise",
        "a client from before",
        "a new client",
    ]
    assert done["appended"] == 0
    seen = index.check()
    assert sorted(seen.projects["one"].files) == ["one-1.0-py3-none-any.whl", "one-3.0-py3-none-any.whl"]

    closed = index.ask("incident close", "theft", "--plan", path)[0]
    index.publish_and_check()
    assert "closed the incident theft" in index.run("log", "--limit", 1)
    assert closed["publication"] == done["publication"]
    assert "closed already" in index.run("incident close", "theft", "--plan", path, answer=1)
    index.verify()


def test_the_clean_repository_is_one(index: Index, tmp_path: Path) -> None:
    index.run("incident replay", "theft", "--to", tmp_path / "clean")
    root = (tmp_path / "clean/metadata/1.root.json").read_bytes()
    seen = check_repository(tmp_path / "clean", root, files=False)
    assert sorted(seen.projects["one"].files) == ["one-1.0-py3-none-any.whl", "one-3.0-py3-none-any.whl"]
    assert "not empty" in index.run("incident replay", "theft", "--to", tmp_path / "clean", answer=2)


def test_an_upload_in_between_stops_the_plan(index: Index, tmp_path: Path) -> None:
    path = plan(index, tmp_path / "plan")
    index.upload("one", "4.0")
    *_, checked = index.ask("incident plan", "theft", "--check", path, answer=1)
    assert (checked["overtaken"], checked["fits"]) == (2, 1)
    *_, refused = index.ask("incident recover", "theft", "--plan", path, answer=1)
    assert "make a new plan" in refused["message"]
    again = plan(index, tmp_path / "again")
    publisher = threading.Timer(0.5, published, [index])
    publisher.start()
    index.run("incident recover", "theft", "--plan", again)
    publisher.join()
    index.run("incident close", "theft", "--plan", again)


def test_who_is_killed_goes_on(index: Index, tmp_path: Path) -> None:
    """Killed again and again, at other moments; two responders at once."""
    path = plan(index, tmp_path / "plan")
    arguments = ("incident", "recover", "theft", "--plan", path, "--ledger", index.folder, "--wait-seconds", 0)
    for number in range(6):
        some = [
            subprocess.Popen(
                command(*arguments), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        sleep(0.5 + number / 5)
        for each in some:
            each.kill()
            each.wait()
    index.run("incident recover", "theft", "--plan", path, "--wait-seconds", 0, answer=75)
    index.publish()
    *states, _ = index.ask("incident recover", "theft", "--plan", path)
    assert {each["state"] for each in states} == {"done"}
    index.check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the plan is empty"),
        (b"\x00\xff", "line 1 is not the head"),
        (b'{"plan":9}\n', "line 1 is not the head"),
        (b"[]\n" * 3, "line 1 is not the head"),
    ],
)
def test_no_plan_is_refused(index: Index, tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "plan").write_bytes(text)
    for name in ("plan", "recover"):
        option = "--check" if name == "plan" else "--plan"
        assert said in index.run(f"incident {name}", "theft", option, tmp_path / "plan", answer=1)


def test_changed_plans_are_refused(index: Index, tmp_path: Path) -> None:
    path = plan(index, tmp_path / "plan")
    head, *steps = path.read_text().splitlines()
    changes = {
        "another ledger": [re.sub('"ledger":"..', '"ledger":"00', head), *steps],
        "twice": [head, *steps, steps[0]],
        "is no event": [head, steps[0].replace("file.removed.v1", "file.exploded.v1")],
        "does not name the incident": [head, steps[0].replace('"incident":"theft"', '"incident":"other"')],
        "the head of the plan does not name": [head, steps[0].replace('"subject":"one"', '"subject":"three"')],
        "a plan for the incident other": [head.replace('"incident":"theft"', '"incident":"other"'), *steps],
    }
    size = index.info()["sizes"]["events"]
    for said, lines in changes.items():
        path.write_text("\n".join(lines))
        assert said in index.run("incident recover", "theft", "--plan", path, answer=1).replace("\n", " "), said
    assert index.info()["sizes"]["events"] == size


def test_an_amended_list_makes_the_plan_old(index: Index, tmp_path: Path) -> None:
    path = plan(index, tmp_path / "plan")
    index.run("incident amend", "theft", "--events", "2..2")
    assert "the list of theft has changed" in index.run("incident recover", "theft", "--plan", path, answer=1)


def test_a_list_that_is_amended_meanwhile_proves_nothing(index: Index, tmp_path: Path) -> None:
    """Whoever may append can amend the list while `recover` waits: what is proven then is not what was planned."""
    path = plan(index, tmp_path / "plan")

    def amended() -> None:
        taken = ("--take-away", "--credential", "token-2", "--empty")
        execute("incident", "amend", "theft", *taken, "--ledger", index.folder)
        published(index)

    thief = threading.Timer(0.5, amended)
    thief.start()
    assert "the list of theft has changed" in index.run("incident recover", "theft", "--plan", path, answer=1)
    thief.join()


def test_what_an_earlier_plan_did_is_waited_for(index: Index, tmp_path: Path) -> None:
    index.run("incident recover", "theft", "--plan", plan(index, tmp_path / "plan"), "--wait-seconds", 0, answer=75)
    again = plan(index, tmp_path / "again")
    assert len(again.read_text().splitlines()) == 1
    waiting = index.run("incident recover", "theft", "--plan", again, "--wait-seconds", 0, answer=75)
    assert "no publication shows them yet" in waiting
    index.publish()
    index.run("incident recover", "theft", "--plan", again)


@pytest.mark.parametrize("text", [b"", b"zz" * 32, b"\xff\x00" * 9, b"ab" * 33])
def test_no_secret_is_refused_before_anything_is_done(index: Index, tmp_path: Path, text: bytes) -> None:
    index.run("hold", "--secret-file", tmp_path / "right")
    path, secret, size = plan(index, tmp_path / "plan"), tmp_path / "secret", index.info()["sizes"]["events"]
    secret.write_bytes(text)
    said = index.run("incident recover", "theft", "--plan", path, "--secret-file", secret, answer=1)
    assert "has no secret of a hold" in said
    assert index.info()["sizes"]["events"] == size


def test_all_holds_of_a_lock_are_released(index: Index, tmp_path: Path) -> None:
    """A lock is on the log: whoever may append can hold once more with it, from an earlier size."""
    secret = tmp_path / "secret"
    index.run("hold", "--secret-file", secret)
    index.append(Make().having(id="thief").signing_held(3, lock=lock_of(secret.read_text().strip())))
    path = plan(index, tmp_path / "plan")
    arguments = ("theft", "--plan", path, "--secret-file", secret, "--wait-seconds", 0)
    released = index.run("incident recover", *arguments, answer=75)
    assert released.count("Released the hold") == 2
    index.publish()
    index.run("incident recover", *arguments)


def test_a_hold_of_somebody_else_is_waited_for(index: Index, tmp_path: Path) -> None:
    """Also when the command is run again, and what its secret opens was released."""
    index.run("hold", "--secret-file", tmp_path / "secret")
    index.run("hold", "--secret-file", tmp_path / "other")
    path = plan(index, tmp_path / "plan")
    arguments = ("theft", "--plan", path, "--wait-seconds", 0, "--secret-file")
    for _ in range(2):
        assert "the release of a hold" in index.run("incident recover", *arguments, tmp_path / "secret", answer=75)
    (tmp_path / "third").write_text("ab" * 32)
    assert "opens none of the holds" in index.run("incident recover", *arguments, tmp_path / "third", answer=1)


def test_nothing_was_done(index: Index, tmp_path: Path) -> None:
    """The answer to leaked tokens that were never used is none."""
    index.run("incident open", "leak", "--credential", "token-9", "--title", "leaked", "--empty")
    assert "no project" in index.run("incident replay", "leak")
    path = tmp_path / "plan"
    index.run("incident plan", "leak", "--to", path)
    done = index.run("incident recover", "leak", "--plan", path)
    assert "shows the clean state; it is the one that the plan was made at" in done
    index.run("incident close", "leak", "--reason", "none of them was used")
    assert "give --plan" in index.run("incident close", "leak", answer=2)


def test_lost_keys_are_waited_for(index: Index, tmp_path: Path) -> None:
    (key,) = (each.stem for each in (index.folder / "keys/online").glob("*.pem"))
    path = tmp_path / "plan"
    index.run("incident plan", "theft", "--lost-key", key[:8], "--to", path)
    waiting = index.ask("incident recover", "theft", "--plan", path, "--wait-seconds", 0, answer=75)
    assert "a root without the lost online key" in waiting[-1]["message"]
    index.run("ceremony", "--replace-online")
    index.publish()
    index.run("incident recover", "theft", "--plan", path)
    assert "was never an online key" in index.run("incident plan", "theft", "--lost-key", "ab" * 32, answer=1)


def test_a_plan_is_standard_output(index: Index) -> None:
    result = invoke("incident", "plan", "theft", "--ledger", index.folder)
    lines = result.stdout.splitlines()
    assert json.loads(lines[0])["incident"] == "theft"
    assert "3 steps, 0 residuals" in result.stderr


@pytest.mark.parametrize("name", ["theft", "later"])
def test_a_measure_of_the_first_minutes_ends_with_the_plan(index: Index, tmp_path: Path, name: str) -> None:
    """Also if the incident is opened only afterwards."""
    index.run("status", "one", "quarantined", "--reason", "being looked at", "--incident", name)
    if name == "later":
        index.run("incident open", name, "--credential", "token-2")
    index.publish_and_check(files=False)
    path = tmp_path / "plan"
    index.run("incident plan", name, "--to", path)
    assert "status_changed" in path.read_text().splitlines()[-2]
    index.run("incident recover", name, "--plan", path, "--wait-seconds", 0, answer=75)
    index.publish_and_check()
    index.run("incident recover", name, "--plan", path)
    assert index.ask("status", "one")[0]["status"] == "active"


@pytest.mark.parametrize(
    ("status", "said"), [(b"500 Broken", "server answers 500"), (b"403 Forbidden", "server answers 403")]
)
def test_a_cache_that_cannot_be_asked_hides_nothing(index: Index, tmp_path: Path, status: bytes, said: str) -> None:
    path = recovered(index, tmp_path)
    with answering(lambda asked: asked.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")) as url:
        *_, told = index.ask("incident recover", "theft", "--plan", path, "--cdn", url, answer=1)
        text = index.run("incident recover", "theft", "--plan", path, "--cdn", url, answer=1)
    assert (told["wrong"], told["deviations"], told["answering"]) == ([], [], [])
    assert said in told["unasked"][0]
    assert "every version went up" in text
    assert "1 server" in text


def test_bytes_that_are_served_all_the_same_are_missed(index: Index, tmp_path: Path) -> None:
    """A publisher that failed to take them out, or a folder that somebody else fills."""
    path = recovered(index, tmp_path)
    place = index.context.public / plain_path(package_target(digest("blake2b one-2.0.tar.gz"), "one-2.0.tar.gz"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"evil")
    said = index.run("incident recover", "theft", "--plan", path, "--wait-seconds", 0, answer=1)
    assert "not purged" in said


def test_a_thief_who_goes_on_is_noticed(index: Index, tmp_path: Path) -> None:
    """What came after the list was frozen is in no plan, and every proof is without it."""
    path = recovered(index, tmp_path)
    index.append(STOLEN.file_uploaded("three", "1.0"))
    index.publish()
    *_, done = index.ask("incident recover", "theft", "--plan", path)
    assert done["only_now"] == 1
    note = "its selectors also find 1 event that its list does not have"
    assert note in invoke("incident", "recover", "theft", "--plan", path, "--ledger", index.folder).stderr
    assert note in invoke("incident", "plan", "theft", "--ledger", index.folder).stderr


def test_where_clients_looked_is_said(index: Index, tmp_path: Path) -> None:
    """Above all where the ledger is named by its logs, and what is served is elsewhere."""
    path = recovered(index, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    said = index.run("incident recover", "theft", "--plan", path, "--served", other, "--wait-seconds", 0, answer=1)
    assert f"looked at in {other}" in said.replace("\n", "")


def test_a_cache_that_sends_for_ever_is_left(index: Index, tmp_path: Path) -> None:
    """Whoever ends the command does not wait for it."""
    path, was_asked = recovered(index, tmp_path), threading.Event()

    def send(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 Fine\r\n\r\n")
        was_asked.set()
        while True:  # until the client is gone
            asked.send(b"x" * 2**18)
            sleep(0.1)

    with answering(send) as url:
        arguments = ("theft", "--plan", path, "--cdn", url, "--ledger", index.folder)
        waits = subprocess.Popen(
            command("incident", "recover", *arguments), env=environment(), stdout=subprocess.DEVNULL
        )
        assert was_asked.wait(PATIENCE_SECONDS)
        waits.terminate()
        assert waits.wait(PATIENCE_SECONDS) == 143
