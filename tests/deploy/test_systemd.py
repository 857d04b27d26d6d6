"""Units for systemd: they are what systemd takes, they are hardened, and they restart what a restart may mend."""

import configparser
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import LedgerError, NegativeAnswerError, TemporaryError
from tests.client.index import Index
from tests.client.processes import ROOT, start, until
from tests.distributions import build_wheel

pytestmark = pytest.mark.deploy

FOLDER = ROOT / "deploy/systemd"
SERVICES = sorted(path.name for path in FOLDER.glob("*.service"))
PROGRAM = "/opt/tuf-ledger/bin/tuf-ledger"
MOST_EXPOSED = 1.5
"""Of 10, as `systemd-analyze security` has it: what reaches brokers and clients needs the network."""


class Unit(dict[str, list[str]]):
    """The settings of a unit, each with its values in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        for line in path.read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.setdefault(name, []).append(value)

    def only(self, name: str) -> str:
        """The value of a setting that is there once."""
        (value,) = self[name]
        return value


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units on a machine where the program is somewhere else; the template for two consumers."""
    folder = tmp_path / "units"
    folder.mkdir()
    for path in FOLDER.iterdir():
        text = path.read_text().replace(PROGRAM, str(Path(sys.executable).with_name("tuf-ledger")))
        names = (
            [path.name] if "@" not in path.name else [path.name, *(f"tuf-ledger@{each}.service" for each in CONSUMERS)]
        )
        for name in names:
            (folder / name).write_text(text)
    return folder


CONSUMERS = ("publisher", "verifier", "catalog")


def analyze(program: str, *arguments: object) -> str:
    """What `systemd-analyze` says; it must be content."""
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "cat"}
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_them(deployed: Callable[[str], str], units: Path) -> None:
    program = deployed("systemd-analyze")
    found = [path for path in units.iterdir() if path.suffix in {".service", ".timer"} and "@." not in path.name]
    timers = len([path for path in found if path.suffix == ".timer"])
    assert len(found) - timers == len(SERVICES) - 1 + len(CONSUMERS)  # but for the template
    assert analyze(program, "verify", *found) == ""
    users = analyze(deployed("systemd-sysusers"), "--dry-run", units / "tuf-ledger.sysusers")
    assert "ignoring" not in users


@pytest.mark.parametrize("name", SERVICES)
def test_they_are_hardened(deployed: Callable[[str], str], units: Path, name: str) -> None:
    program, least = deployed("systemd-analyze"), round(MOST_EXPOSED * 10)
    said = analyze(program, "security", "--offline=true", f"--threshold={least}", units / name)
    assert "Overall exposure level" in said


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_person_must_decide_is_not_restarted(name: str) -> None:
    unit = Unit(FOLDER / name)
    if unit.only("Type") == "oneshot":
        assert "Restart" not in unit, "the timer starts it again"
        return
    assert unit.only("Restart") == "on-failure"
    prevented = set(map(int, unit.only("RestartPreventExitStatus").split()))
    assert prevented == {NegativeAnswerError.exit_code, LedgerError.exit_code}
    assert TemporaryError.exit_code not in prevented
    assert unit.only("SuccessExitStatus") == str(128 + signal.SIGTERM), "told to end before it had begun"
    assert unit.only("StartLimitIntervalSec") == "0"


def test_only_the_signer_reads_keys() -> None:
    with_keys = [name for name in SERVICES if "InaccessiblePaths" not in Unit(FOLDER / name)]
    assert with_keys == ["tuf-ledger-signer.service"]


def test_all_are_hardened_alike() -> None:
    """But for keys, the network, and how they are started."""
    differing = {"Description", "After", "Wants", "StartLimitIntervalSec", "Type", "ExecStart", "WantedBy"}
    differing |= {"InaccessiblePaths", "RestrictAddressFamilies"}
    differing |= {
        "Restart",
        "RestartPreventExitStatus",
        "SuccessExitStatus",
        "RestartSec",
        "KillMode",
        "TimeoutStopSec",
    }
    first, *others = [
        {key: value for key, value in Unit(FOLDER / name).items() if key not in differing} for name in SERVICES
    ]
    assert len(first) > 25
    assert all(each == first for each in others)


def test_a_timer_sweeps_every_day() -> None:
    timer = configparser.ConfigParser()
    timer.read(FOLDER / "tuf-ledger-sweep.timer")
    assert timer["Timer"]["OnCalendar"] == "daily"
    assert timer["Timer"]["Persistent"] == "true"
    assert (FOLDER / "tuf-ledger-sweep.service").exists()


def test_a_timer_imports_again_and_again() -> None:
    timer = configparser.ConfigParser()
    timer.read(FOLDER / "tuf-ledger-import.timer")
    assert timer["Timer"]["OnUnitInactiveSec"] == "10min", "never two at once"
    assert (FOLDER / "tuf-ledger-import.service").exists()


@pytest.mark.parametrize("name", SERVICES)
def test_what_they_start_runs_and_stops(name: str, index: Index, tmp_path: Path) -> None:
    """In the ledger's folder, as the units have it."""
    program, *arguments = Unit(FOLDER / name).only("ExecStart").split()
    assert program == PROGRAM
    source = tmp_path / "wheels"
    source.mkdir()
    build_wheel(source, "imported", "1.0")
    stand_ins = {"%i": "publisher", "127.0.0.1:8080": "127.0.0.1:0", "${IMPORT_SOURCE}": str(source)}
    words = [stand_ins.get(each, each) for each in arguments]
    is_oneshot = Unit(FOLDER / name).only("Type") == "oneshot"
    log = tmp_path / "out"
    with start(log, *words, "--ledger", index.folder) as running:
        if not is_oneshot:
            until(lambda: log.stat().st_size > 0, running.output)
            until(lambda: "started" in running.output() or "http://" in running.output(), running.output)
            running.process.send_signal(signal.SIGTERM)
        running.wait(0)
