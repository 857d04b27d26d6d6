"""What commands print, as text and as JSON, and their exit codes: 0 yes, 1 no, 2 a person is needed, 75 it may pass."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.client.index import Index, invoke, lines
from tests.client.processes import Running, start
from tests.distributions import build_wheel
from tests.factory import Make

WHEEL = "one-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def service(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, Running]]:
    """A ledger that a process signs and publishes."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(template, folder / "index")
    with start(folder / "log", "run", "--ledger", folder / "index", "signer", "publisher") as running:
        running.wait_for("signer started")
        yield Index(folder / "index"), running
        running.stop()


# --- JSON --------------------------------------------------------------------------------------------------------


def test_json_of_every_command(index: Index, tmp_path: Path) -> None:
    (made,) = [json.loads(invoke("init", tmp_path / "new", "--json").stdout)]
    assert set(made) == {"ok", "ledger", "origin", "root_sha256", "publication"}
    (facts,) = index.ask("info")
    assert facts["last"]["publication"] == 4
    assert facts["consumers"]["signer"]["lag_events"] == 0
    (shown,) = index.ask("status", "one")
    assert (shown["status"], [each["file"] for each in shown["files"]]) == ("active", [WHEEL, "one-1.0.tar.gz"])
    assert {each["yanked"] for each in shown["files"]} == {"broken"}
    (event,) = index.ask_list("unyank", "one==1.0")
    assert (event["event"], len(event["digest"])) == (6, 64)
    (published,) = index.ask("publish")
    assert (published["made"], published["publication"], published["size"]) == (True, 5, 7)
    assert index.ask("publish")[0]["made"] is False
    (verified,) = index.ask("verify", "--served", index.public)
    assert (verified["publications"], verified["served"], verified["differences"]) == (5, 5, [])
    (rebuilt,) = index.ask("rebuild", "--to", tmp_path / "rebuilt")
    assert (rebuilt["publication"], rebuilt["size"]) == (5, 7)
    assert index.ask_list("rejected", "--all") == []
    (signed,) = index.ask_list("ceremony", "--renew")
    assert (signed["root"], signed["documents"]) == (2, ["bins", "root", "targets"])
    (appended,) = index.ask_list("append", stdin=lines([Make().project_created("three")]))
    assert appended["event"] == 8
    (added,) = index.ask_list("add", "--as", "tools/x", __file__)
    assert (added["target"], added["event"]) == ("tools/x", 9)


def test_differences_as_json(index: Index) -> None:
    (index.public / "metadata/timestamp.json").write_bytes(b"{}")
    (verified,) = index.ask("verify", "--served", index.public, answer=1)
    assert verified["differences"][0]["path"] == "metadata/timestamp.json"
    error = {key: verified[key] for key in ("ok", "error", "message", "exit")}
    message = "what is served is not what the log says"
    assert error == {"ok": False, "error": "negative-answer", "message": message, "exit": 1}


REFUSALS: tuple[tuple[tuple[str, ...], int, str, str], ...] = (
    (("status", "unknown"), 1, "negative-answer", "there is no project unknown"),
    (("rebuild", "--to", "{}/rebuilt", "--at", "99"), 1, "negative-answer", "there is no publication 99"),
    (("publish", "--log", "nonsense"), 2, "config", "must be `sqlite:FOLDER` or `kafka://"),
    (("publish", "--log", "sqlite:{}/none"), 2, "log-settings", "there is no log at"),
    (("info", "--log", "kafka://127.0.0.1:1/x"), 75, "log-unavailable", "127.0.0.1:1"),
    (("yank", "one==1.0", "--wait", "--wait-seconds", "0"), 75, "not-covered", "that a signer runs"),
)


@pytest.mark.parametrize("case", REFUSALS, ids=[" ".join(each[0]) for each in REFUSALS])
def test_errors_as_json(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[tuple[str, ...], int, str, str]
) -> None:
    monkeypatch.setenv("TUF_LEDGER_KAFKA_TIMEOUT_SECONDS", "0.3")
    (command, *rest), answer, name, message = case
    (error,) = index.ask(command, *(each.format(tmp_path) for each in rest), answer=answer)
    assert error == {"ok": False, "error": name, "message": error["message"], "exit": answer}
    assert message in error["message"]


