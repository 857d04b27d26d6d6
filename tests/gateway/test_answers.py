"""What each route answers: forms, headers, parts, conditions, names that are not normalised."""

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from consumers.gateway import metrics, simple_pages
from consumers.gateway.answering import Rendition
from consumers.gateway.negotiating import HTML_TYPE, JSON_TYPE, OLD_HTML_TYPE
from consumers.gateway.renditions import Renditions
from tests.client.index import FakeClock, Index
from tests.gateway.running import gateway, headers_of
from tests.oracle import check_repository

FOREVER = "public, max-age=31536000, immutable"
SECONDS = "public, max-age=5"
PAGE = "simple/my-demo/index.json"


def entries(index: Index, name: str = "my-demo") -> dict[str, dict[str, str]]:
    """The files on a page, by name; `path` is the served path."""
    page = json.loads((index.public / f"targets/simple/{name}/index.json").read_bytes())
    return {each["filename"]: {**each, "path": each["url"].removeprefix("../../")} for each in page["files"]}


def path_of(index: Index, filename: str) -> str:
    return next(each["path"] for name, each in entries(index).items() if name == filename)


WHEEL, LAST, SDIST = "my_demo-1.0-py3-none-any.whl", "my_demo-2.0-py3-none-any.whl", "my_demo-1.0.tar.gz"


def test_tuf_clients_accept_it(url: str, served: Index) -> None:
    seen = check_repository(f"{url}/", served.root)
    assert set(seen.projects) == {"my-demo", "other"}


# --- pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["", "my-demo/", "other/"])
def test_pages_in_all_forms_are_the_targets(client: httpx.Client, served: Index, page: str) -> None:
    for accept, name in ((JSON_TYPE, "json"), (HTML_TYPE, "html"), (OLD_HTML_TYPE, "html")):
        answer = client.get(f"/simple/{page}", headers={"Accept": accept})
        assert answer.content == (served.public / f"targets/simple/{page}index.{name}").read_bytes()
        assert answer.headers["content-type"].removesuffix("; charset=utf-8") == accept
        assert headers_of(answer, "vary", "cache-control", "x-content-type-options") == {
            "vary": "Accept, Accept-Encoding",
            "cache-control": SECONDS,
            "x-content-type-options": "nosniff",
        }
        # A name or a reason that somebody has chosen runs nothing in a browser.
        assert answer.headers.get("content-security-policy") == (None if name == "json" else "default-src 'none'")


def test_a_form_that_there_is_not(client: httpx.Client) -> None:
    answer = client.get("/simple/other/", headers={"Accept": "application/vnd.pypi.simple.v2+json"})
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert JSON_TYPE in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/", "/simple/"),
        ("/simple", "/simple/"),
        ("/simple/other", "/simple/other/"),
        ("/simple/My.Demo", "/simple/my-demo/"),
        ("/simple/My__Demo/", "/simple/my-demo/"),
        ("/simple/OTHER/", "/simple/other/"),
        ("/at/2/simple", "/at/2/simple/"),
        ("/at/2/simple/My.Demo/", "/at/2/simple/my-demo/"),
    ],
)
def test_names_that_are_not_normalised(client: httpx.Client, path: str, to: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 301
    assert "evil" not in answer.headers["location"]
    assert str(httpx.URL(f"http://host{path}").join(answer.headers["location"])) == f"http://host{to}"
    assert client.get(path, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["/simple/none/", "/simple/-x/", "/simple/a b/", "/simple/%E2%82%AC/", "/simple//"])
def test_what_is_not_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert answer.json()["status"] == 404


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "media_type", "cache"),
    [
        ("/metadata/timestamp.json", "application/json", SECONDS),
        ("/metadata/3.snapshot.json", "application/json", FOREVER),
        ("/metadata/1.root.json", "application/json", FOREVER),
        (f"/targets/{PAGE}", "application/json", SECONDS),
        ("/targets/simple/index.html", "text/html; charset=utf-8", SECONDS),
    ],
)
def test_metadata_and_pages_as_targets(
    client: httpx.Client, served: Index, path: str, media_type: str, cache: str
) -> None:
    answer = client.get(path)
    assert answer.content == (served.public / path[1:]).read_bytes()
    assert headers_of(answer, "content-type", "cache-control") == {"content-type": media_type, "cache-control": cache}


