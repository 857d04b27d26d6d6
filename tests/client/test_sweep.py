"""Old metadata and pages are deleted; whatever a client may need stays."""

import asyncio
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Event
from time import sleep

import pytest

from consumers.sweep import sweeping
from consumers.sweep.public_tree import UnreadableTreeError, pages_of
from consumers.sweep.sweeping import _delete
from ledger.clock import to_instant
from ledger.state.sweep_memory import Marks
from ledger.storage.directory import DirectoryStorage
from projections.metadata.paths import hashed_path
from projections.metadata.repository import bin_payload, signed_file
from projections.metadata.targets import target_entry
from tests.client.index import Index, lines, tree
from tests.factory import Make


@pytest.fixture
def filled(index: Index) -> Index:
    """A ledger with a few publications."""
    for version in ("1.0", "1.1", "1.2"):
        index.upload("one", version)
        index.publish_and_check()
    age(index)
    return index


def age(index: Index) -> None:
    """Let a minute pass for every file: a sweep compares with whole seconds."""
    for path in index.public.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_mtime - 60,) * 2)


def sweep(index: Index, *options: object) -> dict[str, object]:
    (swept,) = index.ask("sweep", *options)
    assert isinstance(swept, dict)
    return swept


def test_what_was_marked_long_enough_is_deleted(filled: Index, tmp_path: Path) -> None:
    whole = tree(filled.public)
    current = filled.rebuild(tmp_path / "current", "--files", filled.public)
    first = sweep(filled, "--grace", "0s")
    assert (first["deleted"], first["marked"]) == ([], len(whole) - len(current))
    assert sweep(filled, "--grace", "1d")["deleted"] == []
    assert tree(filled.public) == whole
    assert sweep(filled, "--grace", "0s")["deleted"] == sorted(whole.keys() - current.keys())
    assert tree(filled.public) == current
    filled.check()
    filled.verify()
    filled.upload("two")
    filled.publish_and_check()
    filled.verify()


def test_a_dry_run_changes_nothing(filled: Index) -> None:
    before = tree(filled.public)
    assert sweep(filled, "--dry-run", "--grace", "0s")["marked"]
    assert sweep(filled, "--grace", "0s")["deleted"] == []
    would = sweep(filled, "--dry-run", "--grace", "0s")
    assert would["deleted"]
    assert tree(filled.public) == before


def test_roots_stay(filled: Index) -> None:
    filled.run("ceremony", "--rotate-online")
    age(filled)
    sweep(filled, "--grace", "0s")
    age(filled)
    assert sweep(filled, "--grace", "0s")["deleted"]
    assert {path.name for path in (filled.public / "metadata").glob("*.root.json")} == {
        f"{version}.root.json" for version in (1, 2, 3)
    }
    filled.check()


def test_what_is_published_again_meanwhile_stays(filled: Index) -> None:
    """A page that was replaced, marked, and then comes back with the same bytes."""
    filled.run("yank", "one==1.2", "--reason", "x")
    filled.publish()
    age(filled)
    sweep(filled, "--grace", "0s")
    filled.run("unyank", "one==1.2")
    filled.publish()  # the serial differs, so it is another page; metadata of the first publication stays marked
    sweep(filled, "--grace", "0s")
    filled.check()
    filled.verify()


def test_a_marked_file_that_was_touched_is_marked_anew(filled: Index) -> None:
    old = filled.public / "metadata/1.snapshot.json"
    sweep(filled, "--grace", "0s")
    os.utime(old)  # as publishers do with what they need again
    swept = sweep(filled, "--grace", "0s")
    assert "metadata/1.snapshot.json" not in str(swept["deleted"])
    assert old.exists()
    assert swept["marked"] == 1


