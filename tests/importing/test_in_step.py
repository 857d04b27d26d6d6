"""A second import appends what has changed, and nothing else; and what is unusual is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.client.index import Index, invoke
from tests.distributions import build_wheel
from tests.importing.sources import Page, real_file, write_mirror


def page(*files: Page, **members: Any) -> Page:
    return {"meta": {"api-version": "1.4"}, "name": "Six", "files": list(files)} | members


def six(version: str, **attributes: Any) -> Page:
    return real_file(f"six-{version}-py3-none-any.whl", f"six {version}".encode(), **attributes)[0]


def done(index: Index, *arguments: object, answer: int = 0) -> dict[str, Any]:
    """Import, and return the last line."""
    return dict(index.ask("import", *arguments, answer=answer)[-1])


def served(index: Index) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((index.public / "targets/simple/six/index.json").read_bytes())
    return {**found["project-status"], **{each["filename"].split("-")[1]: each["yanked"] for each in found["files"]}}


@pytest.mark.parametrize("published", [False, True])
def test_what_changed_is_appended(index: Index, tmp_path: Path, *, published: bool) -> None:
    """Also if the state knows nothing yet of what was imported before."""
    source = tmp_path / "source"

    def again(*files: Page, **members: Any) -> Any:
        write_mirror(source, {"six": page(*files, **members)})
        by_type: Any = done(index, source)["by_type"]
        assert done(index, source)["events"] == 0, "a second time there is nothing to do"
        if published:
            index.publish()
        return by_type

    assert again() == {"project.created.v1": 1}
    assert again(six("1.0")) == {"file.uploaded.v1": 1}
    assert again(six("1.0", yanked=True), six("2.0", yanked="broken")) == {"file.uploaded.v1": 1, "file.yanked.v1": 2}
    assert again(six("1.0", yanked="old"), six("2.0")) == {"file.yanked.v1": 1, "file.unyanked.v1": 1}
    archived = {"project-status": {"status": "archived", "reason": "done"}}
    assert again(six("1.0", yanked="old"), six("2.0"), **archived) == {"project.status_changed.v1": 1}
    files = six("1.0", yanked="old"), six("2.0"), six("3.0")
    assert again(*files) == {"project.status_changed.v1": 1, "file.uploaded.v1": 1}
    assert again(**{"project-status": {"status": "quarantined"}}) == {"project.status_changed.v1": 1}
    assert again(**{"project-status": {"status": "quarantined"}}) == {}
    index.publish()
    index.run("status", "six", "active")
    assert again(*files) == {}
    index.publish()
    assert served(index) == {"1.0": "old", "2.0": False, "3.0": False, "status": "active"}
    assert index.ask_list("rejected") == []


def test_yanks_of_releases_in_the_ledger_give_way(index: Index, tmp_path: Path) -> None:
    """PEP 592 yanks files. Where the ledger yanked a release, and the source one file of it, only that stays yanked."""
    wheel, other = six("1.0"), real_file("six-1.0.tar.gz", b"source")[0]
    source = write_mirror(tmp_path / "source", {"six": page(wheel, other)})
    done(index, source)
    index.publish()
    index.run("yank", "six==1.0", "--reason", "broken")
    write_mirror(source, {"six": page(wheel | {"yanked": "broken"}, other)})
    assert done(index, source)["by_type"] == {"release.unyanked.v1": 1, "file.yanked.v1": 1}
    index.publish()
    found = json.loads((index.public / "targets/simple/six/index.json").read_bytes())["files"]
    assert [each["yanked"] for each in found] == ["broken", False]


def test_yanks_that_were_made_here_are_kept_if_that_is_asked_for(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"), six("2.0"), six("3.0"))})
    done(index, source)
    index.run("yank", "six==1.0", "--reason", "broken")
    index.run("yank", "six-2.0-py3-none-any.whl", "--reason", "slow")
    write_mirror(source, {"six": page(six("1.0"), six("2.0"), six("3.0", yanked="old"))})
    assert done(index, source, "--keep-yanks")["by_type"] == {"file.yanked.v1": 1}
    index.publish()
    assert served(index) == {"1.0": "broken", "2.0": "slow", "3.0": "old", "status": "active"}
    assert done(index, source)["by_type"] == {"release.unyanked.v1": 1, "file.unyanked.v1": 1}


def test_a_release_that_all_files_show_yanked_stays(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    index.publish()
    index.run("yank", "six==1.0", "--reason", "broken")
    write_mirror(source, {"six": page(six("1.0", yanked="broken"))})
    assert done(index, source)["events"] == 0


def test_what_is_missing_is_named_and_removed_only_if_asked(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"), six("2.0"))})
    done(index, source)
    index.publish()
    index.upload("other")
    index.publish()
    write_mirror(source, {"six": page(six("1.0"))})
    *lines, last = index.ask("import", source)
    assert lines == [
        {"project": "six", "file": "six-2.0-py3-none-any.whl", "problem": "missing"},
        {"project": "other", "problem": "missing"},
    ]
    assert (last["events"], last["missing"]) == (0, 2)
    assert "missing in the source: six six-2.0-py3-none-any.whl" in index.run("import", source)
    assert done(index, source, "six", "--remove-missing")["by_type"] == {"file.removed.v1": 1}
    assert done(index, source, "--remove-missing", "--dry-run")["by_type"] == {"project.removed.v1": 1}
    assert done(index, source, "--remove-missing")["by_type"] == {"project.removed.v1": 1}
    index.publish()
    write_mirror(source, {"six": page(six("1.0"), six("2.0"))})
    assert done(index, source)["stay_removed"] == 1, "what was removed here comes back by nobody's page"


def test_a_page_that_is_away_while_the_list_names_it_removes_nothing(index: Index, tmp_path: Path) -> None:
    """As between two caches: the next import may find it again, and what is removed here does not come back."""
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0")), "two": page(name="two")})
    done(index, source)
    shutil.rmtree(source / "simple/six")
    (line, last) = index.ask("import", source, "--remove-missing", answer=1)
    assert "has no page of it" in line["why"]
    assert (last["events"], last["missing"]) == (0, 0)
    assert done(index, source, "six", "--remove-missing")["by_type"] == {"project.removed.v1": 1}, "asked for by name"


def test_a_page_of_another_project_is_refused(index: Index, tmp_path: Path) -> None:
    """Its files would take the names of this project's: `two_six-1.0` is a version of `two` to those who want it so."""
    source = write_mirror(tmp_path / "source", {"two": page(real_file("two_six-1.0.tar.gz", b"two six")[0])})
    (line, last) = index.ask("import", source, "two", answer=1)
    assert "says that it is of Six" in line["why"]
    assert last["events"] == 0


