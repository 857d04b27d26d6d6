"""Recipes of the documents, run word for word."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.client.processes import PATIENCE_SECONDS, ROOT, environment


class Manual:
    """What a page has for a shell in a section, and the folder where it is run."""

    def __init__(
        self, section: str, folder: Path, variables: Mapping[str, str] | None = None, *, page: str = "operators.md"
    ) -> None:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {section}\n")[2]
        self.steps: list[str] = re.findall(r"^```sh\n(.*?)^```$", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
        self._folder = folder
        self.variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **(variables or {})}

    def follow(self, step: str, answer: int = 0) -> str:
        """Run a step; what it printed."""
        done = subprocess.run(
            ["sh", "-eu", "-c", step],
            cwd=self._folder,
            env=environment(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == answer, f"{step}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr
