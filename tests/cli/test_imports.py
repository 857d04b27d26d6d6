"""What each command imports: nobody waits for libraries that his command does not use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.names import NAMES
from tests.client.index import Index
from tests.distributions import build_wheel

HEAVY = {"aiokafka", "httpx", "sqlalchemy", "tuf"}
"""`rich` is not among them: structlog imports it where it is installed."""

PROGRAM = """
import json, sys
from consumers.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code or 0, sorted(sys.modules)]), file=sys.stderr)
"""

READ = {
    "info": (),
    "rejected": (),
    "status": ("one",),
    "append": (),
    "unhold": (),
    "publish": (),
    "rebuild": ("--to", "{folder}/rebuilt"),
    "verify": (),
    "sweep": (),
    "resume": ("--above", "4"),
}
"""Commands that write to no log, or decide that there is nothing to append: SQLite's own driver does."""

WRITE = {
    "yank": ("one==1.0",),
    "unyank": ("one==1.0",),
    "remove": ("one==1.0",),
    "restore": ("one",),
    "ceremony": ("--renew",),
    "hold": ("--unlocked",),
    "add": ("{folder}/dist",),
    "import": ("{folder}/dist", "--not-importing"),
}
"""Commands that write to a log."""

ASK = {
    "diff": ("1", "2"),
    "compare": ("{folder}/dist/../index/public",),
    "reconcile": ("{folder}/dist/../index/public/targets",),
    "log": (),
    "show": ("0",),
    "blame": ("one",),
    "catalog": ("check",),
    "watch": ("--help",),
    "find": ("one-1.0.tar.gz",),
    "access": ("one",),
    "prove": ("simple/one/index.json", "--to", "{folder}/proof"),
    "incident open": ("theft", "--events", "3"),
    "incident amend": ("theft", "--events", "3"),
    "incident list": (),
    "incident show": ("theft",),
    "incident note": ("theft", "text"),
    "incident report": ("--help",),
    "incident window": ("one==1.0",),
    "incident replay": ("theft",),
    "incident plan": ("theft",),
    "incident recover": ("--help",),
    "incident close": ("theft", "--reason", "none"),
}
"""Commands that ask a catalog."""

ALONE = {
    "init": ("{folder}/new",),
    "demo": ("--help",),
    "run": ("--help",),
    "serve": ("--help",),
    "token new": ("--producer", "service"),
    "free": ("--help",),
    "check-proof": ("--help",),
    "copy-log": ("--help",),
    "restore-backup": ("--help",),
    "incident rehearse": (),
}


def imported(command: str, *arguments: str) -> set[str]:
    """The heavy libraries that a command imports in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), *arguments], capture_output=True, input=b"", check=True
    )
    code, modules = json.loads(done.stderr.decode().splitlines()[-1])
    assert code in {0, 1}, done.stderr.decode()
    return {name.partition(".")[0] for name in modules} & HEAVY


def test_every_command_is_listed() -> None:
    assert {*READ, *WRITE, *ASK, *ALONE, "backup"} >= set(NAMES)


@pytest.mark.parametrize("command", [*READ, *WRITE, *ASK, *ALONE])
def test_imports(command: str, index: Index, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    build_wheel(tmp_path / "dist", "three", "1.0")
    arguments = {**READ, **WRITE, **ASK, **ALONE}[command]
    where = () if command in ALONE else ("--ledger", str(index.folder))
    found = imported(command, *(each.format(folder=tmp_path) for each in arguments), *where)
    assert found == ({"sqlalchemy"} if command in {*WRITE, *ASK, "init"} else {"tuf"} if command == "demo" else set())
