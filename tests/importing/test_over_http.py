"""An index behind TLS of an own authority, and a password: imported over real HTTP, few requests, none needless."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ledger.http import polite
from tests.client.index import Index
from tests.distributions import build_sdist, build_wheel
from tests.importing.sources import HOST, Page, real_file, recorded, write_mirror
from tests.importing.web import PASSWORD, USER, Asked, certified, web
from tests.serving import Asked as Asking
from tests.serving import answering


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture(autouse=True)
def _nobodys_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


@pytest.fixture
def secure(tmp_path: Path, asked: Asked) -> Iterator[tuple[str, Path]]:
    """The URL of the recorded pages behind TLS and a password, and the file of the authority."""
    certificate, authority = certified(tmp_path)
    folder = tmp_path / "mirror"
    folder.mkdir()
    with web(folder, asked, certificate=certificate, password=True) as url:
        write_mirror(folder, recorded(), host=url)
        yield url, authority


def done(index: Index, *arguments: object, answer: int = 0) -> dict[str, Any]:
    return dict(index.ask("import", *arguments, answer=answer)[-1])


def with_password(url: str) -> str:
    return url.replace("://", f"://{USER}:{quote(PASSWORD)}@")


def test_an_index_is_imported_and_asked_for_changes_alone(index: Index, secure: tuple[str, Path], asked: Asked) -> None:
    url, authority = secure
    arguments = (with_password(f"{url}/simple"), "--ca-file", authority, "--requests", 4)
    pages = recorded()
    first = done(index, *arguments)
    assert first["files"] == sum(len(page["files"]) for page in pages.values())
    assert (first["refused"], first["unlearnt"]) == (0, {})
    kinds = [path.rpartition(".")[2] for _, path in asked.paths]
    assert (kinds.count("metadata"), kinds.count("provenance")) == (2, 1), "only what no page says"
    assert asked.statuses.count(401) == 0
    index.publish()
    asked.clear()
    assert done(index, *arguments)["events"] == 0
    assert {method for method, _ in asked.paths} == {"GET"}
    assert asked.statuses == [304] * (len(pages) + 1)
    assert PASSWORD not in (index.folder / "log/events.sqlite").read_bytes().decode("latin-1")


@pytest.mark.parametrize("where", ["netrc", "keyring", "keyring with a user"])
def test_passwords_are_found_where_pip_and_uv_find_them(
    index: Index, secure: tuple[str, Path], tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, authority = secure
    program = tmp_path / "bin/keyring"
    source = f"{url}/simple/"
    if where == "netrc":
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    else:
        told = f"printf '%s\\n' '{USER}' '{PASSWORD}'" if where == "keyring" else f"echo '{PASSWORD}'"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{told}\n', encoding="utf-8")
        program.chmod(0o755)
        if where == "keyring with a user":
            source = source.replace("://", f"://{USER}@")
    assert done(index, source, "--ca-file", authority, "nose", "--dry-run")["files"] == 5
    if where == "keyring":
        assert (tmp_path / "asked").read_text() == f"--mode creds get {url}/simple/\n"
    elif where == "keyring with a user":
        assert (tmp_path / "asked").read_text() == f"get {url}/simple/ {USER}\n"


def test_refusals_of_a_server_say_what_to_do(
    index: Index, secure: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, authority = secure
    assert "--ca-file" in done(index, f"{url}/simple/", answer=2)["message"]
    wrong = f"{url}/simple/".replace("://", "://builder:guess-again@")
    message = done(index, wrong, "--ca-file", authority, answer=2)["message"]
    assert "(401)" in message
    assert "guess-again" not in message
    assert "no list" in done(index, with_password(f"{url}/simple/nose/"), "--ca-file", authority, answer=2)["message"]
    assert "--index-url" in done(index, with_password(f"{url}/none/"), "--ca-file", authority, answer=2)["message"]
    (tmp_path / "netrc").write_text("machine", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "cannot be read" in done(index, f"{url}/simple/", "--ca-file", authority, answer=2)["message"]


def test_no_more_is_downloaded_than_a_page_promises(index: Index, tmp_path: Path, asked: Asked) -> None:
    """Or a server could fill the disk."""
    entry, content = real_file("six-1.0.tar.gz", b"x" * 1000)
    page = {"meta": {"api-version": "1.1"}, "name": "six", "files": [entry | {"size": 999}]}
    folder = tmp_path / "mirror"
    path = folder / entry["url"].removeprefix(f"{HOST}/")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with web(folder, asked) as url:
        write_mirror(folder, {"six": page}, host=url)
        (line, last) = index.ask("import", f"{url}/simple/", "--download", answer=1)
    assert "is longer than 999 bytes" in line["why"]
    assert last["files"] == 0


def test_a_source_that_is_away_ends_the_import(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked for 1,000 pages, six times each."""
    monkeypatch.setattr(polite, "TRIES", 1)
    asked: list[str] = []
    names = [{"name": f"p{number}"} for number in range(1000)]
    listed = json.dumps({"meta": {"api-version": "1.0"}, "projects": names}).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.pypi.simple.v1+json\r\nConnection: close\r\n\r\n"

    def respond(request: Asking) -> None:
        asked.append(request.path)
        away = b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        request.send(head.encode() + listed if request.path == "simple/" else away)

    with answering(respond) as url:
        last = done(index, f"{url}/simple/", answer=75)
    assert "answers 503" in last["message"]
    assert 20 <= len(asked) < 60


