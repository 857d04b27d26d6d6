"""Consumers as real processes: started, killed, stopped, and more than one of them."""

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.service import run
from consumers.sign.schedule import Schedule
from ledger.state import StoreError
from tests.client.attacker import Attacker, append, sign_root
from tests.client.index import Index, tree
from tests.client.load import Load, loading
from tests.client.processes import Running, execute, start, until
from tests.client.test_recovery import Backup


def covers(index: Index, size: int) -> bool:
    """Whether what is served covers so many events."""
    try:
        metadata = index.public / "metadata"
        number = json.loads((metadata / "timestamp.json").read_bytes())["signed"]["version"]
        snapshot = json.loads((metadata / f"{number}.snapshot.json").read_bytes())["signed"]
    except FileNotFoundError:
        return False
    return bool(snapshot["x-ledger"]["size"] >= size)


def wait_until_covered(index: Index, load: Load, *running: Running) -> None:
    """Wait until all that a load has appended is served."""
    size = load.appended + 2
    until(lambda: covers(index, size), lambda: "\n".join(each.output()[-3000:] for each in running))


def check_at_rest(index: Index, target: Path) -> None:
    """All that must be true when nothing runs."""
    index.check(files=False)
    index.verify("--no-files")
    index.check_rebuilt(target)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_consumers_in_one_process_stop_cleanly(index: Index, tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("verifier started")
        index.upload("one")
        answers = execute("yank", "--ledger", index.folder, "one==1.0", "--reason", "broken", "--wait").stdout
        assert "accepted, publication" in answers
        until(lambda: index.check(live=True).yanked(), lambda: "the yank")
        running.wait_for("publication applied", size=4)
        assert index.info()["consumers"]["signer"]["running"]
        assert "in use by process" in execute("publish", "--ledger", index.folder, answer=75).stderr
        running.stop(number)
        assert running.events()[-1]["message"] == "stopped"
    assert "stopped" not in index.info()["consumers"]["signer"], "it stopped cleanly"
    index.check()
    index.check_rebuilt(tmp_path / "rebuilt")


def test_a_consumer_that_does_not_stop_when_it_is_told_is_cancelled(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for what never comes, and is no server that could be given up."""
    ended: list[str] = []

    async def wait_for_ever(*_: Context | asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("verifier")

    monkeypatch.setattr(run, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(run, "run_verifier", wait_for_ever)
    asyncio.run(run.run(index.context, ["verifier"], Schedule()))
    assert ended == ["verifier"]


def test_what_ends_one_consumer_for_good_ends_all_and_is_told(index: Index) -> None:
    ended: list[str] = []

    async def fail(_: asyncio.Event) -> None:
        raise StoreError("it is damaged")

    async def follow(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append("follower")

    with pytest.raises(StoreError, match="it is damaged"):
        asyncio.run(run.run_loops(index.context, {"follower": follow, "signer": fail}))
    assert ended == ["follower"]


def test_stopping_under_load(index: Index, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with loading(index, pause_seconds=0), start(tmp_path / "log", "run", "--ledger", index.folder) as running:
            running.wait_for("publication applied")
            running.stop(number)
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        size = index.info()["sizes"]["events"]
        until(lambda: covers(index, size), running.output)
        running.stop()
    check_at_rest(index, tmp_path / "rebuilt")


def test_killed_at_any_moment(index: Index, tmp_path: Path) -> None:
    chance = random.Random()
    with loading(index) as load:
        for _ in range(5):
            with start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher") as running:
                running.wait_for("signer started")
                time.sleep(chance.random())
                running.kill()
            index.check(files=False, live=True)
        with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
            wait_until_covered(index, load, running)
            load.stop()
            wait_until_covered(index, load, running)
            index.check(files=False, live=True)
            running.stop()
    check_at_rest(index, tmp_path / "rebuilt")


def test_signer_and_publisher_apart(index: Index, tmp_path: Path) -> None:
    chance = random.Random()
    folder = ("--ledger", index.folder)
    with loading(index) as load, start(tmp_path / "signer", "run", *folder, "signer") as signer:
        signer.wait_for("signer started", publishes=False)
        for _ in range(3):
            with start(tmp_path / "publisher", "run", *folder, "publisher") as publisher:
                publisher.wait_for("publication applied")
                time.sleep(chance.random() / 2)
                publisher.kill()
            index.check(files=False, live=True)
        with start(tmp_path / "publisher", "run", *folder, "publisher") as publisher:
            wait_until_covered(index, load, signer, publisher)
            load.stop()
            wait_until_covered(index, load, signer, publisher)
            index.check(files=False, live=True)
            publisher.stop()
        signer.stop()
    index.check(files=False)
    index.verify("--no-files")


def test_two_signers_on_one_log(index: Index, tmp_path: Path) -> None:
    second = tmp_path / "second"
    shutil.copytree(index.folder, second, ignore=shutil.ignore_patterns("log", "state"))
    config = (second / "ledger.toml").read_text()
    (second / "ledger.toml").write_text(config.replace("sqlite:log", f"sqlite:{index.folder / 'log'}"))
    other = Index(second, clients=tmp_path / "second-client")
    chance = random.Random()
    env = {"TUF_LEDGER_SIGNER_GRACE_SECONDS": "0.2"}
    with loading(index) as load:
        for _ in range(3):
            with (
                start(tmp_path / "log-1", "run", "--ledger", index.folder, "signer", "publisher", env=env) as one,
                start(tmp_path / "log-2", "run", "--ledger", second, "signer", "publisher", env=env) as two,
            ):
                one.wait_for("publication applied")
                two.wait_for("publication applied")
                time.sleep(chance.random())
                chance.choice([one, two]).kill()
                for each in (index, other):
                    each.check(files=False, live=True)
        with (
            start(tmp_path / "log-1", "run", "--ledger", index.folder, env=env) as one,
            start(tmp_path / "log-2", "run", "--ledger", second, env=env) as two,
        ):
            load.stop()
            for signer in (one, two):  # all may be covered before they have come up, and then nobody obeys a signal
                signer.wait_for("signer started")
            wait_until_covered(index, load, one)
            wait_until_covered(other, load, two)
            one.stop()
            two.stop()
    # One may have stopped before the last record of the other.
    assert index.publish() == other.publish()
    whole = index.rebuild(tmp_path / "whole", "--all-versions")
    current = index.rebuild(tmp_path / "current")
    for each in (index, other):
        each.check(files=False)
        each.verify("--no-files")
        # Whoever was far behind the other has skipped publications: it has nothing else, and all that clients need.
        assert current.items() <= tree(each.public).items() <= whole.items()


# --- what stops a running process --------------------------------------------------------------------------------


def test_a_running_process_stops_at_a_divergence(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("verifier started")
        number, digest = Attacker(index).divergent()
        running.wait(2)
        assert f"publication {number} (record 3, SHA-256 {digest})" in running.output().replace("\n", " ")
    execute("run", "--ledger", index.folder, answer=2)
    index.run("ceremony", "--replace-online", "--void", f"{number}:{digest}")
    with start(tmp_path / "log-2", "run", "--ledger", index.folder) as running:
        index.upload("one")
        until(lambda: index.check(live=True).projects, running.output)
        running.stop()
    check_at_rest(index, tmp_path / "rebuilt")


def test_a_running_process_stops_at_a_ruleset_of_the_future(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder) as running:
        running.wait_for("verifier started")
        append(index, [sign_root(index, ruleset=1)])
        running.wait(2)
        assert "Install a newer version" in running.output()
    index.check()


def test_a_service_does_not_start_on_yesterdays_backup(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish()
    backup = Backup(index)
    index.upload("two")
    served = index.publish_and_check()
    backup.restore()
    done = execute("run", "--ledger", index.folder, answer=2)
    assert "A log was rolled back" in done.stderr
    assert index.check() == served
    index.run("resume", "--above", served.number)
    with start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher") as running:
        index.upload("three")
        until(lambda: "three" in index.check(live=True).projects, running.output)
        running.stop()
    index.check()


# --- the verifier ------------------------------------------------------------------------------------------------

ALARM = "what is served is not what the log says"


def some_bin(index: Index) -> Path:
    """A bin that clients need now."""
    metadata = index.public / "metadata"
    number = json.loads((metadata / "timestamp.json").read_bytes())["signed"]["version"]
    listed = json.loads((metadata / f"{number}.snapshot.json").read_bytes())["signed"]["meta"]
    return metadata / f"{listed['bin-0.json']['version']}.bin-0.json"


def test_a_verifier_that_starts_finds_a_changed_file(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish()
    changed = some_bin(index)
    changed.write_bytes(changed.read_bytes() + b" ")
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier") as verifier:
        verifier.wait_for(ALARM, path=f"metadata/{changed.name}")
        verifier.stop()
    verifier_facts = index.info()["consumers"]["verifier"]
    assert (verifier_facts["differences_now"], verifier_facts["differences_ever"]) == (1, 1)


def test_a_running_verifier_finds_what_is_changed_from_now_on(index: Index, tmp_path: Path) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier") as verifier:
        verifier.wait_for("publication applied")
        index.upload("one")
        index.publish()
        verifier.wait_for("publication applied", size=3)
        timestamp = index.public / "metadata/timestamp.json"
        timestamp.write_bytes(timestamp.read_bytes().replace(b'"sig":"', b'"sig":"00'))
        verifier.wait_for(ALARM, path="metadata/timestamp.json")
        verifier.stop()


def unchecked(index: Index) -> int:
    """How many files the verifier has not looked at."""
    with closing(sqlite3.connect(index.folder / "state/verifier.sqlite")) as state:
        return int(state.execute("SELECT count(*) FROM files WHERE checked = 0").fetchone()[0])


def test_a_running_verifier_finds_what_was_good_once(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish()
    paths = [
        some_bin(index),
        index.public / "targets/simple/one/index.json",
        next(index.public.glob("targets/packages/*/*/*/one-1.0-py3-none-any.whl")),
    ]
    with start(tmp_path / "log", "run", "--ledger", index.folder, "verifier") as verifier:
        verifier.wait_for("publication applied", size=3)
        until(lambda: unchecked(index) == 0, verifier.output)
        for path in paths:
            path.write_bytes(path.read_bytes() + b" ")
        for path in paths:
            verifier.wait_for(ALARM, path=path.relative_to(index.public).as_posix())


def test_verifying_while_somebody_publishes(index: Index, tmp_path: Path) -> None:
    """At most so many publications while it looks: it reads the log to its end, wherever that is by then."""
    with (
        loading(index, batches=40) as load,
        start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher") as running,
    ):
        running.wait_for("publication applied")
        for _ in range(8):
            load.allow(40)
            index.verify("--no-files")
        running.stop()
