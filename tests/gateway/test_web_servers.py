"""nginx and Caddy with the files under `deploy`: the same requests get the same answers as from the gateway alone."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest

from consumers.gateway.event_routes import SINGLE_TYPE
from consumers.gateway.negotiating import HTML_TYPE, JSON_TYPE
from consumers.gateway.producers import new_token
from ledger.client import build_event, digest_of
from tests.certificates import Authority
from tests.client.index import Index
from tests.gateway.running import gateway
from tests.gateway.servers import SERVERS

pytestmark = pytest.mark.deploy

COMPARED = (
    "cache-control",
    "content-encoding",
    "content-range",
    "content-security-policy",
    "content-type",
    "x-content-type-options",
)
UV = f"{JSON_TYPE}, {HTML_TYPE};q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FORMS = (UV, BROWSER, HTML_TYPE, "*/*", "", "application/vnd.pypi.simple.v2+json")


class Asked(NamedTuple):
    """A request."""

    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    method: str = "GET"


def table(index: Index) -> list[Asked]:
    """The requests that every server must answer alike."""
    page = json.loads((index.public / "targets/simple/my-demo/index.json").read_bytes())
    files = [each["url"].removeprefix("../../") for each in page["files"]]
    served = [path.relative_to(index.public).as_posix() for path in sorted(index.public.rglob("*")) if path.is_file()]
    hashed = [f"/{path}" for path in served if len(path.rpartition("/")[2].partition(".")[0]) == 64][::3]
    pages = ["/simple/", "/simple/my-demo/", "/simple/other/"]
    whole = [
        *(Asked(path, {"Accept": form}) for path in pages for form in FORMS),
        *(Asked(f"/simple/{name}") for name in ("My.Demo/", "My.Demo", "OTHER/", "other", "none/", "x_y", "-")),
        *(Asked(f"/at/3/simple/{name}") for name in ("", "other/", "Other/", "other")),
        *(Asked(f"/{path}") for path in files),
        *(Asked(f"/{path}.metadata") for path in files),
        *(Asked(f"/targets/{path}") for path in files),
        *(Asked(f"/at/3/{path}") for path in files),
        *(Asked(path) for path in hashed),
        *(Asked(f"/metadata/{name}") for name in ("timestamp.json", "1.root.json", "2.root.json", "3.snapshot.json")),
        *(Asked(path) for path in ("/targets/simple/index.json", "/targets/simple/my-demo/index.html", "/simple", "/")),
        *(Asked(path) for path in ("/healthz", "/readyz", "/page/json/", "/targets/", "/metadata", "/targets/.hidden")),
    ]
    large = f"/{next(path for path in files if path.endswith('2.0-py3-none-any.whl'))}"
    parts = [
        Asked(path, {"Range": part, "Accept": JSON_TYPE})
        for path in (large, "/simple/my-demo/", "/metadata/1.root.json")
        for part in ("bytes=0-9", "bytes=10-", "bytes=-10", "bytes=99999999-")
    ]
    packed = [
        Asked(path, {"Accept-Encoding": "gzip", "Accept": JSON_TYPE}) for path in (*pages, "/metadata/1.root.json")
    ]
    others = [Asked("/simple/", method=method) for method in ("POST", "PUT", "DELETE")]
    return [*whole, *parts, *packed, *(each._replace(method="HEAD") for each in whole), *others]


def answer(client: httpx.Client, asked: Asked) -> dict[str, Any]:
    """What matters of an answer."""
    headers = {"Accept-Encoding": "identity", **asked.headers}
    got = client.request(asked.method, asked.path, headers=headers)
    facts: dict[str, Any] = {"status": got.status_code, **{name: got.headers.get(name) for name in COMPARED}}
    if got.status_code in {200, 206, 406}:
        facts["vary"] = sorted(
            {each.strip() for each in got.headers.get("vary", "").split(",")} - {"Accept-Encoding", ""}
        )
    if got.status_code < 300:
        facts["body"] = got.content
    if got.status_code == 416:  # other servers have words of their own for it
        return {"status": 416, "content-range": got.headers["content-range"]}
    if "Range" in headers:
        del facts["cache-control"]  # check_failures
    if "location" in got.headers:
        facts["location"] = got.url.join(got.headers["location"]).path
        facts["content-type"] = facts["x-content-type-options"] = None  # of a text that nobody reads
    return facts


def differences(one: httpx.Client, other: httpx.Client, asked: list[Asked]) -> list[Any]:
    found = []
    for each in asked:
        expected, got = answer(one, each), answer(other, each)
        odd = {name: (expected.get(name), got.get(name)) for name in {*expected, *got}}
        odd = {name: pair for name, pair in odd.items() if pair[0] != pair[1]}
        if odd:
            found.append((each, odd))
    return found


def check_conditions(client: httpx.Client, index: Index) -> None:
    """A client that has it already does not get it again."""
    for path in ("/simple/my-demo/", "/metadata/timestamp.json", "/targets/simple/index.json"):
        got = client.get(path, headers={"Accept": JSON_TYPE, "Accept-Encoding": "identity"})
        for condition in (
            {"If-None-Match": got.headers["etag"]},
            {"If-Modified-Since": got.headers["last-modified"]},
        ):
            headers = {"Accept": JSON_TYPE, "Accept-Encoding": "identity", **condition}
            assert client.get(path, headers=headers).status_code == 304
    index.upload("my-demo", "9.0")
    assert client.get("/simple/my-demo/", headers={"If-None-Match": '"x"'}).status_code == 200


def check_failures(client: httpx.Client, index: Index) -> None:
    """No cache keeps a failure, that anybody can bring about, for a year in the place of what should be there."""
    page = json.loads((index.public / "targets/simple/my-demo/index.json").read_bytes())
    for path in (f"/{page['files'][0]['url'].removeprefix('../../')}", "/metadata/1.root.json", "/simple/my-demo/"):
        for name, value in (
            ("Range", "bytes=99999999-"),
            ("Range", "/packages/"),
            ("If-Match", '"x"'),
            ("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"),
        ):
            # A connection for each: after 412, nginx closes it without a word.
            headers = {"Accept-Encoding": "identity", name: value, "Connection": "close"}
            got = client.get(path, headers=headers)
            kept = got.headers.get("cache-control", "")
            assert got.status_code == 200 or "no-store" in kept or kept in {"", "public, max-age=5"}, (path, name, kept)


def check_ways_up(client: httpx.Client) -> None:
    """A path that goes up has the headers of where it leads to, if it leads anywhere."""
    where = client.base_url
    for path in (
        "/packages/../metadata/timestamp.json",
        "/packages/..%2f..%2fmetadata/timestamp.json",
        "/targets/packages/..%2f../metadata/timestamp.json",
        "/targets/packages/%2e%2e/simple/index.json",
        "/targets/packages/./../simple/index.json",
    ):
        with socket.create_connection((where.host, where.port or 80), timeout=60) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {where.host}\r\nConnection: close\r\n\r\n".encode())
            head = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")[0].lower()
        assert head.startswith((b"http/1.1 200", b"http/1.1 400", b"http/1.1 404")), head
        assert b"immutable" not in head, path


def check_links(client: httpx.Client, index: Index) -> None:
    """No link leads out of what is served."""
    (index.folder / "secret").write_text("secret")
    (index.public / "targets/out").symlink_to(index.folder / "secret")
    assert client.get("/targets/out").status_code in {403, 404}


@pytest.mark.parametrize("name", SERVERS)
def test_a_web_server_answers_as_the_gateway_does(
    name: str, deployed: Callable[[str], str], served: Index, url: str, tmp_path: Path
) -> None:
    with (
        SERVERS[name](deployed(name), tmp_path, served.public, url) as client,
        httpx.Client(base_url=url, trust_env=False) as alone,
    ):
        assert differences(alone, client, table(served)) == []
        for each in (alone, client):
            check_failures(each, served)
            check_ways_up(each)


@pytest.mark.parametrize("name", SERVERS)
def test_without_html_pages_the_gateway_renders_them(name: str, deployed: Callable[[str], str], tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2, "--no-html")
    index.upload("my-demo", "1.0")
    index.upload("my-demo", "2.0")
    index.upload("other", "1.0")
    index.publish()
    with (
        gateway(index.public, index.context) as url,
        SERVERS[name](deployed(name), tmp_path, index.public, url) as client,
        httpx.Client(base_url=url, trust_env=False) as alone,
    ):
        asked = [Asked(f"/simple/{page}", {"Accept": form}) for page in ("", "my-demo/", "none/") for form in FORMS]
        assert differences(alone, client, asked) == []
        check_conditions(client, index)
        if name == "nginx":
            check_links(client, index)


@pytest.mark.parametrize("name", SERVERS)
def test_events_pass(name: str, deployed: Callable[[str], str], tmp_path: Path) -> None:
    """Over TLS, of 8 MiB at most. Over plain HTTP the gateway refuses them, though the server is on its machine."""
    index = Index.create(tmp_path / "index", "--bins", 2)
    token, line = new_token("service", ["*"], ["*"])
    (index.folder / "producers").write_text(line)
    with (index.folder / "ledger.toml").open("a") as file:
        file.write('[gateway]\nproducers = "producers"\n')
    event = build_event("project.created.v1", "one", {}, source="/my-index", actor="1", actor_kind="system")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": SINGLE_TYPE}
    authority = Authority(tmp_path, "authority")
    with gateway(index.public, index.context) as url:
        for each, status in ((authority, 202), (None, 403)):
            with SERVERS[name](deployed(name), tmp_path, index.public, url, each) as client:
                answer = client.post("/events", content=event, headers=headers)
                assert answer.status_code == status, answer.text
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["x-content-type-options"] == "nosniff"
                asked = client.get(f"/events/{digest_of(event)}", headers=headers)
                assert asked.status_code == (200 if status == 202 else 403)
                if status == 202:
                    large = client.post("/events", content=b" " * 7 * 2**20 + event, headers=headers)
                    assert large.status_code == status, large.text
                assert client.get("/events/none", headers=headers).status_code == 404
                assert client.post("/simple/", content=event).status_code == 405
