"""The compose file: docker-compose takes it, and what it starts works together, as processes of this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.broker import VERSION, running_broker
from tests.client.index import invoke
from tests.client.processes import ROOT, environment, start, until
from tests.distributions import build_wheel
from tests.postgresql import Postgres
from tests.supervised import free_ports

pytestmark = pytest.mark.deploy

FOLDER = ROOT / "deploy/compose"
LONG_RUNNING = ("signer", "publisher", "verifier", "catalog", "serve")
OF_THIS_MACHINE = {"listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs"}
OF_THIS_MACHINE |= {"controller.quorum.voters", "controller.listener.names"}
"""Properties of the broker that are about its container."""


@pytest.fixture
def services(deployed: Callable[[str], str], tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The services as docker-compose reads them, with the example's environment."""
    for name in ("compose.yaml", "env.example"):
        shutil.copy(FOLDER / name, tmp_path / ("." * name.startswith("env") + name.partition(".ex")[0]))
    command = [deployed("docker-compose"), "--file", str(tmp_path / "compose.yaml"), "config"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "cwd": tmp_path}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, done.stderr
    # Its own Python has the library that reads YAML; ours need not.
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    values = subprocess.run(["/usr/bin/python3", "-c", read], check=False, input=done.stdout, **options)
    assert values.returncode == 0, values.stderr
    found: dict[str, dict[str, Any]] = json.loads(values.stdout)["services"]
    return found


def test_a_password_is_asked_for(deployed: Callable[[str], str]) -> None:
    without = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    command = [deployed("docker-compose"), "--file", str(FOLDER / "compose.yaml"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without)
    assert done.returncode != 0
    assert "set it in .env" in done.stderr


def test_what_it_has(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"kafka", "postgres", "init", *LONG_RUNNING}
    assert services["kafka"]["image"].endswith(f":{VERSION}"), "the version that is tested"
    for name in ("init", *LONG_RUNNING):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["build"]["dockerfile"] == "deploy/Containerfile"
    assert services["serve"]["ports"] == ["127.0.0.1:8080:8080/tcp"] or services["serve"]["ports"], "no other is open"
    assert not any("ports" in each for name, each in services.items() if name != "serve")


@pytest.mark.kafka
@pytest.mark.postgresql
def test_its_parts_as_processes(
    services: dict[str, dict[str, Any]], session_postgres: Postgres, tmp_path: Path
) -> None:
    properties = {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): value
        for name, value in services["kafka"]["environment"].items()
    }
    lines = [f"{name}={value}\n" for name, value in properties.items() if name not in OF_THIS_MACHINE]
    (port,) = free_ports(1)
    with running_broker(properties="".join(lines)) as broker, ExitStack() as closing:
        here = {
            "kafka:9092": broker.bootstrap_servers,
            "postgresql://ledger@postgres:5432/ledger": session_postgres.url,
            "/ledger/index": str(tmp_path / "index"),
            "0.0.0.0:8080": f"127.0.0.1:{port}",
            "$$": "$",
        }

        def local(text: str) -> str:
            for there, place in here.items():
                text = text.replace(there, place)
            return text

        def settings(name: str) -> dict[str, str]:
            own = {key: local(str(value)) for key, value in services[name]["environment"].items()}
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            return {**own, "PATH": path, "TUF_LEDGER_CATALOG_SCHEMA": f"s{uuid.uuid4().hex[:12]}"}

        first = [*services["init"]["entrypoint"], *map(local, services["init"]["command"])]
        for _ in range(2):  # again: it does nothing then
            subprocess.run(first, env=environment(settings("init")), check=True, capture_output=True)
        text = (tmp_path / "index/ledger.toml").read_text()
        assert f"kafka://{broker.bootstrap_servers}/index" in text
        running = {}
        for name in LONG_RUNNING:
            words = [local(each) for each in services[name]["command"]]
            running[name] = closing.enter_context(start(tmp_path / f"{name}.log", *words, env=settings(name)))
        invoke("add", "--ledger", tmp_path / "index", build_wheel(tmp_path, "one", "1.0"))
        page = f"http://127.0.0.1:{port}/simple/one/"
        until(lambda: "one-1.0" in fetch(page), lambda: "\n".join(each.output() for each in running.values()))
        running["catalog"].wait_for("catalog started")
        for each in running.values():
            each.process.send_signal(signal.SIGTERM)
        for each in running.values():
            each.wait(0)


def fetch(url: str) -> str:
    """What is served there; nothing while nobody serves it."""
    try:
        with urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return ""


def containerfile() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, each with its arguments."""
    lines = (ROOT / "deploy/Containerfile").read_text().splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line and not line.startswith("#")]


def test_the_image_has_all_that_is_imported() -> None:
    """And what is copied into it is not kept from it."""
    kept = (ROOT / "deploy/Containerfile.dockerignore").read_text().splitlines()
    shown = [line[1:] for line in kept if line.startswith("!")]
    copied = [
        each.rstrip("/")
        for instruction, arguments in containerfile()
        if instruction == "COPY" and not arguments.startswith("--from")
        for each in arguments.split()[:-1]
    ]
    assert {"schemas", "projections", "ledger", "consumers"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists()
        assert any(re.fullmatch(each.replace(".", r"\.").replace("*", ".*"), path) for each in shown), path
    pinned = (ROOT / "deploy/lock/postgresql.txt").read_text()
    assert pinned in (ROOT / "deploy/lock/dev.txt").read_text()


@pytest.mark.slow
def test_the_image_s_commands_make_a_program(tmp_path: Path) -> None:
    """In a folder of this machine: the packages come from the index that pip is configured for."""
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for instruction, arguments in containerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            *paths, into = arguments.split()
            for path in paths:
                place = source / into / (Path(path).name if not path.endswith("/") else "")
                if path.endswith("/"):
                    shutil.copytree(ROOT / path, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / path, place)
        elif instruction == "RUN" and not arguments.startswith("useradd"):
            command = arguments.replace("/opt/tuf-ledger", str(target)).replace("python3 ", f"{sys.executable} ", 1)
            done = subprocess.run(["sh", "-c", command], cwd=source, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [str(target / "bin/tuf-ledger"), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        return done.stdout

    assert "tuf-ledger, version" in run("--version")
    run("init", "index")
    run("serve", "--help")
    assert '"ok": true' in run("verify", "--ledger", "index", "--served", "index/public", "--json")
    subprocess.run([str(target / "bin/python"), "-c", "import asyncpg, uvicorn"], check=True)