def test_lines_are_numbered_by_numbers(index: Index) -> None:
    (appended,) = index.ask_list("append", stdin=lines([Make().project_created("three")]))
    assert appended["line"] == 1


# --- waiting -----------------------------------------------------------------------------------------------------


def test_waiting_says_what_became_of_each_event(service: tuple[Index, Running]) -> None:
    index, _ = service
    make = Make()
    created = make.project_created("waited-for")
    stdin = lines([created, created, make.project_created("waited-for"), make.file_yanked("none", "none-1.0.zip")])
    answers = index.ask_list("append", "--wait", stdin=stdin, answer=1)
    found = [(each["line"], each["type"], each["verdict"], each["code"]) for each in answers]
    assert found == [
        (1, "project.created.v1", "accepted", ""),
        (2, "project.created.v1", "no effect", "repeated"),
        (3, "project.created.v1", "no effect", "exists"),
        (4, "file.yanked.v1", "rejected", "no-project"),
    ]
    assert [each["digest"] for each in answers[:2]] == [sha256(factory.encode([created])[0]).hexdigest()] * 2
    assert all(each["publication"] > 4 for each in answers)
    text = index.run("append", "--wait", stdin=stdin, answer=1)
    assert "line 1: no effect (repeated" in text
    assert "1 of 4 events was rejected" in text


def test_waiting_for_changes_and_files(service: tuple[Index, Running], tmp_path: Path) -> None:
    index, _ = service
    (tmp_path / "x").write_bytes(b"x")
    for arguments in (
        ("add", "--as", "tools/x", tmp_path / "x"),
        ("yank", "two==1.0"),
        ("unyank", "two==1.0"),
        ("remove", "two-1.0-py3-none-any.whl"),
        ("restore", "two"),
        ("status", "two", "archived"),
    ):
        command, *rest = arguments
        (answer,) = index.ask_list(command, *rest, "--wait")
        assert answer["verdict"] in {"accepted", "no effect"}, arguments
    (answer,) = index.ask_list("yank", "two==9", "--anyway", "--wait", answer=1)
    assert answer["code"] == "no-release"
    assert index.ask("status", "two")[0]["status"] == "archived"


def test_nobody_to_wait_for(index: Index) -> None:
    output = index.run("yank", "one==1.0", "--wait", "--wait-seconds", "0.3", answer=75)
    assert "Already on the log: event 6." in output
    assert "that a signer runs" in output


def test_nothing_to_wait_for(index: Index) -> None:
    path = index.upload("four")
    index.publish()
    assert "Nothing to add" in index.run("add", path, "--wait", "--wait-seconds", "0.3").splitlines()[-1]


# --- what makes no sense -----------------------------------------------------------------------------------------


def test_what_is_served_is_compared_with_the_end_of_the_log(index: Index) -> None:
    assert "leave out --to" in index.run("verify", "--served", index.public, "--to", 2, answer=2)
    assert "leave out --to" not in index.run("verify", "--to", 2)


def test_publications_are_numbered_from_one(index: Index, tmp_path: Path) -> None:
    assert "numbered from 1" in index.run("rebuild", "--to", tmp_path / "rebuilt", "--at", 0, answer=2)


def test_a_mistyped_log_leaves_nothing_behind(tmp_path: Path) -> None:
    invoke("rebuild", "--log", "nonsense", "--to", tmp_path / "rebuilt", answer=2)
    assert list(tmp_path.iterdir()) == []


def test_what_was_compared_is_said(index: Index) -> None:
    """A verification by URL leaves out distribution files unless it is asked; so may one of a folder."""
    assert "Distribution files were not compared (--files does)." in index.verify("--no-files")
    assert "not compared" not in index.verify()


def test_a_demonstration_without_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no wheels" in invoke("demo", "--keep", tmp_path / "kept", tmp_path / "empty", answer=1).output


