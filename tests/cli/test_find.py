"""`find`: everywhere that something occurs, and the place of a file that was found in the wild."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.client.index import Index, tree
from tests.factory import Make

WHEEL = "one-1.0-py3-none-any.whl"


def kinds(found: list[Any]) -> list[str]:
    """What was found, in order."""
    return [each["kind"] for each in found]


def test_a_file_by_its_name_and_by_its_digest(index: Index) -> None:
    by_name = index.ask_list("find", WHEEL)
    assert kinds(by_name) == ["file", "event"]
    assert (by_name[0]["event"], by_name[1]["event"]) == (2, 2)
    digest = by_name[0]["sha256"]
    assert index.ask_list("find", f"sha256:{digest}") == index.ask_list("find", digest) == by_name
    beside = index.ask_list(
        "find", sha256((index.public / f"targets/{by_name[0]['target']}.metadata").read_bytes()).hexdigest()
    )
    assert [(each["kind"], each["beside"], each["event"]) for each in beside] == [("file", "metadata", 2)]
    assert "metadata beside packages/" in index.run("find", f"{index.public}/targets/{by_name[0]['target']}.metadata")


def test_actors_credentials_and_ids(index: Index) -> None:
    make = Make()
    index.append(make.access("granted", kind="credential", account="alice", credential="t-1"))
    index.append(make.having(actorid="alice", actorcredential="t-1", id="the-id").project_created("three"))
    assert [each["event"] for each in index.ask_list("find", "alice")] == [7, 6]
    assert [each["event"] for each in index.ask_list("find", "t-1")] == [7, 6]
    assert [each["event"] for each in index.ask_list("find", "the-id")] == [7]
    assert [each["event"] for each in index.ask_list("find", "alice", "--type", "access")] == [6]
    assert [each["event"] for each in index.ask_list("find", "t-1", "--actor", "alice")] == [7]
    assert [each["event"] for each in index.ask_list("find", "alice", "--limit", "1")] == [7]
    index.run("find", "alice", "--rejected", answer=1)


def test_names_that_only_rejected_events_have(index: Index) -> None:
    index.append(Make().file_removed("one", "one-9.zip"))
    (event,) = index.ask_list("find", "one-9.zip")
    assert (event["event"], event["code"]) == (6, "no-file")


def test_records_and_keys(index: Index) -> None:
    (publication,) = index.ask("show", "#3")
    (record,) = index.ask_list("find", publication["digest"])
    assert (record["kind"], record["type"], record["publication"]) == ("record", "publication", 3)
    (event,) = index.ask("show", "3")
    assert kinds(index.ask_list("find", event["digest"])) == ["event"]
    (role,) = index.ask("show", "timestamp@3")
    (keyid,) = [each["keyid"] for each in role["signatures"]]
    assert kinds(index.ask_list("find", keyid)) == ["key"]
    assert f"key {keyid}" in index.run("find", keyid[:10])


def test_every_served_file_leads_to_its_place(index: Index) -> None:
    for path in tree(index.public):
        found = index.ask_list("find", index.public / path)
        first = found[0]
        if path.startswith("metadata/"):  # empty bins have the same bytes
            paths = {f"metadata/{each['version']}.{each['role']}.json" for each in found}
            assert path in {*paths, "metadata/timestamp.json"}
        elif path.endswith((".html", ".json")):
            assert (first["kind"], first["altered"]) == ("page", False)
            assert first["offered"]
        else:
            assert first["kind"] == "file"


def test_altered_files_lead_to_their_place_too(index: Index, tmp_path: Path) -> None:
    assert "is simple/one/index.json, serial 5\n" in index.run("find", index.public / "targets/simple/one/index.json")
    other = tmp_path / "other"
    page = json.loads((index.public / "targets/simple/one/index.json").read_bytes())
    page["files"].pop()
    other.write_text(json.dumps(page))
    (found,) = index.ask_list("find", other)
    assert (found["kind"], found["project"], found["serial"], found["altered"]) == ("page", "one", 5, True)
    assert (found["publication"], found["offered"]) == (4, [])
    said = index.run("find", other)
    assert "says that it is simple/one/index.json, serial 5\n" in said
    assert "are not those that were published there" in said
    snapshot = (index.public / "metadata/3.snapshot.json").read_bytes()
    other.write_bytes(snapshot.replace(b'"content_size":', b'"content_size": '))
    (found,) = index.ask_list("find", other)
    assert (found["kind"], found["role"], found["version"], found["altered"]) == ("role", "snapshot", 3, True)


def test_what_occurs_nowhere(index: Index, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"{}")
    for what in ("nothing", "sha256:" + "0" * 64, tmp_path / "other"):
        assert "occurs nowhere on the logs" in index.run("find", what, answer=1)


@pytest.mark.parametrize(
    "signed",
    [
        {"_type": [], "version": 1},
        {"_type": "targets", "version": 1, "delegations": {"roles": [{"name": []}, 7]}},
        {"_type": "targets", "version": 1, "targets": {"\0": 1}},
    ],
)
def test_files_that_are_no_metadata(index: Index, tmp_path: Path, signed: object) -> None:
    (tmp_path / "other").write_text(json.dumps({"signed": signed}))
    assert "defect" not in index.run("find", tmp_path / "other", answer=None)


def test_what_no_record_can_say(index: Index) -> None:
    for command in ("find", "log", "show", "blame", "access"):
        assert "not UTF-8" in index.run(command, "a\udcff", answer=2)
    assert "occurs nowhere" in index.run("find", "x" * 300, answer=1)
    assert "range" in index.run("log", "--between", 1, 10**30, answer=2)
    for days in ("1e30", "nan"):
        assert "--late-files" in index.run("log", "--late-files", days, answer=2)