@pytest.mark.parametrize("damage", ["no timestamp", "no bin", "garbage"])
def test_nothing_is_deleted_where_something_is_missing(filled: Index, damage: str) -> None:
    sweep(filled, "--grace", "0s")
    if damage == "no timestamp":
        (filled.public / "metadata/timestamp.json").unlink()
    elif damage == "garbage":
        (filled.public / "metadata/timestamp.json").write_bytes(b"[]")
    else:
        snapshot = filled.public / f"metadata/{filled.info()['last']['publication']}.snapshot.json"
        meta = json.loads(snapshot.read_bytes())["signed"]["meta"]
        name, entry = next((name, entry) for name, entry in meta.items() if name.startswith("bin-"))
        (filled.public / f"metadata/{entry['version']}.{name}").unlink()
    before = tree(filled.public)
    assert "nothing is swept" in filled.run("sweep", "--grace", "0s", answer=1)
    assert tree(filled.public) == before


def test_marks_may_be_lost(filled: Index) -> None:
    sweep(filled, "--grace", "0s")
    shutil.rmtree(filled.folder / "state")
    assert sweep(filled, "--grace", "0s")["deleted"] == []


def test_what_another_sweep_deleted_is_passed_over(filled: Index) -> None:
    old = filled.public / "metadata/1.snapshot.json"
    due = {
        "metadata/1.snapshot.json": to_instant(datetime.now(UTC)),
        "metadata/2.snapshot.json": "2020-01-01T00:00:00Z",
    }
    old.unlink()
    storage = filled.context.storage("sweep")
    done = _delete(storage, due, dry_run=False, report=lambda _done, _of: None)
    assert done == ([], 0, ["metadata/1.snapshot.json"], {"metadata/2.snapshot.json"})


def test_a_later_sweep_goes_by_what_changed(index: Index, tmp_path: Path) -> None:
    """And finds all that one finds that looks at every folder: what was replaced twice between sweeps, too."""
    for number in range(8):
        index.upload(f"project-{number}")
    index.publish()
    assert sweep(index)["full"]
    for number in range(8):
        for act in ("yank", "unyank")[: 1 + number % 2]:
            index.run(act, f"project-{number}==1.0")
            index.publish()
        assert not sweep(index)["full"]
        whole = sweep(index, "--dry-run", "--full")
        assert (whole["full"], whole["marked"]) == (True, 0)
    age(index)
    assert sweep(index, "--grace", "0s")["deleted"]
    assert tree(index.public) == index.rebuild(tmp_path / "current", "--files", index.public)
    assert sweep(index, "--full")["marked"] == 0


def test_what_nothing_led_to_is_found_in_full(filled: Index) -> None:
    """A publisher was killed while it placed files, and then skipped that publication."""
    sweep(filled)
    page = next((filled.public / "targets/simple/one").glob("*.index.json"))
    page.with_name(f"{'0' * 64}.index.json").write_bytes(b"{}")
    assert sweep(filled)["marked"] == 0
    assert sweep(filled, "--full")["marked"] == 1


@pytest.mark.parametrize("change", ["the bins", "a bin is gone", "an older one is served"])
def test_where_changes_do_not_tell_every_folder_is_looked_at(filled: Index, change: str) -> None:
    sweep(filled)
    if change == "the bins":
        filled.run("ceremony", "--bins", "8")
    else:
        filled.upload("two")
    filled.publish_and_check()
    if change == "a bin is gone":
        number = filled.info()["last"]["publication"]
        changed = [path.name.partition(".")[2] for path in filled.public.glob(f"metadata/{number}.bin-*.json")]
        for path in filled.public.glob("metadata/*.bin-*.json"):
            if path.name.partition(".")[2] in changed and not path.name.startswith(f"{number}."):
                path.unlink()
    elif change == "an older one is served":
        sweep(filled)
        older = sorted(
            filled.public.glob("metadata/*.timestamp.json"), key=lambda path: int(path.name.partition(".")[0])
        )
        (filled.public / "metadata/timestamp.json").write_bytes(older[-2].read_bytes())
    assert sweep(filled)["full"]


