"""What documents and messages refer to is there."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "projections", "ledger", "consumers", "tests", "benchmarks")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REFERENCE = re.compile(r"""docs/(\w+\.md),\s+(?:"\s+f?")?['"]([^'"]+)['"]""")
NAME = re.compile(r"`((?:schemas|projections|ledger|consumers)(?!\.(?:toml|created))(?:\.\w+)+)`")


def sources() -> list[Path]:
    """All Python files."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def titles(document: str) -> set[str]:
    """Headings, and the bold words with which a paragraph or an item begins."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    leads = re.findall(r"^(?:- )?\*\*([^*]+?)\.?\*\*", text, flags=re.MULTILINE)
    return {*headings, *leads}


def references(path: Path) -> Iterator[tuple[str, str]]:
    """Sections that a file refers to, by document and title."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from REFERENCE.findall(" ".join(node.value.split()))


def test_sections_that_code_refers_to_are_there() -> None:
    found = {reference for path in sources() for reference in references(path)}
    assert len(found) > 4
    assert [each for each in sorted(found) if each[1].rstrip(".") not in titles(each[0])] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / link).exists(), link
    for path in re.findall(r"`((?:schemas|projections|ledger|consumers|tests|benchmarks|deploy|docs)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or path.startswith("docs/…"), path


def test_names_in_documents_and_docstrings_lead_somewhere() -> None:
    for path in (*DOCUMENTS, *sources()):
        for name in NAME.findall(path.read_text(encoding="utf-8")):
            resolve(name)


def resolve(name: str) -> object:
    """A module, or what stands in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for each in parts[count:]:
            found = getattr(found, each)
        return found
    raise AssertionError(name)


def test_no_name_has_two_meanings() -> None:
    """No two public classes are called the same, and no two modules but rule and port of a thing, or two in memory."""
    shared = {"publications", "state", "keys", "run", "reading", "log", "memory", "tables"} | {"__init__", "__main__"}
    classes: dict[str, list[str]] = {}
    modules: dict[str, list[str]] = {}
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if line.partition("/")[0] not in {"schemas", "projections", "ledger", "consumers"}:
            continue
        path = ROOT / line
        if not path.exists():
            continue
        if not line.startswith("consumers/cli/commands/"):
            modules.setdefault(path.stem, []).append(line)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(line)
    assert {name: where for name, where in classes.items() if len(where) > 1} == {}
    assert {name: where for name, where in modules.items() if len(where) > 1 and name not in shared} == {}
