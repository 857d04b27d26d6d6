"""`--json`: one vocabulary over all commands, which docs/operators.md lists."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.logs.sqlite import SqliteLog
from tests.cli.names import NAMES
from tests.client.index import Index, invoke
from tests.distributions import build_wheel
from tests.factory import Make, encode

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
WITHOUT_JSON = {"run", "serve", "demo", "watch"}
"""`watch` never ends: tests/catalog/test_watching.py."""
WITHOUT_LEDGER = {"init", "check-proof", "copy-log", "restore-backup", "token new", "incident rehearse"}
MAPS = {"consumers", "expires", "sizes", "versions", "verdicts", "types", "digests"}
MAPS |= {"unlearnt", "by_type", "by_actor", "by_credential", "by_project", "by_verdict", "digests"}
"""Their keys are names: of consumers, roles, logs, verdicts, types, actors, credentials, projects, digests."""
AS_LOGGED = {"data"}
"""What is in it is as it stands on the log."""

LISTS = {"add", "import", "yank", "unyank", "remove", "restore", "free", "append", "rejected", "ceremony"}
LISTS |= {
    "log",
    "blame",
    "diff",
    "find",
    "access",
    "incident list",
    "incident show",
    "incident window",
    "incident replay",
    "incident recover",
    "incident rehearse",
}

GOOD: dict[str, tuple[object, ...]] = {
    "catalog": ("check", "--full"),
    "init": (),
    "add": ("{folder}/dist",),
    "import": ("{folder}/dist", "--not-importing"),
    "yank": ("one==1.0",),
    "unyank": ("one==1.0",),
    "remove": ("two-1.0-py3-none-any.whl",),
    "restore": ("two",),
    "free": ("two-1.0-py3-none-any.whl", "--list", "{folder}/list"),
    "status": ("one",),
    "append": (),
    "hold": (),
    "unhold": (),
    "diff": ("1", "4"),
    "compare": ("{folder}/index/public",),
    "reconcile": ("{folder}/index/public/targets",),
    "publish": (),
    "ceremony": ("--rotate-online",),
    "sweep": (),
    "info": (),
    "rejected": ("--all",),
    "log": ("one", "--limit", "3"),
    "verify": (),
    "show": ("0",),
    "blame": ("one",),
    "find": ("one-1.0.tar.gz",),
    "access": ("one",),
    "prove": ("simple/one/index.json", "--to", "{folder}/proof"),
    "check-proof": ("{folder}/proof", "--root", "{folder}/index/public/metadata/1.root.json"),
    "rebuild": ("--to", "{folder}/rebuilt"),
    "resume": ("--above", "9"),
    "backup": ("{folder}/backup",),
    "copy-log": ("sqlite:{folder}/index/log", "sqlite:{folder}/copy"),
    "token new": ("--producer", "service"),
    "restore-backup": ("{folder}/backup", "--to", "{folder}/restored"),
    "incident open": ("theft", "--events", "3"),
    "incident amend": ("theft", "--project", "two"),
    "incident list": (),
    "incident show": ("theft",),
    "incident note": ("theft", "text", "--event", "3"),
    "incident report": ("theft",),
    "incident window": ("one==1.0",),
    "incident replay": ("theft",),
    "incident plan": ("theft", "--to", "{folder}/new-plan"),
    "incident recover": ("theft", "--plan", "{folder}/plan"),
    "incident close": ("theft", "--reason", "no harm was done"),
    "incident rehearse": (),
}

BAD: dict[str, tuple[int, tuple[object, ...]]] = {
    "init": (2, ("--bins", "3")),
    "add": (1, ("{folder}/empty",)),
    "import": (2, ("{folder}/none",)),
    "yank": (2, ("one",)),
    "unyank": (2, ("one",)),
    "remove": (1, ("no such name",)),
    "restore": (1, ("none==1",)),
    "free": (1, ("two-1.0-py3-none-any.whl", "--list", "{folder}/list")),
    "status": (1, ("none",)),
    "append": (1, ()),
    "hold": (1, ("--at", "9999")),
    "unhold": (1, ()),
    "diff": (1, ("1", "99")),
    "compare": (1, ("{folder}/empty",)),
    "reconcile": (2, ("{folder}/nothing",)),
    "publish": (2, ("--nonsense",)),
    "ceremony": (2, ()),
    "sweep": (2, ("--grace", "long")),
    "info": (2, ("extra",)),
    "rejected": (2, ("extra",)),
    "log": (1, ("nothing",)),
    "catalog": (2, ("rebuild", "--full")),
    "verify": (1, ("--to", "99")),
    "show": (1, ("99",)),
    "blame": (1, ("none",)),
    "find": (1, ("none",)),
    "access": (1, ("none",)),
    "prove": (1, ("--to", "{folder}/proof", "99")),
    "check-proof": (1, ("{folder}/proof", "--root", "{folder}/other/public/metadata/1.root.json")),
    "rebuild": (1, ("--to", "{folder}/rebuilt", "--at", "99")),
    "resume": (1, ("--above", "1")),
    "backup": (2, ("{folder}",)),
    "restore-backup": (2, ("{folder}/dist", "--to", "{folder}/restored")),
    "copy-log": (2, ("sqlite:{folder}/index/log", "sqlite:{folder}/index/log")),
    "token new": (2, ("--producer", "service", "--type", "nothing")),
    "incident open": (1, ("theft", "--actor", "nobody")),
    "incident amend": (1, ("none", "--project", "two")),
    "incident list": (2, ("extra",)),
    "incident show": (1, ("none",)),
    "incident note": (1, ("none", "text")),
    "incident report": (1, ("none",)),
    "incident window": (1, ("none",)),
    "incident replay": (1, ("none",)),
    "incident plan": (1, ("none", "--to", "{folder}/new-plan")),
    "incident recover": (75, ("theft", "--plan", "{folder}/plan", "--wait-seconds", "0")),
    "incident close": (1, ("none", "--reason", "none")),
    "incident rehearse": (2, ("none",)),
}


def documented() -> set[str]:
    """The keys that the manual's table explains."""
    section = MANUAL.read_text(encoding="utf-8").partition("## For machines")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, flags=re.MULTILINE)
    nested = re.findall(r"Each has ([^.]+)\.", section)
    return {key for row in (*rows, *nested) for key in re.findall(r"`(\w+)`", row)}


