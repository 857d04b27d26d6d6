"""Old metadata and pages are deleted; whatever a client may need stays."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.sweeping import _delete
from ledger.clock import to_instant
from tests.client.index import Index, tree


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
        snapshot = filled.public / f"metadata/{filled.info()['last']['number']}.snapshot.json"
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
    assert _delete(filled.public, storage, due, dry_run=False) == ([], 0)
