"""`compare`: metadata found anywhere, held against the log."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from consumers.reading.trees import MOST_BYTES
from tests.client.attacker import Attacker
from tests.client.index import Index, invoke
from tests.client.test_diff_trees import HOSTILE, foreign_repository
from tests.serving import serving


def found(index: Index, where: object, answer: int = 0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is said of files, and the counts."""
    *items, last = index.ask("compare", where, answer=answer)
    return items, last


def beginning(index: Index) -> None:
    """Two publications with a file each."""
    for name in ("one", "two"):
        index.upload(name)
        index.publish()


def test_what_is_served_is_the_logs(index: Index) -> None:
    beginning(index)
    items, last = found(index, index.public)
    assert items == []
    assert last["files"] == last["same"] == len(list((index.public / "metadata").iterdir()))
    assert "0 not as on the log" in index.run("compare", index.public / "metadata")
    with serving(index.public) as url:
        items, last = found(index, url)
        assert (items, last["files"], last["same"]) == ([], last["same"], last["files"])
        assert last["files"] > 4
        items, _ = found(index, f"{url}/metadata/2.snapshot.json")
        assert [(each["role"], each["version"], each["finding"]) for each in items] == [("snapshot", 2, "same")]


def test_what_clients_need_and_cannot_have_is_named(index: Index, tmp_path: Path) -> None:
    """Of the publication that the timestamp there is of: so an old mirror lacks nothing."""
    index.run("ceremony", "--renew")
    beginning(index)
    old = tmp_path / "old"
    shutil.copytree(index.public, old)
    index.upload("three")
    last_snapshot = f"{index.publish()}.snapshot.json"
    assert {each["finding"] for each in found(index, old)[0]} == {"older"}
    metadata = index.public / "metadata"
    gone = ["1.root.json", "2.targets.json", "2.bins.json", last_snapshot]
    for name in gone:
        (metadata / name).unlink()
    for where in (index.public, metadata):
        items, last = found(index, where, answer=1)
        assert {(each["path"], each["finding"]) for each in items} == {(f"metadata/{each}", "missing") for each in gone}
        assert (last["missing"], last["wrong"]) == (4, 0)
        assert "4 metadata files that clients need cannot be had there" in last["message"]
    assert f"metadata/{last_snapshot}: missing, and clients need it" in index.run("compare", metadata, answer=1)
    with serving(index.public) as url:
        items, last = found(index, url, answer=1)
        assert f"metadata/{last_snapshot}" in {each["path"] for each in items if each["finding"] == "missing"}


def test_the_cache_of_a_client_that_lags(index: Index, tmp_path: Path) -> None:
    """python-tuf's cache has plain names, and the roots in a folder of their own."""
    index.upload("one")
    index.publish_and_check()
    cache = tmp_path / "cache"
    shutil.copytree(index.cache.folder, cache)
    names = {path.name for path in cache.rglob("*.json")}
    assert {"timestamp.json", "snapshot.json"} <= names
    items, last = found(index, cache)
    assert (items, last["older"]) == ([], 0)
    next(cache.rglob("timestamp.json")).with_name("latest_known_time.json").write_text('"2031-01-01T00:00:00Z"')
    index.upload("two")
    index.publish()
    items, last = found(index, cache)
    assert {each["finding"] for each in items} == {"older"}
    assert {"timestamp", "snapshot"} <= {each["role"] for each in items}
    assert all("older than the newest" in each["detail"] for each in items)
    assert last["skipped"] == 1


def test_forged_altered_and_unknown_files(index: Index, tmp_path: Path) -> None:
    beginning(index)
    public = Attacker(index).forge(tmp_path / "forged", 9)
    items, last = found(index, public, answer=1)
    assert {each["finding"] for each in items} == {"forged"}
    assert "timestamp.json" in " ".join(each["path"] for each in items)
    assert all(each["keyids"] and "FORGED: signed outside the log by" in each["detail"] for each in items)
    assert last["wrong"] == len(items)
    assert "ceremony --replace-online" in last["message"]
    metadata = tmp_path / "other"
    shutil.copytree(index.public / "metadata", metadata)
    snapshot = metadata / "2.snapshot.json"
    snapshot.write_bytes(snapshot.read_bytes().replace(b'"version":2', b'"version": 2', 1))
    shutil.copy(metadata / "3.snapshot.json", metadata / "8.snapshot.json")
    (metadata / "1.root.json").write_bytes(b"{")
    items, _ = found(index, metadata, answer=1)
    assert {each["path"]: (each["finding"], each["detail"]) for each in items} == {
        "2.snapshot.json": ("published", "published as number 2, altered"),
        "8.snapshot.json": ("published", "published as number 3, here under another name"),
        "1.root.json": ("published", "published as root 1, altered"),
    }


def test_one_file_of_any_name(index: Index, tmp_path: Path) -> None:
    beginning(index)
    file = tmp_path / "suspicious"
    shutil.copy(index.public / "metadata/2.snapshot.json", file)
    assert index.run("compare", file).startswith("suspicious: snapshot 2, as on the log")
    value = json.loads(file.read_bytes())
    value["signed"]["version"] = 77
    file.write_text(json.dumps(value))
    items, _ = found(index, file, answer=1)
    assert [each["finding"] for each in items] == ["unsigned"]
    file.write_bytes(b"\x1b[31m no metadata" * 1000)
    items, _ = found(index, file, answer=1)
    assert [each["detail"] for each in items] == ["not signed by any key of this ledger"]


def test_another_repository(index: Index, tmp_path: Path) -> None:
    """The log has these names from its own first publication, and no other."""
    foreign_repository(tmp_path / "foreign", {"a.txt": b"a"}, version=2)
    items, last = found(index, tmp_path / "foreign", answer=1)
    assert {each["path"]: each["finding"] for each in items} == {
        "1.root.json": "published",
        "2.snapshot.json": "unsigned",
        "2.targets.json": "unsigned",
        "timestamp.json": "unsigned",
    }
    assert last["same"] == 0


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", ["timestamp.json", "2.snapshot.json", "1.targets.json"])
def test_hostile_metadata_is_named(index: Index, tmp_path: Path, name: str, file: str) -> None:
    index.upload("one")
    index.publish()
    public = tmp_path / "public"
    shutil.copytree(index.public, public)
    value = HOSTILE[name]
    path = public / "metadata" / file
    path.unlink()
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    items, _ = found(index, public, answer=1)
    assert [each["path"] for each in items] == [f"metadata/{file}"]
    found(index, path, answer=1)
    with serving(public) as url:
        index.ask("compare", url, answer=2 if len(path.read_bytes()) > MOST_BYTES else 1)


@pytest.mark.parametrize("name", ["none", "empty"])
def test_nothing_to_compare(index: Index, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    index.run("compare", tmp_path / name, answer=2 if name == "none" else 1)


def test_the_logs_are_enough(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index.upload("one")
    index.publish()
    log = f"sqlite:{index.folder / 'log'}"
    assert "0 not as on the log" in invoke("compare", index.public, "--log", log).output
