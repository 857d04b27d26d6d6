"""Rebuilding a long log: the same commands as for a short one, and the same answers."""

import asyncio
import json
from pathlib import Path

import pytest

from consumers.limits import LIMITS
from consumers.rebuild import rebuilding
from consumers.rebuild.choosing import At
from consumers.rebuild.rebuilding import rebuild
from consumers.rebuild.replay import replay
from consumers.work.workers import ThreadWorkers
from tests.client.index import Index, invoke, tree
from tests.factory import Make


@pytest.fixture
def filled(index: Index, monkeypatch: pytest.MonkeyPatch) -> Index:
    """A log that counts as long."""
    index.upload("one")
    index.upload("two")
    index.publish()
    monkeypatch.setattr(rebuilding, "WORTH_READING", 0)
    return index


def test_distribution_files_are_counted(filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(name: str) -> int:
        target = tmp_path / name
        result = invoke("rebuild", "--ledger", filled.folder, "--to", target, "--files", filled.public, "--json")
        answer = json.loads(result.stdout)
        assert answer["missing"] == []
        assert answer["files"] == len(tree(target))
        return int(answer["files"])

    at_once = count("at-once")
    monkeypatch.undo()
    assert count("step-by-step") == at_once


def test_other_targets_are_taken_too(filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kept", "removed"):
        (tmp_path / name).write_text(name)
        filled.run("add", "--as", f"notes/{name}.txt", tmp_path / name)
    filled.append(Make().target_removed("notes/removed.txt"))
    filled.publish()

    def rebuilt(name: str, files: Path) -> list[str]:
        """What is missing."""
        target = tmp_path / name
        missing = invoke("rebuild", "--ledger", filled.folder, "--to", target, "--files", files, "--json").stdout
        if files == filled.public:
            invoke("verify", "--ledger", filled.folder, "--served", target, "--files")
        return [path for path in json.loads(missing)["missing"] if path.startswith("notes/")]

    assert [rebuilt("at-once", filled.public), rebuilt("at-once-without", tmp_path)] == [[], ["notes/kept.txt"]]
    monkeypatch.undo()
    assert [rebuilt("by-step", filled.public), rebuilt("by-step-without", tmp_path)] == [[], ["notes/kept.txt"]]


def test_an_interrupted_one_may_go_on_with_other_files(
    filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()

    def missing(source: Path) -> list[str]:
        async def run() -> list[str]:
            logs, workers = filled.context.logs(), ThreadWorkers()
            await logs.open()
            try:
                done = await replay(
                    logs, tmp_path / "work", workers, at=At(), source=source, limits=LIMITS, report=lambda *_: None
                )
            finally:
                await logs.close()
                workers.close()
            assert done is not None
            return done.missing

        return asyncio.run(run())

    with monkeypatch.context() as patched:
        patched.setattr("consumers.rebuild.replay._Rendering._finish", _interrupt)
        with pytest.raises(InterruptedError):
            missing(tmp_path / "empty")
    assert missing(filled.public) == []
    assert len(list((tmp_path / "work/tree/targets/packages").rglob("*.whl"))) == 4


def _interrupt(*_: object) -> None:
    raise InterruptedError


def test_the_target_may_be_a_link_or_the_working_directory(
    filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = filled.rebuild(tmp_path / "expected")
    for name in ("linked", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("linked")
    (tmp_path / "nowhere").symlink_to("new")
    for target in ("link", "nowhere"):
        assert filled.rebuild(tmp_path / target) == expected
    context = filled.context
    monkeypatch.chdir(tmp_path / "here")
    asyncio.run(rebuild(context, Path(), At(), all_versions=False, files=None, report=lambda *_: None))
    assert tree(tmp_path / "here") == expected


def test_nothing_is_rebuilt_over_a_mount_point(filled: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    (tmp_path / "mounted").mkdir()
    assert "is mounted" in filled.run("rebuild", "--to", tmp_path / "mounted", answer=2)