def test_a_demonstration_with_files(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found from where the user stands."""
    path = build_wheel(index.folder, "shown", "1.0")
    monkeypatch.chdir(index.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(index.folder / "cache"))
    said = invoke("demo", path.name).output
    for command, line in (
        ("diff", "~ yanked shown 1.0: breaks on leap days"),
        ("log", "event 5  signed bins, root: rotation of the online key: the new one alone"),
        ("blame", "shown-1.0-py3-none-any.whl  listed, yanked: breaks on leap days, since publication 2"),
        ("verify", "differs: targets/packages/"),
    ):
        assert said.count(f"$ tuf-ledger {command} ") == 1
        assert line in said.partition(f"$ tuf-ledger {command} ")[2].partition("$ tuf-ledger")[0]
    assert not (index.folder / "cache").exists(), "the user's own catalogs"


def test_a_state_that_cannot_be_read_is_named(index: Index) -> None:
    path = index.folder / "state/signer.sqlite"
    path.write_bytes(b"no database" * 100)
    for command in (("status", "one"), ("restore", "one==1.0"), ("rejected",)):
        assert str(path) in index.run(*command, answer=2)


def test_silence_is_no_answer(index: Index) -> None:
    assert "No record was rejected" in index.run("rejected")


# --- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("status", "unknown"), 1),
        (("status", "one==9"), 1),
        (("status", "one-9.tar.gz"), 1),
        (("status", "One==1"), 0),
        (("status", WHEEL), 0),
        (("status", "one==1.0", "archived"), 2),
        (("restore", "one==9"), 1),
        (("restore", "one==1.0"), 1),
        (("restore", "unknown==1.0"), 1),
        (("yank", "one"), 2),
        (("yank", "=="), 2),
        (("yank", "one=="), 2),
        (("yank", "../../etc/passwd==1"), 1),
        (("yank", "\u00e4==1"), 1),
        (("yank", ""), 2),
        (("remove", "-"), 1),
        (("remove", "x" * 300), 1),
        (("yank", "one==" + "9" * 300), 1),
    ],
)
def test_targets_that_are_unknown_or_none(index: Index, arguments: tuple[str, ...], answer: int) -> None:
    before = index.info()["sizes"]
    index.run(*arguments, answer=answer)
    assert index.info()["sizes"] == before


def test_restoring_a_project_that_never_was(index: Index) -> None:
    index.run("restore", "never-was", answer=1)
    index.publish()
    assert "never-was" not in index.check().projects


@pytest.mark.parametrize("command", [("yank", "three==1.0"), ("remove", "three"), ("status", "three", "archived")])
def test_what_the_fold_rejects_is_appended_and_listed(index: Index, command: tuple[str, ...]) -> None:
    index.run(*command, "--anyway")
    before: Any = index.check()
    index.publish()
    assert index.check()._replace(number=0, size=0, shown=0) == before._replace(number=0, size=0, shown=0)
    assert [each["code"] for each in index.ask_list("rejected")] == ["no-project"]
    assert "no-project" in index.run("rejected")


# --- which state answers -------------------------------------------------------------------------------------------


def test_the_furthest_state_answers(index: Index, tmp_path: Path) -> None:
    """A signer's state that `init` left says nothing of what a publisher has seen since."""
    state = index.folder / "state"
    shutil.copytree(state, tmp_path / "older")
    index.run("append", stdin=lines([Make().file_yanked("none", "none-1.0.zip")]))
    index.publish()
    for path in state.iterdir():
        if path.name.startswith("signer"):
            path.rename(state / path.name.replace("signer", "publisher", 1))
    for path in (tmp_path / "older").iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, state / path.name)
    assert index.info()["consumers"]["signer"]["publication"] == 4
    assert index.info()["last"]["publication"] == 5
    assert [each["code"] for each in index.ask_list("rejected")] == ["no-project"]
    assert index.ask("rejected")[-1]["publication"] == 5


def test_a_log_is_named_as_seen_from_the_shell(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index.folder.parent)
    log = f"sqlite:{index.folder.name}/log"
    assert json.loads(invoke("info", "--json", "--log", log).stdout)["last"]["publication"] == 4
    assert json.loads(invoke("info", "--json", "--log", log, "--ledger", tmp_path).stdout)["consumers"] == {}
