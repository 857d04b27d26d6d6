"""`ledger.simple`: what a page says is read, in either form, and an entry that is none spoils no other."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.simple.any_source import open_source
from ledger.simple.files_source import FilesSource, project_in
from ledger.simple.html_pages import read_html_list, read_html_page
from ledger.simple.json_pages import read_json_list, read_json_page
from ledger.simple.mirror_source import MirrorSource
from ledger.simple.package_sources import PackageSourceError
from ledger.simple.source_pages import SourceFile, SourcePageError, UnreadableFile
from tests.distributions import build_wheel

URL = "https://index.example.org/simple/six/"
SHA256 = "ab" * 32
BLAKE2B = f"{'01' * 2}{'23' * 30}"
META = {"api-version": "1.4"}

FULL = SourceFile(
    filename="six-1.0-py2.py3-none-any.whl",
    url=f"https://index.example.org/packages/01/01/{'23' * 30}/six-1.0-py2.py3-none-any.whl",
    hashes={"sha256": SHA256},
    requires_python=">=2.7,!=3.0.*",
    yanked='broken on "3.0"',
    has_core_metadata=True,
    core_metadata_sha256="cd" * 32,
    provenance_url="https://index.example.org/integrity/six.provenance",
)


def page(*files: object, **members: Any) -> bytes:
    return json.dumps({"meta": META, "name": "six", "files": list(files)} | members).encode()


def entry(**members: Any) -> dict[str, Any]:
    return {"filename": "six-1.0.tar.gz", "url": "six-1.0.tar.gz", "hashes": {}} | members


def test_both_forms_say_the_same() -> None:
    path = FULL.url.removeprefix("https://index.example.org")
    written = {
        "filename": FULL.filename,
        "url": f"../..{path}#x",
        "hashes": {"sha256": SHA256.upper()},
        "requires-python": FULL.requires_python,
        "yanked": FULL.yanked,
        "core-metadata": {"sha256": FULL.core_metadata_sha256},
        "provenance": FULL.provenance_url,
    }
    status = {"status": "archived", "reason": "it is <done>"}
    in_json = read_json_page(page(written, **{"project-status": status, "versions": ["1.0"]}), URL)
    in_html = read_html_page(
        f"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4">
        <meta content="archived" name="pypi:project-status">
        <META name='pypi:project-status-reason' content='it is &lt;done>'>
        </head><body><!-- <a href="no-1.0.tar.gz">no</a> -->
        <a href="../..{path}#sha256={SHA256}" data-requires-python="&gt;=2.7,!=3.0.*"
           data-yanked="broken on &quot;3.0&quot;"
           data-core-metadata="sha256={"cd" * 32}" data-provenance="/integrity/six.provenance"
        ><b>{FULL.filename}</b></a><br></body></html>""".encode(),
        URL,
        "six",
    )
    assert in_json.files == in_html.files == (FULL,)
    assert (in_json.status, in_json.status_reason) == (in_html.status, in_html.status_reason) == tuple(status.values())
    assert (in_json.versions, in_html.versions) == (("1.0",), None)
    assert FULL.blake2b_256 == BLAKE2B


@pytest.mark.parametrize(
    ("said", "is_meant"), [(True, ""), (False, None), (None, None), ("", None), ("it is broken", "it is broken")]
)
def test_yanks_in_json(said: object, is_meant: str | None) -> None:
    assert read_json_page(page(entry(yanked=said)), URL).files[0].yanked == is_meant


def test_yanks_in_html() -> None:
    found = read_html_page(b'<a href="a-1.zip" data-yanked>x</a><a href="a-2.zip" data-yanked="">', URL, "a")
    assert [each.yanked for each in found.files] == ["", ""]


@pytest.mark.parametrize("said", [{"core-metadata": True}, {"data-dist-info-metadata": True}])
def test_core_metadata_without_a_digest(said: dict[str, object]) -> None:
    (file,) = read_json_page(page(entry(**said)), URL).files
    assert (file.has_core_metadata, file.core_metadata_sha256) == (True, None)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "six",
        {"filename": "", "url": "x"},
        {"filename": 5, "url": "x"},
        {"filename": "six-1.0.zip"},
        {"filename": "six-1.0.zip", "url": "http://[::1"},
        entry(filename="six-1.0.zip", size=-1),
        entry(filename="six-1.0.zip", size=True),
        entry(filename="six-1.0.zip", size=1e30),
        entry(filename="six-1.0.zip", hashes={"sha256": "ab"}),
        entry(filename="six-1.0.zip", hashes={"md5": "no digits"}),
        entry(filename="six-1.0.zip", hashes=[]),
        entry(filename="six-1.0.zip", yanked=5),
        entry(filename="six-1.0.zip", **{"upload-time": 5}),
    ],
    ids=str,
)
def test_an_entry_that_is_none_is_named_and_spoils_no_other(wrong: Any) -> None:
    found = read_json_page(page(wrong, entry()), URL)
    assert [each.filename for each in found.files] == ["six-1.0.tar.gz"]
    assert len(found.unreadable) == 1


