"""`diff` of two repositories, whoever made them: python-tuf's, ours, and what an attacker serves."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from tests.client.index import Index, invoke
from tests.factory import ed25519_signer
from tests.serving import serving

EXPIRES = datetime(2040, 1, 1, tzinfo=UTC)


def foreign_repository(
    folder: Path,
    targets: Mapping[str, bytes],
    *,
    version: int = 1,
    key: str = "foreign",
    consistent: bool = True,
    delegate: DelegatedRole | None = None,
    bins: int = 0,
) -> None:
    """A repository made by python-tuf alone: one key for everything, and a delegated role or bins."""
    signer = ed25519_signer(key)
    top = Targets(version, expires=EXPIRES)
    delegated = Targets(version, expires=EXPIRES)
    for path, data in targets.items():
        (delegated if delegate else top).targets[path] = TargetFile.from_data(path, data)
    names: dict[str, Targets] = {}
    keys: dict[str, Key] = {signer.public_key.keyid: signer.public_key}
    if delegate:
        top.delegations = Delegations(keys, roles={delegate.name: delegate})
        names[delegate.name] = delegated
    if bins:
        succinct = SuccinctRoles([signer.public_key.keyid], 1, bins, "b")
        top.delegations = Delegations(keys, succinct_roles=succinct)
        names |= {name: Targets(version, expires=EXPIRES) for name in succinct.get_roles()}
    root = Root(expires=EXPIRES, consistent_snapshot=consistent)
    for role in ("root", "timestamp", "snapshot", "targets"):
        root.add_key(signer.public_key, role)
    snapshot = Snapshot(version, expires=EXPIRES)
    snapshot.meta = {f"{name}.json": MetaFile(version) for name in ("targets", *names)}
    timestamp = Timestamp(version, expires=EXPIRES, snapshot_meta=MetaFile(version))
    write(folder, "root", root, signer, consistent=consistent)
    write(folder, "timestamp", timestamp, signer, consistent=False)
    for name, signed in (("snapshot", snapshot), ("targets", top), *names.items()):
        write(folder, name, signed, signer, consistent=consistent)


def write(folder: Path, name: str, signed: Any, signer: CryptoSigner, *, consistent: bool) -> None:
    folder.mkdir(exist_ok=True)
    metadata: Metadata[Any] = Metadata(signed)
    metadata.sign(signer)
    prefix = f"{signed.version}." if consistent else ""
    metadata.to_file(str(folder / f"{prefix}{quote(name, safe='')}.json"))


def differences(before: object, after: object) -> list[dict[str, Any]]:
    """What differs between two repositories."""
    return [json.loads(line) for line in invoke("diff", before, after, "--json").stdout.splitlines()[:-1]]


def test_targets_expiries_and_keys_of_foreign_repositories(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    foreign_repository(one, {"same": b"", "gone": b"1", "other": b"2"})
    foreign_repository(two, {"same": b"", "new": b"3", "other": b"four"}, version=2, key="another")
    found = differences(one, two)
    assert {(each["change"], each["target"]) for each in found if "target" in each} == {
        ("removed", "gone"),
        ("added", "new"),
        ("changed", "other"),
    }
    assert {each["role"] for each in found if "target" in each} == {"targets"}
    keys = [each for each in found if each["change"] == "key"]
    assert [each["roles"] for each in keys] == [["root", "snapshot", "targets", "timestamp"]] * 2
    assert not any(each["events"] for each in found)
    assert differences(one, one) == []
    invoke("diff", one, two, "--exit-code", answer=1)
    invoke("diff", one, two, "--html", tmp_path / "page.html")
    assert "Signatures were not checked" in (tmp_path / "page.html").read_text()
    assert "Role targets" in invoke("diff", one, two, "--stat").output
    roles = [json.loads(line) for line in invoke("diff", one, two, "--stat", "--json").stdout.splitlines()][:-1]
    assert (roles[-1]["role"], roles[-1]["came_and_went"]) == ("targets", 0)
    assert all(roles[-1][change] > 0 for change in ("added", "removed", "changed"))


def test_delegations_thresholds_and_layouts(tmp_path: Path) -> None:
    keyid = ed25519_signer("foreign").public_key.keyid
    role = DelegatedRole("dev/ops", [keyid], 1, terminating=True, paths=["a/*"])
    foreign_repository(tmp_path / "one", {"a/x": b""}, delegate=role)
    wide = DelegatedRole("dev/ops", [keyid], 1, terminating=False, paths=["*"])
    foreign_repository(tmp_path / "two", {"a/x": b""}, delegate=wide)
    found = differences(tmp_path / "one", tmp_path / "two")
    assert {each["change"]: (each["before"], each["after"]) for each in found} == {
        "paths": (["a/*"], ["*"]),
        "terminating": (True, False),
    }
    foreign_repository(tmp_path / "three", {}, bins=2)
    foreign_repository(tmp_path / "four", {}, bins=3)
    found = differences(tmp_path / "three", tmp_path / "four")
    assert {"change": "bins", "before": 4, "after": 8, "roles": ["b-*"], "events": []} in found


def test_the_cache_of_a_client_and_a_server(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish_and_check()
    shutil.copytree(index.public, tmp_path / "before")
    index.upload("two")
    index.publish()
    with serving(index.public) as url:
        found = differences(tmp_path / "before", url)
        assert differences(index.public, url) == []
    assert {each["target"] for each in found if each["change"] == "added" and "target" in each} >= {
        "simple/two/index.json"
    }
    assert "simple/index.json" in {each["target"] for each in found if each["change"] == "changed" and "target" in each}
    foreign_repository(tmp_path / "plain", {"x": b""}, consistent=False)
    assert differences(tmp_path / "plain", tmp_path / "plain") == []


def test_one_of_a_kind_is_refused(index: Index, tmp_path: Path) -> None:
    foreign_repository(tmp_path / "one", {})
    assert "tuf-ledger compare" in index.run("diff", "1", tmp_path / "one", answer=2)
    invoke("diff", tmp_path / "one", tmp_path / "one", "--project", "a", answer=2)
    (tmp_path / "empty").mkdir()
    invoke("diff", tmp_path / "one", tmp_path / "empty", answer=1)


HOSTILE: dict[str, Any] = {
    "no JSON": b"\xff{",
    "deep": b'{"signed":' + b"[" * 100_000,
    "a list": b"[]",
    "no signed part": b"{}",
    "versions that are none": {"signed": {"meta": {"snapshot.json": {"version": -1}}, "version": 1}, "signatures": []},
    "texts for numbers": {"signed": {"meta": {"snapshot.json": {"version": "../../1"}}}, "signatures": []},
    "no meta": {"signed": {"version": 1, "expires": "x"}, "signatures": []},
    "a long file": b"{" + b" " * (17 * 2**20),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.root.json"])
def test_hostile_metadata_is_a_clear_error(tmp_path: Path, name: str, file: str) -> None:
    foreign_repository(tmp_path / "one", {"a": b""})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    value = HOSTILE[name]
    (tmp_path / "two" / file).write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    result = invoke("diff", tmp_path / "one", tmp_path / "two", answer=None)
    assert result.exit_code in {0, 1, 2}
    assert result.exit_code != 0 or name == "no meta"


@pytest.mark.parametrize(
    "targets",
    [
        {"a": None},
        {"a": {"length": "1", "hashes": {}}},
        {"a": {"length": 1, "hashes": {"sha256": {}}}},
        {"\x1b[31m\n": {"length": 1, "hashes": {}}},
        [],
        "text",
    ],
)
def test_hostile_targets(tmp_path: Path, targets: Any) -> None:
    foreign_repository(tmp_path / "one", {"b": b""})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    path = tmp_path / "two/1.targets.json"
    value = json.loads(path.read_bytes())
    value["signed"]["targets"] = targets
    value["signed"]["delegations"] = {"keys": {}, "roles": [{"name": "../../x\x1b", "keyids": [], "threshold": 1}]}
    path.write_text(json.dumps(value))
    result = invoke("diff", tmp_path / "one", tmp_path / "two", answer=None)
    assert result.exit_code in {0, 2}
    assert "\x1b" not in result.output
