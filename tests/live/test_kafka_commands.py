"""Commands and services over a real broker that lets nobody do more than he was granted."""

import asyncio
import json
import re
import shutil
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from consumers.gateway.producers import new_token
from schemas.codec import encode_event
from tests.broker import USERS, Broker
from tests.client.index import Index, silence
from tests.client.processes import execute, start, until
from tests.distributions import build_wheel
from tests.factory import Make
from tests.live.rights import grant

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).resolve().parents[2]
Rights = dict[str, list[str]]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture
def up(session_broker: Broker) -> Broker:
    """A broker that runs."""
    session_broker.start()
    return session_broker


@pytest.fixture
def index(up: Broker, prefix: str, tmp_path: Path) -> Index:
    """A ledger on it, with a project, made by somebody who may do anything."""
    log = f"kafka://{up.bootstrap_servers}/{prefix}"
    made = Index.create(tmp_path / "index", "--log", log, "--replication-factor", 1, "--bins", 2)
    made.upload("one")
    made.publish()
    return made


def second(broker: Broker, prefix: str, folder: Path, name: str, served: Path | None = None) -> Path:
    """The folder of a consumer whom a certificate names, on another machine."""
    folder.mkdir()
    lines = [
        "[ledger]",
        f'log = "kafka://{broker.ssl_bootstrap_servers}/{prefix}"',
        "[kafka]",
        'security_protocol = "SSL"',
        f'ssl_cafile = "{broker.authority.certificate}"',
        f'ssl_certfile = "{broker.authority.issue(name)}"',
    ]
    if served is not None:
        lines += ["[signer]", f'served = "{served}"', "[verifier]", f'served = "{served}"']
    (folder / "ledger.toml").write_text("\n".join(lines))
    return folder


def allow(broker: Broker, principal: str, prefix: str, rights: Rights) -> None:
    async def allow_all() -> None:
        for log, operations in rights.items():
            if operations:
                await grant(broker, principal, f"{prefix}.{log}", *operations)

    asyncio.run(allow_all())


# --- init --------------------------------------------------------------------------------------------------------


def settings_of(broker: Broker, user: str, **more: str) -> dict[str, str]:
    """The environment of somebody with a name and a password."""
    return {
        "TUF_LEDGER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "TUF_LEDGER_KAFKA_SSL_CAFILE": str(broker.authority.certificate),
        "TUF_LEDGER_KAFKA_SASL_USERNAME": user,
        "TUF_LEDGER_KAFKA_SASL_PASSWORD": USERS[user],
    } | more


def test_init_reads_the_environment(up: Broker, prefix: str, tmp_path: Path) -> None:
    log = f"kafka://{up.sasl_ssl_bootstrap_servers}/{prefix}"
    env = settings_of(up, "creator", TUF_LEDGER_LEDGER_LOG=log, TUF_LEDGER_LEDGER_PUBLIC="site")
    arguments = ("init", tmp_path / "index", "--replication-factor", 1, "--bins", 2)
    refused = execute(*arguments, env=env, answer=2)
    assert refused.stderr == (
        f"error: User:creator may not create topic {prefix}.events at {up.sasl_ssl_bootstrap_servers}: grant Create on "
        'it, or have both topics created as docs/operators.md, "Kafka", describes. Empty topics are accepted\n'
    )
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    rights = ["Create", "Read", "Write", "DescribeConfigs"]
    allow(up, "User:creator", prefix, {"events": rights, "publications": rights})
    execute(*arguments, env=env)
    assert (tmp_path / "index/site/metadata/1.root.json").exists()
    assert f'log = "{log}"' in (tmp_path / "index/ledger.toml").read_text()
    facts = json.loads(execute("info", "--ledger", tmp_path / "index", "--json", env=env).stdout)
    assert facts["sizes"] == {"events": 2, "publications": 2}
    assert facts["unchecked"] == []
    # A second one at the same place, or on another machine, says what to do instead.
    again = execute("init", tmp_path / "again", "--log", log, "--replication-factor", 1, env=env, answer=2)
    assert again.stderr == (
        f"error: topic {prefix}.events at {up.sasl_ssl_bootstrap_servers} is not empty, but a new ledger needs empty "
        "topics: use another prefix. To follow the ledger that is there, see docs/operators.md, "
        '"A signer, publisher or verifier on a second machine"\n'
    )