@pytest.mark.parametrize("bins", [[8, 4], [16, 4]])
def test_bins_that_came_and_went_between_sweeps(filled: Index, bins: list[int]) -> None:
    """A page moved from one bin to another and back: what was another bin's is not unreachable."""
    for number in range(8):
        filled.upload(f"project-{number}")
    filled.publish()
    filled.run("ceremony", "--bins", "4")
    sweep(filled)
    for number in bins:
        filled.run("ceremony", "--bins", number)
        for minor in range(2):  # the first of these pages are named by no other bins
            for project in range(8):
                filled.upload(f"project-{project}", f"{number}.{minor}")
            filled.publish()
    age(filled)
    for _ in range(2):
        sweep(filled, "--grace", "0s")
        age(filled)
    filled.run("verify", "--served", filled.public)
    filled.check()
    assert sweep(filled, "--full", "--dry-run")["marked"] == 0


def test_what_comes_back_is_found(filled: Index) -> None:
    """Old versions that were swept, and are placed again by a publisher that has lost its state."""
    for _ in range(2):
        sweep(filled, "--grace", "0s")
        age(filled)
    swept = tree(filled.public)
    (filled.folder / "state/signer.sqlite").unlink()
    filled.run("publish", "--renew")
    assert len(tree(filled.public)) > len(swept)
    assert not sweep(filled)["full"]
    assert sweep(filled, "--full", "--dry-run")["marked"] == 0


def test_an_old_version_that_cannot_be_read_stops_nothing(filled: Index) -> None:
    """A power failure left it empty, and nothing leads to it."""
    sweep(filled)
    filled.upload("one", "2.0")
    filled.publish()
    number = filled.info()["last"]["publication"]
    bins = [path.name.partition(".")[2] for path in filled.public.glob(f"metadata/{number}.bin-*.json")]
    for path in filled.public.glob("metadata/*.bin-*.json"):
        if path.name.partition(".")[2] in bins and not path.name.startswith(f"{number}."):
            path.write_bytes(b"")
    assert sweep(filled)["full"]
    assert not sweep(filled)["full"]


def test_a_mark_of_what_is_served_deletes_nothing(filled: Index) -> None:
    """Whatever was remembered wrongly: the bin is asked."""
    sweep(filled)
    shown = (filled.public / "targets/simple/one/index.json").read_bytes()
    newest = f"targets/simple/one/{sha256(shown).hexdigest()}.index.json"
    with closing(sqlite3.connect(filled.folder / "state/sweep.sqlite")) as memory, memory:
        since = to_instant(datetime.now(UTC) - timedelta(seconds=30))  # the page is older than that
        memory.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (newest, since))
    assert newest not in str(sweep(filled, "--grace", "0s")["deleted"])
    assert (filled.public / newest).exists()


@pytest.mark.parametrize("damage", ["all of it", "a page", "a time", "no time", "a version", "no text"])
def test_a_damaged_memory_is_named(filled: Index, damage: str) -> None:
    sweep(filled)
    path = filled.folder / "state/sweep.sqlite"
    statements = {
        "a time": "UPDATE marks SET since = '2020-01-41T00:00:00Z'",
        "no time": "UPDATE marks SET since = NULL",
        "a version": "UPDATE bins SET version = 'x'",
        "no text": "UPDATE marks SET since = CAST(x'ff' AS TEXT)",
    }
    if damage in statements:
        with closing(sqlite3.connect(path)) as memory, memory:
            memory.execute(statements[damage])
    else:
        data = path.read_bytes()
        path.write_bytes(b"x" * len(data) if damage == "all of it" else data[:4096] + b"x" * (len(data) - 4096))
        path.with_name("sweep.sqlite-wal").unlink(missing_ok=True)
    said = filled.run("sweep", answer=2)
    assert "delete it, and the next sweep searches every folder" in " ".join(said.split())
    path.unlink()
    assert sweep(filled)["full"]


def test_what_is_none_of_ours_stays(filled: Index) -> None:
    """Even if its name is no text."""
    stranger = os.fsencode(filled.public / "metadata") + b"/1.\xff.json"
    with open(stranger, "wb"):  # noqa: PTH123
        pass
    for _ in range(2):
        sweep(filled, "--grace", "0s")
        age(filled)
    assert os.path.exists(stranger)  # noqa: PTH110


