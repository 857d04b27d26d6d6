"""A gateway is killed while producers append: who sends the same bytes again loses nothing, and doubles nothing."""

import socket
import threading
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from consumers.gateway.event_routes import BATCH_TYPE
from consumers.gateway.producers import new_token
from ledger.client import build_event
from tests.client.index import Index
from tests.client.processes import start, until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Appending(threading.Thread):
    """Sends batches in order, each until it is answered."""

    def __init__(self, url: str, token: str, name: str) -> None:
        super().__init__()
        self.url, self.token = url, token
        self.projects = [f"{name}{number}" for number in range(120)]
        self.sent = self.repeated = 0

    def run(self) -> None:
        events = [
            build_event("project.created.v1", name, {}, source="/my-index", actor="1", actor_kind="system")
            for name in self.projects
        ]
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": BATCH_TYPE}
        for at in range(0, len(events), 3):
            body = b"[" + b",".join(events[at : at + 3]) + b"]"
            while True:
                try:
                    answer = httpx.post(f"{self.url}/events", content=body, headers=headers, trust_env=False)
                except httpx.TransportError:
                    self.repeated += 1
                    time.sleep(0.01)
                    continue
                assert answer.status_code == 202, answer.text
                break
            self.sent += 3


@pytest.mark.slow
def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    token, line = new_token("service", ["*"], ["*"])
    (index.folder / "producers").write_text(line)
    with (index.folder / "ledger.toml").open("a") as file:
        file.write('[gateway]\nproducers = "producers"\n')
    port = free_port()
    threads = [Appending(f"http://127.0.0.1:{port}", token, name) for name in "ab"]
    for each in threads:
        each.start()

    def have_sent(count: int) -> bool:
        return not any(each.is_alive() for each in threads) or sum(each.sent for each in threads) >= count

    killed = 0
    while any(each.is_alive() for each in threads):
        enough = sum(each.sent for each in threads) + 60
        arguments = ("serve", "--ledger", index.folder, "--listen", f"127.0.0.1:{port}")
        with start(tmp_path / f"log{killed}", *arguments) as running:
            until(partial(have_sent, enough), running.output)
            running.process.kill()
            killed += 1
    assert killed > 2
    assert sum(each.repeated for each in threads)
    index.publish()
    assert index.info()["sizes"]["events"] == 2 + 240
    assert sorted(index.check().projects) == sorted(name for each in threads for name in each.projects)
