"""`ceremony --append`: documents that were signed elsewhere come as files, and are judged before they are appended."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.produce.appending import Appended, NewEvent, append_all
from tests.client.index import Index
from tests.client.processes import execute


@pytest.fixture
def held(index: Index, tmp_path: Path) -> tuple[Index, Path]:
    """A ledger, and the documents of a ceremony that another copy of it held."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(index.folder, elsewhere)
    Index(elsewhere).run("ceremony", "--bins", 32)
    signed = tmp_path / "signed"
    signed.mkdir()
    for role in ("root", "bins"):
        shutil.copy(elsewhere / f"public/metadata/2.{role}.json", signed)
    return index, signed


def files(signed: Path) -> list[Path]:
    return sorted(signed.iterdir())


def test_a_ceremony_that_was_held_elsewhere(held: tuple[Index, Path]) -> None:
    index, signed = held
    size = index.info()["sizes"]["events"]
    said = index.run("ceremony", "--append", "--comment", "more bins", *files(signed))
    assert said == (
        f"Appended the ceremony (bins, root) as event {size}.\n"
        "The next publication covers it: `tuf-ledger publish`, or a running signer.\n"
    )
    again = index.ask("ceremony", "--append", *files(signed))
    assert again == [{"ok": True, "roots": 0}]
    assert "in force already; nothing was appended" in index.run("ceremony", "--append", *files(signed))
    assert index.info()["sizes"]["events"] == size + 1
    seen = index.publish_and_check()
    assert (seen.root, index.info()["bins"]) == (2, 32)
    assert (index.public / "metadata/2.root.json").read_bytes() == (signed / "2.root.json").read_bytes()
    (shown,) = index.ask("show", size)
    assert shown["data"]["comment"] == "more bins"


def test_for_machines(held: tuple[Index, Path]) -> None:
    index, signed = held
    appended, end = index.ask("ceremony", "--append", *files(signed))
    assert (appended["documents"], end) == (["bins", "root"], {"ok": True, "roots": 1})


def test_another_ceremony_comes_first(
    held: tuple[Index, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process appends one after this one was judged."""
    index, signed = held
    faster = tmp_path / "faster"
    shutil.copytree(index.folder, faster)
    Index(faster).run("ceremony", "--renew")
    others = [faster / f"public/metadata/2.{role}.json" for role in ("root", "targets", "bins")]

    async def after_another(context: Context, made: Sequence[NewEvent]) -> list[Appended]:
        await asyncio.to_thread(execute, "ceremony", "--ledger", index.folder, "--append", *others)
        return await append_all(context, made)

    monkeypatch.setattr("consumers.cli.ceremony_files.append_all", after_another)
    said = index.run("ceremony", "--append", *files(signed), answer=1)
    assert "another ceremony came first, and this one was rejected: sign it again" in said
    index.publish()
    assert (index.public / "metadata/2.root.json").read_bytes() == others[0].read_bytes()


def test_documents_need_not_be_canonical(held: tuple[Index, Path]) -> None:
    """Signatures are over the canonical form."""
    index, signed = held
    for path in files(signed):
        path.write_text(json.dumps(json.loads(path.read_bytes()), indent=2))
    index.run("ceremony", "--append", *files(signed))
    assert index.publish_and_check().root == 2


def test_what_the_rules_reject_is_not_appended(held: tuple[Index, Path], tmp_path: Path) -> None:
    """A root whose ceremony was rejected is used up: nobody could use it again."""
    index, signed = held
    root = json.loads((signed / "2.root.json").read_bytes())
    size = index.info()["sizes"]["events"]

    def refused(name: str, content: object, *others: Path) -> str:
        folder = tmp_path / f"bad-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        said = index.run("ceremony", "--append", folder / name, *others, answer=1)
        assert index.info()["sizes"]["events"] == size
        return said

    bins = signed / "2.bins.json"
    assert "roles-" in refused("2.root.json", {**root, "signatures": root["signatures"][:1]}, bins)
    assert "roles-version" in refused("2.root.json", root | {"signed": root["signed"] | {"version": 3}}, bins)
    assert "is not metadata of root: its _type is 'targets'" in refused("2.root.json", json.loads(bins.read_bytes()))
    assert "is no TUF metadata" in refused("2.root.json", "garbage")
    assert "is no TUF metadata" in refused("2.root.json", [1])
    for long in ("[" * 70_000, json.dumps(root) + " " * 70_000 + "garbage"):
        assert "longer than 65,535 bytes" in refused("2.root.json", long)
    assert "name the file after its role" in refused("root", root)
    assert "is a second file of root" in refused("2.root.json", root, signed / "2.root.json")
    index.run("ceremony", "--append", *files(signed))
    assert index.publish_and_check().root == 2


def test_usage(held: tuple[Index, Path]) -> None:
    index, signed = held
    index.run("ceremony", "--append", answer=2)
    index.run("ceremony", "--append", "--renew", *files(signed), answer=2)
    index.run("ceremony", *files(signed), answer=2)
    index.run("ceremony", "--renew", "--comment", "x", answer=2)
    index.run("ceremony", "--append", signed / "none.json", answer=2)
