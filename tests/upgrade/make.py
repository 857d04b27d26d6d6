"""Makes a ledger to be kept: with some of everything, in few bytes. README.md says with which commit's code it is run.

deploy/with-env --dev python make.py FILE.tar.xz
"""

import json
import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # the code of the commit

from tests.client.index import Index
from tests.client.processes import start
from tests.factory import Make


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = Index.create(Path(folder) / "ledger", "--origin", "packages.example.org", "--bins", 4)
        play(index)
        run_all(index, Path(folder) / "out")
        for name in ("events", "publications"):  # no write-ahead log: one file each
            connection = sqlite3.connect(index.folder / f"log/{name}.sqlite")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.close()
        pack(index.folder, target)
        print(f"{target}: {target.stat().st_size:,} bytes, sizes {index.info()['sizes']}")


def play(index: Index) -> None:
    """What an index lives through."""
    make = Make()
    index.upload("alpha", requires_python=">=3.8")
    index.upload("alpha", "1.1", suffix=".tar.gz")
    index.upload("beta", requires_python=">=3.9,<4")
    index.publish_and_check()
    index.run("yank", "alpha==1.0", "--reason", "broken <b>metadata</b>")
    index.run("remove", "beta-1.0-py3-none-any.whl", "--withhold", "--reason", "malware")
    index.append(make.project_created("gamma"), make.access("granted"), make.access("noted", note="asked by mail"))
    (index.folder.parent / "note.txt").write_bytes(b"not a distribution\n")
    index.run("add", "--as", "notes/note.txt", index.folder.parent / "note.txt")
    index.publish_and_check(others=["notes/note.txt"])
    index.run("unyank", "alpha==1.0")
    index.run("status", "alpha", "archived", "--reason", "no longer maintained")
    index.publish()
    index.run("status", "alpha", "active")
    index.run("restore", "beta")
    index.run("hold", "--unlocked", "--reason", "a rehearsal")
    index.upload("delta", "1.0.0rc1")
    index.publish()
    index.run("unhold")
    index.publish()
    index.run("ceremony", "--bins", 8)
    index.run("ceremony", "--rotate-online")
    index.upload("delta", "1.0.0")
    index.run("incident open", "theft", "--project", "delta", "--title", "A token was stolen")
    index.run("incident note", "theft", "seen in a log")
    index.publish()
    index.run("incident plan", "theft", "--to", index.folder.parent / "plan.json")
    index.run(
        "incident recover", "theft", "--plan", index.folder.parent / "plan.json", "--wait-seconds", 0, answer=None
    )
    index.publish()
    index.run("incident close", "theft", "--reason", "the token is revoked")
    free(index)
    for name in ("epsilon", "zeta"):
        index.upload(name)
        index.publish()
    garbage(index)
    index.publish("--renew")
    index.upload("eta")  # pending


def free(index: Index) -> None:
    """A name that a thief took, and that others need."""
    index.run("ceremony", "--renew")
    index.upload("alpha", "9.9", suffix=".tar.gz")
    index.publish()
    index.run("remove", "alpha-9.9.tar.gz", "--withhold", "--reason", "squatted")
    index.publish()
    (status,) = index.ask("status", "alpha")
    squatted = [{**each, "project": "alpha"} for each in status["files"] if each["file"] == "alpha-9.9.tar.gz"]
    listed = index.folder.parent / "squatted.ndjson"
    listed.write_text("".join(f"{json.dumps(each)}\n" for each in squatted))
    index.run("ceremony", "--freeable", listed)
    index.run("free", "alpha-9.9.tar.gz", "--list", listed, "--reason", "a thief took it")
    index.run("ceremony", "--no-freeable")


def garbage(index: Index) -> None:
    """Records that nobody can read, on both logs."""
    for name in ("events", "publications"):
        connection = sqlite3.connect(index.folder / f"log/{name}.sqlite")
        with connection:
            for value in (b"garbage", None, b"{}"):
                connection.execute("INSERT INTO records SELECT coalesce(max(idx) + 1, 0), ? FROM records", (value,))
        connection.close()


def run_all(index: Index, output: Path) -> None:
    """Let every consumer make its state; and the catalog."""
    number = index.info()["last"]["publication"]
    with start(output, "run", "publisher", "verifier", "catalog", "--ledger", index.folder) as running:
        for consumer in ("publisher", "verifier"):
            running.wait_for("publication applied", consumer=consumer, publication=number)
        running.wait_for("catalog started")
        running.stop()
    index.run("log")


def pack(folder: Path, target: Path) -> None:
    """Everything in the folder, in one order."""
    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(folder, folder.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