def test_files_that_fail_between_others_do_not_end_the_import(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polite, "TRIES", 1)
    entries = [real_file(f"six-1.{number}.tar.gz", b"six")[0] | {"size": None} for number in range(60)]

    def respond(request: Asking) -> None:
        even = int(request.path.rpartition("six-1.")[2].removesuffix(".tar.gz")) % 2 == 0
        status = "200 OK" if even else "503 Away"
        request.send(f"HTTP/1.1 {status}\r\nContent-Length: {3 * even}\r\nConnection: close\r\n\r\n".encode())

    with answering(respond) as url:
        page = {"meta": {"api-version": "1.0"}, "name": "six", "files": entries}
        write_mirror(tmp_path / "mirror", {"six": page}, host=url)
        with web(tmp_path / "mirror", Asked()) as pages:
            last = done(index, f"{pages}/simple/", "--requests", 1, answer=75)
    assert (last["files"], last["refused"]) == (30, 30)


def test_no_password_goes_to_another_server(index: Index, tmp_path: Path, asked: Asked) -> None:
    elsewhere = Asked()
    built = build_wheel(tmp_path, "six", "1.0")
    entry, content = real_file(built.name, built.read_bytes())
    files, pages = tmp_path / "files", tmp_path / "pages"
    path = files / entry["url"].removeprefix(f"{HOST}/")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    page = {"meta": {"api-version": "1.0"}, "name": "six", "files": [entry]}
    with web(files, elsewhere) as other, web(pages, asked, password=True) as url:
        write_mirror(pages, {"six": page}, host=other)
        assert done(index, with_password(f"{url}/simple/"), "--download")["bytes"] == len(content)
    assert elsewhere.authorizations == [None]
    assert None not in asked.authorizations


def test_nothing_of_a_secure_index_is_asked_for_in_plain_text(
    index: Index, tmp_path: Path, secure: tuple[str, Path], asked: Asked
) -> None:
    url, authority = secure
    entry = real_file("six-1.0.tar.gz", b"six")[0] | {"hashes": {}}
    page = {"meta": {"api-version": "1.0"}, "name": "six", "files": [entry]}
    write_mirror(tmp_path / "mirror", {"six": page}, host="http://127.0.0.1:9")
    *_, line, last = index.ask("import", with_password(f"{url}/simple/"), "six", "--ca-file", authority, answer=1)
    assert "not asked for in plain text" in line["why"]
    assert last["refused"] == 1


