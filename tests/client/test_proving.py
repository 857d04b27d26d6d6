"""`prove` and `check-proof`: facts about a ledger, shown to somebody who has only a root."""

import json
import shutil
import sqlite3
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.clock import SystemClock
from tests.checkproof import GoChecker
from tests.client.index import FakeClock, Index, invoke
from tests.factory import Counter, Make, digest

LISTS = {"simple/index.json", "simple/index.html"}
"""The pages that are about no single project."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger with a few publications, under several roots, with its bins moved once."""
    clock = FakeClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: clock.now())
        return fill(Index.create(tmp_path_factory.mktemp("template") / "index", "--bins", 4, clock=clock), clock)


def fill(index: Index, clock: FakeClock) -> Path:
    """Make the publications."""
    index.upload("one")
    index.publish()
    index.run("ceremony", "--rotate-online")
    index.upload("two", suffix=".tar.gz")
    index.publish()
    index.run("ceremony", "--bins", 8, "--delegation", "prefixes")
    index.upload("two")
    index.append(Make().target_added("tools/demo.txt"))
    clock.advance(seconds=10)
    index.publish()
    return index.folder


@pytest.fixture
def filled(template: Path, tmp_path: Path, clock: FakeClock) -> Index:
    """A copy of it."""
    shutil.copytree(template, tmp_path / "index")
    clock.advance(seconds=20)
    return Index(tmp_path / "index", clock=clock)


def prove(index: Index, *arguments: object, answer: int = 0) -> dict[str, Any]:
    """Make a proof and check it; both say the same."""
    proof = index.folder.with_name("proof.json")
    (made,) = index.ask("prove", *arguments, "--to", proof, answer=answer)
    assert isinstance(made, dict)
    if answer == 0:
        assert check(proof, index.public / "metadata/1.root.json") == made
    return made


def check(proof: Path, root: Path, *options: object, answer: int = 0) -> dict[str, Any]:
    """`tuf-ledger check-proof`."""
    result = invoke("check-proof", proof, "--root", root, "--json", *options, answer=answer)
    (found,) = map(json.loads, result.stdout.splitlines())
    assert isinstance(found, dict)
    return found


def served(index: Index, role: str) -> dict[str, Any]:
    """The signed part of the newest file of a role."""
    metadata = index.public / "metadata"
    number = json.loads((metadata / "timestamp.json").read_bytes())["signed"]["version"]
    signed = json.loads((metadata / f"{number}.{role}.json").read_bytes())["signed"]
    assert isinstance(signed, dict)
    return signed


def targets(index: Index) -> dict[str, Any]:
    """Everything that bins in force list."""
    found: dict[str, Any] = {}
    for name, each in served(index, "snapshot")["meta"].items():
        if name.startswith("bin-"):
            file = index.public / f"metadata/{each['version']}.{name}"
            found |= json.loads(file.read_bytes())["signed"]["targets"]
    return found


def test_every_event_of_every_publication(filled: Index) -> None:
    last = served(filled, "snapshot")
    size, number = last["x-ledger"]["size"], last["version"]
    for event in range(size):
        made = prove(filled, event)
        assert (made["event"], made["publication"], made["size"], made["expired"]) == (event, number, size, [])
        assert made["root_hash"] == last["x-ledger"]["root_hash"]
    assert prove(filled, size - 1)["type"] == "target.added.v1"
    for earlier in (2, 3):
        assert prove(filled, f"2@{earlier}")["publication"] == earlier
    refused = prove(filled, f"{size - 1}@2", answer=1)
    assert refused["message"].endswith(f"event {size - 1} is on the log behind them")
    assert f"is none of the {size} on the log" in prove(filled, size, answer=1)["message"]


def test_every_target(filled: Index, tmp_path: Path) -> None:
    listed = targets(filled)
    assert len(listed) == 10
    for path, entry in listed.items():
        made = prove(filled, path)
        assert (made["target"], made["sha256"], made["length"]) == (path, entry["hashes"]["sha256"], entry["length"])
        assert ("event" in made) == (path not in LISTS)
        if path.startswith("packages/"):
            assert made["type"] == "file.uploaded.v1"
            given = filled.public / "targets" / path
            proof, root = filled.folder.with_name("proof.json"), filled.public / "metadata/1.root.json"
            check(proof, root, "--file", given)
            (tmp_path / "other").write_bytes(given.read_bytes() + b" ")
            refused = check(proof, root, "--file", tmp_path / "other", answer=1)
            assert "is not the target that it is about" in refused["message"]
    page = json.loads((filled.public / "targets/simple/two/index.json").read_bytes())
    assert prove(filled, "simple/two/index.json")["event"] == page["meta"]["_last-serial"]


