"""What `add` and the commands beside it append, and in whose name."""

import json
import zipfile
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import pytest

from consumers.cli.commands.add import STORED_AT_ONCE
from consumers.cli.commands.append import MOST_ABSENT
from schemas.codec import encode_event
from tests.client.index import Index, invoke, lines, tree
from tests.distributions import build_sdist, build_wheel
from tests.factory import Make


def last_event(index: Index) -> dict[str, Any]:
    """The newest event, as `log` shows it."""
    newest: dict[str, Any] = max(index.ask_list("log"), key=lambda each: int(each["event"]))
    return newest


# --- who acts ----------------------------------------------------------------------------------------------------

ACTING: tuple[tuple[str, ...], ...] = (
    ("add", "{folder}/three-1.0-py3-none-any.whl"),
    ("add", "--as", "tools/x", "{folder}/three-1.0-py3-none-any.whl"),
    ("yank", "two==1.0"),
    ("unyank", "one==1.0"),
    ("remove", "two==1.0"),
    ("restore", "two"),
    ("status", "two", "archived"),
)


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_an_event_says_who_acted(index: Index, tmp_path: Path, command: tuple[str, ...]) -> None:
    build_wheel(tmp_path, "three", "1.0")
    options = ("--actor", "trusted-publisher:github:one", "--credential", "token-7", "--incident", "theft")
    index.run(command[0], *(each.format(folder=tmp_path) for each in command[1:]), *options)
    event = last_event(index)
    assert event["actor"] == {"kind": "trusted-publisher", "id": "github:one"}
    assert (event["credential"], event["incident"]) == ("token-7", "theft")


def test_an_actor_without_a_kind_is_an_administrator(index: Index) -> None:
    for actor in ("alice", "pypi:alice"):
        index.run("yank", "two==1.0", "--actor", actor)
        event = last_event(index)
        assert (event["actor"], event.get("credential")) == ({"kind": "administrator", "id": actor}, None)


@pytest.mark.parametrize(
    "options",
    [("--actor", "two words"), ("--actor", "user:"), ("--actor", ""), ("--credential", "é"), ("--incident", "x" * 129)],
)
def test_names_of_actors_that_are_none(index: Index, options: tuple[str, str]) -> None:
    before = index.info()["sizes"]
    assert options[0] in index.run("yank", "two==1.0", *options, answer=2)
    assert index.info()["sizes"] == before


# --- what will be rejected ---------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "project-archived": ((("status", "two", "archived"),), ("add", "{folder}/two-2.0-py3-none-any.whl")),
    "project-quarantined": ((("status", "two", "quarantined"),), ("add", "{folder}/two-2.0-py3-none-any.whl")),
    "project-removed": ((("remove", "two"),), ("add", "{folder}/two-2.0-py3-none-any.whl")),
    "filename-taken": ((), ("add", "{folder}/two-1.0-py3-none-any.whl")),
    "file-removed": ((("remove", "one-1.0.tar.gz"),), ("add", "{folder}/one-1.0.tar.gz")),
    "equivalent-filename": ((), ("add", "{folder}/Two-1.0-py2.py3-none-any.whl")),
    "no-project": ((), ("yank", "four==1.0")),
    "no-release": ((), ("yank", "one==9")),
    "no-file": ((), ("remove", "one-9.tar.gz")),
}


@pytest.mark.parametrize("code", REJECTED)
def test_what_will_be_rejected_is_refused(index: Index, tmp_path: Path, code: str) -> None:
    before, (command, *rest) = REJECTED[code]
    for each in before:
        index.run(*each)
    index.publish()
    folder = tmp_path / "dist"
    folder.mkdir()
    build_wheel(folder, "two", "2.0")
    build_wheel(folder, "two", "1.0", files={"more.py": b"more"})
    build_wheel(folder, "two", "1.0", filename="Two-1.0-py2.py3-none-any.whl")
    build_sdist(folder, "one", "1.0")
    arguments = [each.format(folder=folder) for each in rest]
    sizes, served = index.info()["sizes"], tree(index.public)
    refused, end = index.ask(command, *arguments, answer=1)
    assert (refused["code"], end["error"], end["refused"], end["events"]) == (code, "negative-answer", 1, 0)
    assert refused["why"] in end["message"]
    assert "--anyway" in index.run(command, *arguments, answer=1)
    assert (index.info()["sizes"], tree(index.public)) == (sizes, served)

    index.run(command, *arguments, "--anyway")
    index.publish()
    assert [each["code"] for each in index.ask_list("rejected")] == [code]