def test_names_of_a_source_do_not_reach_the_terminal(index: Index, tmp_path: Path) -> None:
    evil = [
        six("1.0") | {"filename": f"six-{number}.0.zip{text}"}
        for number, text in enumerate(("\x1b[2J", "\nok", "\u202e"))
    ]
    source = write_mirror(tmp_path / "source", {"six": page(*evil)})
    said = index.run("import", source, answer=1)
    assert "six-0.0.zip\ufffd[2J: " in said
    assert "six-1.0.zip\ufffdok: " in said
    assert "\u202e" not in said


def test_a_form_that_asks_for_a_password_removes_nothing(index: Index, tmp_path: Path) -> None:
    """Some servers show one instead of any page when a session is over, and it has links."""
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    index.publish()
    shutil.rmtree(source / "simple")
    (source / "simple").mkdir()
    (source / "simple/index.html").write_text('<form>…</form><a href="/forgotten">Forgotten</a>', encoding="utf-8")
    last = done(index, source, "--remove-missing", answer=1)
    assert (last["events"], last["missing"]) == (0, 1)
    for name in ("six", "forgotten"):
        (source / f"simple/{name}").mkdir()
        shutil.copy(source / "simple/index.html", source / f"simple/{name}/index.html")
    for names in ([], ["six"]):
        assert done(index, source, "--remove-missing", *names, answer=1)["events"] == 0