def test_a_target_of_an_earlier_publication(filled: Index) -> None:
    """Before the bins were moved."""
    made = prove(filled, "simple/one/index.json@2")
    assert (made["publication"], made["root"], made["type"]) == (2, 1, "file.uploaded.v1")
    assert "does not offer" in prove(filled, "simple/two/index.json@2", answer=1)["message"]


def test_the_logs_alone_make_the_same_proofs(filled: Index, tmp_path: Path) -> None:
    shutil.copytree(filled.folder / "log", tmp_path / "copy")
    log = f"sqlite:{tmp_path}/copy"
    for arguments in (("2",), ("simple/two/index.json",), ("--consistency", 2, 3)):
        filled.run("prove", *arguments, "--to", tmp_path / "own.json")
        invoke("prove", *arguments, "--to", tmp_path / "theirs.json", "--log", log)
        assert (tmp_path / "own.json").read_bytes() == (tmp_path / "theirs.json").read_bytes()


def test_an_event_by_its_id(filled: Index) -> None:
    make = Make(Counter(100))
    once, twice = make.project_created("three"), make.project_created("four")
    filled.append(once, twice, twice)
    waiting = prove(filled, once.id, answer=1)
    assert "is on the log behind them" in waiting["message"]
    filled.publish()
    assert prove(filled, once.id)["type"] == "project.created.v1"
    assert "give the index of one" in prove(filled, twice.id, answer=1)["message"]
    assert "no event has this id" in prove(filled, "nothing like this", answer=1)["message"]


def test_a_record_that_is_left_out(filled: Index, tmp_path: Path) -> None:
    proof, root = filled.folder.with_name("proof.json"), filled.public / "metadata/1.root.json"
    prove(filled, 2)
    record = json.loads(proof.read_bytes())["event"]["record"]
    made = prove(filled, 2, "--no-record")
    assert "type" not in made
    assert record not in proof.read_text()
    (tmp_path / "record").write_bytes(b64decode(record))
    assert check(proof, root, "--file", tmp_path / "record")["event"] == 2
    (tmp_path / "record").write_bytes(b"another")
    assert "is not the record" in check(proof, root, "--file", tmp_path / "record", answer=1)["message"]


def test_consistency(filled: Index) -> None:
    for first, second in ((1, 5), (4, 5), (5, 5), (2, 4), (1, 1)):
        made = prove(filled, "--consistency", first, second)
        assert (made["earlier"]["publication"], made["publication"]) == (first, second)
    assert "there is no publication 99" in prove(filled, "--consistency", 1, 99, answer=1)["message"]


def test_what_is_held_is_covered_and_not_shown(filled: Index) -> None:
    shown = served(filled, "snapshot")["x-ledger"]["content_size"]
    hold = Make().signing_held()
    filled.append(hold)
    filled.upload("late")
    filled.append(Make().project_created("later"))
    filled.publish("--renew")
    made = prove(filled, shown)
    assert made["content_size"] == shown < made["size"]
    assert "shows events up to" in filled.run("prove", shown, "--to", filled.folder / "proof.json")
    assert "does not offer" in prove(filled, "simple/late/index.json", answer=1)["message"]
    assert prove(filled, "simple/two/index.json")["event"] < shown


def test_a_target_that_went_and_came_back(filled: Index) -> None:
    """It comes from what made it be there: an upload that is restored, or the last time that it was added."""
    (wheel,) = (path for path in targets(filled) if "/one-" in path)
    upload, make = prove(filled, wheel)["event"], Make(Counter(200))
    first = prove(filled, "tools/demo.txt")["event"]
    filled.run("remove", "one-1.0-py3-none-any.whl")
    filled.append(make.target_removed("tools/demo.txt", withhold=True))
    filled.publish()
    for path in (wheel, "tools/demo.txt"):
        assert "does not offer" in prove(filled, path, answer=1)["message"]
    filled.run("restore", "one-1.0-py3-none-any.whl")
    filled.append(make.target_added("tools/demo.txt"), make.target_added("tools/demo.txt"))
    filled.publish()
    assert prove(filled, wheel)["event"] == upload
    assert prove(filled, "tools/demo.txt")["event"] > first


