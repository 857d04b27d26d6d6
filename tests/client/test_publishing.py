"""The everyday story: what an index does, and what clients see of it."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.client.index import Index, invoke
from tests.client.processes import execute
from tests.distributions import build_sdist, build_wheel
from tests.oracle import Cache, check_repository
from tests.serving import serving


def test_a_new_ledger_is_a_repository(index: Index) -> None:
    seen = index.check()
    assert (seen.number, seen.root, seen.size, seen.projects) == (1, 1, 2, {})


def test_uploads_become_visible_with_the_next_publication(index: Index) -> None:
    index.upload("one", requires_python=">=3.9")
    index.upload("One", "1.1", suffix=".tar.gz")
    assert index.check().projects == {}
    seen = index.publish_and_check()
    assert seen.filenames() == ["one-1.0-py3-none-any.whl", "one-1.1.tar.gz"]
    page = seen.projects["one"]
    assert page.versions == ("1.0", "1.1")
    assert page.files["one-1.0-py3-none-any.whl"]["requires-python"] == ">=3.9"
    index.upload("two")
    assert list(index.publish_and_check().projects) == ["one", "two"]


def test_publishing_nothing_changes_nothing(index: Index) -> None:
    index.upload("one")
    number = index.publish()
    before = index.check()
    assert index.publish() == number
    assert index.check() == before
    assert index.publish("--renew") == number + 1
    assert index.check() == before._replace(number=number + 1)


def test_adding_a_file_again_changes_nothing(index: Index) -> None:
    path = index.upload("one")
    index.run("add", path)
    before = index.publish_and_check()
    index.run("add", path)
    index.publish()
    assert index.check().projects == before.projects


def test_add_refuses_what_installers_would_take_for_another_file(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.upload("one", suffix=".tar.gz")
    other = build_wheel(tmp_path, "one", "1.0", filename="One-1.0-py2.py3-none-any.whl")
    twins = [build_sdist(tmp_path, "two", "1.0", suffix=suffix) for suffix in (".tar.gz", ".zip")]
    # Not yet published: nobody knows, but the rules do.
    index.run("add", other)
    index.publish()
    assert [each["code"] for each in index.ask_list("rejected")] == ["equivalent-filename"]
    before = index.info()["sizes"]
    for refused in [(other,), (build_sdist(tmp_path, "one", "1.0", suffix=".zip"),), twins]:
        assert "installers take" in index.run("add", *refused, answer=1)
    assert index.info()["sizes"] == before
    index.run("add", build_wheel(tmp_path, "one", "1.0", filename="one-1.0-1-py3-none-any.whl"))
    assert len(index.publish_and_check().filenames()) == 3


def test_yanks_of_files_and_releases(index: Index) -> None:
    wheel, source = index.upload("one").name, index.upload("one", suffix=".tar.gz").name
    index.publish()
    index.run("yank", "one==1.0", "--reason", 'broken <b> & "quoted"')
    assert index.publish_and_check().yanked() == dict.fromkeys((wheel, source), 'broken <b> & "quoted"')
    later = index.upload("one", "1.0.0", filename="one-1.0.0-1-py3-none-any.whl").name
    assert later in index.publish_and_check().yanked(), "a release's yank holds for later files, in every spelling"
    index.run("yank", wheel)
    assert index.publish_and_check().yanked()[wheel] is True, "a file's own reason wins, even an empty one"
    index.run("unyank", "One==1.0")
    assert index.publish_and_check().yanked() == {wheel: True}
    index.run("unyank", wheel)
    assert index.publish_and_check().yanked() == {}


def test_what_is_removed_can_be_restored(index: Index) -> None:
    wheel, source = index.upload("one").name, index.upload("one", suffix=".tar.gz").name
    both = sorted([wheel, source])
    assert index.publish_and_check().filenames() == both
    path = next(index.public.glob(f"targets/packages/*/*/*/{wheel}")).relative_to(index.public / "targets").as_posix()
    index.run("remove", wheel, "--reason", "malware")
    seen = index.publish_and_check(others=[path])
    assert seen.filenames() == [source]
    assert seen.others == {path: None}, "a removed file is no target either"
    index.run("restore", wheel)
    assert index.publish_and_check().filenames() == both
    index.run("remove", "one==1.0")
    assert index.publish_and_check().filenames() == []
    index.run("restore", "one==1.0")
    assert index.publish_and_check().filenames() == both


def test_a_removed_project_comes_back_without_files(index: Index) -> None:
    wheel = index.upload("one").name
    index.publish()
    index.run("remove", "one")
    assert index.publish_and_check(others=["simple/one/index.json"]).others == {"simple/one/index.json": None}
    assert not (index.public / "targets/simple/one/index.json").exists()
    index.run("restore", "one")
    assert index.publish_and_check().projects["one"].files == {}
    index.run("restore", wheel)
    assert index.publish_and_check().filenames() == [wheel]


def test_statuses(index: Index) -> None:
    wheel = index.upload("one").name
    index.publish()
    index.run("status", "one", "archived", "--reason", "no longer maintained")
    seen = index.publish_and_check()
    assert (seen.projects["one"].status, seen.projects["one"].reason) == ("archived", "no longer maintained")
    index.upload("one", "2.0", anyway=True)
    assert index.publish_and_check().filenames() == [wheel]
    assert [each["code"] for each in index.ask_list("rejected")] == ["project-archived"]
    index.run("status", "one", "quarantined")
    page = index.publish_and_check().projects["one"]
    assert (page.status, page.reason, page.files, page.versions) == ("quarantined", "", {}, ("1.0",))
    assert index.ask("status", "one")[0]["files"][0]["state"] == "hidden"
    index.run("status", "one", "deprecated")
    assert index.publish_and_check().filenames() == [wheel]
    index.run("status", "one", "active")
    assert index.publish_and_check().projects["one"].status == "active"


def test_html_pages_come_and_go(index: Index) -> None:
    index.upload("one", requires_python=">=3,<4")
    index.run("yank", "one==1.0", "--reason", "a & b")
    index.publish_and_check()
    html = index.public / "targets/simple/one/index.html"
    assert html.exists()
    index.run("ceremony", "--no-html")
    index.check()
    assert not html.exists()
    index.upload("one", "2.0")
    index.publish_and_check()
    index.run("ceremony", "--html")
    assert len(index.check().filenames()) == 2
    assert html.exists()


def test_a_target_of_any_kind(index: Index, tmp_path: Path) -> None:
    tool = tmp_path / "tool [1].txt"
    for content in (b"first", b"second"):
        tool.write_bytes(content)
        index.run("add", "--as", "tools/tool [1].txt", tool)
        seen = index.publish_and_check(others=["tools/tool [1].txt"])
        assert seen.others == {"tools/tool [1].txt": sha256(content).hexdigest()}


def test_a_page_of_many_files(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    for number in range(150):
        build_wheel(folder, "many", f"1.{number}")
    index.run("add", folder)
    assert len(index.publish_and_check().filenames()) == 150
    index.run("remove", "many==1.77")
    assert len(index.publish_and_check().filenames()) == 149


@pytest.mark.parametrize("options", [(), ("--bins", 2), ("--bins", 256), ("--bins", 64, "--delegation", "prefixes")])
def test_logs_alone_give_what_is_served(tmp_path: Path, options: tuple[object, ...]) -> None:
    index = Index.create(tmp_path / "index", *options)
    index.upload("one")
    index.publish()
    index.run("yank", "one==1.0")
    index.upload("two", suffix=".tar.gz")
    index.publish_and_check()
    index.check_rebuilt(tmp_path / "rebuilt")
    index.verify("--root", index.public / "metadata/1.root.json")


NAMES = ("an index [of] (mine) & 'yours'; é", "100%", "a#b", "a?b", "a%20b")


@pytest.mark.parametrize("name", NAMES)
def test_a_path_with_anything_in_it(tmp_path: Path, name: str) -> None:
    execute("init", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    index = Index(tmp_path / name)
    index.upload("one")
    index.publish_and_check()
    index.verify()
    index.check_rebuilt(tmp_path / "re built [1]")


# --- over HTTP ---------------------------------------------------------------------------------------------------


def test_over_http(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    (tmp_path / "tool").write_bytes(b"content")
    index.run("add", "--as", "tools/a tool & more [1].txt", tmp_path / "tool")
    cache = Cache(tmp_path / "http-client")
    with serving(index.public) as url:
        for _ in range(2):
            number = index.publish("--renew")
            paths = ["tools/a tool & more [1].txt"]
            seen = check_repository(url, index.root, cache=cache, others=paths)
            assert (seen.number, list(seen.projects)) == (number, ["one"])
        index.run("verify", "--served", url)
        changed = next(index.public.glob("metadata/*.bin-?.json"))
        changed.write_bytes(changed.read_bytes().replace(b'"', b"'", 1))
        output = index.run("verify", "--served", url, answer=1)
        assert f"differs: metadata/{changed.name}" in output


def test_init_never_overwrites(index: Index) -> None:
    before = {path: path.read_bytes() for path in sorted(index.folder.rglob("*")) if path.is_file()}
    invoke("init", index.folder, answer=2)
    assert {path: path.read_bytes() for path in sorted(index.folder.rglob("*")) if path.is_file()} == before