def keys_of(value: Any, *, is_map: bool = False) -> Iterator[str]:
    """All keys in a value, but those of maps whose keys are names."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not is_map:
                yield key
            if is_map or key not in AS_LOGGED:
                yield from keys_of(each, is_map=not is_map and key in MAPS)
    elif isinstance(value, list):
        for each in value:
            yield from keys_of(each)


def ask(index: Index, command: str, *arguments: object, answer: int = 0, stdin: bytes | None = None) -> list[Any]:
    """Run a command with `--json`."""
    where = () if command in WITHOUT_LEDGER else ("--ledger", index.folder)
    return [
        json.loads(line)
        for line in invoke(
            *command.split(), "--json", *where, *arguments, answer=answer, stdin=stdin
        ).stdout.splitlines()
    ]


def prepare(index: Index, folder: Path, command: str, arguments: tuple[object, ...]) -> tuple[object, ...]:
    """What the arguments name."""
    (folder / "dist").mkdir()
    (folder / "empty").mkdir()
    build_wheel(folder / "dist", "three", "1.0")
    if command == "restore":
        index.run("remove", "two")
        index.publish()
    if command == "unhold":
        index.run("hold", "--unlocked")
    if command.startswith("incident ") and command not in {"incident open", "incident window"}:
        index.run("incident open", "theft", "--events", "2..3", "--not", "events=3")
    if command in {"incident recover", "incident close"}:
        index.run("incident plan", "theft", "--to", folder / "plan")
    if arguments == GOOD["incident recover"]:
        index.run("incident recover", "theft", "--plan", folder / "plan", "--wait-seconds", 0, answer=75)
        index.publish()
    if command == "free":
        index.run("remove", "two")
        index.publish()
        files = json.loads(index.run("status", "two", "--json"))["files"]
        (folder / "list").write_text("\n".join(json.dumps({**each, "project": "two"}) for each in files))
        index.run("ceremony", "--freeable", folder / "list")
    if command == "restore-backup":
        index.run("backup", folder / "backup")
    if command == "check-proof":
        index.run("prove", "--consistency", 1, 2, "--to", folder / "proof")
        Index.create(folder / "other")
    first = (folder / "new",) if command == "init" else ()
    return (*first, *(str(each).format(folder=folder) for each in arguments))


@pytest.mark.parametrize("command", [name for name in NAMES if name not in WITHOUT_JSON])
def test_answers(command: str, index: Index, tmp_path: Path) -> None:
    arguments = prepare(index, tmp_path, command, GOOD[command])
    stdin = b"\n".join(encode([Make().project_created("three")])) if command == "append" else None
    *items, last = ask(index, command, *arguments, stdin=stdin)
    assert last["ok"] is True
    assert (command in LISTS) or not items
    for item in items:
        assert "ok" not in item
    found = set(keys_of([*items, last]))
    assert not {key for key in found if not re.fullmatch(r"[a-z0-9_]+", key)}
    assert found <= documented(), found - documented()
    if command in LISTS and command != "rejected":
        assert items


@pytest.mark.parametrize("command", [name for name in NAMES if name not in WITHOUT_JSON])
def test_errors(command: str, index: Index, tmp_path: Path) -> None:
    answer, arguments = BAD[command]
    before = prepare(index, tmp_path, "" if command in {"restore", "unhold", "free"} else command, arguments)
    stdin = b"no event" if command == "append" else None
    *_, last = ask(index, command, *before, answer=answer, stdin=stdin)
    assert (last["ok"], last["exit"]) == (False, answer)
    assert re.fullmatch(r"[a-z-]+", last["error"])
    assert last["message"]
    assert set(keys_of(last)) <= documented()
    shutil.rmtree(tmp_path / "dist")


def test_waiting_is_a_list_too(index: Index) -> None:
    index.publish("--renew")
    value = b"\n".join(encode([Make().project_created("three")]))
    index.run("append", stdin=value)
    index.publish()
    *items, last = ask(index, "rejected", "--all")
    assert (items, last["records"]) == ([], 0)


def test_a_log_elsewhere_is_replayed(index: Index, tmp_path: Path) -> None:
    """Nobody without a key is told to publish first."""
    shutil.copytree(index.folder / "log", tmp_path / "log")
    for arguments in (("info",), ("rejected",), ("status", "one")):
        command, *rest = arguments
        *_, last = [
            json.loads(line)
            for line in invoke(command, *rest, "--json", "--log", f"sqlite:{tmp_path}/log").stdout.splitlines()
        ]
        assert last["ok"] is True
    assert invoke("status", "one", "--log", f"sqlite:{tmp_path}/log").output == index.run("status", "one")


async def test_nobody_without_a_key_is_told_to_publish(index: Index, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    shutil.copy(index.folder / "log/events.sqlite", tmp_path / "log")
    publications = SqliteLog(tmp_path / "log/publications.sqlite")
    await publications.create()
    await publications.close()
    for command in (("rejected",), ("status", "one")):
        asked = await asyncio.to_thread(invoke, *command, "--log", f"sqlite:{tmp_path}/log", answer=1)
        assert "nothing was published yet" in asked.output
        assert "tuf-ledger publish" not in asked.output
    (tmp_path / "dist").mkdir()
    build_wheel(tmp_path / "dist", "three", "1.0")
    shutil.rmtree(index.folder / "keys")
    added = await asyncio.to_thread(index.run, "add", tmp_path / "dist")
    assert added == "Added 1 file; the next publication makes it visible.\n"