def test_a_name_that_is_listed_twice_counts_once() -> None:
    found = read_json_page(page(entry(size=1), entry(size=1), entry(size=2)), URL)
    assert [each.size for each in found.files] == [1]
    why = "is listed twice, and the entries differ: the first one counts"
    assert found.unreadable == (UnreadableFile("six-1.0.tar.gz", why),)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"\xff", b"{}", b'{"meta":{"api-version":"2.0"},"name":"six","files":[]}', b"[" * 9999],
)
def test_what_is_no_page_is_said(body: bytes) -> None:
    for read in (read_json_page, read_json_list):
        with pytest.raises(SourcePageError):
            read(body, URL)


def test_json_of_another_kind_leads_to_the_right_address() -> None:
    """devpi answers so above its `+simple/`."""
    with pytest.raises(SourcePageError, match="--index-url"):
        read_json_page(b'{"type":"projectconfig","result":{}}', URL)


@pytest.mark.parametrize(
    "body", [b"", b"<form>", b'<a href="/forgotten">', b'<a href="/">home</a>', b"<body onload=submit()>"], ids=str
)
def test_html_without_files_must_say_what_it_is(body: bytes) -> None:
    """A form that asks for a password is no page of a project without files."""
    with pytest.raises(SourcePageError, match="no link to a file"):
        read_html_page(body, URL, "six")
    for more in (b'<meta name="pypi:repository-version" content="1.0">', b'<a href="../">../</a>'):
        assert read_html_page(body + more, URL, "six").files == ()


def test_html_of_another_major_version_is_refused() -> None:
    with pytest.raises(SourcePageError, match="API version"):
        read_html_page(b'<meta name="pypi:repository-version" content="2.0">', URL, "six")


def test_folders_that_a_web_server_lists_are_pages() -> None:
    """As nginx and Apache write them: links to the folder above, to other orders, to signatures; cut names."""
    listed = b"""<html><head><title>Index of /simple/</title></head><body><h1>Index of /simple/</h1><hr><pre>
    <a href="../">../</a> <a href="?C=N;O=D">Name</a> <a href="/">Parent Directory</a>
    <a href="six/">six/</a>  29-Nov-2026 10:00  - <a href="zope.interface/">zope.interf..&gt;</a></pre></body></html>"""
    assert read_html_list(listed, URL) == ["six", "zope.interface"]
    page = b"""<a href="../">../</a><a href="six-1.0-py3-none-any.whl">six-1.0-py3-none-..&gt;</a>
    <a href="six-1.0.tar.gz.asc">six-1.0.tar.gz.asc</a><a href="https://six.example.org/">home</a>
    <a href="six%201.0.exe">six 1.0.exe</a><a href="odd#sha256=SHA">odd</a>""".replace(b"SHA", b"ab" * 32)
    found = read_html_page(page, URL, "six")
    assert [each.filename for each in found.files] == ["six-1.0-py3-none-any.whl", "six 1.0.exe", "odd"]
    assert found.unreadable == ()


def test_lists_of_projects() -> None:
    listed = b'<a href="/simple/six/">Six</a> <a href="zope.interface/"></a><a name="top"></a>'
    assert read_html_list(listed, URL) == ["Six", "zope.interface"]
    assert read_json_list(json.dumps({"meta": META, "projects": [{"name": "Six"}]}).encode(), URL) == ["Six"]


def test_a_list_of_projects_is_no_page() -> None:
    with pytest.raises(SourcePageError, match="--index-url"):
        read_html_page(b'<a href="six/">six</a><a href="seven/">seven</a>', URL, "simple")