def test_a_missing_next_root_is_asked_for_again(client: httpx.Client) -> None:
    answer = client.get("/metadata/2.root.json")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


def test_distribution_files_by_all_their_names(client: httpx.Client, served: Index) -> None:
    for filename, entry in entries(served).items():
        path, digest = entry["path"], entry["hashes"]["sha256"]  # type: ignore[index]
        folder = path.rpartition("/")[0]
        for where in (f"/{path}", f"/targets/{path}", f"/targets/{folder}/{digest}.{filename}", f"/at/1/{path}"):
            answer = client.get(where)
            assert sha256(answer.content).hexdigest() == digest
            assert headers_of(answer, "content-type", "cache-control", "content-encoding") == {
                "content-type": "application/octet-stream",
                "cache-control": FOREVER,
            }


def test_a_client_that_puts_the_digest_first(client: httpx.Client, served: Index) -> None:
    data = (served.public / f"targets/{PAGE}").read_bytes()
    digest = sha256(data).hexdigest()
    assert client.get(f"/targets/{digest}.{PAGE}").content == data
    assert client.get(f"/targets/{'0' * 64}.{PAGE}").status_code == 404


def test_core_metadata_is_beside_its_file(client: httpx.Client, served: Index) -> None:
    entry = entries(served)[WHEEL]
    answer = client.get(f"/{entry['path']}.metadata")
    assert sha256(answer.content).hexdigest() == entry["core-metadata"]["sha256"]  # type: ignore[index]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


# --- HEAD, parts, conditions, packing ----------------------------------------------------------------------------


def every_kind(index: Index) -> list[str]:
    return ["/simple/", "/simple/my-demo/", "/metadata/timestamp.json", f"/targets/{PAGE}", f"/{path_of(index, LAST)}"]


def test_head_says_what_get_would(client: httpx.Client, served: Index) -> None:
    for path in [*every_kind(served), "/simple/none/", "/simple/Other/", "/healthz"]:
        got, head = client.get(path), client.head(path)
        assert head.content == b""
        assert (head.status_code, {**head.headers, "date": ""}) == (got.status_code, {**got.headers, "date": ""})


@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999", 5, None),
    ],
)
def test_parts(client: httpx.Client, served: Index, header: str, first: int, end: int | None) -> None:
    for path in every_kind(served):
        whole = client.get(path, headers={"Accept-Encoding": "identity"}).content
        answer = client.get(path, headers={"Range": header, "Accept-Encoding": "gzip"})
        wanted = whole[first:end]
        start = first % len(whole)
        assert (answer.status_code, answer.content) == (206, wanted)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(whole)}"
        assert client.head(path, headers={"Range": header}).status_code == 206


def test_a_large_file_in_parts(client: httpx.Client, served: Index) -> None:
    path = f"/{path_of(served, LAST)}"
    whole = client.get(path).content
    assert len(whole) > 2**20
    for first, last in ((0, 700_000), (300_000, 1_000_000)):
        assert client.get(path, headers={"Range": f"bytes={first}-{last}"}).content == whole[first : last + 1]


def test_parts_that_there_are_not(client: httpx.Client, served: Index) -> None:
    for path in every_kind(served):
        length = len(client.get(path).content)
        answer = client.get(path, headers={"Range": f"bytes={length}-"})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{length}")
        for odd in ("bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b"):
            assert client.get(path, headers={"Range": odd}).status_code == 200
        changed = {"Range": "bytes=0-0", "If-Range": '"other"'}
        assert client.get(path, headers=changed).status_code == 200
        same = {"Range": "bytes=0-0", "If-Range": client.get(path, headers={"Accept-Encoding": ""}).headers["etag"]}
        assert client.get(path, headers=same).status_code == 206


