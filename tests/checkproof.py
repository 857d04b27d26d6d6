"""The program in Go that checks proofs, too (`tests/go`): built once, with the modules that its `go.sum` names."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent / "go"
BUILD_SECONDS = 600
AT_ONCE = 200
"""Number of proofs that one process is given."""


class GoMissingError(Exception):
    """What is needed to build the program is not on this machine."""


class GoChecker:
    """The program, built.

    Args:
        folder: where it is built, and where files are put that it reads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = folder / "checkproof"
        go = shutil.which("go")
        if go is None:
            raise GoMissingError("no Go: install it (1.18 or later)")
        built = subprocess.run(
            [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(self._program), "."],
            cwd=SOURCE,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": ""},
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if built.returncode:
            raise GoMissingError(f"the program could not be built: {built.stderr[-2000:]}")

    def check(self, root: bytes, proofs: Sequence[bytes]) -> list[dict[str, Any]]:
        """The program's answer to each proof, given a trusted root."""
        (self._folder / "root").write_bytes(root)
        answers: list[dict[str, Any]] = []
        for start in range(0, len(proofs), AT_ONCE):
            names = []
            for place, proof in enumerate(proofs[start : start + AT_ONCE]):
                names.append(f"proof-{place}")
                (self._folder / names[-1]).write_bytes(proof)
            done = subprocess.run(
                [str(self._program), "root", *names], cwd=self._folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            answers.extend(json.loads(line) for line in done.stdout.splitlines())
        assert len(answers) == len(proofs)
        return answers
