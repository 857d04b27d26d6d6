"""What a signer compares the log with: clients see the public URL, and a folder of this machine may be an old one."""

import json
import shutil
from pathlib import Path

import pytest

from tests.client.index import Index
from tests.client.processes import execute, start
from tests.serving import serving

WARNING = "[signer] served is a folder of this machine: set it to the public URL, so that no version is published twice"


def warnings(stderr: str) -> list[str]:
    """The lines that say it."""
    return [line for line in stderr.splitlines() if WARNING in line]


def test_publishing_warns_in_one_line(index: Index) -> None:
    done = execute("publish", "--ledger", index.folder, "--json")
    assert json.loads(done.stdout)["ok"]
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["message"], said["folder"]) == ("warning", WARNING, str(index.public))
    quiet = execute("publish", "--ledger", index.folder, env={"TUF_LEDGER_LOGGING_LEVEL": "error"})
    assert quiet.stderr == ""


def test_another_folder_is_one_of_this_machine_too(index: Index, tmp_path: Path) -> None:
    other = {"TUF_LEDGER_SIGNER_SERVED": str(index.public)}
    assert len(warnings(execute("publish", "--ledger", index.folder, env=other).stderr)) == 1


def test_a_new_ledger_and_what_does_not_sign_do_not_warn(tmp_path: Path) -> None:
    assert warnings(execute("init", tmp_path / "new").stderr) == []
    assert warnings(execute("verify", "--ledger", tmp_path / "new").stderr) == []


@pytest.mark.parametrize("consumers", [(), ("signer",), ("publisher",), ("verifier",)])
def test_a_service_that_signs_warns_once(index: Index, tmp_path: Path, consumers: tuple[str, ...]) -> None:
    with start(tmp_path / "log", "run", "--ledger", index.folder, *consumers) as running:
        running.wait_for(f"{consumers[0] if consumers else 'signer'} started")
        running.stop()
    assert len(warnings(running.output())) == (0 if consumers and consumers[0] != "signer" else 1)


def test_with_the_public_url_nothing_warns_and_nothing_is_published_twice(index: Index, tmp_path: Path) -> None:
    """A machine that was restored as a whole: its own folder is as old as its log, and says nothing against it."""
    index.upload("one")
    index.publish()
    old = tmp_path / "old"
    shutil.copytree(index.folder, old)
    index.upload("two")
    number = index.publish()
    before = (index.public / f"metadata/{number}.timestamp.json").read_bytes()
    with serving(index.public) as url:
        public = {"TUF_LEDGER_SIGNER_SERVED": url}
        done = execute("publish", "--ledger", index.folder, env=public)
        assert warnings(done.stderr) == []
        restored = Index(old, clients=tmp_path / "clients")
        restored.upload("three")
        refused = execute("publish", "--ledger", old, env=public, answer=None)
        assert refused.returncode == 2
        assert f"the served timestamp has version {number}, but the log's last publication is number {number - 1}" in (
            refused.stderr
        )
        assert not (old / f"public/metadata/{number}.timestamp.json").exists()
    # Without it, the same version comes again, with other bytes. That is what the warning is for.
    assert len(warnings(execute("publish", "--ledger", old).stderr)) == 1
    again = (old / f"public/metadata/{number}.timestamp.json").read_bytes()
    assert again != before