def test_conditions(client: httpx.Client, served: Index) -> None:
    for path in every_kind(served):
        got = client.get(path)
        etag, modified = got.headers["etag"], got.headers["last-modified"]
        for headers, status in (
            ({"If-None-Match": etag}, 304),
            ({"If-None-Match": f'"x", W/{etag}'}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"x"'}, 200),
            ({"If-None-Match": '"x"', "If-Modified-Since": modified}, 200),
            ({"If-Modified-Since": modified}, 304),
            ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
            ({"If-Modified-Since": "nonsense"}, 200),
            ({"If-Match": etag}, 200),
            ({"If-Match": '"x"'}, 412),
            ({"If-Unmodified-Since": modified}, 200),
            ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ):
            answer = client.get(path, headers=headers)
            assert answer.status_code == status, (path, headers)
            if status == 304:
                assert answer.content == b""
                kept = ("etag", "cache-control", "vary", "last-modified")
                assert headers_of(answer, *kept) == headers_of(got, *kept)


def test_what_is_long_is_packed(client: httpx.Client) -> None:
    for path in ("/simple/my-demo/", f"/targets/{PAGE}", "/metadata/1.root.json"):
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
            data = b"".join(packed.iter_raw())
        assert (packed.headers["content-encoding"], gzip.decompress(data)) == ("gzip", plain.content)
        assert packed.headers["etag"] != plain.headers["etag"], "other bytes have another strong validator"
        assert "Accept-Encoding" in packed.headers["vary"]
        again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]})
        assert again.status_code == 304


# --- what is never served ----------------------------------------------------------------------------------------


@pytest.fixture
def open_index(tmp_path: Path) -> Iterator[tuple[Index, httpx.Client]]:
    """A ledger of its own, and a client of a gateway over it."""
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("demo", "1.0")
    index.upload("demo", "2.0")
    index.publish()
    with gateway(index.public, index.context) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield index, client


def test_links_that_lead_out_are_not_followed(open_index: tuple[Index, httpx.Client], tmp_path: Path) -> None:
    index, client = open_index
    (tmp_path / "secret").write_text("secret")
    (index.public / "targets/out").symlink_to(tmp_path / "secret")
    (index.public / "targets/up").symlink_to(tmp_path)
    (index.public / "targets/in").symlink_to(index.public / "metadata/1.root.json")
    (index.public / "targets/.hidden").write_text("secret")
    (index.public / "targets/folder").mkdir()
    for path in ("out", "up/secret", "up/index/keys/README", ".hidden", "folder", "folder/"):
        assert client.get(f"/targets/{path}").status_code == 404, path
    assert client.get("/targets/in").content == index.root


def test_what_is_withheld_is_gone_at_once(open_index: tuple[Index, httpx.Client]) -> None:
    index, client = open_index
    path = entries(index, "demo")["demo-1.0-py3-none-any.whl"]["path"]
    assert client.get(f"/{path}").status_code == 200
    index.run("remove", "demo==1.0", "--withhold")
    index.publish()
    for each in (f"/{path}", f"/{path}.metadata", f"/targets/{path}", f"/at/2/{path}"):
        assert client.get(each).status_code == 404, each
    assert any((index.folder / "public-evidence").rglob("*.whl"))
    for way_in in ("/../public-evidence/", "/targets/../../public-evidence/", "/.public.staging-add/"):
        assert client.get(f"{way_in}{path}").status_code in {400, 404}


def test_a_page_mentions_only_what_is_there(open_index: tuple[Index, httpx.Client]) -> None:
    index, client = open_index
    files = entries(index, "demo")
    missing = f"targets/{files['demo-1.0-py3-none-any.whl']['path']}.metadata"
    (index.public / missing).rename(index.folder / "kept")
    answer = client.get("/simple/demo/", headers={"Accept": JSON_TYPE})
    assert "last-modified" not in answer.headers  # it changes when the file does not
    said = {each["filename"]: each["core-metadata"] for each in answer.json()["files"]}
    assert said["demo-1.0-py3-none-any.whl"] is False
    assert said["demo-2.0-py3-none-any.whl"]
    html = client.get("/simple/demo/").text
    assert html.count("data-core-metadata") == html.count("data-dist-info-metadata") == 1