def test_one_refused_file_keeps_the_others_out(index: Index, tmp_path: Path) -> None:
    build_wheel(tmp_path, "alpha", "1.0")
    taken = build_wheel(tmp_path, "two", "1.0", files={"more.py": b"more"})
    served, sizes = tree(index.public), index.info()["sizes"]
    assert taken.name in index.run("add", tmp_path / "alpha-1.0-py3-none-any.whl", taken, answer=1)
    assert (index.info()["sizes"], tree(index.public)) == (sizes, served)


def test_nothing_is_stored_if_the_log_cannot_be_reached(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUF_LEDGER_KAFKA_TIMEOUT_SECONDS", "0.3")
    served, path = tree(index.public), build_wheel(tmp_path, "alpha", "1.0")
    index.run("add", "--log", "kafka://127.0.0.1:1/x", path, answer=75)
    assert tree(index.public) == served


def test_many_files_are_added_in_parts(index: Index, tmp_path: Path) -> None:
    for number in range(STORED_AT_ONCE + 5):
        build_wheel(tmp_path, "many", f"1.{number}")
    assert f"Added {STORED_AT_ONCE + 5} files" in index.run("add", *tmp_path.glob("many-*.whl"))
    index.publish()
    lost = index.upload("many", "2.0")
    index.publish()
    for path in index.public.rglob(f"*{lost.name}"):
        path.unlink()
    assert "Nothing to add" in index.run("add", lost)
    index.verify()


def test_several_refusals_are_said_one_by_one(index: Index, tmp_path: Path) -> None:
    paths = [build_wheel(tmp_path, name, "1.0", files={"more.py": b"more"}) for name in ("one", "two")]
    output = index.run("add", *paths, answer=1)
    assert all(f"{path.name}: {path.name} is taken" in output for path in paths)
    assert "2 refusals, see above. Nothing was appended" in output


def test_what_is_not_published_yet_is_known_too(index: Index, tmp_path: Path) -> None:
    """The state of the last publication does not know it, but the log does."""
    build_wheel(tmp_path, "three", "1.0")
    index.run("add", tmp_path / "three-1.0-py3-none-any.whl")
    index.run("yank", "three==1.0")
    index.run("remove", "two")
    index.publish()
    index.run("restore", "two")
    index.run("status", "two", "archived")
    index.run("status", "two", "active")
    index.run("add", build_wheel(tmp_path, "two", "2.0"))
    index.publish()
    assert index.ask_list("rejected") == []


def test_nothing_is_refused_where_no_state_is(index: Index, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    invoke("yank", "--log", f"sqlite:{index.folder / 'log'}", "--ledger", elsewhere, "four==1.0")
    index.publish()
    assert [each["code"] for each in index.ask_list("rejected")] == ["no-project"]


# --- keep going --------------------------------------------------------------------------------------------------


def test_keep_going_adds_what_can_be_added(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    (folder / "twin").mkdir(parents=True)
    good = build_wheel(folder, "good", "1.0")
    taken = build_wheel(folder, "two", "1.0", files={"more.py": b"more"})
    damaged = folder / "bad-1.0-py3-none-any.whl"
    damaged.write_bytes(b"this is no zip")
    build_wheel(folder / "twin", "good", "1.0", files={"other.py": b"other"})
    *items, end = index.ask("add", "--keep-going", folder, tmp_path / "none.whl", answer=1)
    added = [each for each in items if "event" in each]
    refused = {each["file"]: each["code"] for each in items if "event" not in each}
    assert [each["file"] for each in added] == [good.name]
    assert refused == {taken.name: "filename-taken", damaged.name: "", good.name: "", "none.whl": ""}
    assert (end["events"], end["refused"]) == (1, 4)
    assert not list(index.public.rglob(f"*{damaged.name}"))
    assert good.name in index.publish_and_check().filenames()
    output = index.run("add", "--keep-going", folder, answer=1)
    assert "3 refusals, see above. Nothing was appended" in output
    assert "is taken, by other facts" in output


def test_keep_going_leaves_out_what_is_withheld(index: Index, tmp_path: Path) -> None:
    path = index.upload("three")
    index.publish()
    index.run("remove", "three", "--withhold")
    index.publish()
    output = index.run("add", "--keep-going", "--anyway", path, build_wheel(tmp_path, "four", "1.0"), answer=1)
    assert "restore it first" in output
    assert not list(index.public.rglob("three-*"))
    assert "four" in index.publish_and_check().projects


def test_keep_going_without_refusals(index: Index, tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "good", "1.0")
    assert "Added 1 file" in index.run("add", "--keep-going", path)
    assert "no wheels" in index.run("add", "--keep-going", tmp_path / "index" / "keys", answer=1)


# --- old files ---------------------------------------------------------------------------------------------------

UPLOADED_AT = "2019-05-04T10:20:30.123456Z"


@pytest.fixture
def importing(tmp_path: Path) -> Index:
    """An empty ledger whose root says `importing`."""
    return Index.create(tmp_path / "importing", "--importing")


def shown_at(index: Index, project: str) -> dict[str, str]:
    """The upload times on a project's page, by file."""
    page = json.loads((index.public / f"targets/simple/{project}/index.json").read_bytes())
    return {each["filename"]: each["upload-time"] for each in page["files"]}


def test_old_files_are_imported_as_they_were(importing: Index, tmp_path: Path) -> None:
    paths = [build_sdist(tmp_path, "old", "1.0", suffix=suffix) for suffix in (".tar.gz", ".zip")]
    importing.publish()
    output = importing.run("add", "--legacy", "--uploaded-at", UPLOADED_AT, *paths)
    assert "note:" not in output
    importing.publish_and_check()
    assert shown_at(importing, "old") == {path.name: UPLOADED_AT for path in paths}
    importing.run("add", "--uploaded-at", "2019-05-04", build_wheel(tmp_path, "new", "1.0"))
    importing.publish()
    assert set(shown_at(importing, "new").values()) == {"2019-05-04T00:00:00Z"}


def test_what_bounds_upload_times_is_said(index: Index, tmp_path: Path) -> None:
    last = index.info()["last"]["time"]
    output = index.run("add", "--uploaded-at", UPLOADED_AT, build_wheel(tmp_path, "new", "1.0"))
    assert "root does not say `importing`: the upload time that is shown will not be before the last" in output
    index.publish()
    assert set(shown_at(index, "new").values()) == {last}
    twins = [build_sdist(tmp_path, "twins", "1.0", suffix=suffix) for suffix in (".tar.gz", ".zip")]
    output = index.run("add", "--legacy", *twins, answer=1)
    assert "--legacy allows nothing" in output
    assert "installers take" in output


@pytest.mark.parametrize("time", ["yesterday", "2019-02-30", "2019-05-04T10:20:30", "2019-05-04T10:20:30.1234567Z"])
def test_times_that_are_none(index: Index, time: str) -> None:
    assert "is no UTC time" in index.run("add", "--uploaded-at", time, __file__, answer=2)


def test_other_targets_have_no_upload_time(index: Index) -> None:
    index.run("add", "--as", "tools/x", "--legacy", __file__, answer=2)
    index.run("add", "--as", "tools/x", "--uploaded-at", "2019-05-04", __file__, answer=2)


# --- events of one's own -----------------------------------------------------------------------------------------


def own_upload(path: Path, filename: str, version: str, **changes: Any) -> dict[str, Any]:
    """An event about a file, as a producer makes it."""
    data = path.read_bytes()
    hashes = {"sha256": sha256(data).hexdigest(), "blake2b_256": blake2b(data, digest_size=32).hexdigest()}
    return {
        "specversion": "1.0",
        "id": "mine-1",
        "source": "/mine",
        "type": "file.uploaded.v1",
        "subject": "strange",
        "time": "2031-01-01T00:00:00Z",
        "actorkind": "user",
        "actorid": "bob",
        "data": {"filename": filename, "version": version, "length": len(data), "hashes": hashes, **changes},
    }


def test_an_event_of_ones_own_and_its_bytes(index: Index, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"no archive at all")
    made = own_upload(tmp_path / "blob", "strange-1.0.tar.gz", "1.0")
    (tmp_path / "event.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
    (added,) = index.ask_list("add", "--event", tmp_path / "event.json", tmp_path / "blob")
    assert added["digest"] == sha256((tmp_path / "event.json").read_bytes()).hexdigest()
    assert last_event(index)["actor"] == {"kind": "user", "id": "bob"}
    assert "strange-1.0.tar.gz" in index.publish_and_check().filenames()
    index.verify()
    index.run("status", "strange", "archived")
    index.publish()
    made["data"]["filename"] = "strange-1.0.zip"
    (tmp_path / "event.json").write_text(json.dumps(made), encoding="utf-8")
    before = tree(index.public)
    assert "installers take" in index.run("add", "--event", tmp_path / "event.json", tmp_path / "blob", answer=1)
    assert tree(index.public) == before


def test_core_metadata_of_an_event_of_ones_own(index: Index, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "strange", "1.0")
    metadata = zipfile.ZipFile(wheel).read("strange-1.0.dist-info/METADATA")
    for digest, answer in ((sha256(b"").hexdigest(), 1), (sha256(metadata).hexdigest(), 0)):
        made = own_upload(wheel, wheel.name, "1.0", core_metadata_sha256=digest)
        (tmp_path / "event.json").write_text(json.dumps(made), encoding="utf-8")
        index.run("add", "--event", tmp_path / "event.json", wheel, answer=answer)
    assert wheel.name in index.publish_and_check().filenames()
    index.verify()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "is no event: not-json"),
        (encode_event(Make().project_created("three")), "append it with `tuf-ledger append`"),
        (encode_event(Make().file_uploaded("three", "three-1.0.tar.gz")), "is about other bytes than"),
    ],
)
def test_events_that_add_does_not_take(index: Index, tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "event.json").write_bytes(text)
    before = index.info()["sizes"], tree(index.public)
    assert message in index.run("add", "--event", tmp_path / "event.json", __file__, answer=1)
    assert (index.info()["sizes"], tree(index.public)) == before


def test_options_that_do_not_go_with_an_event(index: Index) -> None:
    for options in (("--legacy",), ("--keep-going",), ("--actor", "bob"), ("--as", "x"), (__file__,)):
        assert "--" in index.run("add", "--event", __file__, __file__, *options, answer=2)


# --- events without bytes ----------------------------------------------------------------------------------------


def test_append_names_uploads_without_bytes(index: Index, tmp_path: Path) -> None:
    make = Make()
    uploads = [make.file_uploaded(f"absent-{number}") for number in range(MOST_ABSENT + 2)]
    output = index.run("append", stdin=lines([make.project_created("three"), *uploads]))
    assert "the bytes of absent-0-1.0.tar.gz are not in the public folder" in output
    assert output.count("are not in the public folder") == MOST_ABSENT
    assert "22 uploads without bytes" in output
    wheel = build_wheel(tmp_path, "here", "1.0")
    index.run("add", wheel)
    assert "note:" not in index.run("append", stdin=lines([own_upload(wheel, wheel.name, "1.0")]))


def test_append_knows_nothing_of_the_bytes_of_a_log_elsewhere(index: Index, tmp_path: Path) -> None:
    log = f"sqlite:{index.folder / 'log'}"
    stdin = lines([Make().file_uploaded("absent")])
    assert "note:" not in invoke("append", "--log", log, "--ledger", tmp_path, stdin=stdin).output


# --- what is added and not published yet -------------------------------------------------------------------------


def test_what_is_added_is_no_difference(index: Index, tmp_path: Path) -> None:
    """With its core metadata, and held back or not: its event is on the log."""
    (tmp_path / "blob").write_bytes(b"no archive at all")
    made = own_upload(tmp_path / "blob", "strange-1.0.tar.gz", "1.0")
    (tmp_path / "event.json").write_text(json.dumps(made), encoding="utf-8")
    index.run("add", build_wheel(tmp_path, "three", "1.0"), build_sdist(tmp_path, "three", "1.0"))
    index.run("add", "--event", tmp_path / "event.json", tmp_path / "blob")
    index.run("add", "--as", "tools/x", tmp_path / "blob")
    index.verify()
    index.run("hold", "--unlocked")
    index.run("add", build_wheel(tmp_path, "four", "1.0"))
    index.publish()
    index.verify()
    stray = index.public / "targets/packages/stray-1.0.tar.gz"
    stray.write_bytes(b"nobody added this")
    assert "stray" in index.verify(answer=1)