async def test_links_of_a_mirror_lead_into_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret.tar.gz").write_bytes(b"secret")
    mirror = tmp_path / "mirror"
    (mirror / "simple/six").mkdir(parents=True)
    (mirror / "packages").mkdir()
    (mirror / "packages/six-1.0.tar.gz").write_bytes(b"six")
    source = MirrorSource(mirror)
    urls = [
        "../../packages/six-1.0.tar.gz",
        "https://files.example.org/packages/six-1.0.tar.gz",
        "../../../../secret.tar.gz",
        "..%2f..%2f..%2fsecret.tar.gz",
        "file:///%00",
        "https://files.example.org/secret.tar.gz",
        f"https://files.example.org/packages/{'x' * 300}",
    ]
    written = [entry(filename=str(number), url=url) for number, url in enumerate(urls)]
    (mirror / "simple/six/index.json").write_bytes(page(*written))
    found = await source.page("six")
    assert found is not None
    assert [await source.length(each) for each in found.files] == [3, 3, None, None, None, None, None]
    assert await source.projects() == ["six"]
    assert await source.page("other") is None


async def test_a_folder_of_files_is_an_index(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = build_wheel(tmp_path / "below", "six", "1.0")
    (tmp_path / "six-0.9.tar.gz").write_bytes(b"from before PKG-INFO")
    (tmp_path / "six-0.8-py2-none-any.whl").write_bytes(b"no wheel")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "six.whl").write_bytes(path.read_bytes())
    source = FilesSource(tmp_path)
    assert await source.projects() == ["six", "six-whl"]
    found = await source.page("six")
    assert found is not None
    new, old = found.files
    assert (old.filename, old.size, old.has_core_metadata) == ("six-0.9.tar.gz", 20, False)
    assert (new.filename, new.has_core_metadata, len(new.blake2b_256 or "")) == (path.name, True, 64)
    assert [each.filename for each in found.unreadable] == ["six-0.8-py2-none-any.whl"]
    assert await source.page("other") is None
    nameless = await source.page("six-whl")
    assert nameless is not None, "what is left out is said"
    assert (nameless.files, [each.filename for each in nameless.unreadable]) == ((), ["six.whl"])


def test_folders_that_are_mistaken_for_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "simple").mkdir()
    (tmp_path / "simple/index.html").touch()
    with pytest.raises(PackageSourceError, match="name the folder that it is in"):
        open_source(str(tmp_path / "simple"))


async def test_folders_of_projects_without_pages_are_no_mirror(tmp_path: Path) -> None:
    (tmp_path / "simple/six").mkdir(parents=True)
    (tmp_path / "simple/six/six-1.0.tar.gz").touch()
    with pytest.raises(PackageSourceError, match="if files are there, name"):
        await open_source(str(tmp_path)).projects()
    assert await open_source(str(tmp_path / "simple")).projects() == ["six"]


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("zope.interface-3.0-py2.7-win32.egg", "zope-interface"),
        ("python-dateutil-1.4.tar.bz2", "python-dateutil"),
        ("foo bar-2004d.tar.gz", "foo-bar"),
        ("foo bar-1.0.tar.gz", "foo-bar"),
        ("Foo-1.0-rc1.tar.gz", "foo"),
        ("foo-1.0.win32-py2.6.exe", "foo"),
        ("foo.whl", None),
        ("foo.tar.gz", None),
    ],
)
def test_names_of_projects_in_filenames(filename: str, project: str | None) -> None:
    assert project_in(filename) == project


async def test_a_mirror_as_bandersnatch_writes_it(tmp_path: Path) -> None:
    """In `web`; perhaps in folders by the first character, for a server to rewrite; only HTML says why of yanks."""
    place = tmp_path / "web/simple/s/six"
    place.mkdir(parents=True)
    (tmp_path / "web/simple/index.html").write_text('<a href="six/">six</a>', encoding="utf-8")
    files = [entry(yanked=True), entry(filename="six-2.0.tar.gz", yanked=True), entry(filename="six-3.0.tar.gz")]
    for each in files:
        each["url"] = f"../../packages/{each['filename']}"
    (place / "index.v1_json").write_bytes(page(*files))
    written = '<a href="six-1.0.tar.gz" data-yanked="broken">six</a><a href="six-3.0.tar.gz" data-yanked="no">six</a>'
    (place / "index.html").write_text(written, encoding="utf-8")
    (tmp_path / "web/packages").mkdir()
    (tmp_path / "web/packages/six-1.0.tar.gz").write_bytes(b"six")
    source = open_source(str(tmp_path))
    assert await source.projects() == ["six"]
    found = await source.page("six")
    assert found is not None
    assert [each.yanked for each in found.files] == ["broken", "", None]
    assert await source.length(found.files[0]) == 3
    (place / "index.html").unlink()
    assert (await source.page("six")) == read_json_page(page(*files), "file:///simple/six/")