def test_a_quarantine_hides_files_and_removes_none(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    index.publish()
    write_mirror(source, {"six": page(**{"project-status": {"status": "quarantined"}})})
    last = done(index, source, "--remove-missing")
    assert (last["by_type"], last["missing"]) == ({"project.status_changed.v1": 1}, 0)


def test_files_are_appended_in_the_order_of_their_times(index: Index, tmp_path: Path) -> None:
    times = {"3.0": "2019-01-01T00:00:00Z", "1.0": "2020-01-01T00:00:00Z", "2.0": "2021-01-01T00:00:00.5Z", "4.0": None}
    entries = [six(version, **{"upload-time": time}) for version, time in reversed(times.items())]
    done(index, write_mirror(tmp_path / "source", {"six": page(*entries)}))
    index.publish()
    told = [each["file"].split("-")[1] for each in index.ask_list("log", "six")]
    assert told == ["2.0", "1.0", "3.0", "4.0"], "the newest comes first, and one without a time may be the oldest"


def test_a_source_without_projects_removes_nothing(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish()
    source = write_mirror(tmp_path / "source", {"six": page()})
    (source / "simple/index.json").write_text('{"meta":{"api-version":"1.0"},"projects":[]}')
    assert "lists no project" in done(index, source, "--remove-missing", answer=1)["message"]


def test_refusals_are_named_at_the_end_and_the_rest_comes_through(index: Index, tmp_path: Path) -> None:
    foreign = real_file("seven-1.0.tar.gz", b"foreign")[0]
    bad = six("4.0") | {"requires-python": "größer"}
    outside = six("5.0") | {"filename": "../six-5.0.tar.gz"}
    broken = {"filename": "six-6.0.tar.gz"}
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"), foreign, bad, outside)})
    text = (source / "simple/six/index.json").read_text()
    (source / "simple/six/index.json").write_text(text.replace("[{", json.dumps([broken])[:-1] + ",{", 1))
    *lines, last = index.ask("import", source, answer=1)
    assert (last["files"], last["refused"]) == (1, 4)
    assert {each["file"]: each["code"] for each in lines} == {
        "six-6.0.tar.gz": "",
        "seven-1.0.tar.gz": "foreign-filename",
        "six-4.0-py3-none-any.whl": "invalid",
        "../six-5.0.tar.gz": "invalid",
    }
    output = index.run("import", source, answer=1)
    assert "seven-1.0.tar.gz:" in output
    assert "4 refusals, see above" in output


def test_other_bytes_under_one_name_are_refused(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    other = six("1.0") | {"hashes": {"sha256": "ab" * 32}}
    write_mirror(source, {"six": page(other)})
    (line, last) = index.ask("import", source, answer=1)
    assert (line["code"], last["events"]) == ("filename-taken", 0)


def test_what_no_event_can_hold_is_refused_before_anything_is_asked(index: Index, tmp_path: Path) -> None:
    long, short = six("1.0") | {"size": 2**60}, six("2.0") | {"hashes": {"sha256": "ab" * 32, "blake2b_256": "ab"}}
    source = write_mirror(tmp_path / "source", {"six": page(long, short, six("3.0"))})
    for more in ("--dry-run", "--requests=2"):
        *lines, last = index.ask("import", source, more, answer=1)
        assert [each["code"] for each in lines] == ["invalid", "invalid"]
        assert last["files"] == 1


def test_root_must_say_importing(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index")
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"), real_file("six-2004d.tar.gz", b"old")[0])})
    assert "--begin-importing" in done(index, source, answer=1)["message"]
    assert done(index, source, "--dry-run", answer=1)["files"] == 1
    (line, last) = index.ask("import", source, "--not-importing", answer=1)
    assert (line["code"], last["files"]) == ("bad-version", 1)
    assert "while root says `importing`" in line["why"]
    index.run("ceremony", "--begin-importing")
    assert done(index, source)["legacy"] == 1
    index.run("ceremony", "--begin-importing", "--end-importing", answer=2)
    index.run("ceremony", "--end-importing")
    assert done(index, source, "--not-importing")["events"] == 0


def test_files_are_stored_checked_and_completed(index: Index, tmp_path: Path) -> None:
    built = build_wheel(tmp_path, "six", "1.0")
    entry, content = real_file(built.name, built.read_bytes())
    bare = entry | {"url": f"https://files.example.org/packages/six/{built.name}"}
    source = write_mirror(tmp_path / "source", {"six": page(bare, six("2.0"))})
    (source / "packages/six" / built.name).write_bytes(content)
    first = done(index, source, "--dry-run", answer=0)
    assert (first["bytes"], first["files"]) == (len(content), 2)
    assert done(index, source, "--dry-run", "--download")["bytes"] == len(content) + len(b"six 2.0")
    last = done(index, source, "--download", answer=1)
    assert (last["files"], last["bytes"], last["refused"]) == (1, len(content), 1), "2.0 is not there"
    index.publish()
    index.check()
    path = source / "packages" / six("2.0")["url"].partition("/packages/")[2]
    path.write_bytes(b"six 2.1")
    assert "is said of it" in index.ask("import", source, "--download", answer=1)[0]["why"]
    path.write_bytes(b"six 2.0")
    assert done(index, source, "--download")["files"] == 1
    index.publish()
    shutil.rmtree(index.public / "targets/packages")
    assert done(index, source, "--download")["events"] == 0
    index.check()
    shutil.rmtree(index.public / "targets/packages")
    silent = six("2.0") | {"url": "https://files.example.org/packages/two.whl", "hashes": {}, "size": None}
    write_mirror(source, {"six": page(bare, silent)})
    (source / "packages/two.whl").write_bytes(b"six 2.1")
    assert "is said of it" in index.ask("import", source, "--download", answer=1)[0]["why"], "the ledger says it"


def test_what_an_import_left_out_when_it_was_killed_is_stored_by_the_next(index: Index, tmp_path: Path) -> None:
    """A file has two names, and stands before its metadata and provenance: a process can end between any two."""
    built = build_wheel(tmp_path, "six", "1.0")
    more = {"core-metadata": True, "provenance": "/six.provenance"}
    entry, content = real_file(built.name, built.read_bytes(), **more)
    source = write_mirror(tmp_path / "source", {"six": page(entry)})
    path = entry["url"].partition(".org/")[2]
    (source / path).write_bytes(content)
    (source / "six.provenance").write_bytes(b"{}")
    done(index, source, "--download")
    index.publish()
    targets = index.public / "targets"
    stored = [each for each in (targets / "packages").rglob("*") if each.is_file()]
    assert len(stored) == 4
    for each in stored:
        each.unlink()
        assert done(index, source, "--download")["events"] == 0
        assert each.is_file(), each.name
    assert done(index, source, "--download")["bytes"] == 0
    index.check()
    (targets / f"{path}.provenance").unlink()
    (source / "six.provenance").write_bytes(b"[]")
    assert "its provenance has the SHA-256" in index.ask("import", source, "--download", answer=1)[0]["why"]


def test_a_file_of_an_old_form_is_yanked_and_removed_by_hand(index: Index, tmp_path: Path) -> None:
    egg = real_file("six-1.0-py2.7.egg", b"egg")[0]
    done(index, write_mirror(tmp_path / "source", {"six": page(egg, six("2.0"))}))
    index.publish()
    index.run("yank", "six-1.0-py2.7.egg", "--reason", "old")
    index.publish()
    assert "six-1.0-py2.7.egg  listed, yanked: old" in index.run("status", "six-1.0-py2.7.egg")
    index.run("remove", "six-1.0-py2.7.egg")
    index.publish()
    assert served(index) == {"2.0": False, "status": "active"}


@pytest.mark.parametrize("said", [5, 100])
def test_a_length_that_is_not_that_of_the_file_is_told(index: Index, tmp_path: Path, said: int) -> None:
    entry, content = real_file("six-1.0.tar.gz", b"six 1.0", size=said)
    source = write_mirror(tmp_path / "source", {"six": page(entry)})
    (source / entry["url"].partition(".org/")[2]).write_bytes(content)
    (line, last) = index.ask("import", source, "--download", answer=1)
    assert f"it has 7 bytes, not {said}" in line["why"]
    assert last["files"] == 0


def test_withheld_bytes_are_not_stored_again(index: Index, tmp_path: Path) -> None:
    """Even if they were withheld after the import had read what the ledger lists."""
    entry, content = real_file("six-1.0.tar.gz", b"six 1.0", **{"core-metadata": True, "provenance": "/six.provenance"})
    source = write_mirror(tmp_path / "source", {"six": page(entry)})
    (source / entry["url"].partition(".org/")[2]).write_bytes(content)
    (source / "six.provenance").write_bytes(b"{}")
    done(index, source, "--download")
    index.publish()
    kept = index.folder / "public-evidence/targets"
    kept.mkdir(parents=True)
    shutil.move(index.public / "targets/packages", kept)
    assert done(index, source, "--download", "--dry-run")["bytes"] == 0
    assert done(index, source, "--download")["bytes"] == 0
    assert not (index.public / "targets/packages").exists()


@pytest.mark.parametrize("says_digests", [True, False])
def test_what_a_thief_uploaded_does_not_come_back(index: Index, tmp_path: Path, *, says_digests: bool) -> None:
    """The source goes on listing it. A page without digests cannot show it beforehand: the bytes do."""
    entry, content = real_file("six-1.0.tar.gz", b"stolen")
    source = write_mirror(tmp_path / "source", {"six": page(entry, six("2.0"))})
    path = source / entry["url"].partition(".org/")[2]
    path.write_bytes(content)
    done(index, source, "--download", answer=1)
    index.publish()
    index.run("remove", "six-1.0.tar.gz", "--reason", "stolen")
    listed = tmp_path / "list"
    line = {"project": "six", "file": "six-1.0.tar.gz", "sha256": entry["hashes"]["sha256"]}
    listed.write_text(json.dumps(line), encoding="utf-8")
    index.run("ceremony", "--freeable", listed)
    index.run("free", "six-1.0.tar.gz", "--list", listed, "--reason", "stolen")
    index.publish()
    if not says_digests:
        entry["hashes"] = {}
        write_mirror(source, {"six": page(entry)})
    last = done(index, source, "--download", answer=1)
    assert last["events"] == 0
    assert not list(index.public.rglob("*six-1.0.tar.gz"))
    good, content = real_file("six-1.0.tar.gz", b"honest")
    write_mirror(source, {"six": page(good)})
    (source / good["url"].partition(".org/")[2]).write_bytes(content)
    assert done(index, source, "--download")["files"] == 1
    index.publish()
    index.check()


def test_a_folder_of_files_says_nothing_of_yanks(index: Index, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    build_wheel(tmp_path / "wheels", "six", "1.0", requires_python=">=3.9")
    assert done(index, tmp_path / "wheels", "--download")["files"] == 1
    index.publish()
    index.check()
    index.run("yank", "six==1.0")
    index.run("status", "six", "archived")
    index.publish()
    build_wheel(tmp_path / "wheels", "six", "2.0")
    assert done(index, tmp_path / "wheels", answer=1)["events"] == 0, "an archived project takes no file"
    index.run("status", "six", "active")
    assert done(index, tmp_path / "wheels")["by_type"] == {"file.uploaded.v1": 1}


def test_a_folder_names_what_cannot_be_read_and_makes_no_project_of_it(index: Index, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    build_wheel(wheels, "six", "1.0").rename(wheels / "six.whl")
    (wheels / "seven-1.0-py3-none-any.whl").write_bytes(b"damaged")
    *lines, last = index.ask("import", wheels, answer=1)
    assert {each["file"] for each in lines} == {"six.whl", "seven-1.0-py3-none-any.whl"}
    assert last["events"] == 0


def test_without_a_state_the_logs_are_replayed(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    index.publish()
    shutil.rmtree(index.folder / "state")
    write_mirror(source, {"six": page(six("1.0", yanked=True))})
    assert done(index, source)["by_type"] == {"file.yanked.v1": 1}


def test_init_says_what_comes_next(tmp_path: Path) -> None:
    assert "Next: `tuf-ledger import --ledger" in invoke("init", tmp_path / "new", "--importing").output


def test_who_acts_is_said(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source, "--actor", "system:importer", "--credential", "token-7")
    (event,) = index.ask_list("log", "six")
    assert (event["actor"], event["credential"]) == ({"kind": "system", "id": "importer"}, "token-7")


def test_sources_that_are_none(index: Index, tmp_path: Path) -> None:
    assert "neither a URL" in done(index, tmp_path / "none", answer=2)["message"]
    assert "cannot be used" in done(index, "http://[::1", answer=2)["message"]
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    assert index.ask("import", source, "Seven", answer=1)[0]["why"] == "the source has no project seven"
    (source / "simple/six/index.json").write_text("{")
    assert "no JSON" in index.ask("import", source, answer=1)[0]["why"]


def test_names_of_projects_that_are_none_are_not_asked_for(index: Index, tmp_path: Path) -> None:
    """A list may say anything: nothing outside of `simple` is read for it."""
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    (source / "index.json").write_text(json.dumps(page(six("2.0"))))
    names = ["six", "..", "a/b", "six/../six", "%2e%2e", "", "x" * 300, "größe"]
    listed = {"meta": {"api-version": "1.0"}, "projects": [{"name": each} for each in names if each]}
    (source / "simple/index.json").write_text(json.dumps(listed))
    *lines, last = index.ask("import", source, answer=1)
    assert (last["files"], last["refused"]) == (1, len(names) - 2)
    assert all("the source has no project" in each["why"] for each in lines)


def test_another_ledger_is_a_source(index: Index, tmp_path: Path) -> None:
    """What it serves comes through with its files, and is the same then."""
    other = Index.create(tmp_path / "other", "--html")
    other.upload("six", requires_python=">=3.9")
    other.upload("six", suffix=".tar.gz")
    other.upload("two")
    other.publish()
    other.run("yank", "six==1.0", "--reason", "broken")
    other.run("status", "two", "deprecated", "--reason", "use six")
    other.publish()
    source = other.public / "targets"
    assert done(index, source, "--download")["files"] == 3
    index.publish()
    index.check()
    for name in ("six", "two"):
        one, two = (
            json.loads((each.public / f"targets/simple/{name}/index.json").read_bytes()) for each in (other, index)
        )
        assert {**one, "meta": None} == {**two, "meta": None}
    assert index.ask("reconcile", source)[-1]["different"] == 0
    assert done(index, source, "--download")["bytes"] == 0


def test_a_quarantine_is_lifted_by_people(index: Index, tmp_path: Path) -> None:
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"))})
    done(index, source)
    index.publish()
    index.run("status", "six", "quarantined", "--reason", "malware")
    write_mirror(source, {"six": page(six("1.0", yanked=True), six("2.0"))})
    (line, last) = index.ask("import", source, answer=1)
    assert (line["project"], line["code"], last["events"]) == ("six", "project-quarantined", 0)
    index.publish()
    index.run("status", "six", "active")
    assert done(index, source)["events"] == 2


def test_a_project_that_was_archived_again_gets_its_files(index: Index, tmp_path: Path) -> None:
    """The source took files between two imports, and takes none any more: the ledger does the same."""
    archived = {"project-status": {"status": "archived", "reason": "done"}}
    source = write_mirror(tmp_path / "source", {"six": page(six("1.0"), **archived)})
    done(index, source)
    index.publish()
    write_mirror(source, {"six": page(six("1.0"), six("2.0"), **archived)})
    assert done(index, source, "--dry-run")["by_type"] == {"file.uploaded.v1": 1, "project.status_changed.v1": 2}
    assert done(index, source)["by_type"] == {"file.uploaded.v1": 1, "project.status_changed.v1": 2}
    index.publish()
    assert served(index) == {"1.0": False, "2.0": False, "status": "archived", "reason": "done"}
    more = [six(f"3.{number}") for number in range(101)]
    write_mirror(source, {"six": page(six("1.0"), six("2.0"), *more, **archived)})
    foreseen = done(index, source, "--dry-run")["by_type"]
    assert foreseen == {"file.uploaded.v1": 101, "project.status_changed.v1": 4}
    assert done(index, source)["by_type"] == foreseen
    foreign = real_file("seven-1.0.tar.gz", b"foreign")[0]
    archived["project-status"]["reason"] = "quite done"
    write_mirror(source, {"six": page(six("1.0"), six("2.0"), *more, foreign, **archived)})
    assert done(index, source, answer=1)["by_type"] == {"project.status_changed.v1": 1}
    assert done(index, source, answer=1)["by_type"] == {}
