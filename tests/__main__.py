"""`python -m tests [--all|--rest] [PYTEST ARGUMENT…]`: every check of this project, in the order of their cost.

Format, lint, import contracts, types, then the tests. Stops at the first that fails. With arguments, only pytest runs,
with these arguments.

`--all` adds the tests that run foreign programs (a real Kafka broker, a PostgreSQL server, one in Go, web servers) or
take minutes, and makes durable on the disk what is durable in production; each of these tests has a shorter twin among
the others.
`--rest` runs only what `--all` adds, and no other checks.
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
ALL = ("-m", "", "--sync")
"""Nothing is left out: pyproject.toml leaves out what is marked."""
REST = ("-m", "slow or kafka or postgresql or go or deploy", "--sync")


def main(arguments: list[str]) -> int:
    """Run the checks; the exit code of the first that fails, or 0."""
    more = ALL if "--all" in arguments else REST if "--rest" in arguments else ()
    arguments = [each for each in arguments if each not in {"--all", "--rest"}]
    if not arguments and more is REST:
        arguments = side_by_side()
    if not arguments:
        for name, command in CHECKS:
            print(f"== {name}", flush=True)
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            if code != 0:
                print(f"{name}: failed", file=sys.stderr)
                return code
        print("== tests", flush=True)
        arguments = side_by_side()
    return run_tests([*more, *arguments])


def side_by_side() -> list[str]:
    """Options that use all cores. Whoever is idle takes from who is not: `loadscope` would spare 3 % of the work, which
    is done more than once for fixtures, and would wait for the longest module instead of the longest test.
    """
    return ["-n", str(max(2, os.cpu_count() or 1)), "--dist", "worksteal"]


def run_tests(arguments: list[str]) -> int:
    """Run pytest; its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
