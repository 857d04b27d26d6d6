"""The recipes for a second machine in docs/operators.md, run word for word."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.broker import USERS, Broker
from tests.client.index import Index, check_output, silence
from tests.client.processes import PATIENCE_SECONDS, ROOT, Running, environment, until
from tests.serving import serving

pytestmark = pytest.mark.kafka

TOOL = f"""#!{sys.executable}
# Kafka's tool, as far as the recipes use it: its jar is not among the broker's.
import argparse, asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.live.rights import grant_at
parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("bootstrap-server", "command-config", "allow-principal", "topic"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--operation", required=True, action="append")
parser.add_argument("--add", required=True, action="store_true")
wanted = parser.parse_args()
open(wanted.command_config).close()
asyncio.run(grant_at(wanted.bootstrap_server, wanted.allow_principal, wanted.topic, *wanted.operation))
"""

COMMAND = f"""#!/bin/sh
exec {sys.executable} -m consumers.cli.main "$@"
"""


class Recipe(NamedTuple):
    """What the manual says for one consumer: shell, word for word."""

    rights: str
    folder: str
    run: str


def recipes() -> dict[str, Recipe]:
    """The recipes by consumer, and every variable that they use is explained in the table above them."""
    text = (ROOT / "docs/operators.md").read_text(encoding="utf-8")
    _, _, section = text.partition("### A signer, publisher or verifier on a second machine\n")
    section = re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
    explained = set(re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| .*\|$", section, re.MULTILINE))))
    assert set(re.findall(r"\$([A-Z_]+)", "".join(blocks))) | {"TUF_LEDGER_KAFKA_SASL_PASSWORD"} == explained - {"URL"}
    return {name: Recipe(*blocks[at : at + 3]) for at, name in zip((0, 3, 6), USERS_OF_RECIPES, strict=True)}


USERS_OF_RECIPES = ("signer", "publisher", "verifier")


class Machine:
    """A second machine: where the blocks run, with the variables that the text names."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        tools = folder / "bin"
        tools.mkdir(parents=True)
        for name, text in (("kafka-acls.sh", TOOL), ("tuf-ledger", COMMAND)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.folder = folder
        self._variables = variables | {"PATH": f"{tools}:{os.environ['PATH']}"}

    def run(self, block: str, user: str = "") -> str:
        """Run a block; what it printed."""
        done = subprocess.run(self._command(block), capture_output=True, text=True, check=False, **self._options(user))
        check_output(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return str(done.stdout)

    @contextmanager
    def serve(self, block: str, user: str) -> Iterator[Running]:
        """Run a block that does not end by itself, until it is told to."""
        log = self.folder / f"{user}.log"
        with log.open("wb") as output:
            options = self._options(user) | {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            process = subprocess.Popen(self._command(block), start_new_session=True, **options)
        running = Running(process, log)
        try:
            running.wait_for(f"{user} started")
            yield running
            os.killpg(process.pid, signal.SIGTERM)
            until(lambda: any(each.get("message") == "stopped" for each in running.events()), running.output)
            process.wait(PATIENCE_SECONDS)
            check_output(running.output())
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _command(self, block: str) -> list[str]:
        return ["sh", "-eu", "-c", block]

    def _options(self, user: str) -> dict[str, Any]:
        password = {"TUF_LEDGER_KAFKA_SASL_PASSWORD": USERS[user]} if user else {}
        return {"cwd": self.folder, "env": environment(self._variables | password)}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


def test_each_consumer_on_a_machine_of_its_own(session_broker: Broker, tmp_path: Path) -> None:
    session_broker.start()
    prefix = uuid.uuid4().hex[:12]
    log = f"kafka://{session_broker.bootstrap_servers}/{prefix}"
    index = Index.create(tmp_path / "index", "--log", log, "--replication-factor", 1, "--bins", 2)
    index.upload("one")
    index.publish()
    site, admin = tmp_path / "site", tmp_path / "admin.properties"
    site.symlink_to(index.public)
    admin.write_text("")
    with serving(site) as url:
        variables = {
            "BROKERS": session_broker.sasl_ssl_bootstrap_servers,
            "PREFIX": prefix,
            "CA": str(session_broker.authority.certificate),
            "SITE": url,
            "KEYS": str(index.folder / "keys/online"),
            "FILES": str(index.public / "targets/packages"),
            "ADMIN": session_broker.bootstrap_servers,
            "ADMIN_CONFIG": str(admin),
        }
        machine = Machine(tmp_path / "machine", variables)
        found = recipes()
        for name, recipe in found.items():
            machine.run(recipe.rights)
            said = machine.run(recipe.folder, name)
            assert f"sizes          {index.info()['sizes']['events']} events" in said
            assert "unchecked" not in said
        with machine.serve(found["signer"].run, "signer"), machine.serve(found["publisher"].run, "publisher"):
            published = machine.folder / "publisher/public"
            until(lambda: version(published) == version(index.public), lambda: "the publisher to have placed all")
            site.unlink()
            site.symlink_to(published)
            with machine.serve(found["verifier"].run, "verifier"):
                before = version(published)
                index.run("yank", "one==1.0")
                until(lambda: version(published) > before, lambda: "a publication of what was appended")
                until(lambda: state(machine)["publication"] > before, lambda: "the verifier to have followed")
                assert "differences" not in state(machine)
        assert Index(machine.folder / "publisher").check().projects


def version(public: Path) -> int:
    """The version of the timestamp that lies in a folder."""
    path = public / "metadata/timestamp.json"
    return int(json.loads(path.read_bytes())["signed"]["version"]) if path.exists() else 0


def state(machine: Machine) -> dict[str, Any]:
    """Where the verifier stands."""
    facts = json.loads(machine.run("tuf-ledger info --ledger verifier --json", "verifier"))
    consumer: dict[str, Any] = facts["consumers"]["verifier"]
    return consumer