def test_a_target_with_a_space_in_its_path(filled: Index) -> None:
    filled.run("append", stdin=lines([Make().target_added("tools/a b/c d.bin", "content", 7)]))
    filled.publish()
    assert sweep(filled)["full"]
    assert sweep(filled)["kept"]


def test_a_sweep_that_is_stopped_goes_on_later(filled: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(filled)
    age(filled)
    before, begun, batches = len(tree(filled.public)), Event(), count()
    monkeypatch.setattr(sweeping, "BATCH", 1)

    def pause(_: float) -> None:
        if next(batches) == 2:
            begun.set()
            sleep(0.2)

    monkeypatch.setattr(sweeping, "sleep", pause)

    async def stopped() -> None:
        now = datetime.now(UTC) + timedelta(days=1)
        async with Marks(filled.context.state / "sweep.sqlite") as marks:
            running = asyncio.create_task(
                sweeping.sweep(
                    filled.context.storage("sweep"),
                    marks,
                    now=now,
                    grace=timedelta(0),
                    dry_run=False,
                    full=False,
                    report=lambda _done, _of: None,
                )
            )
            await asyncio.to_thread(begun.wait)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(stopped())
    left = len(tree(filled.public))
    assert before - 4 <= left < before
    swept = sweep(filled, "--grace", "0s")
    assert swept["deleted"]
    assert sweep(filled, "--full", "--dry-run", "--grace", "0s")["deleted"] == []
    filled.check()


def test_one_sweep_at_a_time(filled: Index) -> None:
    sweep(filled)
    with closing(sqlite3.connect(filled.folder / "state/sweep.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another sweep uses" in filled.run("sweep", answer=75)


def render(targets: Iterable[str], version: int = 1) -> bytes:
    """The file of a bin."""
    entries = [target_entry(target, 1, sha256(target.encode()).hexdigest()) for target in sorted(targets)]
    return signed_file(bin_payload(entries, version, "2026-01-01T00:00:00Z"), {})


def found_in(tmp_path: Path, file: bytes) -> set[str]:
    """What a sweep finds in it."""
    (tmp_path / "metadata").mkdir(exist_ok=True)
    (tmp_path / "metadata/1.bin-0.json").write_bytes(file)
    return pages_of(DirectoryStorage(tmp_path, tmp_path / "staging"), "bin-0", 1)


@pytest.mark.parametrize("pages", [0, 1, 60, 90, 500])
@pytest.mark.parametrize("files", [0, 1, 100])
@pytest.mark.parametrize("more", [[], ["simple", "simple0/x", "simplf", "zz/y"], ["a b/c d.bin", "zeta x/y z"]])
def test_the_pages_of_a_bin_are_found_at_its_end(tmp_path: Path, pages: int, files: int, more: list[str]) -> None:
    targets = [f"packages/{number:03}/a.whl" for number in range(files)]
    names = [f"simple/project-{number:03}/index.json" for number in range(pages)]
    wanted = {hashed_path(target, sha256(target.encode()).hexdigest()) for target in names}
    assert found_in(tmp_path, render([*targets, *names, *more])) == wanted


def test_a_bin_that_is_not_as_it_was_rendered_is_refused(tmp_path: Path) -> None:
    """Wherever a byte, or all that follows, is missing or another: but where that only makes another path."""
    file = render([f"simple/project-{number}/index.json" for number in range(3)])
    whole = found_in(tmp_path, file)
    free = {at for match in re.finditer(rb'"(simple/[^"]+)"', file) for at in range(*match.span(1))}
    start = file.index(b'"targets":{') + len(b'"targets":{')
    for at in range(start, len(file)):
        with pytest.raises(UnreadableTreeError):
            found_in(tmp_path, file[:at])
        for damaged in (file[:at] + file[at + 1 :], file[:at] + b"\xff" + file[at + 1 :]):
            try:
                assert found_in(tmp_path, damaged) == whole or at in free, damaged
            except UnreadableTreeError:
                continue
    with pytest.raises(UnreadableTreeError):
        found_in(tmp_path, render(["simple/one/index.json"], version=2))
