"""`show`: events, publications, versions of roles, targets and keys, each whole."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from projections.metadata.paths import read_path
from tests.client.index import Index, invoke, tree
from tests.factory import Make

WHEEL = "one-1.0-py3-none-any.whl"


def test_every_served_metadata_file_is_made_again(index: Index, tmp_path: Path) -> None:
    index.run("ceremony", "--rotate-online")
    index.publish()
    out = tmp_path / "out"
    for path, digest in tree(index.public / "metadata").items():
        place = read_path(f"metadata/{path}")
        assert place is not None
        (by_path,) = index.ask("show", f"metadata/{path}", "--out", out)
        assert sha256(out.read_bytes()).hexdigest() == digest == by_path["sha256"]
        assert {each["keyid"] for each in by_path["signatures"]} == {
            each["keyid"] for each in json.loads(out.read_bytes())["signatures"]
        }
        (by_role,) = index.ask("show", f"{by_path['role']}@{by_path['version']}")
        assert by_role == by_path


def test_an_event_by_index_and_by_id(index: Index) -> None:
    (event,) = index.ask("show", "2")
    assert (event["kind"], event["verdict"], event["standing"], event["publication"]) == (
        "event",
        "accepted",
        "shown",
        2,
    )
    assert event["data"]["filename"] == event["file"] == WHEEL
    assert event["data"]["requires_python"] == ">=3.9"
    assert index.ask("show", event["id"]) == index.ask("show", f"event:{event['id']}") == [event]
    assert (event["state"], event["yanked"], event["offered"]) == ("listed", "broken", [{"first": 2, "last": None}])
    text = index.run("show", "2")
    assert "the file is listed, yanked: broken, since publication 2" in text
    assert "reproduced here" in text
    assert event["digest"] in text


def test_a_number_is_an_event_unless_it_is_marked(index: Index) -> None:
    (publication,) = index.ask("show", "#2")
    assert publication["kind"] == "publication"
    assert index.ask("show", "publication:2") == [publication]
    assert publication["shows"] == publication["covers"] == [2, 4]
    assert publication["verdicts"] == {"accepted": 2}
    assert [each["event"] for each in publication["events"]] == [2, 3]
    assert publication["snapshot_sha256"] == tree(index.public)["metadata/2.snapshot.json"]
    assert index.ask("show", "#4")[0]["size"] == 6
    assert index.ask("show", "4")[0]["kind"] == "event"


def test_what_is_pending_says_so(index: Index) -> None:
    index.append(Make().project_created("three"))
    (event,) = index.ask("show", "6")
    assert (event["standing"], event["publication"]) == ("pending", None)
    assert "pending" in index.run("show", "6")


def test_a_target_by_every_path(index: Index) -> None:
    paths = [path for path in tree(index.public) if path.endswith(f".{WHEEL}")]
    (hashed,) = paths
    digest = Path(hashed).name.partition(".")[0]
    plain = hashed.replace(f"{digest}.", "")
    target = plain.removeprefix("targets/")
    answers = [index.ask("show", path)[0] for path in (hashed, plain, f"{plain}.metadata", target)]
    (file,) = answers[0]["targets"]
    assert all(each == answers[0] for each in answers)
    assert (file["kind"], file["event"], file["sha256"], file["state"]) == ("file", 2, digest, "listed")
    assert file["offered"] == [{"first": 2, "last": None}]
    index.run("remove", WHEEL)
    index.publish()
    (gone,) = index.ask("show", target)[0]["targets"]
    assert (gone["state"], gone["offered"]) == ("removed", [{"first": 2, "last": 4}])
    (page,) = index.ask("show", "simple/one/index.json")[0]["targets"]
    assert (page["kind"], page["event"], page["offered"]) == ("page", 2, [{"first": 2, "last": None}])
    index.run("show", hashed.replace(digest, "0" * 64), answer=1)


def test_other_targets_one_after_the_other(index: Index, tmp_path: Path) -> None:
    for text in ("a", "b"):
        (tmp_path / "notes").write_text(text)
        index.run("add", "--as", "notes", tmp_path / "notes")
        index.publish()
    first, second = index.ask("show", "notes")[0]["targets"]
    assert (first["state"], first["offered"]) == ("replaced", [{"first": 5, "last": 5}])
    assert (second["state"], second["offered"]) == ("listed", [{"first": 6, "last": None}])


def test_keys_and_what_they_signed(index: Index) -> None:
    (before,) = index.ask("show", "timestamp@4")
    (signature,) = before["signatures"]
    (key,) = index.ask("show", signature["keyid"][:12])
    assert (key["kind"], key["roles"]) == ("key", signature["roles"])
    signed = [path for path in tree(index.public / "metadata") if path[0].isdigit()]
    bins = [path for path in signed if ".bin-" in path]
    assert key["versions"] == {"timestamp": 4, "snapshot": 4, "bin": len(bins)}
    index.run("ceremony", "--rotate-online")
    (after,) = index.ask("show", signature["keyid"])
    assert {(each["role"], each["since"]) for each in after["roles"]} == {
        (role, 1) for role in ("bin", "snapshot", "timestamp")
    }
    assert all(each["until"] is not None for each in after["roles"])
    root, *_ = index.ask("show", "root@1")[0]["signatures"]
    assert index.ask("show", root["keyid"])[0]["versions"]["root"] >= 2


@pytest.mark.parametrize(
    "what", ["99", "#99", "publication:0", "root@9", "bin-0@99", "nothing", "simple/x/index.json", "event:x"]
)
def test_what_is_not_there(what: str, index: Index) -> None:
    (answer,) = index.ask("show", what, answer=1)
    assert (answer["error"], answer["exit"]) == ("negative-answer", 1)


def test_out_is_for_files(index: Index, tmp_path: Path) -> None:
    index.run("show", "2", "--out", tmp_path / "out", answer=2)
    index.run("show", "root@1", "--out", tmp_path / "none" / "out", answer=2)


def test_the_logs_alone_are_enough(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    log = f"sqlite:{index.folder}/log"
    (elsewhere,) = [json.loads(invoke("show", "--log", log, "--json", "#3").stdout)]
    (here,) = index.ask("show", "#3")
    assert here["reproduced"] is True
    assert elsewhere["reproduced"] is False
    assert "not reproduced here" in invoke("show", "--log", log, "#3").output


def test_a_copy_of_the_logs_that_lags_behind_is_named(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog that was made of a longer copy cannot answer for a shorter one, and no log was rolled back for that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lagging = shutil.copytree(index.folder / "log", tmp_path / "lagging")
    index.upload("three")
    invoke("show", "--log", f"sqlite:{index.folder}/log", "6")
    for log in (lagging, shutil.copytree(lagging, tmp_path / "other")):
        said = json.loads(invoke("show", "--log", f"sqlite:{log}", "--json", "#3", answer=2).stdout)
        assert said["error"] == "catalog-ahead"
        assert f"this copy of the log ends at record 5 ({log}/events.sqlite)" in said["message"]
        assert "the catalog has read up to record 6 of another copy" in said["message"]
    (private,) = (tmp_path / "cache/tuf-ledger").glob("*.sqlite")
    private.unlink()
    invoke("show", "--log", f"sqlite:{lagging}", "#3")
    index.publish()
    invoke("show", "--log", f"sqlite:{index.folder}/log", "#3")
    shutil.copy(index.folder / "log/events.sqlite", lagging / "events.sqlite")
    said = json.loads(invoke("show", "--log", f"sqlite:{lagging}", "--json", "#3", answer=2).stdout)
    assert (said["error"], f"({lagging}/publications.sqlite)" in said["message"]) == ("catalog-ahead", True)


def test_a_relative_cache_folder_is_ignored(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "All paths set in these environment variables must be absolute. If an implementation encounters a relative path
    in any of these variables it should consider the path invalid and ignore it (XDG Base Directory Specification)
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for setting in ("cache", "", "./cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", setting)
        invoke("show", "--log", f"sqlite:{index.folder}/log", "#3")
        assert not (tmp_path / "cache").exists()
        assert not (tmp_path / "tuf-ledger").exists()
        assert len(list((tmp_path / "home/.cache/tuf-ledger").glob("*.sqlite"))) == 1