def test_init_takes_a_log_rather_than_the_environments(tmp_path: Path) -> None:
    env = {"TUF_LEDGER_LEDGER_LOG": "sqlite:elsewhere"}
    execute("init", tmp_path / "one", env=env)
    assert (tmp_path / "one/elsewhere/events.sqlite").exists()
    execute("init", tmp_path / "two", "--log", "sqlite:here", env=env)
    assert (tmp_path / "two/here/events.sqlite").exists()


def test_init_says_that_it_makes_its_keys_itself(tmp_path: Path) -> None:
    refused = execute("init", tmp_path / "one", env={"TUF_LEDGER_SIGNER_KEYS": "elsewhere"}, answer=2)
    assert refused.stderr == (
        "error: [signer] keys (TUF_LEDGER_SIGNER_KEYS) must be keys/online during `tuf-ledger init`: the command "
        "leaves the online key there and signs with it. Leave the setting out now, and move the key afterwards\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_init_on_one_broker_names_the_option(up: Broker, prefix: str, tmp_path: Path) -> None:
    log = f"kafka://{up.bootstrap_servers}/{prefix}"
    refused = execute("init", tmp_path / "index", "--log", log, answer=2)
    assert refused.stderr.endswith("To try things out with one broker, use `--replication-factor 1`\n")


def test_a_refusal_ends_a_service_and_an_outage_is_waited_for(
    up: Broker, prefix: str, index: Index, tmp_path: Path
) -> None:
    env = settings_of(up, "verifier", TUF_LEDGER_KAFKA_SASL_PASSWORD="wrong-5cd1")
    log = f"kafka://{up.sasl_ssl_bootstrap_servers}/{prefix}"
    for arguments in (("run", "verifier"), ("info",), ("publish",)):
        refused = execute(*arguments, "--ledger", index.folder, "--log", log, env=env, answer=2)
        assert (
            f"Kafka at {up.sasl_ssl_bootstrap_servers} refuses the user 'verifier' or the password: check [kafka] "
            "sasl_username and sasl_password (TUF_LEDGER_KAFKA_SASL_PASSWORD)\n"
        ) in refused.stderr
        assert "wrong-5cd1" not in refused.stdout + refused.stderr
    away = {"TUF_LEDGER_KAFKA_TIMEOUT_SECONDS": "0.3"}
    options = ("--ledger", index.folder, "--log", f"kafka://127.0.0.1:1/{prefix}")
    assert "Check that its brokers run" in execute("info", *options, env=away, answer=75).stderr
    with start(tmp_path / "log", "run", "verifier", *options, env=away) as running:
        assert "did not answer" in running.wait_for("temporary failure, retrying")["why"]


def test_a_proof_begins_to_read_near_its_event(index: Index, tmp_path: Path) -> None:
    make = Make()
    index.append(*(make.project_created(f"project-{number}") for number in range(600)))
    number = index.publish()
    for event in (0, 3, 255, 256, 300, 602):
        index.run("prove", event, "--to", tmp_path / "proof.json")
    index.run("prove", "--consistency", 2, number, "--to", tmp_path / "proof.json")


# --- what is not checked -----------------------------------------------------------------------------------------


def test_what_is_not_checked_is_said(up: Broker, prefix: str, index: Index, tmp_path: Path) -> None:
    name = f"blind-{prefix}"
    folder = second(up, prefix, tmp_path / "second", name, index.public)
    allow(up, f"User:CN={name}", prefix, {"events": ["Read"], "publications": ["Read", "DescribeConfigs"]})
    what = (
        f"the settings of topic {prefix}.events at {up.ssl_bootstrap_servers}: the subject of ssl_certfile lacks the "
        "right DescribeConfigs on it"
    )
    warning = "not checked: grant the missing right, or check this from another account"
    said = execute("info", "--ledger", folder)
    assert f"unchecked      {what}\n" in said.stdout
    assert [json.loads(line)["message"] for line in said.stderr.splitlines()] == [warning]
    answered = execute("info", "--ledger", folder, "--json")
    assert json.loads(answered.stdout)["unchecked"] == [what]
    assert index.info()["unchecked"] == []
    with start(tmp_path / "log", "run", "publisher", "verifier", "--ledger", folder) as running:
        running.wait_for("publisher started")
        running.wait_for("verifier started")
        running.stop()
        warned = [(each["level"], each["consumer"], each["what"]) for each in running.events() if "what" in each]
        assert sorted(warned) == [("warning", "publisher", what), ("warning", "verifier", what)]


# --- rights ------------------------------------------------------------------------------------------------------


def documented_rights() -> dict[str, Rights]:
    """The table in docs/operators.md: who needs which rights."""
    text = (ROOT / "docs/operators.md").read_text(encoding="utf-8")
    _, _, section = text.partition("### Rights on Kafka")
    rows = {}
    for line in section.partition("###")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and not set(cells[0]) <= {"-"} and cells[0] != "who":
            events, publications = (re.findall(r"\w+", cell) for cell in cells[1:])
            rows[cells[0]] = {"events": events, "publications": publications}
    return rows


class Machine:
    """A second machine, with what its consumer may do."""

    def __init__(self, broker: Broker, prefix: str, index: Index, folder: Path, name: str) -> None:
        self.broker, self.prefix, self.first = broker, prefix, index
        self.folder = second(broker, prefix, folder, name, index.public)
        self.name = name

    def run(self, command: str, *arguments: object, **options: object) -> str:
        """Run a command there; nothing may be left unchecked."""
        done = execute(*command.split(), *self.at, *arguments, **options)  # type: ignore[arg-type]
        assert "not checked" not in done.stderr
        return done.stdout

    @property
    def at(self) -> tuple[object, ...]:
        return ("--ledger", self.folder)

    def serve(self, consumer: str, is_done: Callable[[], bool] = lambda: True) -> None:
        """Run a consumer until it has started, and done something."""
        with start(self.folder / f"{consumer}.log", "run", consumer, *self.at) as running:
            running.wait_for(f"{consumer} started")
            until(is_done, running.output)
            running.stop()
            assert "not checked" not in running.output()


def a_client_of_its_own(machine: Machine) -> None:
    async def append() -> None:
        context = ssl.create_default_context(cafile=str(machine.broker.authority.certificate))
        context.load_cert_chain(machine.broker.authority.issue(machine.name))
        producer = AIOKafkaProducer(
            bootstrap_servers=machine.broker.ssl_bootstrap_servers,
            security_protocol="SSL",
            ssl_context=context,
            acks="all",
            enable_idempotence=True,
        )
        async with producer:
            await producer.send_and_wait(f"{machine.prefix}.events", encode_event(Make().project_created("its-own")))

    asyncio.run(append())


def append(machine: Machine) -> None:
    machine.run("append", input=encode_event(Make().project_created("two")).decode())
    machine.run("add", build_wheel(machine.folder, "three", "1.0"))
    for command in ("yank", "unyank", "remove"):
        machine.run(command, "one==1.0")


def append_and_wait(machine: Machine) -> None:
    with start(machine.folder / "first.log", "run", "signer", "publisher", "--ledger", machine.first.folder) as running:
        running.wait_for("signer started")
        machine.run("remove", "one==1.0", "--wait")
        machine.run("restore", "one==1.0", "--wait")
        machine.run("status", "one", "archived", "--wait")
        (machine.folder / "files").mkdir()
        build_wheel(machine.folder / "files", "four", "1.0")
        machine.run("import", machine.folder / "files", "--not-importing")
        running.stop()


def respond(machine: Machine) -> None:
    machine.run("incident open", "theft", "--project", "one", "--preview")
    machine.run("incident open", "theft", "--project", "one")
    machine.run("incident amend", "theft", "--take-away", "--events", 2, "--empty")
    machine.run("incident note", "theft", "found")
    machine.run("incident plan", "theft", "--to", machine.folder / "plan")
    machine.run("incident recover", "theft", "--plan", machine.folder / "plan", "--wait-seconds", 0, answer=None)
    machine.run("incident close", "theft", "--reason", "nothing was found")


def sign(machine: Machine) -> None:
    shutil.copytree(machine.first.folder / "keys/online", machine.folder / "keys/online")
    machine.first.run("yank", "one==1.0")
    machine.run("publish")
    machine.first.run("unyank", "one==1.0")
    size = machine.first.info()["sizes"]["publications"]
    machine.serve("signer", lambda: machine.first.info()["sizes"]["publications"] > size + 1)


def take_events(machine: Machine) -> None:
    token, line = new_token("service", ["*"], ["*"])
    (machine.folder / "producers").write_text(line)
    event = encode_event(Make().project_created("over-http"))
    env = {"TUF_LEDGER_GATEWAY_PRODUCERS": "producers"}
    log = machine.folder / "serve.log"
    with start(log, "serve", "--listen", "127.0.0.1:0", *machine.at, env=env) as running:
        (url,) = running.wait_for("gateway started")["urls"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"}
        answers = [httpx.post(f"{url}events", content=event, headers=headers, timeout=600) for _ in range(2)]
        assert [each.status_code for each in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        digest, index = answers[0].json()["digest"], answers[0].json()["event"]
        found = httpx.get(f"{url}events/{digest}", headers=headers, timeout=600).json()
        assert found == {"digest": digest, "event": index, "standing": "pending"}
        running.stop()


def follow(machine: Machine) -> None:
    served, expected = (
        folder / "metadata/timestamp.json" for folder in (machine.folder / "public", machine.first.public)
    )
    machine.serve("publisher", lambda: served.exists() and served.read_bytes() == expected.read_bytes())
    machine.serve("verifier")
    with start(machine.folder / "serve.log", "serve", "--listen", "127.0.0.1:0", *machine.at) as running:
        (url,) = running.wait_for("gateway started")["urls"]
        assert httpx.get(f"{url}at/{machine.first.info()['publications']}/simple/one/").status_code == 200
        assert "tuf_ledger_log_up 1.0" in httpx.get(f"{url}metrics").text
        running.stop()
    for command in (("info",), ("status", "one"), ("rejected",), ("verify", "--served", machine.first.public)):
        machine.run(*command)
    machine.run("rebuild", "--to", machine.folder / "rebuilt")
    machine.run("reconcile", machine.first.public / "targets")
    machine.run("prove", "simple/one/index.json", "--to", machine.folder / "proof")
    machine.run("resume", "--above", 2)
    backup = machine.folder / "backup"
    copied = json.loads(machine.run("backup", backup, "--json"))
    machine.run("verify", "--log", f"sqlite:{backup / 'log'}", "--root", backup / "1.root.json")
    sizes = machine.first.info()["sizes"]
    assert copied["sizes"] == sizes
    log = f"kafka://{machine.broker.ssl_bootstrap_servers}/{machine.prefix}"
    options = ("--from-settings", machine.folder, "--json")
    moved = execute("copy-log", log, f"sqlite:{machine.folder / 'log'}", *options)
    assert (json.loads(moved.stdout)["sizes"], moved.stderr) == (sizes, "")


def hold_a_ceremony(machine: Machine) -> None:
    shutil.copytree(machine.first.folder / "keys", machine.folder / "keys")
    machine.run("ceremony", "--rotate-online")


def init(machine: Machine) -> None:
    prefix = uuid.uuid4().hex[:12]
    text = (machine.folder / "ledger.toml").read_text()
    kafka = dict(re.findall(r'^(s\w+) = "(.*)"$', text, re.MULTILINE))
    env = {f"TUF_LEDGER_KAFKA_{name.upper()}": value for name, value in kafka.items() if name != "served"}
    rights = [*documented_rights()["`init`, `copy-log` to there, `restore-backup`"]["events"], "DescribeConfigs"]
    allow(machine.broker, f"User:CN={machine.name}", prefix, {"events": rights, "publications": rights})
    log = f"kafka://{machine.broker.ssl_bootstrap_servers}/{prefix}"
    made = execute("init", machine.folder / "new", "--log", log, "--replication-factor", 1, "--bins", 2, env=env)
    assert "not checked" not in made.stderr
    prefix = uuid.uuid4().hex[:12]
    allow(machine.broker, f"User:CN={machine.name}", prefix, {"events": rights, "publications": rights})
    copy = f"kafka://{machine.broker.ssl_bootstrap_servers}/{prefix}"
    moved = execute("copy-log", log, copy, "--replication-factor", 1, "--json", env=env)
    assert (json.loads(moved.stdout)["sizes"], moved.stderr) == ({"events": 2, "publications": 2}, "")
    prefix = uuid.uuid4().hex[:12]
    allow(machine.broker, f"User:CN={machine.name}", prefix, {"events": rights, "publications": rights})
    execute("backup", "--ledger", machine.folder / "new", machine.folder / "copy", env=env)
    options = ("--log", f"kafka://{machine.broker.ssl_bootstrap_servers}/{prefix}", "--replication-factor", 1, "--json")
    back = execute("restore-backup", machine.folder / "copy", "--to", machine.folder / "back", *options, env=env)
    assert (json.loads(back.stdout)["differences"], back.stderr) == ([], "")


WORK: dict[str, Callable[[Machine], None]] = {
    "an index that appends by a Kafka client of its own, or by `ledger.client`": a_client_of_its_own,
    "`append`, `add`, `yank`, `unyank`, `remove`, `hold`, `unhold`": append,
    "these with `--wait`, and `import`, `restore`, `status PROJECT STATE`": append_and_wait,
    "`incident open`, `incident amend`, `incident note`, `incident recover`, `incident close`": respond,
    "`serve` with producers": take_events,
    "`run signer`, `publish`": sign,
    (
        "`run publisher`, `run verifier`, `run catalog`, `serve`, `info`, `status PROJECT`, `rejected`, `verify`, "
        "`prove`, `log`, `show`, `diff`, `blame`, `find`, `access`, `watch`, `compare`, `reconcile`, `incident list`, "
        "`incident show`, `incident report`, `incident window`, `incident replay`, `incident plan`, `catalog`, "
        "`rebuild`, `resume`, `backup`, `copy-log` from there"
    ): follow,
    "`ceremony`": hold_a_ceremony,
    "`init`, `copy-log` to there, `restore-backup`": init,
}


def test_everybody_is_in_the_table() -> None:
    assert list(documented_rights()) == list(WORK)


@pytest.mark.parametrize("who", WORK)
def test_the_rights_that_are_documented_suffice(
    up: Broker, prefix: str, index: Index, tmp_path: Path, who: str
) -> None:
    name = f"worker-{prefix}"
    rights = documented_rights()[who]
    with_settings = {log: [*operations, "DescribeConfigs"] for log, operations in rights.items() if operations}
    allow(up, f"User:CN={name}", prefix, with_settings)
    WORK[who](Machine(up, prefix, index, tmp_path / "second", name))


def test_a_signer_without_write_is_told_so(up: Broker, prefix: str, index: Index, tmp_path: Path) -> None:
    name = f"signer-{prefix}"
    rights = ["Read", "DescribeConfigs"]
    allow(up, f"User:CN={name}", prefix, {"events": rights, "publications": rights})
    machine = Machine(up, prefix, index, tmp_path / "second", name)
    shutil.copytree(index.folder / "keys/online", machine.folder / "keys/online")
    index.run("yank", "one==1.0")
    for command in (("publish",), ("run", "signer")):
        refused = execute(*command, *machine.at, answer=2)
        assert (
            f"error: the subject of ssl_certfile lacks the right Write on topic {prefix}.publications at "
            f'{up.ssl_bootstrap_servers}: grant it. docs/operators.md, "Rights on Kafka", lists the rights of each '
            "command and consumer\n"
        ) in refused.stderr
