"""The index as it was, at a publication or a time."""

import json
from pathlib import Path

import httpx
import pytest

from consumers.catalog.remaking import Remaking
from consumers.gateway import metrics
from consumers.gateway.negotiating import JSON_TYPE
from consumers.gateway.past_pages import PAST_LIMITS
from consumers.gateway.renditions import Renditions
from tests.client.index import FakeClock, Index
from tests.client.processes import until
from tests.gateway.running import gateway

JSON = {"Accept": JSON_TYPE}


def versions(client: httpx.Client, when: object, name: str = "demo") -> list[str] | None:
    answer = client.get(f"/at/{when}/simple/{name}/", headers=JSON)
    return answer.json()["versions"] if answer.status_code == 200 else None


def test_each_publication_has_its_pages(tmp_path: Path, clock: FakeClock) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2, clock=clock)
    pages = {}
    for version in ("1.0", "2.0", "3.0"):
        clock.advance(days=1)
        index.upload("demo", version)
        number = index.publish()
        pages[number] = (index.public / "targets/simple/demo/index.json").read_bytes()
    clock.advance(days=1)
    index.run("remove", "demo")
    index.publish()
    with (
        gateway(index.public, index.context, clock=clock) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        for number, page in pages.items():
            assert client.get(f"/at/{number}/simple/demo/", headers=JSON).content == page
        assert versions(client, 1) is versions(client, 5) is None, "before, and after it was removed"
        assert client.get("/at/1/simple/", headers=JSON).json()["projects"] == []
        assert client.get("/at/4/simple/", headers=JSON).json()["projects"] == [{"name": "demo"}]
        assert client.get("/at/4/simple/").headers["content-type"] == "text/html; charset=utf-8"
        assert client.get("/at/4/simple/demo/").text.count("<a ") == 3
        for time, expected in (
            ("2031-01-02T00:00:00Z", ["1.0"]),
            ("2031-01-02T23:59:59Z", ["1.0"]),
            ("2031-01-03T00:00:00Z", ["1.0", "2.0"]),
            ("2031-01-04T12:00:00Z", ["1.0", "2.0", "3.0"]),
            ("2031-01-05T00:00:00Z", None),
            ("2031-01-01T12:00:00Z", None),
        ):
            assert versions(client, time) == expected, time
            assert versions(client, time.replace(":", "%3A")) == expected
        assert client.get("/at/2/simple/demo/").headers["cache-control"] == "public, max-age=3600"
        # The next publication may be in force at a time that the last one is asked for at.
        assert client.get("/at/5/simple/").headers["cache-control"] == "public, max-age=5"
        assert "yet to come" in client.get("/at/2031-01-06T00:00:00Z/simple/").json()["detail"]
        for when in (
            "0",
            "01",
            "6",
            "99999999999999999999",
            "2031-01-06T00:00:00Z",
            "2031-02-30T00:00:00Z",
            "2030-01-01T00:00:00Z",
            "x",
            "-1",
            "²",
        ):
            answer = client.get(f"/at/{when}/simple/demo/", headers=JSON)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), when


def test_new_publications_are_there_at_once(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    with gateway(index.public, index.context) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert versions(client, 1) is None
        for version in ("1.0", "2.0"):
            index.upload("demo", version)
            assert versions(client, index.publish()) is not None
        assert versions(client, 3) == ["1.0", "2.0"]


def test_withheld_files_are_left_out_of_all_pages(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    for version in ("1.0", "2.0", "3.0"):
        index.upload("demo", version)
    first = index.publish()
    with gateway(index.public, index.context) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert versions(client, first) == ["1.0", "2.0", "3.0"]
        index.run("remove", "demo==2.0", "--withhold")
        index.run("remove", "demo==3.0")
        index.publish()
        page = client.get(f"/at/{first}/simple/demo/", headers=JSON).json()
        assert page["versions"] == ["1.0", "3.0"]
        for entry in page["files"]:
            assert client.get(httpx.URL(f"/at/{first}/simple/demo/").join(entry["url"])).status_code == 200
        index.run("restore", "demo==2.0")
        index.publish()
        assert versions(client, first) == ["1.0", "2.0", "3.0"]


def test_pages_that_slow_readers_hold_are_limited(tmp_path: Path) -> None:
    """A page that is kept takes no more memory, so it is still sent."""
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("demo", "1.0")
    number = index.publish()
    limits = PAST_LIMITS._replace(memory_bytes=1)
    with (
        gateway(index.public, index.context, past=limits) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        until(lambda: client.get(f"/at/{number}/simple/demo/", headers=JSON).is_success, lambda: "the catalog")
        assert versions(client, number) == ["1.0"]
        answer = client.get(f"/at/{number}/simple/", headers=JSON)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.get("/simple/demo/").status_code == 200


def test_pages_that_were_read_take_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Renditions.__init__, "__defaults__", (0,))  # none is kept
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("demo", "1.0")
    number = index.publish()
    limits = PAST_LIMITS._replace(memory_bytes=1)
    with (
        gateway(index.public, index.context, past=limits) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        for _ in range(3):
            until(lambda: versions(client, number) == ["1.0"], lambda: "a place to be free")


def test_a_page_that_is_kept_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("demo", "1.0")
    number = index.publish()
    with gateway(index.public, index.context) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert versions(client, number) == ["1.0"]
        monkeypatch.delattr(Remaking, "page")
        assert versions(client, number) == ["1.0"]


def test_a_folder_alone_has_no_past(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    with gateway(index.public) as url:
        assert httpx.get(f"{url}/at/1/simple/", trust_env=False).status_code == 404


def test_a_log_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    index = Index.create(tmp_path / "index", "--bins", 2)
    with gateway(index.public, index.context) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert "tuf_ledger_lag_events{" in client.get("/metrics").text
        (index.folder / "log").rename(index.folder / "moved")
        answer = client.get("/at/1/simple/")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        figures = client.get("/metrics").text
        assert "tuf_ledger_log_up 0.0" in figures
        assert "tuf_ledger_lag_events{" not in figures  # nobody knows
        assert client.get("/simple/").status_code == 200
        (index.folder / "moved").rename(index.folder / "log")
        assert client.get("/at/1/simple/").status_code == 200


def test_who_asks_too_early_or_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    index.upload("demo", "1.0")
    number = index.publish()
    for limits in (PAST_LIMITS._replace(patience_seconds=0), PAST_LIMITS._replace(waiting=0)):
        with (
            gateway(index.public, index.context, past=limits) as url,
            httpx.Client(base_url=url, trust_env=False) as client,
        ):
            answer = client.get(f"/at/{number}/simple/demo/", headers=JSON)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert client.get("/simple/demo/").status_code == 200
            if limits.waiting:
                until(lambda: versions(client, number) == ["1.0"], lambda: "the catalog to be filled")


@pytest.mark.parametrize("form", ["publication", "time"])
def test_a_ledger_without_publications(tmp_path: Path, form: str) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    when = {"publication": "7", "time": "2020-01-01T00:00:00Z"}[form]
    with gateway(index.public, index.context) as url:
        answer = httpx.get(f"{url}/at/{when}/simple/", trust_env=False)
        assert (answer.status_code, json.loads(answer.content)["status"]) == (404, 404)
