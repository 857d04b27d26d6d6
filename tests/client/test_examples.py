"""docs/publishing.md: its examples run as they stand there. (Those over Kafka: tests/live/test_examples.py)"""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.client.index import Index
from tests.client.processes import environment
from tests.distributions import build_wheel
from tests.examples import APPEND, STORE, UPLOAD, example


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel whose project's name is not normalised."""
    return build_wheel(tmp_path, "My_Project", "1.0")


def shell(script: str, folder: Path, **variables: object) -> str:
    """Run a script, with `tuf-ledger` on the path."""
    env = environment({name: str(value) for name, value in variables.items()})
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return done.stdout


def test_one_line_by_hand(index: Index, wheel: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shell(example("sh", STORE), work, FILE=wheel, PUBLIC=index.public)
    script = example("sh", APPEND).replace(" --wait", "")
    for _ in range(2):  # as after a lost answer
        assert shell(script, work, LEDGER=index.folder) == "Appended 1 event.\n"
    index.publish()
    assert list(index.check().projects) == ["my-project"]
    index.verify()
    digest = sha256((work / "event.ndjson").read_bytes().strip()).hexdigest()
    assert digest in {each.get("digest") for each in index.ask_list("find", f"sha256:{digest}")}
    (repeated,) = [each for each in index.ask_list("rejected", "--all") if each["code"] == "already-uploaded"]
    assert repeated["digest"] == digest


def test_the_program_in_python(index: Index, wheel: Path, tmp_path: Path) -> None:
    """The second time it says the same in another event, as a service does that has lost its memory."""
    program = tmp_path / "upload.py"
    program.write_text(example("python", UPLOAD))
    command = [sys.executable, str(program), str(index.folder), str(index.public), str(wheel)]
    for outcome in ("accepted", "no effect already-uploaded"):
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as running:
            while running.poll() is None:  # it waits for a publication that shows its event
                index.publish()
            said, _ = running.communicate()
        assert said.splitlines()[1:] == [outcome]
    assert list(index.check().projects) == ["my-project"]
    index.verify()
