"""`/events`: producers append over HTTP, and learn what became of it."""

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from consumers.context import Context
from consumers.gateway import event_routes
from consumers.gateway.app import open_app
from consumers.gateway.event_routes import BATCH_TYPE, SINGLE_TYPE, open_event_routes
from consumers.gateway.producers import MOST_BYTES, Producers, new_token
from ledger.client import build_event, open_client
from ledger.config import ConfigError, load_config
from ledger.http import posting
from ledger.http.posting import GatewayError, GatewayUnavailableError
from schemas.errors import NegativeAnswerError
from tests.certificates import Authority
from tests.client.index import Index
from tests.client.processes import PATIENCE_SECONDS, environment, execute, start, until
from tests.client.test_examples import shell
from tests.distributions import build_wheel
from tests.examples import CURL, STORE, UPLOAD, example
from tests.gateway.running import gateway

WHO = {"source": "/my-index", "actor": "account-7", "actor_kind": "user"}


def created(name: str, **more: Any) -> bytes:
    """A new project."""
    return build_event("project.created.v1", name, {}, **WHO, **more)


def yanked(version: str, **more: Any) -> bytes:
    """A yank in project `other`."""
    return build_event("release.yanked.v1", "other", {"version": version}, **WHO, **more)


def held() -> bytes:
    return build_event("signing.held.v1", "signing", {}, **WHO)


def batch(*events: bytes) -> dict[str, Any]:
    """A request with several events."""
    return {"content": b"[" + b", ".join(events) + b"]", "headers": {"Content-Type": BATCH_TYPE}}


def single(event: bytes) -> dict[str, Any]:
    """A request with one."""
    return {"content": event, "headers": {"Content-Type": SINGLE_TYPE}}


class Service:
    """A ledger, its gateway, and clients with tokens."""

    def __init__(self, index: Index, url: str) -> None:
        self.index = index
        self.url = url
        self.producers = index.folder / "producers"
        self.closing = ExitStack()
        self.client = self.client_of("service")

    def client_of(
        self,
        producer: str,
        *,
        types: tuple[str, ...] = ("*",),
        projects: tuple[str, ...] = ("*",),
        source: str | None = None,
    ) -> httpx.Client:
        """A client with a token of its own."""
        token, line = new_token(producer, types, projects, source)
        with self.producers.open("a") as file:
            file.write(line + "\n")
        headers = {"Authorization": f"Bearer {token}"}
        return self.closing.enter_context(httpx.Client(base_url=self.url, headers=headers, trust_env=False))

    def count(self) -> int:
        """How many events are on the log."""
        return int(self.index.info()["sizes"]["events"])

    def record(self, event: int) -> bytes:
        """An event, as it is on the log."""

        async def read() -> bytes:
            log = self.index.context.logs().events
            await log.open()
            try:
                return (await log.read(event))[0] or b""
            finally:
                await log.close()

        return asyncio.run(read())


@contextmanager
def serving(index: Index) -> Iterator[Service]:
    """A gateway over a ledger."""
    with gateway(index.public, index.context) as url:
        found = Service(index, url)
        with found.closing:
            yield found


def copy_of(served: Index, folder: Path) -> Index:
    """A copy of a ledger, with a file of producers. A gateway may have its catalog open: that is not copied."""
    shutil.copytree(served.folder, folder, ignore=shutil.ignore_patterns("catalog.sqlite*"))
    made = Index(folder)
    (made.folder / "producers").touch()
    with (made.folder / "ledger.toml").open("a") as file:
        file.write('\n[gateway]\nproducers = "producers"\n')
    return made


@pytest.fixture
def index(served: Index, tmp_path: Path) -> Index:
    """A ledger of this test alone."""
    return copy_of(served, tmp_path / "index")


