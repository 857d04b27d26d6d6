"""`python -m tests [PYTEST ARGUMENT…]`: every check of this project, in the order of their cost.

Format, lint, import contracts, types, then all tests. Stops at the first that fails. With arguments, only pytest runs,
with these arguments.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

CHECKS = (
    ("format", ["ruff", "format", "--check", "--quiet", "."]),
    ("lint", ["ruff", "check", "--quiet", "."]),
    ("import contracts", ["lint-imports", "--no-cache"]),
    ("types", ["mypy"]),
)


def main(arguments: list[str]) -> int:
    """Run the checks; the exit code of the first that fails, or 0."""
    if not arguments:
        for name, command in CHECKS:
            print(f"== {name}", flush=True)
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            if code != 0:
                print(f"{name}: failed", file=sys.stderr)
                return code
        print("== tests", flush=True)
        arguments = ["-n", str(max(2, os.cpu_count() or 1)), "--dist", "loadgroup"]
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