def test_html_is_read_where_there_is_no_json_and_lengths_are_asked_for(
    index: Index, tmp_path: Path, asked: Asked
) -> None:
    """PEP 503 says neither size nor time; an address that is no BLAKE2b makes the file be read."""
    folder = tmp_path / "old"
    built = [build_wheel(tmp_path, "six", "1.0"), build_sdist(tmp_path, "six", "1.0")]
    entries = [real_file(each.name, each.read_bytes()) for each in built]
    entries[1][0]["url"] = f"{HOST}/packages/source/{built[1].name}"
    page = {"name": "six", "files": [entry for entry, _ in entries]}
    with web(folder, asked) as url:
        write_mirror(folder, {"six": page}, html=True, host=url)
        (folder / "simple/index.json").unlink()
        (folder / "simple/index.html").write_text('<a href="six/">six</a>')
        for entry, content in entries:
            (folder / entry["url"].removeprefix(f"{HOST}/")).write_bytes(content)
        dry = done(index, f"{url}/simple/", "--dry-run")
        assert (dry["files"], dry["bytes"]) == (2, len(entries[1][1]))
        asked.clear()
        last = done(index, f"{url}/simple/")
    assert (last["bytes"], last["unlearnt"]) == (len(entries[1][1]), {"upload-time": 2})
    assert [method for method, path in asked.paths if path.endswith(".whl")] == ["HEAD"]
    index.publish()
    found = json.loads((index.public / "targets/simple/six/index.json").read_bytes())["files"]
    assert {each["filename"]: each["size"] for each in found} == {each.name: each.stat().st_size for each in built}


WRONG = [
    *(
        "javascript:alert(1)",
        "data:,six",
        "file:///etc/passwd",
        "http://127.0.0.1:99999/x",
        "http://a..b/x",
        "http://\x00/x",
    ),
    *("http://xn--\xff/x", "ftp://127.0.0.1/x", "http://127.0.0.1:x/y"),
]


def test_addresses_that_no_server_can_have_are_named_and_the_rest_comes_through(
    index: Index, tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.http.polite.FIRST_PAUSE_SECONDS", 0.01)
    good = real_file("six-0.9.tar.gz", b"good")[0]
    bare: dict[str, Any] = {"hashes": {}, "size": None, "upload-time": None}
    files = [good, *({**bare, "filename": f"six-{n}.tar.gz", "url": url} for n, url in enumerate(WRONG, 1))]
    folder = tmp_path / "pages"
    (folder / "simple/six").mkdir(parents=True)
    page = {"meta": {"api-version": "1.0"}, "name": "six", "files": files}
    (folder / "simple/six/index.json").write_text(json.dumps(page))
    with web(folder, asked) as url:
        *lines, last = index.ask("import", f"{url}/simple/", "six", answer=1)
    assert (last["files"], last["refused"]) == (1, len(WRONG))
    assert {each["file"] for each in lines} == {each["filename"] for each in files[1:]}


def test_a_web_servers_listing_is_no_index(index: Index, tmp_path: Path, asked: Asked) -> None:
    """A folder of wheels behind nginx is what pip takes as --find-links."""
    (tmp_path / "simple").mkdir()
    (tmp_path / "simple/index.html").write_text(
        '<a href="../">../</a> <a href="six-1.0.tar.gz">six-1.0.tar.gz</a> <a href="six-2.0.zip">six-2.0.zip</a>'
    )
    with web(tmp_path, asked) as url:
        assert "Import the folder" in done(index, f"{url}/simple/", answer=2)["message"]


def test_pages_of_another_server_are_told(index: Index, tmp_path: Path, asked: Asked) -> None:
    """pypiserver sends on to a public index for what it does not have: somebody else's project has the name there."""
    empty: dict[str, Page] = {
        name: {"meta": {"api-version": "1.0"}, "name": name, "files": []} for name in ("own", "six")
    }
    own, public = write_mirror(tmp_path / "own", {"own": empty["own"]}), write_mirror(tmp_path / "public", empty)
    (own / "simple/six").mkdir()
    with web(own, asked) as url, web(public, asked) as other:
        (own / "simple/six/moved-to").write_text(f"{other.replace('127.0.0.1', 'localhost')}/simple/six/")
        assert done(index, f"{url}/simple/", "own", "six", "--dry-run")["other_hosts"] == {"localhost": 1}
        assert "note: 1 page came from localhost" in index.run("import", f"{url}/simple/", "six")
        assert done(index, f"{url}/simple/")["other_hosts"] == {}
