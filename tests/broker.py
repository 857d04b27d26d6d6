"""A real Apache Kafka broker, one node (KRaft), as a local process.

Its jars come through Maven, as `deploy/kafka/pom.xml` says, into `.cache/` of this repository. One of its listeners
lets anybody do anything. On the others a principal may do what it was granted: one of `USERS` (SASL/PLAIN, or
SCRAM-SHA-512 over TLS), or whom a certificate names.
"""

import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.certificates import Authority
from tests.supervised import SupervisedProcess, free_ports

VERSION = "4.3.0"
ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "deploy" / "kafka" / "pom.xml"
JARS = ROOT / ".cache" / f"kafka-{VERSION}"
USER, PASSWORD = "follower", "follower-secret"
USERS = {name: f"{name}-secret" for name in (USER, "index", "signer", "publisher", "verifier", "creator", "reader")}
"""Who has a name and a password."""

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For brokers that start often and live shortly: simple compiler, simple garbage collector."""

LISTENERS = ("PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL")
START_SECONDS = 600
STOP_SECONDS = 15
FETCH_SECONDS = 600
OLDEST_JAVA = 17

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,\
CONTROLLER:PLAINTEXT
listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
{users};
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={data}
auto.create.topics.enable=false
# A killed broker may come back when its session has ended: 9 s by default.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
"""


class BrokerMissingError(Exception):
    """What is needed to run a broker is not on this machine."""


class BrokerFailedError(Exception):
    """The broker did not start."""


class Broker:
    """One broker with its data in a folder of its own. Calls block; those of a running test belong in a thread."""

    def __init__(self, folder: Path, java_options: Sequence[str] = QUICK_START, *, properties: str = "") -> None:
        self._folder = folder
        self._properties = properties
        self._java_options = java_options
        self._java = find_java()
        self._jars = fetch_jars()
        self._ports = free_ports(1 + len(LISTENERS))
        self.authority = Authority(folder, "authority")
        self._process: SupervisedProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where anybody may do anything."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def sasl_bootstrap_servers(self) -> str:
        """Where one of `USERS` may do what it was granted, by SASL/PLAIN."""
        return f"127.0.0.1:{self._ports[1]}"

    @property
    def sasl_ssl_bootstrap_servers(self) -> str:
        """Where one of `USERS` may do what it was granted, by SCRAM-SHA-512 over TLS."""
        return f"127.0.0.1:{self._ports[2]}"

    @property
    def ssl_bootstrap_servers(self) -> str:
        """Where whoever has a certificate of `authority` may do what `User:CN=…` was granted."""
        return f"127.0.0.1:{self._ports[3]}"

    def start(self) -> None:
        """Start it, with the data and ports it had, and wait until it is ready. Harmless where it runs."""
        if self._process is not None and self._process.is_alive():
            self.proceed()
            return
        properties = self._folder / "server.properties"
        if not properties.exists():
            self._format(properties)
        log_path = self._folder / "broker.log"
        already = log_path.stat().st_size if log_path.exists() else 0
        self._process = SupervisedProcess(self._command("kafka.Kafka", str(properties)), log_path, signal.SIGKILL)
        self._wait_until_ready(self._process, log_path, already)

    def stop(self) -> None:
        """Shut it down in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang (SIGSTOP): connections stay, answers do not come."""
        self._send(signal.SIGSTOP)

    def proceed(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def restart(self, pause_seconds: float = 0) -> None:
        """Kill it and start it again after a pause, with the same data, on the same ports."""
        self.kill()
        time.sleep(pause_seconds)
        self.start()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(number, STOP_SECONDS)

    def _command(self, main: str, *arguments: str) -> list[str]:
        options = [*self._java_options, "-Xmx512m", "-Dlog4j2.level=INFO", "-cp", f"{self._jars}/*"]
        return [self._java, *options, main, *arguments]

    def _format(self, properties: Path) -> None:
        *ports, controller_port = self._ports
        text = _PROPERTIES.format(
            listeners=",".join(f"{name}://127.0.0.1:{port}" for name, port in zip(LISTENERS, ports, strict=True)),
            controller_port=controller_port,
            data=self._folder / "data",
            users=" ".join(f'user_{name}="{password}"' for name, password in USERS.items()),
            keystore=self.authority.issue("broker", hosts=("127.0.0.1",)),
            truststore=self.authority.certificate,
        )
        properties.write_text(text + self._properties)  # of two lines for one property, the last counts
        # What begins with a minus sign would be taken for an option.
        cluster = "c" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        formatted = subprocess.run(
            self._command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), *_scram_users()),
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        if formatted.returncode:
            raise BrokerFailedError((formatted.stdout + formatted.stderr).decode(errors="replace"))

    def _wait_until_ready(self, process: SupervisedProcess, log_path: Path, already: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            text = log_path.read_bytes()[already:].decode(errors="replace") if log_path.exists() else ""
            if "Kafka Server started" in text:
                return
            if not process.is_alive() or time.monotonic() > deadline:
                self.kill()
                raise BrokerFailedError(f"the broker ended, or was not ready after {START_SECONDS} s:\n{text[-4000:]}")
            time.sleep(0.05)


@contextmanager
def running_broker(java_options: Sequence[str] = QUICK_START, *, properties: str = "") -> Iterator[Broker]:
    """A broker that runs, with its data in a temporary folder; gone afterwards. For measurements: no `java_options`.

    `properties` are lines of its configuration that differ.

    Raises:
        BrokerMissingError: this machine has no JDK or no Maven, or the jars cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="tuf-ledger-kafka-", ignore_cleanup_errors=True) as folder:
        broker = Broker(Path(folder), java_options, properties=properties)
        try:
            broker.start()
            yield broker
        finally:
            broker.kill()


def _scram_users() -> Iterator[str]:
    for name, password in USERS.items():
        yield "--add-scram"
        yield f"SCRAM-SHA-512=[name={name},password={password}]"


def find_java() -> str:
    """The Java to run a broker with.

    Raises:
        BrokerMissingError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise BrokerMissingError("no JDK: install one (17 or later) or set JAVA_HOME")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise BrokerMissingError(f"{java} is too old, Kafka needs Java {OLDEST_JAVA} or later: {said.strip()}")
    return java


def fetch_jars() -> Path:
    """The folder of the broker's jars, fetched if need be. Two processes may do this at the same time.

    Raises:
        BrokerMissingError: there is no Maven, or it failed.
    """
    if JARS.exists():
        return JARS
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissingError(f"no Maven to fetch Kafka {VERSION} with: install it")
    JARS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=JARS.parent, ignore_cleanup_errors=True) as folder:
        libs = Path(folder) / "libs"
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        fetched = subprocess.run(
            [*command, f"-DoutputDirectory={libs}"], capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
        if fetched.returncode:
            raise BrokerMissingError(
                f"Maven could not fetch Kafka {VERSION}: {(fetched.stdout + fetched.stderr)[-2000:]}"
            )
        # The folder appears complete or not at all; whoever comes second finds it there.
        with suppress(OSError):
            libs.rename(JARS)
    return JARS