@pytest.fixture(scope="module")
def common(served: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for tests that find out what is refused."""
    with serving(copy_of(served, tmp_path_factory.mktemp("common") / "index")) as found:
        yield found


@pytest.fixture
def service(index: Index) -> Iterator[Service]:
    with serving(index) as found:
        yield found


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """What a problem says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    return found


# --- appending -------------------------------------------------------------------------------------------------------


def test_one_event(service: Service) -> None:
    """The bytes are appended as they stand in the body, spaces and unknown members too."""
    event = created("new").replace(b'"data":{}', b'"data": { } , "unknown" : 1')
    before = service.count()
    answer = service.client.post("/events", **single(b"\n" + event + b"\n"))
    digest = sha256(event).hexdigest()
    assert answer.status_code == 202
    assert answer.json() == {
        "digest": digest,
        "event": before,
        "project": "new",
        "standing": "pending",
        "type": "project.created.v1",
    }
    assert answer.headers["location"] == f"/events/{digest}"
    assert answer.headers["cache-control"] == "no-store"
    assert service.record(before) == event
    assert service.count() == before + 1


def test_a_batch_is_appended_in_order(service: Service) -> None:
    events = [created(f"p{number}").replace(b",", b" ,\t") for number in range(20)]
    before = service.count()
    answer = service.client.post("/events", **batch(*events))
    assert [each["event"] for each in answer.json()] == list(range(before, before + 20))
    assert [service.record(each["event"]) for each in answer.json()] == events


def test_lone_surrogates_pass_in_a_batch_too(service: Service) -> None:
    """Programs in JavaScript write them where a text was cut: as an escape, which rules take for U+FFFD."""
    first = created("p1").replace(b'"data":{}', rb'"data":{"x":"\ud83d"}')
    second = yanked("1.0").replace(b'"data":{', rb'"data":{"reason":"\ud83d \ud83d\ude00 \\ud83d [,",')
    answer = service.client.post("/events", **batch(first, second, b" " + first))
    assert answer.status_code == 202, answer.text
    assert [service.record(each["event"]) for each in answer.json()] == [first, second, first]


def test_what_is_sent_again_gets_the_first_answer(service: Service) -> None:
    """Pending, shown, and beside others."""
    one, two, three = created("p1"), created("p2"), created("p3")
    first = service.client.post("/events", **batch(one, two)).json()
    size = service.count()
    assert service.client.post("/events", **batch(one, two)).json() == first
    assert service.count() == size
    service.index.publish()
    answer = service.client.post("/events", **batch(three, two, three, one)).json()
    assert [each["standing"] for each in answer] == ["pending", "shown", "pending", "shown"]
    assert [each["event"] for each in answer] == [size, first[1]["event"], size, first[0]["event"]]
    assert service.count() == size + 1


def test_also_after_a_restart(index: Index) -> None:
    event = created("one")
    with serving(index) as service:
        first = service.client.post("/events", **single(event)).json()
    with serving(index) as service:
        assert service.client.post("/events", **single(event)).json() == first


def test_what_was_rejected_is_judged_anew(service: Service) -> None:
    event = yanked("7.0")
    first = service.client.post("/events", **single(event)).json()
    service.index.publish()
    service.index.upload("other", "7.0")
    second = service.client.post("/events", **single(event)).json()
    assert second["event"] > first["event"]
    assert service.client.post("/events", **single(event)).json() == second
    assert service.client.get(f"/events/{first['digest']}").json()["event"] == second["event"]
    service.index.publish()
    found = service.client.get(f"/events/{first['digest']}").json()
    assert (found["event"], found["verdict"]) == (second["event"], "accepted")


def test_many_at_once(service: Service) -> None:
    """Each event is appended once, whoever sends it how often."""
    events = [created(f"p{number}") for number in range(30)]
    before = service.count()
    with ThreadPoolExecutor(8) as threads:
        posted = [threads.submit(service.client.post, "/events", **single(each)) for each in events * 3]
        answers = [each.result() for each in posted]
    assert {each.status_code for each in answers} == {202}
    assert {each.json()["event"] for each in answers} == set(range(before, before + 30))
    assert service.count() == before + 30


# --- what became of it -----------------------------------------------------------------------------------------------


class Publishing(threading.Thread):
    """A signer beside the gateway, in a process of its own."""

    def __init__(self, index: Index) -> None:
        super().__init__()
        self.index = index

    def run(self) -> None:
        execute("publish", "--ledger", self.index.folder)


def test_waiting_for_the_publication(service: Service) -> None:
    good, bad = created("new"), yanked("99.0")
    same = created("other")
    publishing = Publishing(service.index)
    publishing.start()
    answer = service.client.post("/events?wait=shown", **batch(good, bad, same), timeout=PATIENCE_SECONDS)
    publishing.join()
    if answer.status_code == 202:  # it was published before the events came
        Publishing(service.index).run()
        answer = service.client.post("/events?wait=shown", **batch(good, bad, same), timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200
    found = answer.json()
    assert [(each["verdict"], each["code"]) for each in found] == [
        ("accepted", ""),
        ("rejected", "no-release"),
        ("no effect", "exists"),
    ]
    number = service.index.info()["publications"]
    assert {each["publication"] for each in found} == {number}
    assert {each["standing"] for each in found} == {"shown"}
    for each in found:
        alone = service.client.get(f"/events/{each['digest']}").json()
        assert alone == {name: value for name, value in each.items() if name not in {"type", "project"}}


def test_waiting_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes."""
    monkeypatch.setattr(event_routes, "WAIT_SECONDS", 0.2)
    answer = service.client.post("/events?wait=shown", **single(created("new")))
    assert answer.status_code == 202
    assert answer.json()["standing"] == "pending"
    again = service.client.get(f"/events/{answer.json()['digest']}?wait=shown")
    assert again.status_code == 200
    assert again.json()["standing"] == "pending"


def test_a_stop_ends_waiting(index: Index) -> None:
    answers: list[httpx.Response] = []
    with ExitStack() as closing:
        with gateway(index.public, index.context) as url:
            service = Service(index, url)
            closing.enter_context(service.closing)
            other = service.client_of("other")
            digest = service.client.post("/events", **single(created("new"))).json()["digest"]
            asking = threading.Thread(target=lambda: answers.append(other.get(f"/events/{digest}?wait=shown")))
            asking.start()
            until(lambda: "requests_in_work 2.0" in service.client.get("/metrics").text, lambda: "one that waits")
        asking.join()
    assert [each.status_code for each in answers] == [200]


def test_holds(service: Service) -> None:
    client = service.client_of("responder", types=("*", "signing.held.v1"))
    hold, content = client.post("/events", **batch(held(), created("new"))).json()
    service.index.publish()
    assert client.get(f"/events/{hold['digest']}").json()["verdict"] == "accepted"
    assert client.get(f"/events/{content['digest']}").json()["standing"] == "held"


@pytest.mark.parametrize("digest", ["0" * 64, "F" * 64, "12", "x" * 64])
def test_unknown_events(common: Service, digest: str) -> None:
    refused(common.client.get(f"/events/{digest}"), 404)


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer tlp_nobodys"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}],
)
def test_without_a_token(common: Service, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=common.url, headers=headers, trust_env=False) as client:
        for answer in (client.post("/events", **single(created("new"))), client.get(f"/events/{'0' * 64}")):
            refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("scope", "event", "status"),
    [
        ({}, created("new"), 202),
        ({"types": ("project.*",)}, created("new"), 202),
        ({"types": ("project.created.v1",), "projects": ("new-*",)}, created("new-one"), 202),
        ({"types": ("file.uploaded.v1",)}, created("new"), 403),
        ({"source": "/my-index"}, created("new"), 202),
        ({"source": "/other"}, created("new"), 403),
        ({"projects": ("new",)}, created("new-one"), 403),
        ({"projects": ("new",)}, yanked("1.0"), 403),
        ({}, held(), 403),
        ({"types": ("signing.*",)}, held(), 403),
        ({"types": ("signing.held.v1",)}, held(), 202),
        ({"types": ("signing.held.v1",), "projects": ("new",)}, held(), 403),
    ],
)
def test_scopes(common: Service, scope: dict[str, Any], event: bytes, status: int) -> None:
    before = common.count()
    answer = common.client_of("other", **scope).post("/events", **single(event))
    assert answer.status_code == status, answer.text
    assert common.count() == before + (status == 202)
    if status == 403:
        assert refused(answer, 403)["problems"][0]["number"] == 0


def test_offline_roles_are_never_appended(common: Service) -> None:
    client = common.client_of("all", types=("*", "roles.signed.v1", "ledger.created.v1"))
    event = build_event("roles.signed.v1", "roles", {"roles": {}}, **WHO)
    assert "ceremony" in refused(client.post("/events", **single(event)), 403)["detail"]


def test_a_token_is_revoked_by_deleting_its_line(service: Service) -> None:
    assert service.client.post("/events", **single(created("one"))).status_code == 202
    service.producers.write_text("")
    refused(service.client.post("/events", **single(created("two"))), 401)


def test_a_token_is_replaced_by_another(service: Service) -> None:
    """A line that is as long as the one before."""
    assert service.client.post("/events", **single(created("one"))).status_code == 202
    token, line = new_token("service", ["*"], ["*"])
    assert len(f"{line}\n") == len(service.producers.read_text())
    service.producers.write_text(f"{line}\n")
    refused(service.client.post("/events", **single(created("one"))), 401)
    service.client.headers["Authorization"] = f"Bearer {token}"
    assert service.client.post("/events", **single(created("one"))).status_code == 202


async def test_a_file_of_producers_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "producers").write_bytes(b"\n" * (MOST_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        await Producers(tmp_path / "producers").check()


def test_a_broken_file_lets_nobody_in(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with service.producers.open("a") as file:
        file.write("{}\n")
    refused(service.client.post("/events", **single(created("two"))), 500)
    service.producers.unlink()
    refused(service.client.post("/events", **single(created("two"))), 500)


@pytest.mark.parametrize("text", ["{}", "[]", "x", '{"producer":"a","sha256":"0","types":[],"projects":[]}', "\xff"])
async def test_a_file_that_is_none_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "producers"
    with pytest.raises(ConfigError, match="cannot be read"):
        await Producers(path).check()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="line 1 of"):
        await Producers(path).check()


async def test_what_is_no_file_keeps_no_start_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "producers")
    for path in (tmp_path / "producers", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            await Producers(path).check()


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "status"),
    [
        ("127.0.0.1", None, False, 202),
        ("::1", None, False, 202),
        ("::ffff:127.0.0.1", None, False, 202),  # over a socket for both kinds of addresses
        ("::ffff:192.0.2.1", None, False, 403),
        ("192.0.2.1", None, False, 403),
        ("192.0.2.1", "https", False, 403),
        ("192.0.2.1", "https", True, 202),
        ("192.0.2.1", "http", True, 403),
        ("192.0.2.1", "http, https", True, 403),
        ("192.0.2.1", None, True, 403),
        ("127.0.0.1", "http", False, 403),
        ("127.0.0.1", "http", True, 403),
        ("127.0.0.1", "https", False, 202),
    ],
)
async def test_tokens_over_plain_http(
    index: Index, peer: str, forwarded: str | None, *, trusted: bool, status: int
) -> None:
    """From this machine, or by a proxy that had them over TLS; the answer does not depend on the token."""
    with (index.folder / "ledger.toml").open("a") as file:
        file.write(f'forwarded = "{"trusted" if trusted else "ignored"}"\n')
    token, line = new_token("service", ["*"], ["*"])
    (index.folder / "producers").write_text(line)
    context, stop = Context(index.folder), asyncio.Event()
    headers = {} if forwarded is None else {"X-Forwarded-Proto": forwarded}
    async with open_event_routes(context, stop) as routes, open_app(index.public, context, more=routes) as app:
        transport = httpx.ASGITransport(app=app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
            found = set()
            for each in (token, "wrong"):
                answer = await client.post(
                    "/events",
                    content=created("new"),
                    headers={"Content-Type": SINGLE_TYPE, "Authorization": f"Bearer {each}"},
                )
                found.add(answer.status_code)
    assert found == ({202, 401} if status == 202 else {403})


# --- what is no request ----------------------------------------------------------------------------------------------


def test_nothing_is_appended_of_a_batch_that_does_not_fit(common: Service) -> None:
    """All are checked first; each that does not fit is named."""
    before = common.count()
    bad = created("new").replace(b"new", b"New!")
    found = refused(common.client.post("/events", **batch(created("one"), bad, b"{}", created("two"))), 422)
    assert [(each["number"], each["code"]) for each in found["problems"]] == [(1, "invalid"), (2, "unknown-type")]
    assert found["count"] == 2
    assert "event 1: no valid subject" in found["detail"]
    limited = common.client_of("limited", projects=("one",))
    found = refused(limited.post("/events", **batch(created("one"), created("two"))), 403)
    assert [each["number"] for each in found["problems"]] == [1]
    assert common.count() == before


def _chunks() -> Iterator[bytes]:
    for _ in range(9):
        yield b" " * 2**20


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"x" * (8 * 2**20 + 1), "headers": {"Content-Type": SINGLE_TYPE}}, 413),
        ({"content": b"x" * 70_000, "headers": {"Content-Type": SINGLE_TYPE}}, 422),
        (batch(*[b"{}"] * 1001), 413),
        (batch(), 400),
        (batch(b"}"), 400),
        ({"content": b'"text"', "headers": {"Content-Type": BATCH_TYPE}}, 400),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": BATCH_TYPE}}, 400),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": SINGLE_TYPE}}, 422),
        ({"content": b'["\xff"]', "headers": {"Content-Type": BATCH_TYPE}}, 422),
        ({"content": b"", "headers": {"Content-Type": SINGLE_TYPE}}, 422),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415),
        ({"content": b"{}", "headers": {}}, 415),
        ({"content": b"{}", "headers": {"Content-Type": f"{SINGLE_TYPE}; charset=latin-1"}}, 415),
        ({"content": b"{}", "headers": {"Content-Type": SINGLE_TYPE, "Content-Encoding": "gzip"}}, 415),
        ({"content": created("one"), "headers": {"Content-Type": SINGLE_TYPE}, "params": {"wait": "soon"}}, 400),
    ],
    ids=range(15),
)
def test_bad_requests(common: Service, options: dict[str, Any], status: int) -> None:
    before = common.count()
    refused(common.client.post("/events", **options), status)
    assert common.count() == before


def test_a_body_without_a_length_is_not_read_on(common: Service) -> None:
    """The answer may come while it is sent, and the end of the connection before the answer was read."""
    try:
        answer = common.client.post("/events", content=_chunks(), headers={"Content-Type": SINGLE_TYPE})
    except httpx.NetworkError:
        return
    refused(answer, 413)


def test_garbage(common: Service) -> None:
    """Whatever is sent: an answer that says what is wrong, and all of it is on the log, or nothing."""
    seeded = Random(1)
    size = common.count()
    for number in range(150):
        events = [created(f"g{number}x{each}") for each in range(seeded.randint(1, 3))]
        body = bytearray(batch(*events)["content"])
        for _ in range(seeded.choice([0, 1, 1, 3])):
            place = seeded.randrange(len(body))
            body[place : place + seeded.randint(0, 2)] = seeded.randbytes(seeded.randint(0, 2))
        kind = seeded.choice([BATCH_TYPE, BATCH_TYPE, SINGLE_TYPE])
        answer = common.client.post("/events", content=bytes(body), headers={"Content-Type": kind})
        assert answer.status_code in {202, 400, 422}, (bytes(body), answer.text)
        if answer.status_code == 202:
            size += len({each["digest"] for each in answer.json()})
        else:
            refused(answer, answer.status_code)
    assert common.count() == size


def test_charset_and_case(common: Service) -> None:
    kind = 'Application/CloudEvents+JSON; charset="UTF-8"'
    answer = common.client.post("/events", content=created("one"), headers={"Content-Type": kind})
    assert answer.status_code == 202


def test_other_methods(common: Service) -> None:
    refused(common.client.get("/events"), 405)
    refused(common.client.delete("/events"), 405)


def test_too_much_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each producer by itself."""
    monkeypatch.setattr(event_routes, "EVENTS_AT_ONCE", 3.0)
    monkeypatch.setattr(event_routes, "EVENTS_PER_SECOND", 0.001)
    assert service.client.post("/events", **batch(created("one"), created("two"))).status_code == 202
    size = service.count()
    answer = service.client.post("/events", **batch(created("three"), created("four")))
    refused(answer, 429)
    assert int(answer.headers["retry-after"]) > 1
    assert service.count() == size
    assert service.client_of("other").post("/events", **single(created("five"))).status_code == 202


def test_asking_counts_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_routes, "EVENTS_AT_ONCE", 3.0)
    monkeypatch.setattr(event_routes, "EVENTS_PER_SECOND", 0.001)
    asked = [service.client.get(f"/events/{'0' * 64}").status_code for _ in range(5)]
    assert asked == [404, 404, 404, 429, 429]


def test_too_many_producers_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """More are sent away; and of those that wait, some are answered before a publication."""
    monkeypatch.setattr(event_routes, "MOST_WAITING", 0)
    answer = service.client.post("/events?wait=shown", **single(created("one")))
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() < event_routes.WAIT_SECONDS / 2
    monkeypatch.setattr(event_routes, "MOST_AT_ONCE", 0)
    size = service.count()
    answer = service.client.post("/events", **single(created("two")))
    refused(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"  # nobody reads the body
    assert service.count() == size


def test_nobody_waits_for_a_client_that_is_gone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_routes, "WAIT_SECONDS", 10 * PATIENCE_SECONDS)
    digest = service.client.post("/events", **single(created("one"))).json()["digest"]
    where, token = httpx.URL(service.url), service.client.headers["Authorization"]
    with socket.create_connection((where.host, where.port or 80)) as connection:
        head = f"GET /events/{digest}?wait=shown HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        connection.sendall(head.encode())
        until(lambda: "requests_in_work 2.0" in service.client.get("/metrics").text, lambda: "one that waits")
        # Reset: a client that has only nothing more to say would get its answer.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: "requests_in_work 1.0" in service.client.get("/metrics").text, lambda: "the answer to be given up")


def test_what_does_not_fit_is_said_first(common: Service) -> None:
    """Whoever may not append an event hears of it when the others fit; a hundred problems are enough."""
    client = common.client_of("other", types=("release.*",))
    found = refused(client.post("/events", **batch(*[b"{}"] * 150, created("one"))), 422)
    assert (found["count"], len(found["problems"])) == (150, 100)


def test_there_are_no_events_without_producers(served: Index, client: httpx.Client) -> None:
    refused(client.post("/events", **single(created("one"))), 404)


def test_old_events_are_found_by_the_catalog(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.locating.REMEMBERED", 1)
    first, *_ = service.client.post("/events", **batch(created("one"), created("two"))).json()
    assert refused(service.client.get(f"/events/{first['digest']}"), 404)["detail"].count("run catalog")
    service.index.run("log", "one")  # fills it
    assert service.client.get(f"/events/{first['digest']}").json()["event"] == first["event"]
    assert service.client.post("/events", **single(created("one", event_id="7"))).status_code == 202


def test_states_and_catalog_of_a_folder_are_not_those_of_logs_elsewhere(index: Index, tmp_path: Path) -> None:
    """`serve --log`: what the folder's ledger has is not on that log."""
    other = Index.create(tmp_path / "other", "--bins", 2)
    event = created("one")
    with serving(index) as service:
        service.client.post("/events", **single(event))
        index.publish()
        index.run("log", "one")
    config = load_config(index.folder)
    elsewhere = replace(config, ledger=replace(config.ledger, log=f"sqlite:{other.folder / 'log'}"))
    with gateway(index.public, Context(index.folder, elsewhere, is_elsewhere=True)) as url:
        service = Service(index, url)
        with service.closing:
            answers = [service.client.post("/events", **single(event)).json() for _ in range(2)]
    assert [(each["event"], each["standing"]) for each in answers] == [(2, "pending")] * 2


def test_a_catalog_that_is_damaged_stops_no_producer(service: Service) -> None:
    (service.index.folder / "state/catalog.sqlite").write_bytes(b"x" * 5000)
    event = single(created("one"))
    answers = [service.client.post("/events", **event) for _ in range(2)]
    assert {each.status_code for each in answers} == {202}
    assert answers[0].json() == answers[1].json()
    assert service.client.get(f"/events/{answers[0].json()['digest']}").status_code == 200
    refused(service.client.get(f"/events/{'0' * 64}"), 500)


def test_a_log_that_is_gone(service: Service) -> None:
    """What is served goes on, and so do events when it is back."""
    log = service.index.folder / "log"
    log.rename(log.with_name("gone"))
    refused(service.client.post("/events", **single(created("one"))), 500)
    assert service.client.get("/simple/other/").status_code == 200
    log.with_name("gone").rename(log)
    assert service.client.post("/events", **single(created("one"))).status_code == 202


# --- with our client -------------------------------------------------------------------------------------------------


async def test_our_client(service: Service) -> None:
    token = service.client.headers["Authorization"].removeprefix("Bearer ")
    good, bad = created("new"), yanked("99.0")
    async with open_client(service.url, token=token) as client:
        receipts = await client.append([good, bad])
        assert [each.digest for each in receipts] == [sha256(each).hexdigest() for each in (good, bad)]
        assert await client.append([good, bad]) == receipts
        assert await client.outcome(receipts[0].digest) is None
        await asyncio.to_thread(service.index.publish)
        found = [await client.wait(each.digest, 60) for each in receipts]
        assert [each and (each.event, each.verdict, each.code) for each in found] == [
            (receipts[0].event, "accepted", ""),
            (receipts[1].event, "rejected", "no-release"),
        ]
        with pytest.raises(NegativeAnswerError, match="no event with the digest"):
            await client.outcome("0" * 64)
    async with open_client(service.url, token="wrong") as client:
        with pytest.raises(GatewayError, match="401 the token is not known"):
            await client.append([good])
        with pytest.raises(NegativeAnswerError, match="event 1 of 1"):
            await client.append([b"{}"])
        service.producers.write_text("nonsense")
        with pytest.raises(GatewayUnavailableError, match="500 this server failed"):  # later, the same may succeed
            await client.append([good])


async def test_more_than_one_request_takes(service: Service) -> None:
    token = service.client.headers["Authorization"].removeprefix("Bearer ")
    events = [created(f"p{number}") for number in range(1500)]
    async with open_client(service.url, token=token) as client:
        receipts = await client.append(events)
    first = receipts[0].event
    assert first is not None
    assert [each.event for each in receipts] == list(range(first, first + 1500))


async def test_a_client_that_is_too_fast_waits(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun anew, it would come as far as before, and never to its end."""
    monkeypatch.setattr(event_routes, "EVENTS_AT_ONCE", 1500)
    token = service.client.headers["Authorization"].removeprefix("Bearer ")
    events = [created(f"p{number}") for number in range(2500)]
    async with open_client(service.url, token=token) as client:
        assert len({each.event for each in await client.append(events)}) == 2500
        monkeypatch.setattr(posting, "PATIENCE_SECONDS", 0)
        with pytest.raises(GatewayUnavailableError, match="429"):
            await client.append(events)


async def test_no_proxy_gets_a_token_that_it_could_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:1")
    async with open_client(service.url, token="wrong") as client:
        with pytest.raises(GatewayError, match="401 the token is not known"):
            await client.append([created("new")])


def test_the_program_in_python(service: Service, tmp_path: Path) -> None:
    """That of docs/publishing.md, at a gateway."""
    (tmp_path / "upload.py").write_text(example("python", UPLOAD))
    wheel = build_wheel(tmp_path, "new", "1.0")
    command = [sys.executable, str(tmp_path / "upload.py"), service.url, str(service.index.public), str(wheel)]
    env = environment({"LEDGER_TOKEN": service.client.headers["Authorization"].removeprefix("Bearer ")})
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as running:
        while running.poll() is None:  # it waits for a publication that shows its event
            service.index.publish()
        said, _ = running.communicate()
    assert said.splitlines()[1:] == ["accepted"]
    assert "new" in service.index.check().projects


def test_by_curl(service: Service, tmp_path: Path) -> None:
    """The example of docs/publishing.md, twice: a line end behind the event does not count."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    work = tmp_path / "work"
    work.mkdir()
    shell(example("sh", STORE), work, FILE=build_wheel(tmp_path, "new", "1.0"), PUBLIC=service.index.public)
    token = service.client.headers["Authorization"].removeprefix("Bearer ")
    script = example("sh", CURL).replace("?wait=shown", "")
    first = json.loads(shell(script, work, GATEWAY=service.url, LEDGER_TOKEN=token))
    assert first["standing"] == "pending"
    service.index.publish()
    shown = json.loads(shell(example("sh", CURL), work, GATEWAY=service.url, LEDGER_TOKEN=token))
    assert (shown["event"], shown["verdict"]) == (first["event"], "accepted")
    assert "new" in service.index.check().projects


# --- over TLS, as a process ------------------------------------------------------------------------------------------


def test_https(index: Index, tmp_path: Path) -> None:
    """With a token of `tuf-ledger token new`, and the program of docs/publishing.md."""
    authority = Authority(tmp_path, "authority")
    certificate = authority.issue("gateway", hosts=("127.0.0.1",))
    with (index.folder / "ledger.toml").open("a") as file:
        file.write(f'certfile = "{certificate}"\n')
    made = json.loads(execute("token", "new", "--producer", "service", "--json").stdout)
    (index.folder / "producers").write_text(json.dumps(made["line"]))

    async def append(url: str) -> str:
        async with open_client(url, token=made["token"], cafile=str(authority.certificate)) as client:
            (receipt,) = await client.append([created("new")])
            shown = await client.wait(receipt.digest, PATIENCE_SECONDS)
            return "" if shown is None else shown.verdict

    with start(tmp_path / "log", "run", "signer", "publisher", "--ledger", index.folder, "--listen", "127.0.0.1:0") as (
        running
    ):
        (url,) = running.wait_for("gateway started")["urls"]
        assert url.startswith("https://")
        assert asyncio.run(append(url)) == "accepted"
        running.stop()


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ('certfile = "producers"', "[gateway] certfile or keyfile cannot be used"),
        ('certfile = "nothing.pem"', "nothing.pem"),
        ('keyfile = "producers"', "name that as certfile"),
    ],
)
def test_a_certificate_that_is_none(index: Index, setting: str, why: str) -> None:
    """It is said before anything is served, and before that is said."""
    with (index.folder / "ledger.toml").open("a") as file:
        file.write(f"{setting}\n")
    done = execute("serve", "--ledger", index.folder, "--listen", "127.0.0.1:0", answer=2)
    assert why in done.stderr
    assert "gateway started" not in done.stderr + done.stdout
