"""A break-in: events are held, a key is stolen and replaced, lies are undone, the hold is released; clients poll."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.client.attacker import Attacker
from tests.client.index import Index
from tests.client.processes import Running, start, until
from tests.fetcher import Fetcher, from_folder, new_updater

TRIES = 3
"""Between a new root and the new timestamp are two file writes (docs/design.md, "Known limits"); clients try again."""


class Polling:
    """python-tuf's client, asking again and again; it keeps its cache."""

    def __init__(self, index: Index, folder: Path) -> None:
        self._index = index
        self._folder = folder
        self._is_over = threading.Event()
        self.hidden: Sequence[str] = ()
        """Projects that no client may see now."""
        self.failures: list[str] = []
        self.polls = 0

    def look(self) -> None:
        """Refresh, and look for what is hidden."""
        hidden = self.hidden
        fetcher = Fetcher(from_folder(self._index.public))
        updater = new_updater(self._folder, self._index.root, fetcher, now=datetime.now(UTC))
        updater.refresh()
        for name in hidden:
            if updater.get_targetinfo(f"simple/{name}/index.json") is not None and name in self.hidden:
                raise AssertionError(f"{name} is held, and shown")
        self.polls += 1

    def run(self) -> None:
        while not self._is_over.wait(0.05):
            for attempt in range(TRIES):
                try:
                    self.look()
                except Exception as error:  # noqa: BLE001  # whatever a client meets
                    if attempt == TRIES - 1 or isinstance(error, AssertionError):
                        self.failures.append(repr(error))
                else:
                    break

    def stop(self) -> None:
        self._is_over.set()


@contextmanager
def polling(index: Index, folder: Path) -> Iterator[Polling]:
    """A client that polls; it must never have failed, nor seen what it must not see."""
    client = Polling(index, folder)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join()
    assert client.failures == []
    assert client.polls > 3


def another_signer(index: Index, folder: Path) -> Index:
    """The folder of a second signer, with the same keys and logs, and a tree of its own."""
    shutil.copytree(index.folder, folder, ignore=shutil.ignore_patterns("log", "state"))
    config = (folder / "ledger.toml").read_text()
    (folder / "ledger.toml").write_text(config.replace("sqlite:log", f"sqlite:{index.folder / 'log'}"))
    return Index(folder, clients=folder.with_name(f"{folder.name}-client"))


def shown(index: Index) -> list[int]:
    """The content sizes of all publications, in order."""
    with closing(sqlite3.connect(index.folder / "state/signer.sqlite")) as state:
        rows = state.execute("SELECT content_size FROM publications ORDER BY number").fetchall()
    return [size for (size,) in rows]


def break_in(index: Index, folder: Path, *, signers: int) -> None:
    """The whole day, with real services; `folder` is empty."""
    others = [another_signer(index, folder / f"signer-{number}") for number in range(1, signers)]
    every = [index, *others]
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                start(
                    folder / f"log-{number}",
                    "run",
                    "--ledger",
                    each.folder,
                    "signer",
                    "publisher",
                    env={"TUF_LEDGER_SIGNER_GRACE_SECONDS": "0.2"},
                )
            )
            for number, each in enumerate(every)
        ]
        client = stack.enter_context(polling(index, folder / "poll"))
        index.upload("honest")
        _wait(index, running, "honest")
        (held,) = index.ask("hold", "--reason", "a break-in", "--wait")[-1:]
        before = index.check(live=True)
        client.hidden = ("lie", "late")
        index.upload("lie")
        index.upload("late")
        thief = Attacker(index)
        output = index.run("ceremony", "--replace-online")
        assert f"Held at {before.shown}: " in output
        for other in others:
            shutil.copytree(index.folder / "keys/online", other.folder / "keys/online", dirs_exist_ok=True)
        seen = index.check(live=True)
        assert (seen.root, seen.number > before.number) == (before.root + 1, True)
        assert (seen.shown, list(seen.projects)) == (before.shown, list(before.projects))
        thief.claim(number=seen.number + 1000)
        index.run("remove", "lie", "--reason", "malware")
        assert index.check(live=True).projects == seen.projects
        client.hidden = ("lie",)
        index.run("unhold", "--secret-file", "-", stdin=held["secret"].encode())
        _wait(index, running, "late")
        for each in running:
            each.stop()
    index.publish()
    assert any(each["code"] == "seal" for each in index.ask_list("rejected")), "the old key's claim"
    sizes = shown(index)
    assert len(set(sizes[sizes.index(before.shown) :])) == 2, f"one publication shows the result: {sizes}"
    seen = index.check()
    assert sorted(seen.projects) == sorted([*before.projects, "late"])
    index.verify()
    index.check_rebuilt(folder / "rebuilt")
    for other in others:
        other.publish()
        assert other.check(files=False).projects == seen.projects


def _wait(index: Index, running: Sequence[Running], name: str) -> None:
    until(lambda: name in index.check(live=True).projects, lambda: "\n".join(each.output()[-3000:] for each in running))