def test_a_log_with_nodes_above_its_leaves(filled: Index) -> None:
    make, size = Make(Counter(1000)), served(filled, "snapshot")["x-ledger"]["size"]
    filled.append(*(make.project_created(f"project-{number}") for number in range(700)))
    number = filled.publish()
    for event in (0, 2, 255, 256, 511, 512, size, size + 699):
        assert prove(filled, event)["size"] == size + 700
    assert prove(filled, "--consistency", 2, number)["size"] == size + 700


def test_garbage_on_the_log_is_proven_as_such(filled: Index) -> None:
    filled.append(*[Make().project_created("one")] * 3)
    filled.publish("--renew")
    assert prove(filled, served(filled, "snapshot")["x-ledger"]["size"] - 1)["type"] == "project.created.v1"


def test_what_has_expired_is_reported(filled: Index, clock: FakeClock) -> None:
    proof, root = filled.folder.with_name("proof.json"), filled.public / "metadata/1.root.json"
    filled.run("prove", "simple/two/index.json", "--to", proof)
    clock.advance(days=2)
    assert check(proof, root)["expired"] == ["snapshot", "timestamp"]
    clock.advance(days=3_000)
    assert len(check(proof, root)["expired"]) == 6
    assert "Expired since: " in invoke("check-proof", proof, "--root", root).output


def test_a_later_root_is_trusted_for_what_is_under_it(filled: Index) -> None:
    proof, metadata = filled.folder.with_name("proof.json"), filled.public / "metadata"
    filled.run("prove", 2, "--to", proof)
    for version in (1, 2, 3):
        check(proof, metadata / f"{version}.root.json")
    filled.run("prove", "2@2", "--to", proof)
    refused = check(proof, metadata / "3.root.json", answer=1)
    assert (refused["error"], refused["step"]) == ("wrong-proof", "roots")
    other = Index.create(filled.folder.with_name("other"))
    assert check(proof, other.public / "metadata/1.root.json", answer=1)["step"] == "roots"


def test_a_record_that_was_rewritten_is_not_proven(filled: Index) -> None:
    """The catalog is of the log as it was, and looks at its first and last record only."""
    proof = filled.folder.with_name("proof.json")
    prove(filled, 2)
    proof.unlink()
    with closing(sqlite3.connect(filled.folder / "log/events.sqlite")) as log:
        ((trigger,),) = log.execute("SELECT sql FROM sqlite_master WHERE name = 'records_are_never_updated'")
        log.execute("DROP TRIGGER records_are_never_updated")
        log.execute("UPDATE records SET value = ? WHERE idx = 2", (b"{}",))
        log.execute(trigger)
        log.commit()
    for arguments in ((2,), (3,), ("simple/one/index.json",), ("--consistency", 1, 5)):
        assert prove(filled, *arguments, answer=2)["error"] == "log-conflict"
    assert not proof.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("1", "--consistency", 1, 2),
        ("--consistency", 3, 2),
        ("--consistency", 1, 2, "--no-record"),
        ("--consistency", 1, 2, "--publication", 2),
        ("1", "--publication", 0),
    ],
)
def test_senseless_questions(filled: Index, arguments: tuple[object, ...]) -> None:
    assert prove(filled, *arguments, answer=2)["error"] == "usage"


def test_what_cannot_be_read(filled: Index, tmp_path: Path) -> None:
    proof, root = filled.folder.with_name("proof.json"), filled.public / "metadata/1.root.json"
    filled.run("prove", 2, "--to", proof)
    (tmp_path / "garbage").write_bytes(b"garbage")
    assert check(tmp_path / "garbage", root, answer=2)["error"] == "unreadable-proof"
    assert check(proof, tmp_path / "garbage", answer=2)["error"] == "unreadable-proof"
    check(tmp_path / "none", root, answer=2)


@pytest.mark.go
def test_another_implementation_says_the_same(filled: Index, go_checker: GoChecker, tmp_path: Path) -> None:
    arguments: list[tuple[object, ...]] = [(event,) for event in range(9)]
    arguments += [(path,) for path in targets(filled)]
    arguments += [("--consistency", first, 5) for first in range(1, 6)]
    files = []
    for each in arguments:
        filled.run("prove", *each, "--to", tmp_path / "proof.json")
        files.append((tmp_path / "proof.json").read_bytes())
    assert all(answer["ok"] for answer in go_checker.check(filled.root, files))
    broken = [file.replace(b'"path":["', b'"path":["' + digest("x").encode() + b'","', 1) for file in files]
    changed = [file for file, other in zip(broken, files, strict=True) if file != other]
    assert len(changed) > 20
    assert not any(answer["ok"] for answer in go_checker.check(filled.root, changed))
