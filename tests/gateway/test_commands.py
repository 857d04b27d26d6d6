"""The gateway as a process: `serve`, and `run --listen`."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from consumers.gateway.addresses import Address, is_loopback, listening, read_address
from consumers.gateway.negotiating import JSON_TYPE
from ledger.config import ConfigError
from tests.client.index import Index
from tests.client.processes import Running, execute, start, until
from tests.gateway.running import gateway


def url_of(running: Running) -> str:
    """The URL of a gateway that has started, with a slash at its end."""
    (found,) = running.wait_for("gateway started")["urls"]
    return str(found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answers_are_sent_to_their_end(served: Index, tmp_path: Path, number: signal.Signals) -> None:
    with (served.public / "metadata/1.root.json").open("rb") as file:
        root = file.read()
    (tmp_path / "targets").mkdir()
    large = tmp_path / "targets/large"
    large.write_bytes(root * 8_000)
    with start(tmp_path / "log", "serve", "--public", tmp_path, "--listen", "127.0.0.1:0") as running:
        url = httpx.URL(url_of(running))
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(b"GET /targets/large HTTP/1.1\r\nHost: x\r\n\r\n")
            got = connection.recv(1000)
            running.process.send_signal(number)
            until(lambda: not _listens(url), lambda: "no more connections to be taken")
            while more := connection.recv(2**20):
                got += more
        assert len(got.partition(b"\r\n\r\n")[2]) == large.stat().st_size
        running.wait(0)


def _listens(url: httpx.URL) -> bool:
    try:
        socket.create_connection((url.host, url.port or 80)).close()
    except OSError:
        return False
    return True


def test_all_consumers_and_the_gateway_in_one_process(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", 2)
    with start(tmp_path / "log", "run", "--ledger", index.folder, "--listen", "[::1]:0") as running:
        url = url_of(running)
        assert url.startswith("http://[::1]:")
        for name in ("signer", "verifier", "catalog"):
            running.wait_for(f"{name} started")
        index.upload("demo", "1.0")
        with httpx.Client(base_url=url, trust_env=False, headers={"Accept": JSON_TYPE}) as client:
            until(lambda: client.get("simple/demo/").status_code == 200, running.output)
            number = client.get("readyz").json()["publication"]
            assert client.get(f"at/{number}/simple/demo/").json()["versions"] == ["1.0"]
        running.stop()


def test_an_address_that_is_taken(served: Index, tmp_path: Path) -> None:
    with gateway(served.public) as url:
        port = httpx.URL(url).port
        for command in (("serve",), ("run", "catalog")):
            done = execute(*command, "--ledger", served.folder, "--listen", f"127.0.0.1:{port}", answer=75)
            assert f"--listen 127.0.0.1:{port}: another process listens there" in done.stderr


def test_a_folder_alone_has_no_ledger(served: Index) -> None:
    """It would be left out without a word: no earlier pages, no events."""
    for option in ("--ledger", "--log"):
        said = execute("serve", "--public", served.public, option, served.folder, answer=2).stderr
        assert "leave out --ledger and --log, or --public" in said


def test_what_is_not_installed_is_said(served: Index) -> None:
    for missing in ("uvicorn", "starlette", "prometheus_client"):
        program = f"import sys; sys.modules[{missing!r}] = None; from consumers.cli.main import main; main()"
        command = [sys.executable, "-c", program, "serve", "--ledger", str(served.folder), "--listen", "0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert done.returncode == 2
        assert "pip install '.[serve]'" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("localhost:1", Address("localhost", 1)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::]:0", Address("::", 0)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":", ":80", "x", "host", "::1:80", "[::1]", "a:b", "1.2.3.4:65536", "http://x:80", "a b:1", "x:1/y"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        read_address(text)


@pytest.mark.parametrize("where", ["nobody.invalid:80", "192.0.2.1:80"])
def test_addresses_of_others(served: Index, where: str) -> None:
    assert where in execute("serve", "--ledger", served.folder, "--listen", where, answer=2).stderr


@pytest.mark.parametrize(("host", "answer"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False)])
def test_who_can_connect(host: str, *, answer: bool) -> None:
    with listening(Address(host, 0)) as sockets:
        assert is_loopback(sockets) is answer


def test_all_addresses_of_both_kinds(served: Index) -> None:
    with gateway(served.public, host="::") as url:
        port = httpx.URL(url).port
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{port}/healthz", trust_env=False).status_code == 200
