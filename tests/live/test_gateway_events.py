"""Events over HTTP, onto a real broker that goes away and comes back."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from consumers.gateway.producers import new_token
from ledger.client import build_event
from tests.broker import Broker
from tests.client.index import Index
from tests.gateway.running import gateway

pytestmark = pytest.mark.kafka


def test_a_broker_that_goes_away(session_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 while it is away. What is sent again is on the log once, whether the first copy came there or not."""
    monkeypatch.setattr("consumers.gateway.intake.PATIENCE_SECONDS", 0.5)  # less than the 2 s that a log is waited for
    session_broker.start()
    log = f"kafka://{session_broker.bootstrap_servers}/{uuid.uuid4().hex[:12]}"
    index = Index.create(tmp_path / "index", "--log", log, "--replication-factor", 1, "--bins", 2)
    token, line = new_token("service", ["*"], ["*"])
    (index.folder / "producers").write_text(line)
    with (index.folder / "ledger.toml").open("a") as file:
        file.write('[gateway]\nproducers = "producers"\n[kafka]\ntimeout_seconds = 2.0\n')
    one, two = (
        build_event("project.created.v1", name, {}, source="/my-index", actor="1", actor_kind="system")
        for name in ("one", "two")
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"}
    with (
        gateway(index.public, index.context) as url,
        httpx.Client(base_url=url, headers=headers, timeout=600, trust_env=False) as client,
    ):
        first = client.post("/events", content=one)
        assert first.status_code == 202
        session_broker.kill()
        away = client.post("/events", content=two)
        assert away.status_code == 503
        assert away.headers["content-type"] == "application/problem+json"
        assert client.get("/simple/").status_code == 200, "what is served goes on"
        session_broker.start()
        assert client.post("/events", content=one).json() == first.json()
        session_broker.pause()
        with ThreadPoolExecutor(4) as threads:
            posted = [threads.submit(client.post, "/events", content=one) for _ in range(4)]
            assert {each.result().status_code for each in posted} == {503}
        session_broker.proceed()
        answers = [client.post("/events", content=each) for each in (two, two, one)]
        assert [each.status_code for each in answers] == [202] * 3
        assert answers[0].json() == answers[1].json()
        assert answers[2].json() == first.json()
        index.publish()
        for each in answers:
            found = json.loads(client.get(f"/events/{each.json()['digest']}?wait=shown").content)
            assert (found["event"], found["verdict"]) == (each.json()["event"], "accepted")
    assert sorted(index.check().projects) == ["one", "two"]
    assert [each for each in index.ask_list("rejected", "--all") if each["log"] == "events"] == []
