"""`reconcile`: each difference between another index and the ledger, and the record that explains it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client.index import Index
from tests.serving import simple_index

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = Index.create(tmp_path_factory.mktemp("index") / "index")
    index.upload("one")
    index.upload("one", "2.0")
    index.upload("two", requires_python=">=3.9")
    index.upload("old")
    index.run("yank", "one==1.0", "--reason", "broken")
    index.publish()
    return index


@pytest.fixture
def mirror(index: Index, tmp_path: Path) -> Path:
    shutil.copytree(index.public / "targets", tmp_path / "mirror")
    return tmp_path / "mirror"


def change(mirror: Path, project: str, act: Change) -> None:
    path = mirror / f"simple/{project}/index.json"
    page = json.loads(path.read_bytes())
    act(page)
    path.with_name("index.html").unlink(missing_ok=True)
    path.unlink()  # it may be a second name of a file that a state keeps
    path.write_text(json.dumps(page), encoding="utf-8")


def differences(index: Index, *arguments: object, answer: int = 1) -> list[tuple[Any, ...]]:
    """Where, what, what both say, and the indices of the events that explain it."""
    found = index.ask_list("reconcile", *arguments, answer=answer)
    return [
        (
            each["file"] or each["project"],
            each["aspect"],
            each["there"],
            each["here"],
            [one["event"] for one in each["events"]],
        )
        for each in found
    ]


def test_a_misspelt_name_is_no_agreement(index: Index, mirror: Path) -> None:
    (last,) = index.ask("reconcile", mirror, "one", "onne", answer=1)
    assert (last["message"], last["different"]) == (f"neither {mirror} nor the ledger has onne", 0)


def test_what_a_ledger_serves_does_not_differ_from_it(index: Index, mirror: Path) -> None:
    assert differences(index, mirror, answer=0) == []
    assert "3 projects, 4 files that both list: 0 differences." in index.run("reconcile", mirror)


def test_over_http(index: Index) -> None:
    with simple_index(index.public) as url:
        assert differences(index, url, answer=0) == []
        assert differences(index, url, "One", answer=0) == []


def test_a_page_in_html_does_not_say_everything(index: Index, mirror: Path) -> None:
    page = json.loads((mirror / "simple/two/index.json").read_bytes())
    (file,) = page["files"]
    link = (
        f'<a href="{file["url"]}#sha256={file["hashes"]["sha256"]}" data-requires-python="&gt;=3.9" '
        'data-core-metadata="true">two</a>'
    )
    shutil.rmtree(mirror / "simple/two")
    (mirror / "simple/two").mkdir()
    (mirror / "simple/two/index.html").write_text(f"<!DOCTYPE html><body>{link}</body>", encoding="utf-8")
    assert differences(index, mirror, "two", answer=0) == []
    said = index.run("reconcile", mirror, "two")
    assert "0 differences. The source does not say 3 facts: not compared" in said  # length, time, digest of metadata


def yanked(reason: object) -> Change:
    return lambda file: file.update(yanked=reason)


FILE: list[tuple[Change, tuple[Any, ...]]] = [
    (yanked(False), ("yanked", None, "broken", [6])),
    (yanked(True), ("yanked", "", "broken", [6])),
    (yanked("worse"), ("yanked", "worse", "broken", [6])),
    (lambda file: file.update(size=1), ("length", 1, "length", [2])),
    (lambda file: file["hashes"].update(sha256="ab" * 32), ("sha256", "ab" * 32, "sha256", [2])),
    (lambda file: file.update({"requires-python": ">=3.*"}), ("requires_python", ">=3.*", None, [2])),
    (
        lambda file: file.update({"upload-time": "2020-01-01T00:00:00Z"}),
        ("upload_time", "2020-01-01T00:00:00Z", "time", [2]),
    ),
    (
        lambda file: file.update({"core-metadata": {"sha256": "cd" * 32}}),
        ("core_metadata", "cd" * 32, "core-metadata", [2]),
    ),
    (lambda file: file.update({"core-metadata": False}), ("core_metadata", None, "core-metadata", [2])),
    (lambda file: file.update(provenance="https://x.example.org/p"), ("provenance", "there", None, [2])),
]


@pytest.mark.parametrize(("act", "found"), FILE, ids=[f"{found[0]}-{found[1]}" for _, found in FILE])
def test_each_fact_of_a_file(index: Index, mirror: Path, act: Change, found: tuple[Any, ...]) -> None:
    facts: dict[str, Any] = {}

    def once(page: dict[str, Any]) -> None:
        file = page["files"][0]
        facts["length"], facts["sha256"] = file["size"], file["hashes"]["sha256"]
        facts["time"], facts["core-metadata"] = file["upload-time"], file["core-metadata"]["sha256"]
        act(file)

    change(mirror, "one", once)
    what, source, ledger, events = found
    assert differences(index, mirror) == [("one-1.0-py3-none-any.whl", what, source, facts.get(ledger, ledger), events)]


def test_times_are_compared_however_they_are_written(index: Index, mirror: Path) -> None:
    def rewrite(page: dict[str, Any]) -> None:
        file = page["files"][0]
        file["upload-time"] = file["upload-time"].removesuffix("Z").partition(".")[0] + ".000000+00:00"

    change(mirror, "two", rewrite)
    assert differences(index, mirror, answer=0) == []


def test_a_time_without_a_zone_is_not_that_of_this_machine(index: Index, mirror: Path) -> None:
    def forget_zone(page: dict[str, Any]) -> None:
        page["files"][0]["upload-time"] = page["files"][0]["upload-time"].removesuffix("Z")

    change(mirror, "two", forget_zone)
    assert [aspect for _, aspect, *_ in differences(index, mirror)] == ["upload_time"]


def test_what_one_side_has_alone(index: Index, mirror: Path) -> None:
    shutil.rmtree(mirror / "simple/old")
    shutil.copytree(mirror / "simple/two", mirror / "simple/new")
    change(mirror, "new", lambda page: page.update(name="new", files=[]))
    listed = json.loads((mirror / "simple/index.json").read_bytes())
    (mirror / "simple/index.json").unlink()
    listed["projects"] = [{"name": "New"}, *(each for each in listed["projects"] if each["name"] != "old")]
    (mirror / "simple/index.json").write_text(json.dumps(listed), encoding="utf-8")
    change(mirror, "one", lambda page: page["files"].pop())
    extra = {"filename": "two-9.zip", "url": "two-9.zip", "hashes": {}}
    change(mirror, "two", lambda page: page["files"].append(extra))
    assert differences(index, mirror) == [
        ("new", "project", "active", None, []),
        ("old", "project", None, "active", [5]),
        ("old-1.0-py3-none-any.whl", "file", None, "listed", [5]),
        ("one-2.0-py3-none-any.whl", "file", None, "listed", [3]),
        ("two-9.zip", "file", "listed", None, []),
    ]
    assert "only the ledger has it" in index.run("reconcile", mirror, "one", answer=1)


def test_statuses(index: Index, mirror: Path) -> None:
    status = {"project-status": {"status": "archived", "reason": "done"}}
    change(mirror, "two", lambda page: page.update(status))
    assert differences(index, mirror) == [
        ("two", "status", "archived", "active", [4]),
        ("two", "reason", "done", None, [4]),
    ]


def test_a_quarantine_of_the_source_hides_its_files(index: Index, mirror: Path) -> None:
    status = {"project-status": {"status": "quarantined"}, "files": []}
    change(mirror, "two", lambda page: page.update(status))
    assert differences(index, mirror) == [("two", "status", "quarantined", "active", [4])]


def test_what_waits_for_a_publication_counts_and_so_does_what_was_refused(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index")
    index.upload("one")
    index.upload("one", "2.0")
    index.publish()
    mirror = tmp_path / "mirror"
    shutil.copytree(index.public / "targets", mirror)
    index.run("remove", "one-2.0-py3-none-any.whl")
    index.run("yank", "one==1.0")
    index.run("status", "two", "archived", "--anyway")
    path = index.upload("one", "3.0")
    index.run("remove", path.name)
    name = "one-2.0-py3-none-any.whl"
    assert differences(index, mirror) == [
        ("one-1.0-py3-none-any.whl", "yanked", None, "", [5]),
        (name, "file", "listed", "removed", [3, 4]),
    ]
    index.publish()
    assert len(differences(index, mirror)) == 2

    index.run("remove", "one")  # the whole project
    found = differences(index, mirror)
    assert found[0] == ("one", "project", "active", None, [9])


def test_a_refused_upload_explains_why_a_file_is_not_there(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index")
    index.upload("one")
    index.run("status", "one", "archived")
    index.upload("one", "2.0", anyway=True)
    index.publish()
    mirror = tmp_path / "mirror"
    shutil.copytree(index.public / "targets", mirror)
    extra = {"filename": "one-2.0-py3-none-any.whl", "url": "one-2.0-py3-none-any.whl", "hashes": {}}
    change(mirror, "one", lambda page: page["files"].append(extra))
    (found,) = index.ask_list("reconcile", mirror, answer=1)
    (event,) = found["events"]
    assert (found["file"], found["here"], event["event"], event["code"]) == (
        "one-2.0-py3-none-any.whl",
        None,
        4,
        "project-archived",
    )


def test_a_folder_of_files_knows_no_yanks(index: Index, tmp_path: Path) -> None:
    shutil.copytree(index.folder.with_name("index-files"), tmp_path / "files")
    for path in (tmp_path / "files").iterdir():
        os.utime(path, (1_577_836_800, 1_577_836_800))
    found = differences(index, tmp_path / "files")
    assert [(what, source) for _, what, source, *_ in found] == [("upload_time", "2020-01-01T00:00:00Z")] * 4


def test_what_is_no_source_is_said(index: Index, tmp_path: Path) -> None:
    assert "nor a folder" in index.run("reconcile", tmp_path / "nothing", answer=2)
    (tmp_path / "simple").mkdir(parents=True)
    (tmp_path / "simple/index.json").write_text("{}", encoding="utf-8")
    assert "no page of an index" in index.run("reconcile", tmp_path, answer=2)


def test_pages_that_cannot_be_read_are_differences(index: Index, mirror: Path) -> None:
    """Nobody can say that nothing differs there; and the other pages are compared."""
    change(mirror, "one", lambda page: page.update(meta={"api-version": "2.0"}))
    shutil.rmtree(mirror / "simple/old")
    listed = json.loads((mirror / "simple/index.json").read_bytes())
    (mirror / "simple/index.json").unlink()
    listed["projects"].append({"name": "empty"})
    (mirror / "simple/index.json").write_text(json.dumps(listed), encoding="utf-8")
    empty, old, one = differences(index, mirror)
    assert [each[:2] for each in (empty, old, one)] == [("empty", "entry"), ("old", "entry"), ("one", "entry")]
    assert empty[2] == old[2] == "is not there, though the source lists the project"
    assert "cannot be read" in one[2]
    assert "old: its page is not there, though" in index.run("reconcile", mirror, answer=1)