def test_what_comes_later_is_mentioned_later(
    open_index: tuple[Index, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simple_pages, "MISSING_SECONDS", 0.0)
    index, client = open_index
    missing = index.public / f"targets/{entries(index, 'demo')['demo-1.0-py3-none-any.whl']['path']}.metadata"
    missing.rename(index.folder / "kept")
    assert client.get("/simple/demo/").text.count("data-core-metadata") == 1
    (index.folder / "kept").rename(missing)
    assert client.get("/simple/demo/").text.count("data-core-metadata") == 2


def test_a_publication_is_seen_at_once(open_index: tuple[Index, httpx.Client]) -> None:
    index, client = open_index
    before = client.get("/simple/demo/", headers={"Accept": JSON_TYPE})
    index.upload("demo", "3.0")
    index.publish()
    after = client.get("/simple/demo/", headers={"Accept": JSON_TYPE, "If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["versions"]) == (200, ["1.0", "2.0", "3.0"])


# --- monitors ----------------------------------------------------------------------------------------------------


def test_health(client: httpx.Client, tmp_path: Path) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "publication": 3}
    with gateway(tmp_path) as url:
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503


def test_an_expired_timestamp_is_not_ready(served: Index) -> None:
    with gateway(served.public, clock=FakeClock(datetime(2999, 1, 1, tzinfo=UTC))) as url:
        answer = httpx.get(f"{url}/readyz", trust_env=False)
        assert (answer.status_code, "has expired" in answer.json()["detail"]) == (503, True)


async def test_what_is_kept_has_a_limit() -> None:
    """The last used ones stay; one that takes more than a quarter never does."""
    renditions = Renditions(most_bytes=400)

    async def make(key: str, length: int) -> None:
        async def made() -> tuple[Rendition, None]:
            return Rendition(b"x" * length, "text/plain"), None

        await renditions.make(key, made)

    await make("large", 101)
    assert renditions.get("large") is None
    for key in ("a", "b", "c", "d"):
        await make(key, 100)
    assert renditions.get("a") is not None
    await make("e", 100)
    kept = [key for key in ("a", "b", "c", "d", "e") if renditions.get(key) is not None]
    assert kept == ["a", "c", "d", "e"]


def test_metrics(client: httpx.Client) -> None:
    client.get("/simple/other/")
    client.get("/nonsense/path")
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(lines['tuf_ledger_requests_total{route="simple",status="200"}']) >= 1
    assert float(lines['tuf_ledger_requests_total{route="other",status="404"}']) >= 1
    assert lines["tuf_ledger_publication"] == "3.0"
    assert 0 <= float(lines["tuf_ledger_publication_age_seconds"]) < 86_400
    roles = {"root", "targets", "bins", "snapshot", "timestamp"}
    assert all(float(lines[f'tuf_ledger_role_expires_timestamp_seconds{{role="{role}"}}']) > 1.7e9 for role in roles)
    assert lines['tuf_ledger_lag_records{consumer="signer"}'] == "0.0"
    assert lines["tuf_ledger_log_up"] == "1.0"
    assert float(lines["process_resident_memory_bytes"]) > 2**20


def test_a_log_that_does_not_answer_keeps_no_monitor_waiting(served: Index, tmp_path: Path) -> None:
    """Prometheus gives up after ten seconds: it would never see that the log is away."""
    index = Index(shutil.copytree(served.folder, tmp_path / "index"))
    settings = index.folder / "ledger.toml"
    settings.write_text(settings.read_text().replace('log = "sqlite:log"', 'log = "kafka://127.0.0.1:9/nobody"'))
    with gateway(index.public, index.context) as url:
        found = httpx.get(f"{url}/metrics", trust_env=False, timeout=9)
    assert "tuf_ledger_log_up 0.0" in found.text
    assert "tuf_ledger_publication 3.0" in found.text


def test_figures_of_what_is_gone_do_not_stay(
    open_index: tuple[Index, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An age that stood still would never raise an alarm."""
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    index, client = open_index
    assert "tuf_ledger_publication 2.0" in client.get("/metrics").text
    index.public.rename(index.folder / "moved")
    (index.folder / "state").rename(index.folder / "moved-state")
    figures = client.get("/metrics").text
    assert client.get("/readyz").status_code == 503
    assert "tuf_ledger_publication 0.0\n" in figures
    assert "tuf_ledger_publication_age_seconds +Inf\n" in figures
    assert "tuf_ledger_role_expires_timestamp_seconds{" not in figures
    assert "tuf_ledger_lag_events{" not in figures
    (index.folder / "moved").rename(index.public)
    assert "tuf_ledger_publication 2.0" in client.get("/metrics").text
