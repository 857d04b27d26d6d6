"""Metadata in folders that strangers filled: reading is bounded, and names of roles name nothing outside."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from consumers.reading import trees
from consumers.reading.trees import MetadataTree, NoMetadataError, read_name, signed_of, version_of
from ledger.disk.files import StorageError
from ledger.storage import folder
from ledger.storage.folder import FolderFiles
from projections.metadata.facts import FactsError

NOTHING = json.dumps({"signed": {"version": 1}, "signatures": []})


def test_only_regular_files_of_a_bounded_length_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_READ_BYTES", 10)
    (tmp_path / "short").write_bytes(b"0123456789")
    (tmp_path / "long").write_bytes(b"0123456789x")
    os.mkfifo(tmp_path / "pipe")
    files = FolderFiles(tmp_path)
    assert files.read("short") == b"0123456789"
    assert files.read("pipe") is None
    assert files.read("missing") is None
    with pytest.raises(StorageError, match="longer than 10 bytes"):
        files.read("long")
    assert list(files.paths()) == ["long", "pipe", "short"]


def test_a_name_of_a_role_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(NOTHING)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/root.json").write_text(NOTHING)
    (tmp_path / "inner/a%2Fb.json").write_text(NOTHING)
    tree = MetadataTree(FolderFiles(tmp_path / "inner"), "inner")
    assert tree.find("../secret", None) is None
    assert tree.find("/../secret", 1) is None
    found = tree.find("a/b", 3)
    assert found is not None
    assert (found.role, found.version) == ("a/b", None)


def test_roots_begin_where_they_begin(tmp_path: Path) -> None:
    for version in (3, 4, 6):
        (tmp_path / f"{version}.root.json").write_text(json.dumps({"signed": {"version": version}, "signatures": []}))
    (tmp_path / "timestamp.json").write_text(NOTHING)
    tree = MetadataTree(FolderFiles(tmp_path), "here")
    assert [each.version for each in tree.roots()] == [3, 4]
    newest = tree.current("root")
    assert newest is not None
    assert newest.version == 4


def test_metadata_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_BYTES", 100)
    monkeypatch.setattr(trees, "MOST_ROLES", 1)
    (tmp_path / "timestamp.json").write_text(NOTHING)
    (tmp_path / "1.bin.json").write_bytes(b" " * 101)
    meta = {"a.json": {"version": 1}, "b.json": {"version": 1}}
    (tmp_path / "snapshot.json").write_text(json.dumps({"signed": {"meta": meta}, "signatures": []}))
    tree = MetadataTree(FolderFiles(tmp_path), "here")
    with pytest.raises(StorageError):
        tree.find("bin", 1)
    with pytest.raises(FactsError):
        tree.versions()
    with pytest.raises(NoMetadataError):
        MetadataTree(FolderFiles(tmp_path / "none"), "none")


def test_names_and_versions() -> None:
    assert read_name("metadata/7.bin-0a.json") == ("bin-0a", 7)
    assert read_name("root_history/1.root.json") == ("root", 1)
    assert read_name("dev%2Fops.json") == ("dev/ops", None)
    assert read_name("timestamp.json.bak") is None
    assert signed_of(b"[" * 100_000) is None
    wrong: list[Any] = [None, [], {"version": True}, {"version": 0}, {"version": "1"}, {"version": 2**64}]
    for said in wrong:
        with pytest.raises(FactsError):
            version_of(said)
